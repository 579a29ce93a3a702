"""Item-item co-occurrence, learned one event at a time: the truth of the collaborative filter.

For an event on item ``i`` of a user whose earlier items are ``j_1`` (the latest), ``j_2``, ..., the row of ``i`` learns
who came before it::

    A[i, j_d] += weight * pair_decay ** (d - 1)          d <= pair_items

The symmetric count that recommendations use is ``C[j, x] = A[x, j] + reverse_weight * A[j, x]``: both directions live in
in-lists, so that an event changes one row of one shard, and a reader that holds all rows inverts them (`models.replica`).

Weights are fixed point (``SCALE`` to one), so that sums do not depend on the order of messages. A row is bounded: when it
is full, the neighbour with the lowest ``slow`` weight is replaced, and the newcomer starts at its own weight.

Layouts (little endian, version byte first)
-------------------------------------------
Pair message, one an event: ``version u8 | n u8 | item i64 | event_time_ms i64 | weight f32 | value f32 (NaN: none) |
sitting u64 (bit d-1: same sitting as j_d) | j i64[n] | item_id utf-8``.

Row, in state and as a `model-updates` record: the fields of `RowHeader` | ``item_id utf-8, item_id_bytes long`` |
``neighbour i64[n]`` | ``weights u32[n, len(COLUMNS)]``.

`model-deltas` record: deltas of rows of one shard, one behind the other. A delta: the fields of `RowHeader` with kind
``d`` (``neighbours`` is what the row has, not what follows) | ``base i64 | m u16`` | ``item_id`` | ``position u16[m]`` |
``neighbour i64[m]`` | ``weights u32[m, len(COLUMNS)]``. It makes the row of ``events`` events out of that of ``base``, or
of any between the two: only the neighbours at these positions are not the same. A base of 0 says that it is the whole row.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numba import njit

from models.config import ItemCF, Popularity
from models.layouts import require_version

SCALE = 4096
COLUMNS = ("slow", "fast", "sitting")
FAST_DECAY = 0.5
MAX_WEIGHT = 2**32 - 1
ROW_VERSION = 1
PAIR_VERSION = 1
_HOUR_MS = 3_600_000.0
_DAY_MS = 24 * _HOUR_MS

ROW_KIND = b"r"
DELTA_KIND = b"d"
ROW_PREFIX = "row:"
_HEADER = struct.Struct("<BcHIqqqddqqdqq")
_PAIR = struct.Struct("<BBqqffQ")
_CHANGE = struct.Struct("<qH")
_DELTAS_BYTES = 131_072


class RowHeader(NamedTuple):
    """What a row says of its item, in the order of its layout: ``u8 | char | u16 | u32 | i64[3] | f64[2] | i64[2] | f64 | i64[2]``."""

    version: int
    kind: bytes
    item_id_bytes: int
    neighbours: int
    item: int
    scaled_count: int
    events: int
    pop_fast: float
    pop_slow: float
    first_seen_ms: int
    last_seen_ms: int
    value_sum: float
    value_count: int
    landmark_ms: int

    @classmethod
    def decode(cls, raw: bytes, kind: bytes, at: int = 0, what: str = "row") -> RowHeader:
        """The header that stands at a place; ``what`` it is the header of, in the words of an error.

        Raises
        ------
        ValueError
            When it is of another version or kind.
        """
        header = cls._make(_HEADER.unpack_from(raw, at))
        if header.version != ROW_VERSION or header.kind != kind:
            raise ValueError(
                f"{what} of version {header.version} and kind {header.kind!r}, this release reads {ROW_VERSION} {kind!r}"
            )
        return header


ROW_HEADER_BYTES = _HEADER.size


class PairMessage(Struct, frozen=True):
    """One event as the co-occurrence table sees it.

    Parameters
    ----------
    item : 64-bit hash of the item
    item_id : its id
    event_time_ms : epoch milliseconds
    weight : of the event's type
    value : rating or other value of the event, NaN where there is none
    earlier : hashes of the user's earlier items, the latest first
    sitting : bit ``d`` says that ``earlier[d]`` belongs to the same sitting
    """

    item: int
    item_id: str
    event_time_ms: int
    weight: float
    value: float
    earlier: np.ndarray
    sitting: int


def encode_pair_message(message: PairMessage) -> bytes:
    """The bytes of a pair message (layout: module docstring)."""
    head = _PAIR.pack(
        PAIR_VERSION,
        len(message.earlier),
        message.item,
        message.event_time_ms,
        message.weight,
        message.value,
        message.sitting,
    )
    return b"".join((head, message.earlier.tobytes(), message.item_id.encode("utf-8", "surrogatepass")))


def decode_pair_message(raw: bytes) -> PairMessage:
    """The pair message in `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    require_version(raw, PAIR_VERSION, what="pair message")
    _, n, item, event_time_ms, weight, value, sitting = _PAIR.unpack_from(raw)
    end = _PAIR.size + 8 * n
    return PairMessage(
        item=item,
        item_id=raw[end:].decode("utf-8", "surrogatepass"),
        event_time_ms=event_time_ms,
        weight=weight,
        value=value,
        earlier=np.frombuffer(raw, "<i8", n, _PAIR.size),
        sitting=sitting,
    )


class Row:
    """What is known of one item: counts, decayed popularities, rating sums, and who came before it.

    Attributes
    ----------
    changed : bool[capacity], the neighbours that changed since the last delta
    base : events of the row at its last delta, 0 where that is not known
    """

    __slots__ = (
        "base",
        "changed",
        "count",
        "events",
        "first_seen_ms",
        "ids",
        "item",
        "item_id",
        "landmark_ms",
        "last_seen_ms",
        "n",
        "pop_fast",
        "pop_slow",
        "value_count",
        "value_sum",
        "weights",
    )

    def __init__(self, *, item: int, item_id: str, event_time_ms: int) -> None:
        self.item = item
        self.item_id = item_id
        self.count = 0
        self.events = 0
        self.pop_fast = 0.0
        self.pop_slow = 0.0
        self.first_seen_ms = event_time_ms
        self.last_seen_ms = event_time_ms
        self.landmark_ms = event_time_ms
        self.value_sum = 0.0
        self.value_count = 0
        self.n = 0
        self.ids = np.zeros(16, np.int64)
        self.weights = np.zeros((16, len(COLUMNS)), np.int64)
        self.changed = np.zeros(16, np.bool_)
        self.base = 0

    def neighbours(self) -> dict[int, tuple[int, ...]]:
        """The in-list as ``{neighbour hash: fixed-point weight of each column}``."""
        return {int(j): tuple(w) for j, w in zip(self.ids[: self.n], self.weights[: self.n].tolist(), strict=True)}


def encode_row(row: Row) -> bytes:
    """The bytes of a row (layout: module docstring); weights saturate at 2**32 - 1."""
    item_id = row.item_id.encode("utf-8", "surrogatepass")
    head = _header(row, ROW_KIND, len(item_id))
    return b"".join((head, item_id, row.ids[: row.n].tobytes(), row.weights[: row.n].astype("<u4").tobytes()))


def _header(row: Row, kind: bytes, item_id_bytes: int) -> bytes:
    return _HEADER.pack(
        ROW_VERSION,
        kind,
        item_id_bytes,
        row.n,
        row.item,
        row.count,
        row.events,
        row.pop_fast,
        row.pop_slow,
        row.first_seen_ms,
        row.last_seen_ms,
        row.value_sum,
        row.value_count,
        row.landmark_ms,
    )


def decode_row(raw: bytes) -> Row:
    """The row in `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version or kind.
    """
    header = RowHeader.decode(raw, ROW_KIND)
    start, n = ROW_HEADER_BYTES, header.neighbours
    item_id = raw[start : start + header.item_id_bytes].decode("utf-8", "surrogatepass")
    row = Row(item=header.item, item_id=item_id, event_time_ms=0)
    row.count, row.events = header.scaled_count, header.events
    row.pop_fast, row.pop_slow = header.pop_fast, header.pop_slow
    row.first_seen_ms, row.last_seen_ms = header.first_seen_ms, header.last_seen_ms
    row.value_sum, row.value_count = header.value_sum, header.value_count
    row.landmark_ms = header.landmark_ms
    row.n = n
    start += header.item_id_bytes
    capacity = max(16, n)
    row.ids = np.zeros(capacity, np.int64)
    row.weights = np.zeros((capacity, len(COLUMNS)), np.int64)
    row.changed = np.zeros(capacity, np.bool_)
    row.ids[:n] = np.frombuffer(raw, "<i8", n, start)
    row.weights[:n] = np.frombuffer(raw, "<u4", n * len(COLUMNS), start + 8 * n).reshape(n, len(COLUMNS))
    return row


class Delta(Struct, frozen=True):
    """What makes a newer row out of an older one.

    Attributes
    ----------
    header : of the newer row
    item_id : its id, utf-8
    base : events of the older row, 0 where there need be none
    positions : u16[m], the places in the in-list that changed
    neighbours : i64[m], who stands there now
    weights : u32[m, len(COLUMNS)], with which weights
    """

    header: RowHeader
    item_id: bytes
    base: int
    positions: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray


def take_delta(row: Row) -> bytes:
    """What changed in a row since the last call (layout: module docstring)."""
    item_id = row.item_id.encode("utf-8", "surrogatepass")
    changed = np.flatnonzero(row.changed[: row.n]) if row.base else np.arange(row.n)
    parts = (
        _header(row, DELTA_KIND, len(item_id)),
        _CHANGE.pack(row.base, len(changed)),
        item_id,
        changed.astype("<u2").tobytes(),
        row.ids[changed].tobytes(),
        row.weights[changed].astype("<u4").tobytes(),
    )
    row.base = row.events
    row.changed[:] = False
    return b"".join(parts)


def decode_deltas(record: bytes) -> Iterator[Delta]:
    """The deltas in a `model-deltas` record.

    Raises
    ------
    ValueError
        When the bytes are of another version or kind.
    """
    at = 0
    while at < len(record):
        header = RowHeader.decode(record, DELTA_KIND, at, "delta")
        at += ROW_HEADER_BYTES
        base, m = _CHANGE.unpack_from(record, at)
        at += _CHANGE.size
        ids_at = at + header.item_id_bytes
        item_id = record[at:ids_at]
        positions = np.frombuffer(record, "<u2", m, ids_at)
        neighbours_at = ids_at + positions.nbytes
        neighbours = np.frombuffer(record, "<i8", m, neighbours_at)
        weights_at = neighbours_at + neighbours.nbytes
        weights = np.frombuffer(record, "<u4", m * len(COLUMNS), weights_at).reshape(m, len(COLUMNS))
        at = weights_at + weights.nbytes
        yield Delta(header, item_id, base, positions, neighbours, weights)


@njit(cache=True)
def _add_pairs(ids, weights, changed, n, bound, item, earlier, step_weights, sitting):  # type: ignore[no-untyped-def]
    """Add one event's pairs to a row in place; returns the new number of neighbours."""
    # a message that is learned again after pair_items was lowered names more items than there are weights
    for d in range(min(earlier.shape[0], step_weights.shape[1])):
        j = earlier[d]
        if j == item:
            continue
        slot = -1
        for s in range(n):
            if ids[s] == j:
                slot = s
                break
        if slot < 0:
            if n < bound:
                slot = n
                n += 1
            else:
                slot = 0
                for s in range(1, n):
                    if weights[s, 0] < weights[slot, 0]:
                        slot = s
            ids[slot] = j
            weights[slot, :] = 0
        weights[slot, 0] += step_weights[0, d]
        weights[slot, 1] += step_weights[1, d]
        # a shift by 64 or more would read the bit of another item
        if d < 64 and (sitting >> np.uint64(d)) & np.uint64(1):
            weights[slot, 2] += step_weights[0, d]
        # as they are written: a row that was restored is the one that was not
        for c in range(3):
            weights[slot, c] = min(weights[slot, c], MAX_WEIGHT)
        changed[slot] = True
    return n


