"""The read-only copy of the model that every recommender holds in its own memory.

Rows of `models.cooccurrence` come in one at a time, in any order, any number of times; the last one of an item wins. The
replica gives every item a dense index, turns the in-lists into symmetric neighbour lists (``A[x, j]`` becomes an
``outward`` weight of j towards x), and keeps the item-side columns as arrays that the ranking kernels read.

Neighbour lists live in slabs of power-of-two capacity inside one pool, so that an item with five neighbours costs five
slots and not four hundred. Memory: about ``300 bytes * items + 28 bytes * slots + 4 bytes * neighbours of the rows``, where
the slots of an item are its neighbours rounded up to a power of two, at most `max_neighbours` (the weakest gives way).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from models.config import Configuration
from models.content import Content
from models.cooccurrence import COLUMNS, ROW_HEADER_BYTES, ROW_KIND, SCALE, Delta, RowHeader, decode_deltas
from models.episodes import Episodes
from models.identity import hash64
from models.labels import Labels
from models.offers import Offers
from models.panel import Panel
from models.pools import Pools, by_popularity, is_due, largest, make_pools
from models.text.vectors import ItemVectors, VectorRecord
from models.topics import CatalogueItem

WIDTH = len(COLUMNS)
SMALLEST_SLAB = 8
CATEGORY_BITS = 64
_NOBODY = np.zeros(0, np.int32)
_EVENTS = 1
_HOUR_MS = 3_600_000.0
_ALWAYS_MS, _NEVER_MS = -(2**63), 2**63 - 1


@njit(cache=True)
def lookup(keys, slots, key):  # type: ignore[no-untyped-def]
    """Dense index of a 64-bit hash, -1 where it is unknown (open addressing, linear probing)."""
    mask = np.uint64(len(keys) - 1)
    place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20) & mask
    while True:
        found = keys[place]
        if found == key:
            return slots[place]
        if found == 0:
            return -1
        place = (place + np.uint64(1)) & mask


@njit(cache=True)
def _insert(keys, slots, key, slot):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(keys) - 1)
    place = (np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20) & mask
    while keys[place] != 0 and keys[place] != key:
        place = (place + np.uint64(1)) & mask
    keys[place] = key
    slots[place] = slot


@njit(cache=True)
def _rehash(old_keys, old_slots, keys, slots):  # type: ignore[no-untyped-def]
    for i in range(len(old_keys)):
        if old_keys[i] != 0:
            _insert(keys, slots, old_keys[i], old_slots[i])


@njit(cache=True)
def lookup_all(keys, slots, hashes, out):  # type: ignore[no-untyped-def]
    """Dense indices of many hashes into `out`; returns how many are unknown."""
    unknown = 0
    for i in range(len(hashes)):
        out[i] = lookup(keys, slots, hashes[i])
        if out[i] < 0:
            unknown += 1
    return unknown


@njit(cache=True)
def _slab_class(capacity):  # type: ignore[no-untyped-def]
    size_class = 0
    while (SMALLEST_SLAB << size_class) < capacity:
        size_class += 1
    return size_class


@njit(cache=True)
def _release(free, offset, capacity):  # type: ignore[no-untyped-def]
    """Put a slab on the free list of its size: free[c, 0] counts the offsets that follow."""
    size_class = _slab_class(capacity)
    if free[size_class, 0] < free.shape[1] - 1:
        free[size_class, 0] += 1
        free[size_class, free[size_class, 0]] = offset


@njit(cache=True)
def _grow_slab(lists, free, pool_used, neighbour, weights, item):  # type: ignore[no-untyped-def]
    """Move an item's list into a slab of twice the capacity; False when the pool is exhausted."""
    offset, length, capacity = lists[item, 0], lists[item, 1], lists[item, 2]
    wanted = max(SMALLEST_SLAB, 2 * capacity)
    size_class = _slab_class(wanted)
    if free[size_class, 0] > 0:
        target = free[size_class, free[size_class, 0]]
        free[size_class, 0] -= 1
    else:
        target = pool_used[0]
        if target + wanted > len(neighbour):
            return False
        pool_used[0] += wanted
    for s in range(length):
        neighbour[target + s] = neighbour[offset + s]
        for c in range(weights.shape[1]):
            weights[target + s, c] = weights[offset + s, c]
    if capacity > 0:
        _release(free, offset, capacity)
    lists[item, 0] = target
    lists[item, 2] = wanted
    return True


