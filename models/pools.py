"""Pools: items in an order that is the same for everybody, made anew every so many changes of the model.

An order over all items costs time in proportion to their number: it is made anew when the model has learned an event for every
eighth item, at the latest after `REFRESH_EVERY`, whichever items these were of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

REFRESH_EVERY = 256
_ITEMS_AN_EVENT = 8
_CATEGORIES = 64
_IN_A_CATEGORY = 20
_NOBODY = np.zeros(0, np.int32)


@dataclass(slots=True)
class Pools:
    """Dense indices, int32, the best first.

    Attributes
    ----------
    popular : by the slowly decayed popularity
    trending : by the fast decayed popularity
    trending_in : the same within each category bit
    new : items with few events and few impressions, those shown least first, then the latest; or by when they came
    """

    popular: np.ndarray = field(default_factory=lambda: _NOBODY)
    trending: np.ndarray = field(default_factory=lambda: _NOBODY)
    trending_in: list[np.ndarray] = field(default_factory=lambda: [_NOBODY] * _CATEGORIES)
    new: np.ndarray = field(default_factory=lambda: _NOBODY)


def is_due(events: int, refreshed_at: int, items: int) -> bool:
    """Whether pools of so many items, made after `refreshed_at` events (-1: never), are to be made anew."""
    return refreshed_at < 0 or events - refreshed_at >= min(REFRESH_EVERY, max(1, items // _ITEMS_AN_EVENT))


def make_pools(
    *,
    events: np.ndarray,
    fast: np.ndarray,
    slow: np.ndarray,
    last_seen_ms: np.ndarray,
    fast_half_life_ms: float,
    slow_half_life_ms: float,
    available: np.ndarray,
    categories: np.ndarray,
    impressions: np.ndarray,
    size: int,
    new_events: int,
    new_impressions: int,
    came_ms: np.ndarray | None = None,
) -> Pools:
    """The pools of a model.

    Parameters
    ----------
    events : float64[items], events of each item
    fast, slow : float64[items], decayed popularities at `last_seen_ms`
    last_seen_ms : float64[items]
    available : bool[items], others are in no pool
    categories : uint64[items], category bits
    impressions : int32[items], how often each was shown
    size : items of a pool
    new_events, new_impressions : an item with fewer of both is new
    came_ms : int64[items], when each came, by which the new ones are ordered, the latest first; None: by impressions
    """
    known = np.flatnonzero((events > 0) & available)
    popular = by_popularity(
        events=events, slow=slow, last_seen_ms=last_seen_ms, slow_half_life_ms=slow_half_life_ms, available=available, size=size
    )
    # far back 2 ** -x is 0 for many: the order of those is the slow one
    trending = largest(known, _decayed(fast, last_seen_ms, fast_half_life_ms), size)
    bits = categories[trending]
    occur = int(np.bitwise_or.reduce(bits))
    trending_in = [
        trending[bits >> np.uint64(category) & np.uint64(1) == 1][:_IN_A_CATEGORY] if occur >> category & 1 else _NOBODY
        for category in range(_CATEGORIES)
    ]
    new = np.flatnonzero((events < new_events) & (impressions < new_impressions) & available)
    new = new[np.lexsort((-new, impressions[new] if came_ms is None else ~came_ms[new]))][:size].astype(np.int32)
    return Pools(popular, trending, trending_in, new)


def by_popularity(
    *, events: np.ndarray, slow: np.ndarray, last_seen_ms: np.ndarray, slow_half_life_ms: float, available: np.ndarray, size: int
) -> np.ndarray:
    """`Pools.popular` of any size; the parameters are those of `make_pools`."""
    return largest(np.flatnonzero((events > 0) & available), _decayed(slow, last_seen_ms, slow_half_life_ms), size)


def _decayed(popularity: np.ndarray, last_seen_ms: np.ndarray, half_life_ms: float) -> np.ndarray:
    return popularity * np.exp2((last_seen_ms - last_seen_ms.max(initial=0.0)) / half_life_ms)


def largest(indices: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """The `size` of `indices` with the largest values, the largest first, equal ones in the order of the indices."""
    values = values[indices]
    if len(indices) > size:
        part = np.argpartition(-values, size)[:size]
        indices, values = indices[part], values[part]
    return indices[np.argsort(-values, kind="stable")].astype(np.int32)
