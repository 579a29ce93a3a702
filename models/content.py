"""What the catalogue says of items, in a form that can be compared: hashed labels, a signature of the vector, the price.

- **labels**: categories, tags, brand and price band, hashed into a set of `LABELS` bits.
- **signature**: 64 signs of projections of the item's vector onto random hyperplanes: two signatures differ in a share of
  angle / pi of their bits (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002).
- **buckets**: for each label, and for each byte of the signature at its place, the `BUCKET` items that came into the
  catalogue last: where the content source looks for candidates, so that its cost does not depend on the number of items.

Memory: ``60 bytes * items``, and 0.6 MB for the buckets.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from models.identity import hash64

LABELS = 256
SIGNATURE_BITS = 64
_WORDS = LABELS // 64
_BANDS = SIGNATURE_BITS // 8
BUCKET = 64
# A price band is a factor of 2.
_HYPERPLANE_SEED = 64
_DE_BRUIJN = np.uint64(0x03F7_9D71_B4CB_0A89)
_PLACES = np.zeros(64, np.int64)
for _place in range(64):
    _PLACES[(int(_DE_BRUIJN) << _place) % 2**64 >> 58] = _place


class Content:
    """The catalogue's labels, signatures and prices by dense index.

    Attributes
    ----------
    labels : uint64[items, LABELS / 64]
    signatures : uint64[items], 0 where there is no vector
    log_prices : float32[items], natural logarithm of 1 + price, NaN where there is none
    buckets : int32[LABELS + 8 * 256, BUCKET], dense indices
    bucket_sizes : int64[LABELS + 8 * 256], how many items ever came into each; the last BUCKET of them are there
    rows : int64[items], where their vectors stand in `models.text.vectors.ItemVectors`, -1 for none
    """

    def __init__(self) -> None:
        buckets = LABELS + _BANDS * 256
        self.buckets = np.zeros((buckets, BUCKET), np.int32)
        self.bucket_sizes = np.zeros(buckets, np.int64)
        self._hyperplanes = np.zeros((SIGNATURE_BITS, 0))
        self.grow_items(0)

    labels: np.ndarray
    signatures: np.ndarray
    log_prices: np.ndarray
    rows: np.ndarray
    _told: np.ndarray

    def grow_items(self, capacity: int) -> None:
        """Make room for this many items."""
        labels = np.zeros((capacity, _WORDS), np.uint64)
        signatures = np.zeros(capacity, np.uint64)
        log_prices = np.full(capacity, np.nan, np.float32)
        rows = np.full(capacity, -1, np.int64)
        told = np.zeros(capacity, np.bool_)
        if hasattr(self, "labels"):
            labels[: len(self.labels)] = self.labels
            signatures[: len(self.signatures)] = self.signatures
            log_prices[: len(self.log_prices)] = self.log_prices
            rows[: len(self.rows)] = self.rows
            told[: len(self._told)] = self._told
        self.labels, self.signatures, self.log_prices, self.rows, self._told = labels, signatures, log_prices, rows, told

    def apply(
        self,
        index: int,
        *,
        categories: tuple[str, ...],
        tags: tuple[str, ...],
        brand: str | None,
        price: float | None,
        vector: tuple[float, ...] | None,
    ) -> None:
        """Take over what one catalogue entry says.

        Raises
        ------
        ValueError
            When the vector has another length than the others before it.
        """
        signature = int(self.signatures[index]) if self.rows[index] >= 0 else 0
        if vector is not None:
            signature = self._signature(np.array(vector))
        names = [f"category:{name}" for name in categories] + [f"tag:{name}" for name in tags]
        if brand is not None:
            names.append(f"brand:{brand}")
        if price is not None:
            names.append(f"price:{math.floor(math.log2(1 + price))}")
        bits = {hash64(name) % LABELS for name in names}
        before = int.from_bytes(self.labels[index].tobytes(), "little")
        for bit in sorted(bits):
            if not before >> bit & 1:
                self._put(bit, index)
        self._sign(index, signature)
        self._told[index] = True
        self.labels[index] = np.frombuffer(sum(1 << bit for bit in bits).to_bytes(LABELS // 8, "little"), np.uint64)
        self.log_prices[index] = np.nan if price is None else math.log1p(price)

    def place(self, index: int, row: int, vector: np.ndarray) -> None:
        """Take over the vector of an item that stands in a row of `models.text.vectors.ItemVectors`, int8[dimension]."""
        if self._hyperplanes.shape[1] not in (0, len(vector)):
            self._hyperplanes = np.zeros((SIGNATURE_BITS, 0))
        self.rows[index] = row
        self._sign(index, self._signature(vector))

    def displace(self, index: int | slice) -> None:
        """Let an item, or many, have no vector."""
        self.rows[index] = -1
        self.signatures[index] = 0

    def signature_of(self, vector: np.ndarray) -> int:
        """Signature of any vector, 0 for one that is empty."""
        return self._signature(vector) if vector.any() else 0

    def _sign(self, index: int, signature: int) -> None:
        if signature != int(self.signatures[index]):
            for band in range(_BANDS if signature else 0):
                self._put(LABELS + 256 * band + (signature >> 8 * band & 0xFF), index)
            self.signatures[index] = signature

    def _put(self, bucket: int, index: int) -> None:
        # one that gets back what it had, as when it is on sale again, may stand there still
        if self._told[index] and index in self.buckets[bucket, : self.bucket_sizes[bucket]]:
            return
        self.buckets[bucket, self.bucket_sizes[bucket] % BUCKET] = index
        self.bucket_sizes[bucket] += 1

    def _signature(self, vector: np.ndarray) -> int:
        if self._hyperplanes.shape[1] == 0:
            self._hyperplanes = np.random.default_rng(_HYPERPLANE_SEED).normal(size=(SIGNATURE_BITS, len(vector)))
        if len(vector) != self._hyperplanes.shape[1]:
            raise ValueError(f"vector: expected {self._hyperplanes.shape[1]} numbers as in other items, got {len(vector)}")
        signs = self._hyperplanes @ vector > 0
        return int(np.packbits(signs, bitorder="little").view("<u8")[0]) or 1


@njit(cache=True)
def count_bits(x):  # type: ignore[no-untyped-def]
    """Number of bits that are set in a uint64."""
    count = 0
    while x != 0:
        x &= x - np.uint64(1)
        count += 1
    return count


@njit(cache=True)
def lowest_bit(x):  # type: ignore[no-untyped-def]
    """Place of the lowest bit that is set in a uint64 other than 0, by a de Bruijn sequence (Leiserson, Prokop and Randall, 1998)."""
    return _PLACES[((x & (~x + np.uint64(1))) * _DE_BRUIJN) >> np.uint64(58)]


@njit(cache=True)
def label_sum(x, labels, weights):  # type: ignore[no-untyped-def]
    """Sum of the weights of an item's labels, and how many it has."""
    total, bits = 0.0, 0
    for word in range(labels.shape[1]):
        left = labels[x, word]
        while left != 0:
            total += weights[64 * word + lowest_bit(left)]
            bits += 1
            left &= left - np.uint64(1)
    return total, bits