class CooccurrenceTable:
    """The rows of one shard.

    Parameters
    ----------
    item_cf, popularity : sections of the configuration

    Examples
    --------
    >>> from models.config import ItemCF, Popularity
from models.layouts import require_version
    >>> table = CooccurrenceTable(ItemCF(), Popularity())
    >>> table.learn_one(encode_pair_message(PairMessage(item=2, item_id="b", event_time_ms=0, weight=1.0,
    ...     value=float("nan"), earlier=np.array([1], np.int64), sitting=1)))
    >>> table.row(2).neighbours()
    {1: (4096, 4096, 4096)}
    """

    def __init__(self, item_cf: ItemCF, popularity: Popularity) -> None:
        self._bound = item_cf.neighbours
        self._half_life_ms = None if item_cf.half_life_days is None else item_cf.half_life_days * _DAY_MS
        self._fast_half_life_ms = popularity.fast_half_life_hours * _HOUR_MS
        self._slow_half_life_ms = popularity.slow_half_life_hours * _HOUR_MS
        steps = np.arange(item_cf.pair_items)
        self._steps = np.stack((item_cf.pair_decay**steps, FAST_DECAY**steps)) * SCALE
        self._step_weights = {1.0: np.rint(self._steps).astype(np.int64)}
        self._rows: dict[int, Row] = {}
        self._unsaved: dict[int, None] = {}
        self._unpublished: dict[int, None] = {}
        self._without_delta: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def row(self, item: int) -> Row:
        """The row of an item hash; KeyError where there is none."""
        return self._rows[item]

    def learn_one(self, message: bytes) -> None:
        """Learn one pair message."""
        pair = decode_pair_message(message)
        row = self._rows.get(pair.item)
        if row is None:
            row = Row(item=pair.item, item_id=pair.item_id, event_time_ms=pair.event_time_ms)
            self._rows[pair.item] = row
        self._age(row, pair.event_time_ms)
        self._count(row, pair)
        self._relate(row, pair)
        self._unsaved[pair.item] = None
        self._unpublished[pair.item] = None
        self._without_delta[pair.item] = None

    def _age(self, row: Row, event_time_ms: int) -> None:
        """Halve the row once for every half-life that has passed since its landmark."""
        if self._half_life_ms is None:
            return
        halvings = int((event_time_ms - row.landmark_ms) // self._half_life_ms)
        if halvings > 0:
            row.landmark_ms += int(halvings * self._half_life_ms)
            row.count >>= halvings
            row.weights[: row.n] >>= halvings
            row.changed[: row.n] = True

    def _count(self, row: Row, pair: PairMessage) -> None:
        row.events += 1
        row.count += round(pair.weight * SCALE)
        elapsed_ms = pair.event_time_ms - row.last_seen_ms
        row.pop_fast = _decayed_add(row.pop_fast, pair.weight, elapsed_ms / self._fast_half_life_ms)
        row.pop_slow = _decayed_add(row.pop_slow, pair.weight, elapsed_ms / self._slow_half_life_ms)
        row.first_seen_ms = min(row.first_seen_ms, pair.event_time_ms)
        row.last_seen_ms = max(row.last_seen_ms, pair.event_time_ms)
        if not math.isnan(pair.value):
            row.value_sum += pair.value
            row.value_count += 1

    def _relate(self, row: Row, pair: PairMessage) -> None:
        step_weights = self._step_weights.get(pair.weight)
        if step_weights is None:
            step_weights = np.rint(self._steps * pair.weight).astype(np.int64)
            self._step_weights[pair.weight] = step_weights
        self._reserve(row, row.n + len(pair.earlier))
        row.n = _add_pairs(
            row.ids,
            row.weights,
            row.changed,
            row.n,
            self._bound,
            row.item,
            pair.earlier,
            step_weights,
            np.uint64(pair.sitting),
        )

    def _reserve(self, row: Row, wanted: int) -> None:
        capacity = len(row.ids)
        if capacity >= min(wanted, self._bound):
            return
        grown = min(max(2 * capacity, wanted), max(self._bound, capacity))
        row.ids = np.concatenate((row.ids, np.zeros(grown - capacity, np.int64)))
        row.weights = np.concatenate((row.weights, np.zeros((grown - capacity, len(COLUMNS)), np.int64)))
        row.changed = np.concatenate((row.changed, np.zeros(grown - capacity, np.bool_)))

    def take_deltas(self) -> list[bytes]:
        """What changed since the last call, as `model-deltas` records of bounded length."""
        records: list[bytes] = []
        parts: list[bytes] = []
        size = 0
        for item in self._without_delta:
            delta = take_delta(self._rows[item])
            if parts and size + len(delta) > _DELTAS_BYTES:
                records.append(b"".join(parts))
                parts, size = [], 0
            parts.append(delta)
            size += len(delta)
        if parts:
            records.append(b"".join(parts))
        self._without_delta.clear()
        return records

    def take_updates(self) -> list[tuple[str, bytes]]:
        """The rows that changed since the last call, whole, as ``(key, bytes)`` records; they count as published."""
        records = [(_row_key(item), encode_row(self._rows[item])) for item in self._unpublished]
        self._unpublished.clear()
        return records

    def has_updates(self) -> bool:
        """Whether `take_updates` would return anything."""
        return bool(self._unpublished)

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows that changed since the last snapshot, as ``(key, bytes)``; they count as saved."""
        changes = [(_row_key(item), encode_row(self._rows[item])) for item in self._unsaved]
        self._unsaved.clear()
        return changes

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Fill an empty table from the rows of earlier snapshots; none of them counts as changed."""
        for _, raw in rows:
            row = decode_row(raw)
            self._rows[row.item] = row


def _row_key(item: int) -> str:
    return f"{ROW_PREFIX}{item & 0xFFFFFFFFFFFFFFFF:016x}"


def _decayed_add(value: float, weight: float, half_lives: float) -> float:
    """`value` aged by `half_lives` plus a fresh `weight`; a late event (negative age) ages itself instead."""
    if half_lives >= 0:
        return float(value * 0.5**half_lives + weight)
    return float(value + weight * 0.5**-half_lives)