@njit(cache=True)
def _set_weights(lists, free, pool_used, neighbour, weights, bound, item, other, start, values):  # type: ignore[no-untyped-def]
    """Write one direction of the pair (item, other) into the list of `item`; False when the pool is exhausted.

    `start` is where the direction's weights begin in those of a neighbour.
    """
    offset, length = lists[item, 0], lists[item, 1]
    slot = -1
    for s in range(offset, offset + length):
        if neighbour[s] == other:
            slot = s
            break
    width = values.shape[0]
    if slot < 0:
        if values[0] == 0:
            return True
        if length < bound:
            if length == lists[item, 2]:
                if not _grow_slab(lists, free, pool_used, neighbour, weights, item):
                    return False
                offset = lists[item, 0]
            slot = offset + length
            lists[item, 1] = length + 1
        else:
            slot = offset
            lowest = weights[slot, 0] + weights[slot, width]
            for s in range(offset + 1, offset + length):
                both = weights[s, 0] + weights[s, width]
                if both < lowest:
                    lowest = both
                    slot = s
            if lowest >= values[0]:
                return True
        neighbour[slot] = other
        for c in range(2 * width):
            weights[slot, c] = 0
    for c in range(width):
        weights[slot, start + c] = values[c]
    if weights[slot, 0] == 0 and weights[slot, width] == 0:
        last = offset + lists[item, 1] - 1
        neighbour[slot] = neighbour[last]
        for c in range(2 * width):
            weights[slot, c] = weights[last, c]
        lists[item, 1] -= 1
    return True


@njit(cache=True)
def _apply_in_list(  # type: ignore[no-untyped-def]
    lists, free, pool_used, neighbour, weights, bound, item, previous, others, fixed, scale, before, marks
):
    """Replace the in-list of `item`, and mirror what changed into the lists of the others.

    `previous` is its last in-list: where the symmetric list of `item` was cut, a pair may be in the other's list alone.
    `before` and `marks` are scratch (one slot an item): the index in the new list of each neighbour, and the serial of
    the call that wrote it. Returns False when the pool is exhausted: grow it and call again, nothing is lost.
    """
    width = fixed.shape[1]
    # these and the indices below are of one type, so that `_set_weights` is compiled once
    inward, outward = np.int64(0), width
    values = np.zeros(width, np.float32)
    marks[0] += 1
    serial = marks[0]
    for k in range(len(others)):
        marks[1 + others[k]] = serial
        before[others[k]] = k
    # what left the in-list
    for p in range(len(previous)):
        other = np.int64(previous[p])
        if marks[1 + other] != serial:
            _set_weights(lists, free, pool_used, neighbour, weights, bound, item, other, inward, values)
            _set_weights(lists, free, pool_used, neighbour, weights, bound, other, item, outward, values)
    # what is unchanged is marked done (before = -1): most of the list, for one event
    for s in range(lists[item, 0], lists[item, 0] + lists[item, 1]):
        other = np.int64(neighbour[s])
        if marks[1 + other] == serial:
            k = before[other]
            same = True
            for c in range(width):
                if weights[s, c] != np.float32(fixed[k, c] / scale):
                    same = False
            if same:
                before[other] = -1
    for k in range(len(others)):
        other = np.int64(others[k])
        if other == item or before[other] != k:
            continue
        for c in range(width):
            values[c] = np.float32(fixed[k, c] / scale)
        # the mirror first: when the pool runs out between the two, the next call finds the pair still changed
        if not _set_weights(lists, free, pool_used, neighbour, weights, bound, other, item, outward, values):
            return False
        if not _set_weights(lists, free, pool_used, neighbour, weights, bound, item, other, inward, values):
            return False
    return True


@njit(cache=True)
def _apply_changes(  # type: ignore[no-untyped-def]
    lists, free, pool_used, neighbour, weights, bound, item, previous, positions, others, fixed, scale
):
    """Mirror those neighbours of an in-list that are not the same any more.

    `positions` are their places in the in-list, `others` and `fixed` what stands there now. Returns False when the pool is
    exhausted: grow it and call again.
    """
    width = fixed.shape[1]
    inward, outward = np.int64(0), width
    values = np.zeros(width, np.float32)
    for k in range(len(positions)):
        if positions[k] < len(previous):
            other = np.int64(previous[positions[k]])
            if other != others[k]:
                _set_weights(lists, free, pool_used, neighbour, weights, bound, item, other, inward, values)
                _set_weights(lists, free, pool_used, neighbour, weights, bound, other, item, outward, values)
    for k in range(len(positions)):
        other = np.int64(others[k])
        if other == item:
            continue
        for c in range(width):
            values[c] = np.float32(fixed[k, c] / scale)
        if not _set_weights(lists, free, pool_used, neighbour, weights, bound, other, item, outward, values):
            return False
        if not _set_weights(lists, free, pool_used, neighbour, weights, bound, item, other, inward, values):
            return False
    return True


