"""Garbage collection in processes that answer: what a full collection costs is a wait for somebody."""

from __future__ import annotations

import gc


def settle() -> None:
    """Collect once, and leave what is there now out of all later collections.

    PyTorch and the other libraries are a third of a million objects that stay for good, and a full collection takes a tenth of a
    second to look at them. What an earlier job in this process left is collected, not kept.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
