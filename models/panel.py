"""The panel: a bounded sample of users whose profiles every replica holds, so that users can be compared.

Comparing a user with all others does not scale. The panel is the `user_cf.panel_size` users with the smallest id hashes: a uniform
sample on which all replicas agree without talking, since a fuller panel only ever lowers the threshold under which a user
belongs to it. With fewer users than that, the panel is everybody.

A member's profile is published to `model-updates` by RECOMMEND, every few events of that user (key ``panel:HASH``); an empty record
or a tombstone there makes every replica forget the user, who was erased.

Layout of a record (little endian): ``version u8 | kind u8 'p' | n u16 | user i64 | item i64[n] | weight f32[n] |
value f32[n] (NaN: none)``, the latest item last, no item twice.

In memory a member owns `profile_items` entries (item, rating), rounded up to a power of two. The entries of an item form a doubly
linked list, the most recently active member first, as in VMIS-kNN (Kersbergen, Sprangers and Schelter, "Serenade", SIGMOD 2022).
Memory: ``panel_size * 2**ceil(log2(profile_items)) * 16 bytes + 4 bytes * items``.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

from models.config import UserCF

PANEL_PREFIX = "panel:"
RECORD_VERSION = 1
RECORD_KIND = ord("p")
_HEAD = struct.Struct("<BBHq")
LINK_DTYPE = np.dtype([("following", np.int32), ("rating", np.float32)])
_FIRST_MEMBERS = 64
_NONE = -1


def panel_key(user: int) -> str:
    """Key of a member's record in `model-updates`."""
    return f"{PANEL_PREFIX}{user & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def user_of_key(key: str) -> int:
    """The hash of the user that a `panel_key` names."""
    return int.from_bytes(bytes.fromhex(key.removeprefix(PANEL_PREFIX)), signed=True)


def encode_member(user: int, items: np.ndarray) -> bytes:
    """The record of a member.

    Parameters
    ----------
    user : hash of its id
    items : `models.profile.ITEM_DTYPE`[n], the latest last; of a repeated item the latest entry counts
    """
    latest = {item: place for place, item in enumerate(items["item"].tolist())}
    kept = items[sorted(latest.values())]
    return b"".join(
        (
            _HEAD.pack(RECORD_VERSION, RECORD_KIND, len(kept), user),
            np.ascontiguousarray(kept["item"]).tobytes(),
            np.ascontiguousarray(kept["weight"]).tobytes(),
            np.ascontiguousarray(kept["value"]).tobytes(),
        )
    )


def decode_member(raw: bytes) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """User hash, item hashes, weights and values of a member.

    Raises
    ------
    ValueError
        When the record is of another version or kind.
    """
    version, kind, n, user = _HEAD.unpack_from(raw)
    if version != RECORD_VERSION or kind != RECORD_KIND:
        raise ValueError(f"panel record of version {version} and kind {kind}, this release reads {RECORD_VERSION}")
    at = _HEAD.size
    items = np.frombuffer(raw, "<i8", n, at)
    weights = np.frombuffer(raw, "<f4", n, at + 8 * n)
    return user, items, weights, np.frombuffer(raw, "<f4", n, at + 12 * n)


@njit(cache=True)
def _unlink(member, bits, lengths, item, links, before, heads):  # type: ignore[no-untyped-def]
    for e in range(member << bits, (member << bits) + lengths[member]):
        if before[e] >= 0:
            links[before[e]].following = links[e].following
        else:
            heads[item[e]] = links[e].following
        if links[e].following >= 0:
            before[links[e].following] = before[e]
    lengths[member] = 0


@njit(cache=True)
def _link(member, bits, lengths, item, links, before, heads, indices, ratings):  # type: ignore[no-untyped-def]
    lengths[member] = len(indices)
    for p in range(len(indices)):
        e = (member << bits) + p
        x = indices[p]
        item[e], before[e] = x, -1
        links[e].following, links[e].rating = heads[x], ratings[p]
        if heads[x] >= 0:
            before[heads[x]] = e
        heads[x] = e


