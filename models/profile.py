"""What is kept of one user: the last items, the last slate, counters, and the ring of event ids that were seen.

Layout of the packed state, version 3 (little endian, version byte first)
-----------------------------------------------------------------------
``HEADER`` | ``items: ITEM_DTYPE[n_items]``, the latest last | ``event id hashes i64[n_dedup]``, a ring written at
``dedup_at`` | ``last slate: item hashes i64[n_slate]``, by position | ``their probabilities f32[n_probabilities]``,
n_probabilities = n_slate, or 0 where the scorer predicts none | ``taste f16``, what is left (`models.taste`).

Versions 1 and 2 are still read. Neither has a taste; version 1 has neither n_probabilities in its header nor probabilities.

Size bound: 69 + 25 * profile.items + 8 * profile.dedup_events + 12 * slate.k + 2 * WEIGHTS bytes (about 6 kB by default).

The hashes of all items a user ever touched are a state of their own (`SeenItems`), since most users have more of them
than the profile keeps: ``version u8 | i64[n]``, the oldest first, at most profile.seen_items; what is older than that
may be recommended again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from models.config import Profile as ProfileConfig
from models.hashes import first_place
from models.layouts import require_version
from models.taste import NO_TASTE

VERSION = 3
SEEN_VERSION = 1
ITEM_DTYPE = np.dtype([("item", "<i8"), ("time_ms", "<i8"), ("value", "<f4"), ("weight", "<f4"), ("sitting", "<u1")])
_ITEM = struct.Struct("<qqffB")
_HEADER = struct.Struct("<BBBHHHqqqqdqqI")
_HEADER_1 = struct.Struct("<BBHHHqqqqdqqI")
# Read-only like what was packed: a kernel is compiled for each kind of array that it meets.
_NO_ITEMS = np.frombuffer(b"", ITEM_DTYPE)
_NO_HASHES = np.frombuffer(b"", np.int64)


@njit(cache=True)
def sitting_length(items):  # type: ignore[no-untyped-def]
    """How many of the last items are of the latest sitting; items : ITEM_DTYPE[n], the latest last."""
    first = len(items)
    while first > 0 and items[first - 1].sitting == items[-1].sitting:
        first -= 1
    return len(items) - first


@dataclass(slots=True)
class UserState:
    """The keyed state of one user, unpacked.

    Attributes
    ----------
    items : ITEM_DTYPE[n]
        The last items with time, value (NaN: none), event-type weight and sitting serial (mod 256), the latest last.
    dedup : int64[m]
        Ring of hashes of the last event ids, written at `dedup_at` next.
    last_slate : int64[k]
        Hashes of the items of the user's latest slate, by position.
    last_probabilities : float32[k] or float32[0]
        Of these items, as predicted when they were shown; none where the scorer predicts none.
    taste : float16[WEIGHTS] or float16[0]
        What the user makes of labels and vectors; none before the first (`models.taste`).
    seq : int
        Number of slates made for this user.
    events : int
        Number of events learned.
    last_event_ms : int
        Largest event time so far, -1 where there was none.
    sitting_start_ms : int
        Event time at which the current sitting began.
    value_sum, value_count : float, int
        Of the values (ratings) this user gave.
    minute, minute_events : int
        Processing-time minute of the latest event and how many events came in it: the rate limit.
    """

    items: np.ndarray = field(default_factory=lambda: _NO_ITEMS)
    dedup: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    last_slate: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    last_probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    taste: np.ndarray = field(default_factory=lambda: NO_TASTE)
    dedup_at: int = 0
    seq: int = 0
    events: int = 0
    last_event_ms: int = -1
    sitting_start_ms: int = 0
    value_sum: float = 0.0
    value_count: int = 0
    minute: int = 0
    minute_events: int = 0

    @property
    def sitting(self) -> int:
        """Serial of the latest sitting (mod 256), 0 before the first."""
        return int(self.items["sitting"][-1]) if len(self.items) else 0

    @property
    def began_sitting(self) -> bool:
        """Whether the latest event began a sitting, so that the one before had ended."""
        return len(self.items) < 2 or bool(self.items["sitting"][-1] != self.items["sitting"][-2])

    def is_duplicate(self, event_hash: int) -> bool:
        """Whether an event with this id hash is among the last ones."""
        return first_place(self.dedup, event_hash) >= 0

    def remember_event(self, event_hash: int, *, capacity: int) -> None:
        """Write an event id hash into the ring."""
        if len(self.dedup) < capacity:
            self.dedup = _appended(self.dedup, event_hash)
            return
        self.dedup = self.dedup.copy()
        self.dedup[self.dedup_at] = event_hash
        self.dedup_at = (self.dedup_at + 1) % capacity

    def count_in_minute(self, now_ms: int) -> int:
        """Count one event in the processing-time minute of `now_ms`; returns how many this minute has."""
        minute = now_ms // 60_000
        self.minute_events = self.minute_events + 1 if minute == self.minute else 1
        self.minute = minute
        return self.minute_events

    def having(self, items: np.ndarray, *, time_ms: int) -> UserState:
        """The same user with these items in place of their own: int64[n] hashes, the latest last, all of one sitting at `time_ms`."""
        profile = np.zeros(len(items), ITEM_DTYPE)
        profile["item"], profile["time_ms"], profile["value"], profile["weight"] = items, time_ms, np.nan, 1.0
        profile.flags.writeable = False
        return replace(self, items=profile, last_event_ms=time_ms, sitting_start_ms=time_ms)

    def add_item(self, item: int, *, time_ms: int, value: float, weight: float, config: ProfileConfig) -> None:
        """Append one item as the latest; beyond `profile.items` the oldest leaves."""
        new_sitting = self.last_event_ms < 0 or time_ms - self.last_event_ms > config.sitting_gap_s * 1000
        sitting = self.sitting
        if new_sitting:
            sitting = (sitting + 1) % 256
            self.sitting_start_ms = time_ms
        kept = self.items[max(0, len(self.items) + 1 - config.items) :].tobytes()
        self.items = np.frombuffer(kept + _ITEM.pack(item, time_ms, value, weight, sitting), ITEM_DTYPE)
        self.events += 1
        self.last_event_ms = max(self.last_event_ms, time_ms)
        if value == value:
            self.value_sum += value
            self.value_count += 1


def encode_user_state(state: UserState) -> bytes:
    """The packed bytes of a user's state (layout: module docstring)."""
    head = _HEADER.pack(
        VERSION,
        len(state.last_slate),
        len(state.last_probabilities),
        len(state.items),
        len(state.dedup),
        state.dedup_at,
        state.seq,
        state.events,
        state.last_event_ms,
        state.sitting_start_ms,
        state.value_sum,
        state.value_count,
        state.minute,
        state.minute_events,
    )
    slate = state.last_slate.tobytes() + state.last_probabilities.tobytes()
    return b"".join((head, state.items.tobytes(), state.dedup.tobytes(), slate, state.taste.tobytes()))


