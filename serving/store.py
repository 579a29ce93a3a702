"""The newest slate of each user, on disk.

A RocksDB with these entries, the first byte of the key says which:

    u USER_ID     version uint8 = 1, stored_at_ms int64, seq uint64, little endian; then the JSON of `recommendations` as it came
    e USER_ID     when the user asked to be erased (ms, decimal), and what the job says of it has not come yet
    o PARTITION   offset (decimal) of the next record to read of this partition
    m cluster     id of the Kafka cluster that the offsets are of
    m popular     the popular items, for a start without Kafka

Slates are written in one batch with the offsets behind them: a store that was killed goes on where it was, nothing twice and nothing
left out. A slate is given for `ttl_ms` after the broker had it; RocksDB drops it from the disk in a later compaction.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rocksdict import AccessType, Options, Rdict, WriteBatch

from models.topics import Recommendation

_HEADER = struct.Struct("<BqQ")
_VERSION = 1
_NO_SEQ = -1
# Kept in case the job never says so, which would refuse an erasure with an id that was used before: what the broker has much later
# is of a new life.
_ERASING_MS = 600_000
_CLUSTER = b"mcluster"
_POPULAR = b"mpopular"

decode_recommendation = msgspec.json.Decoder(Recommendation).decode


class StoreInUse(Exception):
    """Another process has this store open."""


@dataclass(frozen=True, slots=True)
class StoredSlate:
    """A slate of the store.

    Attributes
    ----------
    slate : as the job made it
    stored_at_ms : when the broker had it
    """

    slate: Recommendation
    stored_at_ms: int


@dataclass(frozen=True, slots=True)
class SlateRecord:
    """One record of `recommendations`, as far as the store looks at it.

    Attributes
    ----------
    user_id, seq : of the slate
    erased : it is no slate but says that the user was erased
    at_ms : when the broker had it
    raw : the record's value
    """

    user_id: str
    seq: int
    erased: bool
    at_ms: int
    raw: bytes


class SlateStore:
    """Slates by user.

    Parameters
    ----------
    directory : made when it is missing
    ttl_ms : how long a slate is given

    Raises
    ------
    StoreInUse
        When another process has it open.
    """

    def __init__(self, directory: Path, *, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        directory.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        try:
            # rounded up: the exact bound is kept by `get`
            self._db = Rdict(str(directory), options, access_type=AccessType.with_ttl(ttl_ms // 1000 + 1))
        except Exception as error:
            if "lock" in str(error).lower():
                raise StoreInUse(f"{directory} is in use by another process") from None
            raise
        # a batch is read, compared and written as one, whoever else deletes
        self._writing = threading.Lock()
        self._erasing = {bytes(key[1:]): int(self._db.get(key) or b"0") for key in self._keys(b"e")}

    def _keys(self, kind: bytes) -> Iterator[bytes]:
        for key in self._db.keys(from_key=kind):
            assert isinstance(key, bytes)
            if key[:1] != kind:
                return
            yield key

    def get(self, user_id: str, *, now_ms: int) -> StoredSlate | None:
        """The newest slate of a user; None where there is none, or only one that is too old or that is none to this release."""
        found = self._db.get(_user_key(user_id))
        if found is None:
            return None
        version, stored_at_ms, _ = _HEADER.unpack_from(found)
        if version != _VERSION:
            raise ValueError(f"a stored slate has version {version}, this release reads {_VERSION}")
        if now_ms - stored_at_ms > self._ttl_ms:
            return None
        try:
            return StoredSlate(decode_recommendation(memoryview(found)[_HEADER.size :]), stored_at_ms)
        except msgspec.ValidationError:
            return None

    def apply(self, records: Iterable[SlateRecord], offsets: Mapping[int, int]) -> None:
        """Take records of `recommendations` in their order, and remember how far they go.

        The highest seq of a user stays; of equal ones the later, which is the answer of a job that was restored. An erased user is
        forgotten, and begins anew whatever the next seq is.

        Parameters
        ----------
        offsets : of the next record, by partition
        """
        with self._writing:
            held: dict[bytes, int] = {}
            newest: dict[bytes, SlateRecord | None] = {}
            for record in records:
                user = record.user_id.encode("utf-8", "surrogatepass")
                if record.erased:
                    held[user], newest[user] = _NO_SEQ, None
                    self._erasing.pop(user, None)
                elif user not in self._erasing or record.at_ms > self._erasing[user] + _ERASING_MS:
                    if user not in held:
                        held[user] = self._held_seq(user, record.at_ms)
                    if record.seq >= held[user]:
                        held[user], newest[user] = record.seq, record
            batch = WriteBatch(raw_mode=True)
            for user, kept in newest.items():
                if kept is None:
                    batch.delete(b"u" + user)
                    batch.delete(b"e" + user)
                else:
                    batch.put(b"u" + user, _HEADER.pack(_VERSION, kept.at_ms, kept.seq) + kept.raw)
            for partition, offset in offsets.items():
                batch.put(b"o%d" % partition, b"%d" % offset)
            self._db.write(batch)

    def _held_seq(self, user: bytes, at_ms: int) -> int:
        found = self._db.get(b"u" + user)
        if found is None:
            return _NO_SEQ
        _, stored_at_ms, seq = _HEADER.unpack_from(found)
        return _NO_SEQ if at_ms - stored_at_ms > self._ttl_ms else int(seq)

    def erase(self, user_id: str, *, now_ms: int) -> None:
        """Forget a user now, and keep nothing of what the job had still made of them until it says that they are erased."""
        user = user_id.encode("utf-8", "surrogatepass")
        with self._writing:
            self._erasing[user] = now_ms
            batch = WriteBatch(raw_mode=True)
            batch.delete(b"u" + user)
            batch.put(b"e" + user, b"%d" % now_ms)
            self._db.write(batch)

    def offsets(self) -> dict[int, int]:
        """Offset of the next record to read, by partition."""
        return {int(key[1:]): int(self._db.get(key) or b"0") for key in self._keys(b"o")}

    def belong_to(self, cluster: str) -> None:
        """Begin anew where the offsets are of another Kafka cluster."""
        before = self._db.get(_CLUSTER)
        if before is not None and before != cluster.encode():
            with self._writing:
                for key in list(self._db.keys()):
                    self._db.delete(key)
                self._erasing.clear()
        self._db.put(_CLUSTER, cluster.encode())

    @property
    def popular(self) -> bytes | None:
        """The popular items as they were kept last."""
        found = self._db.get(_POPULAR)
        return None if found is None else bytes(found)

    @popular.setter
    def popular(self, value: bytes) -> None:
        self._db.put(_POPULAR, value)

    def close(self) -> None:
        """Write what is in memory, and let others open it."""
        self._db.close()


def _user_key(user_id: str) -> bytes:
    return b"u" + user_id.encode("utf-8", "surrogatepass")
