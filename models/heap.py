"""Garbage collection in processes that answer: what a full collection costs is a wait for somebody."""

from __future__ import annotations

import gc

# Of the objects that a record makes hardly one outlives it: to look for dead ones after each 700, as Python does, finds none.
_YOUNG_OBJECTS = 20_000


def settle() -> None:
    """Collect once, leave what is there now out of all later collections, and let these be rarer.

    PyTorch and the other libraries are a third of a million objects that stay for good, and a full collection takes a tenth of a
    second to look at them. What an earlier job in this process left is collected, not kept.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
