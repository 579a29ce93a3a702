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
SUMS = len(SUM_NAMES)
_LINE = 16  # float32 of a cache line
LONG_DECAY = 0.98
SHORT_DECAY = 0.6
_POINTING_ITEMS = 10


def new_sums(items: int) -> np.ndarray:
    """The array that `gather` writes: one cache line an item, float32[items, 16], of which the first SUMS count.

    A row that crosses two lines costs a third of the whole pass.
    """
    flat = np.zeros((items + 1) * _LINE, np.float32)
    skip = -(flat.ctypes.data // flat.itemsize) % _LINE
    return flat[skip : skip + items * _LINE].reshape(items, _LINE)


@njit(cache=True)
def gather(  # type: ignore[no-untyped-def]
    profile,
    liked,
    lists,
    neighbour,
    weights,
    counts,
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
    available : bool[items], an item that is not is no candidate
    sums : of `new_sums`, written for the touched items
    touched : int32[items], scratch
    marks : int64[1 + items], marks[0] is the serial of this slate; an item at minus the serial is barred, one at the
        serial is touched

    Returns
    -------
    int, how many entries of `touched` are valid
    """
    serial = marks[0]
    found = 0
    zero = np.float32(0.0)
    reverse = np.float32(reverse_weight)
    step, step_long, step_short = 1.0, 1.0, 1.0
    for d in range(len(profile)):
        j = profile[d]
        norm_j = 1.0 / np.sqrt(counts[j] + shrinkage)
        at_step = np.float32(step * norm_j)
        at_long = np.float32(step_long * norm_j)
        at_short = np.float32(step_short * norm_j)
        at_liked = np.float32(step * norm_j * liked[d])
        at_last = np.float32(norm_j) if d == 0 else zero
        pointer = np.float32(1.0) if d < _POINTING_ITEMS else zero
        for s in range(lists[j, 0], lists[j, 0] + lists[j, 1]):
            x = neighbour[s]
            mark = marks[1 + x]
            if mark == -serial:
                continue
            if mark != serial:
                if not available[x]:
                    marks[1 + x] = -serial
                    continue
                marks[1 + x] = serial
                touched[found] = x
                found += 1
                for c in range(SUMS):
                    sums[x, c] = zero
            # All loads before all stores, and all of it in float32: only so does the compiler use vector instructions.
            backward, fast_backward, sitting_backward = weights[s, 0], weights[s, 1], weights[s, 2]
            forward, fast_forward, sitting_forward = weights[s, 3], weights[s, 4], weights[s, 5]
            backward *= reverse
            both = forward + backward
            total = sums[x]
            cf = total[CF] + at_step * both
            cf_long = total[CF_LONG] + at_long * both
            cf_short = total[CF_SHORT] + at_short * both
            cf_forward = total[CF_FORWARD] + at_step * forward
            fast_forward = total[FAST_FORWARD] + at_short * fast_forward
            fast_backward = total[FAST_BACKWARD] + at_short * fast_backward
            forward_last = total[FORWARD_LAST] + at_last * forward
            backward_last = total[BACKWARD_LAST] + at_last * backward
            sitting = total[SITTING] + at_step * (sitting_forward + reverse * sitting_backward)
            best = max(total[BEST], at_step * both)
            pointers = total[POINTERS] + (pointer if both > zero else zero)
            liked_part = total[LIKED] + at_liked * both
            total[CF] = cf
            total[CF_LONG] = cf_long
            total[CF_SHORT] = cf_short
            total[CF_FORWARD] = cf_forward
            total[FAST_FORWARD] = fast_forward
            total[FAST_BACKWARD] = fast_backward
            total[FORWARD_LAST] = forward_last
            total[BACKWARD_LAST] = backward_last
            total[SITTING] = sitting
            total[BEST] = best
            total[POINTERS] = pointers
            total[LIKED] = liked_part
        step *= decay
        step_long *= LONG_DECAY
        step_short *= SHORT_DECAY
    for f in range(found):
        x = touched[f]
        norm_x = np.float32(1.0 / np.sqrt(counts[x] + shrinkage))
        pointers = sums[x, POINTERS]
        for c in range(SUMS):
            sums[x, c] *= norm_x
        sums[x, POINTERS] = pointers
    return found


@njit(cache=True)
def best_by(sums, column, touched, found, size, taken, serial, out, filled):  # type: ignore[no-untyped-def]
    """Append the `size` best touched items by one sum to `out`, skipping what was taken; returns the new length.

    The best so far stay sorted while the touched items pass by: few of them are better than the last of the best.
    """
    size = min(size, len(out) - filled)
    if size <= 0:
        return filled
    values = np.zeros(size, np.float32)
    n = 0
    for f in range(found):
        x = touched[f]
        value = sums[x, column]
        if value <= 0 or (n == size and value <= values[n - 1]) or taken[1 + x] == serial:
            continue
        place = n if n < size else n - 1
        while place > 0 and values[place - 1] < value:
            values[place] = values[place - 1]
            out[filled + place] = out[filled + place - 1]
            place -= 1
        values[place] = value
        out[filled + place] = x
        if n < size:
            n += 1
    for r in range(filled, filled + n):
        taken[1 + out[r]] = serial
    return filled + n


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


@njit(cache=True)
def largest_parts(parts, named, most):  # type: ignore[no-untyped-def]
    """The largest parts of each row.

    Parameters
    ----------
    parts : float64[k, m], not negative
    named : bool[m], columns that may be chosen
    most : how many are chosen of a row

    Returns
    -------
    columns : int64[k, most], -1 behind the last positive part
    chosen : float64[k, most], their parts, the largest first
    rest : float64[k], the sum of all the others
    """
    k, m = parts.shape
    columns = np.full((k, most), -1, np.int64)
    chosen = np.zeros((k, most))
    rest = np.zeros(k)
    for row in range(k):
        for d in range(m):
            part = parts[row, d]
            left_over = part
            if named[d] and part > 0:
                place = most
                while place > 0 and part > chosen[row, place - 1]:
                    place -= 1
                if place < most:
                    left_over = chosen[row, most - 1]
                    for p in range(most - 1, place, -1):
                        chosen[row, p] = chosen[row, p - 1]
                        columns[row, p] = columns[row, p - 1]
                    chosen[row, place] = part
                    columns[row, place] = d
            rest[row] += left_over
    return columns, chosen, rest
