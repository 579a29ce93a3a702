"""The last so many payloads by key: a bounded memory whose every change is one row of keyed state.

Layout of a row, version 1 (little endian): ``version u8 | number u64 | key i64 | payload``. Numbers rise from 0; the row of number n is
called
``n % capacity`` and takes the place of the one that is `capacity` older. A ring that is loaded with another capacity keeps the newest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

_VERSION = 1
_HEAD = struct.Struct("<BQq")
_GROWTH = 1_024


class Ring:
    """The last `capacity` payloads of `payload_bytes` each, found by key.

    Parameters
    ----------
    capacity : number of payloads that are kept
    payload_bytes : length of each

    Attributes
    ----------
    keys : int64[n], the keys by place
    payloads : uint8[n, payload_bytes]; n grows with what is in it, up to `capacity`

    Examples
    --------
    >>> ring = Ring(2, payload_bytes=1)
    >>> for key in (10, 11, 12):
    ...     ring.put(key, bytes((key,)))
    >>> ring.get(10), ring.get(12)
    (None, b'\\x0c')
    """

    def __init__(self, capacity: int, *, payload_bytes: int) -> None:
        self._capacity, self._payload_bytes = capacity, payload_bytes
        self._numbers = 0
        self.keys: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.payloads: npt.NDArray[np.uint8] = np.zeros((0, payload_bytes), np.uint8)
        self._places: dict[int, int] = {}
        self._changed: dict[int, bytes] = {}

    def __len__(self) -> int:
        return min(self._numbers, self._capacity)

    def put(self, key: int, payload: bytes) -> None:
        """Keep a payload under a key, in place of the oldest where the ring is full."""
        self._changed[self._numbers % self._capacity] = _HEAD.pack(_VERSION, self._numbers, key) + payload
        self._place(self._numbers, key, payload)
        self._numbers += 1

    def _place(self, number: int, key: int, payload: bytes) -> None:
        place = number % self._capacity
        if place >= len(self.keys):
            size = min(self._capacity, max(_GROWTH, 2 * len(self.keys), place + 1))
            self.keys = np.concatenate([self.keys, np.zeros(size - len(self.keys), np.int64)])
            more = np.zeros((size - len(self.payloads), self._payload_bytes), np.uint8)
            self.payloads = np.concatenate([self.payloads, more])
        if number >= self._capacity and self._places.get(int(self.keys[place])) == place:
            del self._places[int(self.keys[place])]
        self.keys[place] = key
        self.payloads[place] = np.frombuffer(payload, np.uint8)
        self._places[key] = place

    def __contains__(self, key: int) -> bool:
        return key in self._places

    def get(self, key: int) -> bytes | None:
        """The payload that was put last under a key, None where it has left."""
        place = self._places.get(key)
        return None if place is None else self.payloads[place].tobytes()

    def take_rows(self) -> Iterator[tuple[str, bytes]]:
        """The rows that changed since the last call, to be saved."""
        changed, self._changed = self._changed, {}
        return ((str(place), row) for place, row in changed.items())

    def load(self, rows: Iterable[bytes]) -> None:
        """Fill a new ring from saved rows.

        Raises
        ------
        ValueError
            When a row has a version or a length that this release does not know.
        """
        entries = []
        for row in rows:
            version, number, key = _HEAD.unpack_from(row)
            if version != _VERSION or len(row) != _HEAD.size + self._payload_bytes:
                raise ValueError(f"a row of a ring has version {version} and {len(row)} bytes; this release does not read it")
            entries.append((number, key, row[_HEAD.size :]))
        entries.sort()
        for number, key, payload in entries[-self._capacity :]:
            self._place(number, key, payload)
            self._numbers = number + 1
