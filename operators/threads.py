"""Threads inside a TaskManager: none of our own, one of PyTorch's, and the one that answers before the others.

In thread mode Python runs inside the JVM and all Python tasks of a TaskManager share one GIL; a second compute thread only
takes the core of another task.
"""

from __future__ import annotations

import os
from contextlib import suppress

# Of -20 (before all others) to 19; 0 is everybody's.
_NICENESS_OF_SERVING = -10


def use_one_thread() -> None:
    """Keep PyTorch to the calling thread; called from `open` of every operator that computes."""
    import torch

    torch.set_num_threads(1)


def prefer_this_thread() -> None:
    """Let the calling thread go before others on its core, where the process may ask for that (Linux: CAP_SYS_NICE).

    Called from `open` of the operator that answers: brokers and learners wake up a thousand times a second for a moment each, and each
    time the answer that is being made would wait for them. On two cores with all of it that took a quarter of the answers a second.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS_OF_SERVING)