def decode_user_state(raw: bytes) -> UserState:
    """The state in `raw`, of this version or an earlier one; its arrays are read-only views.

    Raises
    ------
    ValueError
        When the bytes are of a version that this release does not know.
    """
    require_version(raw, VERSION, what="user state", oldest=1)
    if raw[0] == 1:
        _, n_slate, n_items, n_dedup, *fields = _HEADER_1.unpack_from(raw)
        items_at, n_probabilities = _HEADER_1.size, 0
    else:
        _, n_slate, n_probabilities, n_items, n_dedup, *fields = _HEADER.unpack_from(raw)
        items_at = _HEADER.size
    dedup_bytes_at = items_at + n_items * ITEM_DTYPE.itemsize
    slate_at = dedup_bytes_at + 8 * n_dedup
    probabilities_at = slate_at + 8 * n_slate
    return UserState(
        np.frombuffer(raw, ITEM_DTYPE, n_items, items_at),
        np.frombuffer(raw, "<i8", n_dedup, dedup_bytes_at),
        np.frombuffer(raw, "<i8", n_slate, slate_at),
        np.frombuffer(raw, "<f4", n_probabilities, probabilities_at),
        np.frombuffer(raw, "<f2", -1, probabilities_at + 4 * n_probabilities),
        *fields,
    )


def liked(items: np.ndarray, *, dislikes: bool) -> np.ndarray:
    """The entries of a profile that are no dislikes.

    Parameters
    ----------
    items : ITEM_DTYPE[n]
    dislikes : whether the configuration knows events of negative weight; without any there is nothing to look for
    """
    return items[items["weight"] > 0] if dislikes else items


def _appended(hashes: np.ndarray, last: int) -> np.ndarray:
    """Longer by one, and read-only as all of them."""
    grown = np.empty(len(hashes) + 1, np.int64)
    grown[:-1] = hashes
    grown[-1] = last
    grown.flags.writeable = False
    return grown


class SeenItems:
    """Hashes of the items a user touched, bounded, the oldest forgotten first.

    Parameters
    ----------
    hashes : int64[n], the oldest first, without repeats

    Attributes
    ----------
    changed : an item was added since it was made
    """

    __slots__ = ("changed", "hashes")

    def __init__(self, hashes: np.ndarray | None = None) -> None:
        self.hashes = _NO_HASHES if hashes is None else hashes
        self.changed = False

    def add(self, item: int, *, capacity: int) -> None:
        """Remember an item."""
        if first_place(self.hashes, item) < 0:
            self.hashes = _appended(self.hashes[-(capacity - 1) :], item)
            self.changed = True

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        return bytes((SEEN_VERSION,)) + self.hashes.tobytes()

    @classmethod
    def decode(cls, raw: bytes | None) -> SeenItems:
        """The seen items in `raw`, none where there is no state yet.

        Raises
        ------
        ValueError
            When the bytes are of another version.
        """
        if raw is None:
            return cls()
        require_version(raw, SEEN_VERSION, what="seen items")
        return cls(np.frombuffer(raw, "<i8", -1, 1))