@njit(cache=True)
def add_labels(x, labels, step, out):  # type: ignore[no-untyped-def]
    """Add a step along the unit vector of an item's labels to float32[LABELS] or more."""
    bits = 0
    for word in range(labels.shape[1]):
        bits += count_bits(labels[x, word])
    if bits == 0:
        return
    share = step / np.sqrt(bits)
    for word in range(labels.shape[1]):
        left = labels[x, word]
        while left != 0:
            out[64 * word + lowest_bit(left)] += share
            left &= left - np.uint64(1)


@njit(cache=True)
def label_vector(profile, steps, labels, out):  # type: ignore[no-untyped-def]
    """Weighted sum of the unit label vectors of the user's items into float32[LABELS]; returns its norm."""
    out[:] = 0
    for d in range(len(profile)):
        add_labels(profile[d], labels, steps[d], out)
    return np.sqrt((out * out).sum())


@njit(cache=True)
def label_cosine(x, labels, vector, norm):  # type: ignore[no-untyped-def]
    """Cosine of an item's labels and the user's label vector, 0 where either is empty."""
    if norm == 0:
        return 0.0
    dot, bits = label_sum(x, labels, vector)
    return dot / norm / np.sqrt(bits) if bits > 0 else 0.0


@njit(cache=True)
def signature_cosine(a, b):  # type: ignore[no-untyped-def]
    """Estimated cosine of two vectors by their signatures, 0 where either has none."""
    if a == 0 or b == 0:
        return 0.0
    return np.cos(np.pi * count_bits(a ^ b) / SIGNATURE_BITS)
