"""Threads inside a TaskManager: none of our own, one of PyTorch's.

In thread mode Python runs inside the JVM and all Python tasks of a TaskManager share one GIL; a second compute thread only
takes the core of another task.
"""

from __future__ import annotations

import torch


def use_one_thread() -> None:
    """Keep PyTorch to the calling thread; called from `open` of every operator that computes."""
    torch.set_num_threads(1)
