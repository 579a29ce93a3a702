"""What a list of the most popular items would have hit on the same events: the least that a recommender has to beat.

At each event every item has the count of the events before it, optionally decayed with a half-life; the list is the k items of the
highest count that the user has not had. Only the place of the event's own item is needed, so no list is ever made.
Under exponential decay the order of two items changes only with an event of one of them: the order is kept, not computed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from models.evaluation.recorder import MISS, UNJUDGED, Recording

_ORDERED = 4096
_RESCALE_AT = 500.0


def popularity_positions(recording: Recording, *, half_life_ms: float | None = None) -> npt.NDArray[np.int16]:
    """Where the item of each judged event stood in the list of the most popular items that its user had not had.

    Parameters
    ----------
    half_life_ms : in which a count halves in event time; None: counts never age

    Returns
    -------
    int16[n]
        1-based place, `MISS` beyond the first k, `UNJUDGED` where the recording is. Exact for users who have had fewer
        than 4,096 - k of the most popular items.
    """
    return _positions(
        recording.users,
        recording.items,
        recording.times_ms,
        recording.judged,
        len(recording.shown_counts),
        recording.k,
        recording.repeats,
        np.inf if half_life_ms is None else float(half_life_ms),
    )


@njit(cache=True)
def _had(table, key):  # type: ignore[no-untyped-def]
    """Whether a key (from 1) is in the open-addressing table, and where it is or would be."""
    mask = len(table) - 1
    slot = (key * np.int64(0x9E3779B97F4A7C1 | 1) >> np.int64(17)) & mask
    while table[slot] != 0:
        if table[slot] == key:
            return True, slot
        slot = (slot + 1) & mask
    return False, slot


@njit(cache=True)
def _positions(users, items, times_ms, judged, n_items, k, repeats, half_life_ms):  # type: ignore[no-untyped-def]
    n = len(users)
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.zeros(size, np.int64)
    count = np.zeros(n_items)
    place = np.full(n_items, -1, np.int64)
    top = np.empty(min(_ORDERED, n_items), np.int64)
    ordered = 0
    out = np.full(n, UNJUDGED, np.int16)
    landmark_ms = times_ms[0] if n > 0 else 0
    for e in range(n):
        item = items[e]
        user_key = np.int64(users[e]) * n_items + 1
        had, slot = _had(table, user_key + item)
        if judged[e]:
            out[e] = MISS
            if place[item] >= 0 and (repeats or not had):
                ahead = 0
                for p in range(place[item]):
                    if repeats or not _had(table, user_key + top[p])[0]:
                        ahead += 1
                        if ahead == k:
                            break
                if ahead < k:
                    out[e] = ahead + 1
        if not had:
            table[slot] = user_key + item
        age = (times_ms[e] - landmark_ms) / half_life_ms
        if age > _RESCALE_AT:
            for x in range(n_items):
                count[x] *= 2.0**-age
            landmark_ms = times_ms[e]
            age = 0.0
        count[item] += 2.0**age
        if place[item] < 0:
            if ordered < len(top):
                place[item] = ordered
                ordered += 1
            elif count[item] > count[top[ordered - 1]]:
                place[top[ordered - 1]] = -1
                place[item] = ordered - 1
            else:
                continue
            top[place[item]] = item
        p = place[item]
        while p > 0 and count[top[p - 1]] < count[item]:
            top[p] = top[p - 1]
            place[top[p]] = p
            p -= 1
        top[p] = item
        place[item] = p
    return out