class Replica:
    """Dense, inverted copy of all published rows and of the catalogue.

    Parameters
    ----------
    configuration : the whole configuration

    Attributes
    ----------
    lists : int64[items, 3]
        Offset, length and capacity of each item's slab in the pool.
    neighbour : int32[slots]
        Dense index of the neighbour.
    weights : float32[slots, 2 * len(COLUMNS)]
        Inward weights ``A[item, neighbour]``, then outward weights ``A[neighbour, item]``.
    stats : float64[items, len(STATS)]
        The item-side columns named in `STATS`.
    categories : uint64[items]
        Bit set of hashed categories (0: unknown).
    year : float32[items]
        Year of the catalogue entry, NaN where there is none.
    available : bool[items]
        False for what was taken off the catalogue or is out of stock, for what is not there yet or not any more at the time that was
        looked at last, for what a rule excludes, and for what is only known as a neighbour so far.
    from_ms : int64[items]
        Event time from which the catalogue offers the item, a time before all others where it does not say.
    episodes : Episodes
        Series and their episodes.
    panel : Panel
        Users that others are compared with.
    content : Content
        What the catalogue says, for comparison.
    vectors : ItemVectors
        Of the items, where the learn path makes them (section ``text``); none otherwise.
    labels : Labels
        Categories, brand and campaign of each item by name, for the rules.
    offers : Offers
        Campaign, bid and price of each item.
    told : callable, or None
        How well items fit a user by their vectors, where that is learned: `models.scorers.text.TextFISM.told`.
    excludes : callable, or None
        Whether a rule excludes the item of a dense index; whoever sets it calls `reconsider`.
    impressions : int32[items]
        How often this replica's recommender showed the item since it was filled; it is in no checkpoint.
    known_items : int
        Number of items that may be shown: with an event or in the catalogue, and not withdrawn.
    """

    STATS = ("count", "events", "pop_fast", "pop_slow", "first_seen_ms", "last_seen_ms", "value_sum", "value_count")

    def __init__(self, configuration: Configuration) -> None:
        popularity = configuration.popularity
        self.max_neighbours = configuration.item_cf.served_neighbours
        self.fast_half_life_ms = popularity.fast_half_life_hours * _HOUR_MS
        self.slow_half_life_ms = popularity.slow_half_life_hours * _HOUR_MS
        self._pool_size = max(popularity.pool, configuration.scorer.candidates) + configuration.scorer.candidates
        self._new_items = configuration.new_items
        self.item_ids: list[str] = []
        self.titles: list[str | None] = []
        self.rows_applied = self.events_applied = 0
        self.known_items = 0
        self.panel = Panel(configuration.user_cf, configuration.profile.items, self._indices_for)
        self.content = Content()
        self.vectors = ItemVectors()
        self.told: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
        # the vectors come by themselves, with those of the texts
        self._given_vectors = not configuration.text.makes_vectors
        self.labels = Labels()
        self.offers = Offers()
        self.episodes = Episodes()
        self.excludes: Callable[[int], bool] | None = None
        # what is available is right for event times from the first of these and before the second
        self._looked_at_ms, self._right_from_ms, self._right_until_ms = 0, _ALWAYS_MS, _NEVER_MS
        self._timed: dict[int, None] = {}
        self._in_lists: dict[int, np.ndarray] = {}
        self._pools = Pools()
        self._pools_at = -1
        self._by_popularity: np.ndarray | None = None
        self._without_events: np.ndarray | None = None
        self._allocate_items(1024)
        self._allocate_pool(1 << 14)
        self._keys = np.zeros(4096, np.int64)
        self._slots = np.zeros(4096, np.int32)
        self._free = np.zeros((24, 65_536), np.int64)
        self._pool_used = np.zeros(1, np.int64)

    def _allocate_items(self, capacity: int) -> None:
        def grown(name: str, shape: tuple[int, ...], dtype: Any, fill: float = 0) -> None:
            array = np.full(shape, fill, dtype)
            old = getattr(self, name, None)
            if old is not None:
                array[: len(old)] = old
            setattr(self, name, array)

        self.capacity = capacity
        grown("hashes", (capacity,), np.int64)
        grown("lists", (capacity, 3), np.int64)
        grown("stats", (capacity, len(self.STATS)), np.float64)
        grown("categories", (capacity,), np.uint64)
        grown("available", (capacity,), np.bool_)
        grown("_offered", (capacity,), np.bool_)
        grown("year", (capacity,), np.float32, np.nan)
        grown("from_ms", (capacity,), np.int64, _ALWAYS_MS)
        grown("_until_ms", (capacity,), np.int64, _NEVER_MS)
        grown("_before", (capacity,), np.int32)
        grown("_marks", (capacity + 1,), np.int64)
        grown("impressions", (capacity,), np.int32)
        self.panel.grow_items(capacity)
        self.content.grow_items(capacity)
        self.labels.grow_items(capacity)
        self.offers.grow_items(capacity)

    hashes: np.ndarray
    lists: np.ndarray
    stats: np.ndarray
    categories: np.ndarray
    available: np.ndarray
    year: np.ndarray
    from_ms: np.ndarray
    impressions: np.ndarray
    neighbour: np.ndarray
    weights: np.ndarray
    _offered: np.ndarray
    _until_ms: np.ndarray
    _before: np.ndarray
    _marks: np.ndarray

    def _allocate_pool(self, slots: int) -> None:
        neighbour = np.zeros(slots, np.int32)
        weights = np.zeros((slots, 2 * WIDTH), np.float32)
        if hasattr(self, "neighbour"):
            neighbour[: len(self.neighbour)] = self.neighbour
            weights[: len(self.weights)] = self.weights
        self.neighbour, self.weights = neighbour, weights

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that grow with items and neighbours; ids, titles, content and labels come on top."""
        arrays = (
            *(self.hashes, self.lists, self.stats, self.categories, self.available, self.year, self.impressions),
            *(self.from_ms, self._until_ms),
            *(self.neighbour, self.weights, self._offered, self._before, self._marks, self._keys, self._slots),
            *(self.panel.heads, self.panel.item, self.panel.links, self.panel._before),
        )
        return sum(array.nbytes for array in arrays)

    @property
    def index_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and slots of the open-addressing table that `lookup` reads."""
        return self._keys, self._slots

    def index_of(self, item: int) -> int:
        """Dense index of an item hash, -1 where it is unknown."""
        return int(lookup(self._keys, self._slots, item))

    def indices_of(self, items: np.ndarray) -> np.ndarray:
        """Dense indices, int32[n], of those item hashes that are known."""
        indices = np.empty(len(items), np.int32)
        lookup_all(self._keys, self._slots, items, indices)
        return indices[indices >= 0]

    def _index_for(self, item: int) -> int:
        index = self.index_of(item)
        if index >= 0:
            return index
        index = len(self.item_ids)
        if index == self.capacity:
            self._allocate_items(2 * self.capacity)
        if 2 * index >= len(self._keys):
            keys, slots = np.zeros(2 * len(self._keys), np.int64), np.zeros(2 * len(self._keys), np.int32)
            _rehash(self._keys, self._slots, keys, slots)
            self._keys, self._slots = keys, slots
        _insert(self._keys, self._slots, item, index)
        self.hashes[index] = item
        self.item_ids.append("")
        self.titles.append(None)
        return index

    def _name(self, index: int, item_id: str, *, offered: bool = True) -> None:
        """An item is a candidate once its id is known: of the neighbours in a row only the hashes are."""
        self.item_ids[index] = item_id
        self._offer(index, offered=offered)

    def _offer(self, index: int, *, offered: bool) -> None:
        in_time = bool(self.from_ms[index] <= self._looked_at_ms < self._until_ms[index])
        available = offered and in_time and (self.excludes is None or not self.excludes(index))
        self.known_items += int(available) - int(self.available[index])
        self._offered[index], self.available[index] = offered, available

    def reconsider(self, excluded: np.ndarray) -> None:
        """Let the rules that exclude items be others.

        Parameters
        ----------
        excluded : bool[items], what `excludes` says of each
        """
        items = len(self)
        in_time = (self.from_ms[:items] <= self._looked_at_ms) & (self._looked_at_ms < self._until_ms[:items])
        np.logical_and(self._offered[:items] & in_time, ~excluded, out=self.available[:items])
        self.known_items = int(self.available[:items].sum())
        self._pools_at = -1

    def look_at(self, time_ms: int) -> None:
        """Let what is available be right for a slate of this event time; times may go back and forth."""
        if self._right_from_ms <= time_ms < self._right_until_ms:
            return
        timed = np.fromiter(self._timed, np.int32, len(self._timed))
        borders = np.concatenate((self.from_ms[timed], self._until_ms[timed]))
        self._right_from_ms = int(borders[borders <= time_ms].max(initial=_ALWAYS_MS))
        self._right_until_ms = int(borders[borders > time_ms].min(initial=_NEVER_MS))
        self._looked_at_ms = time_ms
        in_time = (self.from_ms[timed] <= time_ms) & (time_ms < self._until_ms[timed])
        changed = timed[(in_time & self._offered[timed]) != self.available[timed]]
        for index in changed.tolist():
            self._offer(index, offered=bool(self._offered[index]))
        if self.available[changed].any():
            self._pools_at = -1

    def _set_time(self, index: int, item: CatalogueItem) -> None:
        """When an item is there."""
        self.from_ms[index] = _ALWAYS_MS if item.available_from_ms is None else item.available_from_ms
        self._until_ms[index] = _NEVER_MS if item.available_until_ms is None else item.available_until_ms
        if item.available_from_ms is None and item.available_until_ms is None:
            self._timed.pop(index, None)
            return
        self._timed[index] = None
        # nothing but the time that was looked at is known to be right now
        self._right_from_ms, self._right_until_ms = self._looked_at_ms, self._looked_at_ms

    def apply_row(self, raw: bytes) -> None:
        """Apply one row record; applying it again changes nothing.

        Raises
        ------
        ValueError
            When the record is of another version or kind.
        """
        header, start = RowHeader.decode(raw, ROW_KIND, what="row record"), ROW_HEADER_BYTES
        ids_at = start + header.item_id_bytes
        n = header.neighbours
        index = self._index_for(header.item)
        neighbours = np.frombuffer(raw, "<i8", n, ids_at)
        fixed = np.frombuffer(raw, "<u4", n * WIDTH, ids_at + neighbours.nbytes).reshape(n, WIDTH)
        self._relate(index, self._indices_for(neighbours), fixed)
        self._describe(index, header, raw[start:ids_at])

    def apply_deltas(self, record: bytes) -> None:
        """Apply a record of deltas; one that does not lead on from the row that is held is passed over.

        It was applied before, or its row will come whole: a life of the learn path begins every row with a base of 0.

        Raises
        ------
        ValueError
            When the record is of another version or kind.
        """
        for delta in decode_deltas(record):
            index = self._index_for(delta.header.item)
            if delta.base == 0:
                self._relate(index, self._indices_for(delta.neighbours), delta.weights)
            elif delta.base <= self.stats[index, _EVENTS] < delta.header.events:
                self._change(index, delta.header.neighbours, delta)
            else:
                continue
            self._describe(index, delta.header, delta.item_id)

    def _describe(self, index: int, header: RowHeader, item_id: bytes) -> None:
        if not self.item_ids[index]:
            self._name(index, item_id.decode("utf-8", "surrogatepass"))
        _, _, _, _, _, count, *columns, _ = header
        self.events_applied += max(1, header.events - int(self.stats[index, _EVENTS]))
        self.stats[index] = (count / SCALE, *columns)
        self.rows_applied += 1

    def _indices_for(self, hashes: np.ndarray) -> np.ndarray:
        indices = np.empty(len(hashes), np.int32)
        if lookup_all(self._keys, self._slots, hashes, indices):
            for position in np.flatnonzero(indices < 0):
                indices[position] = self._index_for(int(hashes[position]))
        return indices

    def _change(self, index: int, neighbours: int, delta: Delta) -> None:
        """Let other neighbours stand at some positions of an item's in-list, which grows to `neighbours`."""
        previous = self._in_lists.get(index, _NOBODY)
        others = self._indices_for(delta.neighbours)
        self._mirror(_apply_changes, index, previous, delta.positions, others, delta.weights, float(SCALE))
        if neighbours > len(previous):
            # an item is no neighbour of its own: where a delta of another life leaves a gap, nobody stands
            previous = np.concatenate((previous, np.full(neighbours - len(previous), index, np.int32)))
            self._in_lists[index] = previous
        previous[delta.positions] = others

    def _relate(self, index: int, neighbours: np.ndarray, fixed: np.ndarray) -> None:
        previous = self._in_lists.get(index, _NOBODY)
        self._mirror(_apply_in_list, index, previous, neighbours, fixed, float(SCALE), self._before, self._marks)
        self._in_lists[index] = neighbours

    def _mirror(self, kernel: Callable[..., bool], index: int, previous: np.ndarray, *change: Any) -> None:
        """Let a kernel write into the lists of the pool, which grows until there is room."""
        while not kernel(
            self.lists,
            self._free,
            self._pool_used,
            self.neighbour,
            self.weights,
            self.max_neighbours,
            index,
            previous,
            *change,
        ):
            self._allocate_pool(2 * len(self.neighbour))

    def apply_catalogue_item(self, item_id: str, item: CatalogueItem) -> None:
        """Apply one catalogue entry: what is shown of an item, and what content sources and features read.

        Raises
        ------
        ValueError
            When its vector has another length than those of other items.
        """
        index = self._index_for(hash64(item_id))
        self.content.apply(
            index,
            categories=tuple(item.categories),
            tags=tuple(item.tags),
            brand=item.brand,
            price=item.price,
            vector=None if item.vector is None or not self._given_vectors else tuple(item.vector),
        )
        was_available = self.available[index]
        self.labels.put(index, item.categories, item.brand, item.campaign)
        self.offers.put(index, campaign=item.campaign, bid=item.bid, price=item.price)
        self.episodes.put(index, item.series, item.episode)
        self._set_time(index, item)
        self._name(index, item_id, offered=item.stock != 0)
        if self.available[index] != was_available:
            self._pools_at = -1
        self.titles[index] = item.title
        bits = 0
        for category in item.categories:
            bits |= 1 << (hash64(category) % CATEGORY_BITS)
        self.categories[index] = bits
        self.year[index] = np.nan if item.year is None else item.year

    def apply_vector(self, item: int, raw: bytes | None) -> None:
        """Apply one record of an item's vector (`models.text.vectors`), by the hash of its id; None takes it back.

        Raises
        ------
        ValueError
            When the record is of another version or kind.
        """
        if raw is None:
            self.vectors.forget(item)
            index = self.index_of(item)
            if index >= 0:
                self.content.displace(index)
            return
        record = VectorRecord.decode(raw)
        index = self._index_for(record.item)
        if len(record.values) != self.vectors.dimension:
            # of another encoder: those of the others will come again
            self.content.displace(slice(None))
        self.content.place(index, self.vectors.apply(record), record.values)

    def withdraw(self, item_id: str) -> None:
        """Take an item off the catalogue: it is no candidate any more; what was learned of it stays."""
        index = self._index_for(hash64(item_id))
        self._name(index, item_id)
        self._offer(index, offered=False)
        self.episodes.put(index, None, None)
        self._pools_at = -1

    def pools(self, *, at_once: bool = False) -> Pools:
        """Popular, trending and new items, made anew every few events; `at_once` after any."""
        if is_due(self.events_applied, self._pools_at, len(self)) or (at_once and self.events_applied > self._pools_at):
            items = len(self)
            stats = self.stats[:items]
            self._pools = make_pools(
                events=stats[:, 1],
                fast=stats[:, 2],
                slow=stats[:, 3],
                last_seen_ms=stats[:, 5],
                fast_half_life_ms=self.fast_half_life_ms,
                slow_half_life_ms=self.slow_half_life_ms,
                available=self.available[:items],
                categories=self.categories[:items],
                impressions=self.impressions[:items],
                size=self._pool_size,
                new_events=self._new_items.events,
                new_impressions=self._new_items.impressions,
                came_ms=self.from_ms[:items] if self._new_items.order == "latest" else None,
            )
            self._pools_at = self.events_applied
            self._by_popularity = self._without_events = None
        return self._pools

    def by_popularity(self) -> np.ndarray:
        """int32[n], all items with an event that may be shown, the most popular first: what `Pools.popular` is the beginning of.

        It is made when a slate asks for it, once for the same pools: few do.
        """
        self.pools()
        if self._by_popularity is None:
            stats = self.stats[: len(self)]
            self._by_popularity = by_popularity(
                events=stats[:, 1],
                slow=stats[:, 3],
                last_seen_ms=stats[:, 5],
                slow_half_life_ms=self.slow_half_life_ms,
                available=self.available[: len(self)],
                size=len(self),
            )
        return self._by_popularity

    def without_events(self) -> np.ndarray:
        """int32[n], items without an event that may be shown, those shown least first, as many as a pool has; made like `by_popularity`."""
        self.pools()
        if self._without_events is None:
            items = len(self)
            unknown = np.flatnonzero((self.stats[:items, 1] == 0) & self.available[:items])
            self._without_events = largest(unknown, -self.impressions[:items], self._pool_size)
        return self._without_events
