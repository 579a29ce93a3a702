"""Ranking metrics for one relevant item a list, as in next-item evaluation.

The relevant item stands at the 1-based `position`, or at None when it is not in the list.

Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002, for NDCG; with a
single relevant item the ideal gain is 1, so that NDCG is its discount alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def position_of(item_id: str, slate: Sequence[str]) -> int | None:
    """1-based position of an item in a slate, None when it is not there."""
    try:
        return slate.index(item_id) + 1
    except ValueError:
        return None


def hit_at_k(position: int | None, k: int) -> float:
    """1 when the relevant item is among the first k, else 0."""
    return 1.0 if _within(position, k) else 0.0


def reciprocal_rank_at_k(position: int | None, k: int) -> float:
    """1 / position when the relevant item is among the first k, else 0."""
    return 1.0 / position if position is not None and _within(position, k) else 0.0


def ndcg_at_k(position: int | None, k: int) -> float:
    """1 / log2(position + 1) when the relevant item is among the first k, else 0.

    Examples
    --------
    >>> ndcg_at_k(1, 10), ndcg_at_k(3, 10), ndcg_at_k(11, 10)
    (1.0, 0.5, 0.0)
    """
    return 1.0 / math.log2(position + 1) if position is not None and _within(position, k) else 0.0


def precision(hits: float, shown: int) -> float:
    """Share of the shown items that were relevant; 0 when none was shown."""
    return hits / shown if shown else 0.0


def recall(hits: float, relevant: int) -> float:
    """Share of the relevant items that were shown; 0 when none was relevant."""
    return hits / relevant if relevant else 0.0


def f1(precision: float, recall: float) -> float:
    """Harmonic mean of precision and recall; 0 when both are."""
    total = precision + recall
    return 2.0 * precision * recall / total if total else 0.0


def _within(position: int | None, k: int) -> bool:
    if position is None:
        return False
    if position < 1:
        raise ValueError(f"expected a position from 1, got {position}")
    return position <= k
