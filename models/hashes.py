"""Arrays of hashes, looked through in one compiled call: numpy makes an array of comparisons first."""

from __future__ import annotations

from numba import njit


@njit(cache=True)
def first_place(hashes, wanted):  # type: ignore[no-untyped-def]
    """Where a hash stands first among some, int64[n]; -1 where it does not."""
    for place in range(len(hashes)):
        if hashes[place] == wanted:
            return place
    return -1
