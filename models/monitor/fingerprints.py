"""Near-duplicates: texts that are the same but for some edits, found by their SimHash.

Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002: each feature of a text votes with the bits of its hash,
and the signs of the sums are the text's fingerprint. Two fingerprints differ in a share of bits that is the angle between the texts'
feature vectors divided by pi. Deviations: 256 bits instead of 64, as short texts have few features and a wide margin is wanted; features
are the words and pairs of neighbouring words of the text without its case, marks, links and addressees. All fingerprints of the time are
compared, which takes 15 us a thousand and misses none, as tables of parts of the bits would.

Payload of a row of the ring: ``fingerprint 32 bytes | event time i64``; its key is the hash of the text's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from models.monitor.rings import Ring

BITS = 256
FINGERPRINT_BYTES = BITS // 8
_TIME_BYTES = 8
_WORDS = FINGERPRINT_BYTES // 8
_NOISE = re.compile(r"https?://\S+|@\w+|\brt\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


def fingerprint(text: str) -> bytes:
    """The SimHash of a text, 32 bytes; all zeros where it has no word."""
    words = _WORD.findall(_NOISE.sub(" ", text).lower())
    features = {*words, *(f"{first} {second}" for first, second in pairwise(words))}
    if not features:
        return bytes(FINGERPRINT_BYTES)
    digests = b"".join(blake2b(feature.encode("utf-8", "replace"), digest_size=FINGERPRINT_BYTES).digest() for feature in features)
    bits = np.unpackbits(np.frombuffer(digests, np.uint8).reshape(-1, FINGERPRINT_BYTES), axis=1)
    return np.packbits(2 * bits.sum(axis=0, dtype=np.int64) > len(features)).tobytes()


class Fingerprints:
    """Remembers the fingerprints of the last texts, and tells which of them a new one repeats.

    Parameters
    ----------
    capacity : number of texts that are remembered
    max_bits : fingerprints that differ in at most so many bits are of near-duplicates
    within_ms : texts that lie further apart in event time are none
    """

    def __init__(self, capacity: int, *, max_bits: int, within_ms: int) -> None:
        self._ring = Ring(capacity, payload_bytes=FINGERPRINT_BYTES + _TIME_BYTES)
        self._max_bits, self._within_ms = max_bits, within_ms

    def original(self, given: bytes, event_time_ms: int) -> int | None:
        """Key of the nearest text that `given` repeats; None where it is new."""
        n = len(self._ring)
        if not n or not any(given):
            return None
        known = self._ring.payloads[:n].view(np.uint64)
        apart = np.bitwise_count(known[:, :_WORDS] ^ np.frombuffer(given, np.uint64)).sum(axis=1, dtype=np.int64)
        apart[np.abs(known[:, _WORDS].view(np.int64) - event_time_ms) > self._within_ms] = BITS + 1
        nearest = int(apart.argmin())
        return int(self._ring.keys[nearest]) if apart[nearest] <= self._max_bits else None

    def remember(self, key: int, given: bytes, event_time_ms: int) -> None:
        """Keep the fingerprint of a text that is new."""
        self._ring.put(key, given + event_time_ms.to_bytes(_TIME_BYTES, "little", signed=True))

    def take_rows(self) -> Iterator[tuple[str, bytes]]:
        """See `models.monitor.rings.Ring.take_rows`."""
        return self._ring.take_rows()

    def load(self, rows: Iterable[bytes]) -> None:
        """See `models.monitor.rings.Ring.load`."""
        self._ring.load(rows)