class Panel:
    """The members' profiles, and for each item the members that have it.

    Parameters
    ----------
    config : section of the configuration
    profile_items : items of a member, at most
    index_for : dense indices, int32[n], for item hashes, int64[n]

    Attributes
    ----------
    bits : of the place of an entry among its member's
    heads : int32[items], first entry of an item, -1 where nobody has it
    item : int32[entries]; entry ``e`` belongs to member ``e >> bits``
    links : LINK_DTYPE[entries], the rating of an entry, and the next entry of its item, -1 for none: both in one line of memory
    lengths : int32[members], entries of a member
    norms, means : float32[members], Euclidean norm and mean of a member's ratings
    """

    def __init__(self, config: UserCF, profile_items: int, index_for: Callable[[np.ndarray], np.ndarray]) -> None:
        self._config = config
        self._profile_items = profile_items
        self.bits = (profile_items - 1).bit_length()
        self._index_for = index_for
        self._members: dict[int, int] = {}
        self._vacant: list[int] = []
        self._by_hash: list[int] = []  # a heap of negated hashes: the member to go is the largest
        self.heads = np.full(0, _NONE, np.int32)
        self._allocate(min(_FIRST_MEMBERS, config.panel_size))

    def _allocate(self, members: int) -> None:
        def grown(name: str, size: int, dtype: DTypeLike) -> None:
            array: np.ndarray = np.zeros(size, dtype)
            old = getattr(self, name, None)
            if old is not None:
                array[: len(old)] = old
            setattr(self, name, array)

        self._capacity = members
        grown("links", members << self.bits, LINK_DTYPE)
        for name in ("item", "_before"):
            grown(name, members << self.bits, np.int32)
        for name, dtype in (("lengths", np.int32), ("norms", np.float32), ("means", np.float32)):
            grown(name, members, dtype)

    item: np.ndarray
    links: np.ndarray
    _before: np.ndarray
    lengths: np.ndarray
    norms: np.ndarray
    means: np.ndarray

    def __len__(self) -> int:
        return len(self._members)

    @property
    def share(self) -> float:
        """The share of all users who belong to the panel as it is now, 0 to 1: everybody, until it is full."""
        size = self._config.panel_size
        if len(self._members) < size:
            return 1.0
        return (-self._by_hash[0] + 2**63) / 2**64 if size else 0.0

    def grow_items(self, capacity: int) -> None:
        """Make room for this many items."""
        if len(self.heads) < capacity:
            heads = np.full(capacity, _NONE, np.int32)
            heads[: len(self.heads)] = self.heads
            self.heads = heads

    def wants(self, user: int) -> bool:
        """Whether this user belongs to the panel as it is now."""
        size = self._config.panel_size
        return size > 0 and (len(self._members) < size or user <= -self._by_hash[0])

    def member(self, user: int) -> int:
        """Number of this user among the members, -1 where it is none."""
        return self._members.get(user, _NONE)

    def apply(self, raw: bytes) -> None:
        """Apply one record; the last one of a user wins, one of a user that does not belong changes nothing.

        Raises
        ------
        ValueError
            When the record is of another version or kind.
        """
        user, items, weights, values = decode_member(raw)
        if not self.wants(user):
            return
        items, weights, values = (array[-self._profile_items :] for array in (items, weights, values))
        slot = self._slot_for(user)
        ratings = np.where(np.isnan(values), weights, values) if self._config.similarity == "pearson" else weights
        indices = self._index_for(items)  # may grow the heads
        _unlink(slot, self.bits, self.lengths, self.item, self.links, self._before, self.heads)
        _link(slot, self.bits, self.lengths, self.item, self.links, self._before, self.heads, indices, ratings)
        self.norms[slot] = np.sqrt(np.square(ratings).sum())
        self.means[slot] = ratings.mean() if len(ratings) else 0.0

    def forget(self, user: int) -> None:
        """Let a user be no member; of one that is none, nothing changes."""
        slot = self._members.pop(user, None)
        if slot is None:
            return
        _unlink(slot, self.bits, self.lengths, self.item, self.links, self._before, self.heads)
        self._vacant.append(slot)
        self._by_hash.remove(-user)
        heapq.heapify(self._by_hash)

    def _slot_for(self, user: int) -> int:
        slot = self._members.get(user)
        if slot is not None:
            return slot
        if len(self._members) == self._config.panel_size:
            slot = self._members.pop(-heapq.heapreplace(self._by_hash, -user))
        else:
            heapq.heappush(self._by_hash, -user)
            slot = self._vacant.pop() if self._vacant else len(self._members)
            if slot == self._capacity:
                self._allocate(min(2 * slot, self._config.panel_size))
        self._members[user] = slot
        return slot
