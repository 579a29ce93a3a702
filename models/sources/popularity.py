"""Popularity: what everybody takes lately. Fills the list of a user of whom little is known."""

from __future__ import annotations

from numba import njit


@njit(cache=True)
def fill_with_popular(popular, marks, taken, serial, sums, size, out, filled):  # type: ignore[no-untyped-def]
    """Append popular items to `out` until it holds `size` items; returns the new length.

    Parameters
    ----------
    popular : int32[m], dense indices, the most popular first
    marks : of `models.sources.item_cf.gather`: barred items are no candidates, touched ones have finished sums
    taken : int64[1 + items], an item whose entry equals `serial` is in `out` already
    sums : float32[items, SUMS] of `models.sources.item_cf`; set to 0 for appended items that it did not touch
    """
    for p in range(len(popular)):
        if filled >= size:
            break
        x = popular[p]
        if marks[1 + x] == -marks[0] or taken[1 + x] == serial:
            continue
        taken[1 + x] = serial
        if marks[1 + x] != marks[0]:
            sums[x, :] = 0.0
        out[filled] = x
        filled += 1
    return filled
