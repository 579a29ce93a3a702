"""Item-based collaborative filtering: what follows and precedes the user's last items.

    score(x) = sum_d decay**(d-1) * C[j_d, x] / sqrt((n_{j_d} + shrinkage) * (n_x + shrinkage))

with C of `models.cooccurrence` and the user's items j_1 (the latest), j_2, .... One pass over the neighbour lists of the
profile gathers this score and its variants (other decays, one direction only, the latest item alone, ...) side by side:
they are the collaborative features of a candidate.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SUM_NAMES = (
    "cf",
    "cf_long",
    "cf_short",
    "cf_forward",
    "fast_forward",
    "fast_backward",
    "forward_last",
    "backward_last",
    "sitting",
    "best",
    "pointers",
    "liked",
)
(
    CF,
    CF_LONG,
    CF_SHORT,
    CF_FORWARD,
    FAST_FORWARD,
    FAST_BACKWARD,
    FORWARD_LAST,
    BACKWARD_LAST,
    SITTING,
    BEST,
    POINTERS,
    LIKED,
) = range(len(SUM_NAMES))
SUMS = 12
LONG_DECAY = 0.98
SHORT_DECAY = 0.6
_POINTING_ITEMS = 10


@njit(cache=True)
def gather(  # type: ignore[no-untyped-def]
    profile,
    liked,
    lists,
    neighbour,
    weights,
    counts,
    excluded,
    available,
    decay,
    reverse_weight,
    shrinkage,
    sums,
    touched,
    marks,
):
    """Sum over the neighbour lists of a profile.

    Parameters
    ----------
    profile : int32[m], dense indices of the user's items, the latest first
    liked : float64[m], 1 where the item's value is at or above the user's mean, else 0
    lists, neighbour, weights : of `models.replica.Replica`
    counts : float64[items], events of each item
    excluded : int64[1 + items], an item whose entry equals excluded[0] is no candidate
    available : bool[items], an item that is not is no candidate
    sums : float64[items, SUMS], written for the touched items
    touched : int32[items], scratch; marks : int64[1 + items], scratch like `excluded`

    Returns
    -------
    int, how many entries of `touched` are valid
    """
    width = weights.shape[1] // 2
    marks[0] += 1
    serial = marks[0]
    barred = excluded[0]
    found = 0
    step, step_long, step_short = 1.0, 1.0, 1.0
    for d in range(len(profile)):
        j = profile[d]
        norm_j = 1.0 / np.sqrt(counts[j] + shrinkage)
        for s in range(lists[j, 0], lists[j, 0] + lists[j, 1]):
            x = neighbour[s]
            if excluded[1 + x] == barred or not available[x]:
                continue
            if marks[1 + x] != serial:
                marks[1 + x] = serial
                touched[found] = x
                found += 1
                sums[x, :] = 0.0
            forward = weights[s, width] * norm_j
            backward = reverse_weight * weights[s, 0] * norm_j
            both = forward + backward
            total = sums[x]
            part = step * both
            total[CF] += part
            total[CF_LONG] += step_long * both
            total[CF_SHORT] += step_short * both
            total[CF_FORWARD] += step * forward
            total[FAST_FORWARD] += step_short * weights[s, width + 1] * norm_j
            total[FAST_BACKWARD] += step_short * weights[s, 1] * norm_j
            total[SITTING] += step * (weights[s, width + 2] + reverse_weight * weights[s, 2]) * norm_j
            total[LIKED] += part * liked[d]
            if part > total[BEST]:
                total[BEST] = part
            if d == 0:
                total[FORWARD_LAST] = forward
                total[BACKWARD_LAST] = backward
            if d < _POINTING_ITEMS and both > 0:
                total[POINTERS] += 1.0
        step *= decay
        step_long *= LONG_DECAY
        step_short *= SHORT_DECAY
    for f in range(found):
        x = touched[f]
        norm_x = 1.0 / np.sqrt(counts[x] + shrinkage)
        pointers = sums[x, POINTERS]
        for c in range(SUMS):
            sums[x, c] *= norm_x
        sums[x, POINTERS] = pointers
    return found


@njit(cache=True)
def best_by(sums, column, touched, found, size, taken, serial, out, filled):  # type: ignore[no-untyped-def]
    """Append the `size` best touched items by one sum to `out`, skipping what was taken; returns the new length."""
    values = np.empty(found, np.float64)
    for f in range(found):
        x = touched[f]
        values[f] = -1.0 if taken[1 + x] == serial else sums[x, column]
    size = min(size, found)
    if size <= 0:
        return filled
    threshold = -1.0
    if size < found:
        threshold = np.partition(values, found - size)[found - size]
    order = np.empty(found, np.int64)
    n = 0
    for f in range(found):
        if values[f] >= threshold and values[f] > 0.0:
            order[n] = f
            n += 1
    ranked = order[:n][np.argsort(-values[order[:n]], kind="mergesort")]
    for r in range(min(size, n, len(out) - filled)):
        x = touched[ranked[r]]
        taken[1 + x] = serial
        out[filled] = x
        filled += 1
    return filled


@njit(cache=True)
def contributions(  # type: ignore[no-untyped-def]
    items, profile, lists, neighbour, weights, counts, decay, reverse_weight, shrinkage, places
):
    """What each profile item adds to the CF score of each of `items`.

    `places` : int32[all items], scratch, all zeros before and after.

    Returns
    -------
    float64[len(items), len(profile)]
        Each row sums to the CF score of its item.
    """
    width = weights.shape[1] // 2
    out = np.zeros((len(items), len(profile)))
    for k in range(len(items)):
        places[items[k]] = k + 1
    step = 1.0
    for d in range(len(profile)):
        j = profile[d]
        norm_j = step / np.sqrt(counts[j] + shrinkage)
        for s in range(lists[j, 0], lists[j, 0] + lists[j, 1]):
            k = places[neighbour[s]] - 1
            if k >= 0:
                both = weights[s, width] + reverse_weight * weights[s, 0]
                out[k, d] = both * norm_j / np.sqrt(counts[items[k]] + shrinkage)
        step *= decay
    for k in range(len(items)):
        places[items[k]] = 0
    return out
