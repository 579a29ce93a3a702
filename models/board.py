"""The board: where the sources write what they know of the candidates of one slate, and from which the candidates are taken.

Every item has one row of `sums`, a cache line; a source adds to its own columns of the items that it brings. Nothing is
cleared between slates: a row counts only where `marks` holds the serial of the slate, and is zeroed when it is first touched.
A source's kernel begins each item that may be a candidate with `begin`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.replica import lookup

SUM_NAMES = (
    "cf",
    "cf_plain",
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
    "user_cf",
    "user_cf_near",
    "content",
)
(
    CF,
    CF_PLAIN,
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
    USER_CF,
    USER_CF_NEAR,
    CONTENT,
) = range(len(SUM_NAMES))
SUMS = len(SUM_NAMES)
_LINE_BYTES = 64
assert 4 * SUMS == _LINE_BYTES


def new_sums(items: int) -> np.ndarray:
    """Rows for this many items, float32[items, SUMS], each a cache line: a row that crosses two costs a third of a pass."""
    flat = np.zeros((items + 1) * SUMS, np.float32)
    skip = -(flat.ctypes.data // flat.itemsize) % SUMS
    return flat[skip : skip + items * SUMS].reshape(items, SUMS)


@njit(cache=True, inline="always")
def begin(x, sums, touched, found, marks):  # type: ignore[no-untyped-def]
    """Begin a candidate whose mark, `marks[1 + x]`, is neither the serial of the slate nor minus it, which bars an item.

    `found` is how many items are touched already; the caller adds one. The comparisons stand in the kernels: with them in here,
    or with a call that is not inlined, their loops take half as long again.

    `marks` : int64[1 + items], marks[0] is the serial of the slate; an item at the serial is touched, at minus the
    serial barred.
    """
    marks[1 + x] = marks[0]
    touched[found] = x
    for c in range(SUMS):
        sums[x, c] = np.float32(0.0)


@njit(cache=True)
def _start(keys, slots, hidden, marks, restrict, allowed):  # type: ignore[no-untyped-def]
    marks[0] += 1
    allowed[0] += 1
    for h in hidden:
        index = lookup(keys, slots, h)
        if index >= 0:
            marks[1 + index] = -marks[0]
    for h in restrict:
        index = lookup(keys, slots, h)
        if index >= 0:
            allowed[1 + index] = allowed[0]


@njit(cache=True)
def _take_best(sums, column, touched, found, size, taken, restricted, allowed, bit, chosen, origins, filled):  # type: ignore[no-untyped-def]
    """Append the `size` best touched items by one column, skipping what was taken; returns the new length.

    The best so far stay sorted while the touched items pass by: few of them are better than the last of the best.
    """
    size = min(size, len(chosen) - filled)
    if size <= 0:
        return filled
    serial = taken[0]
    values = np.zeros(size, np.float32)
    n = 0
    for f in range(found):
        x = touched[f]
        value = sums[x, column]
        if value <= 0 or (n == size and value <= values[n - 1]) or taken[1 + x] == serial:
            continue
        if restricted and allowed[1 + x] != allowed[0]:
            continue
        place = n if n < size else n - 1
        while place > 0 and values[place - 1] < value:
            values[place] = values[place - 1]
            chosen[filled + place] = chosen[filled + place - 1]
            place -= 1
        values[place] = value
        chosen[filled + place] = x
        if n < size:
            n += 1
    for r in range(filled, filled + n):
        taken[1 + chosen[r]] = serial
        origins[r] = bit
    return filled + n


@njit(cache=True)
def _take_first(  # type: ignore[no-untyped-def]
    pool, start, sums, touched, found, marks, available, taken, size, restricted, allowed, bit, chosen, origins, filled
):
    """Append the first `size` items of a pool that may be candidates; returns the new lengths of touched and chosen."""
    size = min(size, len(chosen) - filled)
    for p in range(len(pool)):
        if size <= 0:
            break
        place = start + p
        x = pool[place if place < len(pool) else place - len(pool)]
        if taken[1 + x] == taken[0] or (restricted and allowed[1 + x] != allowed[0]):
            continue
        if marks[1 + x] != marks[0]:
            if marks[1 + x] == -marks[0] or not available[x]:
                continue
            begin(x, sums, touched, found, marks)
            found += 1
        taken[1 + x] = taken[0]
        chosen[filled] = x
        origins[filled] = bit
        filled += 1
        size -= 1
    return found, filled


class Board:
    """The candidates of the slate that is being made.

    Attributes
    ----------
    sums : float32[items, SUMS], one row an item, valid where it is touched
    touched : int32[items], dense indices, of which `found` are valid
    marks : int64[1 + items], see `begin`
    """

    def __init__(self) -> None:
        self._restricted = False
        self._filled = 0
        self.found = 0
        self._allocate(0)

    def _allocate(self, items: int) -> None:
        self.sums = new_sums(items)
        self.touched = np.zeros(items, np.int32)
        self.marks = np.zeros(items + 1, np.int64)
        self._taken = np.zeros(items + 1, np.int64)
        self._allowed = np.zeros(items + 1, np.int64)

    def start(
        self,
        index_table: tuple[np.ndarray, np.ndarray],
        items: int,
        hidden: np.ndarray,
        restrict: np.ndarray | None,
        *,
        size: int,
    ) -> None:
        """Begin a slate.

        Parameters
        ----------
        index_table : of `models.replica.Replica`
        items : its capacity
        hidden : int64[n], hashes of items that are no candidates
        restrict : int64[n], hashes of the only items that are, None for no restriction
        size : candidates, at most
        """
        if len(self.touched) != items:
            self._allocate(items)
        self._restricted = restrict is not None
        _start(*index_table, hidden, self.marks, hidden[:0] if restrict is None else restrict, self._allowed)
        self._taken[0] += 1
        self.found = self._filled = 0
        self._chosen = np.empty(size, np.int32)
        self._origins = np.empty(size, np.uint16)

    def bar(self, later: np.ndarray, allowed: np.ndarray) -> None:
        """Let further items be no candidates, before any source has collected.

        Parameters
        ----------
        later : int32[n], dense indices of such items
        allowed : int32[m], those of them that may be candidates all the same, where they could be before
        """
        serial = self.marks[0]
        allowed = allowed[self.marks[1 + allowed] != -serial]
        before = self.marks[1 + allowed]
        self.marks[1 + later] = -serial
        self.marks[1 + allowed] = before

    def take_best(self, column: int, size: int, *, bit: int) -> None:
        """Choose the `size` best items by one column, of those that are not chosen yet and have a positive value there.

        `bit` is what `origins` says of them.
        """
        self._filled = _take_best(
            self.sums,
            column,
            self.touched,
            self.found,
            size,
            self._taken,
            self._restricted,
            self._allowed,
            bit,
            self._chosen,
            self._origins,
            self._filled,
        )

    def take_first(self, pool: np.ndarray, size: int, *, available: np.ndarray, bit: int, start: int = 0) -> None:
        """Choose the first `size` items of a pool, int32[n], from `start` on in a circle, that may be candidates and are not chosen yet."""
        self.found, self._filled = _take_first(
            pool,
            start,
            self.sums,
            self.touched,
            self.found,
            self.marks,
            available,
            self._taken,
            size,
            self._restricted,
            self._allowed,
            bit,
            self._chosen,
            self._origins,
            self._filled,
        )

    @property
    def wants_more(self) -> bool:
        """Whether there are places left, and any item may take them."""
        return self._filled < len(self._chosen) and not self._restricted

    @property
    def chosen(self) -> np.ndarray:
        """int32[n], the candidates in the order in which they were chosen."""
        return self._chosen[: self._filled]

    @property
    def origins(self) -> np.ndarray:
        """uint16[n], the bit of the source by which each was chosen."""
        return self._origins[: self._filled]
