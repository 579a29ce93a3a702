"""Vectors of items: what their text is, when it is encoded, the record that says what came of it, and the table that holds them.

An item's vector is that of its text by the configured encoder (with text.fields_apart the mean of those of its fields) and, behind it,
the one that came with it in the catalogue (of an image, of a sound), each of length 1 and zeros where there is none, and the whole of
length 1: the cosine of two items is the mean of what their texts and their own vectors say.

Record (little endian): ``kind u8 "V" | version u8 1 | dimension u16 | item i64 | digest i64 | scale f32 | values i8[dimension]``. A
number of the vector is its value times the scale: the largest is 127, so a cosine is off by less than 0.01. The digest is that of the
encoder's version, the text and the catalogue's vector: what it is the same for is not encoded again. Dimension 0: the item is gone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from models.config import Text as TextSettings
from models.identity import hash64
from models.text.encoder import TextEncoder
from models.topics import CatalogueItem

VECTOR_PREFIX = "vector:"
"""Of the keys in `model-updates`; behind it the item's id."""

VECTOR_KIND = ord("V")
_VERSION = 1
_HEAD = struct.Struct("<BBHqqf")
_LARGEST = 127
_NOWHERE = -1
_FIRST_ROWS = 1024


def vector_key(item_id: str) -> str:
    """Key of an item's vector in `model-updates`."""
    return VECTOR_PREFIX + item_id


@dataclass(frozen=True, slots=True)
class VectorRecord:
    """One item's vector.

    Attributes
    ----------
    item : hash of its id
    digest : of what it was made from
    scale : of the values
    values : int8[dimension]; none where the item is gone
    """

    item: int
    digest: int
    scale: float
    values: np.ndarray

    @classmethod
    def decode(cls, raw: bytes) -> VectorRecord:
        """Read a record.

        Raises
        ------
        ValueError
            When it is of another kind or version, or cut short.
        """
        kind, version, dimension, item, digest, scale = _HEAD.unpack_from(raw)
        if kind != VECTOR_KIND or version != _VERSION or len(raw) != _HEAD.size + dimension:
            raise ValueError(f"vector record of kind {kind}, version {version} and {len(raw)} bytes for {dimension} numbers")
        return cls(item, digest, scale, np.frombuffer(raw, np.int8, dimension, _HEAD.size))


def encode_vector(item: int, digest: int, vector: np.ndarray) -> bytes:
    """The record of an item's vector, float[dimension]."""
    largest = float(np.abs(vector).max(initial=0.0))
    scale = largest / _LARGEST
    values = np.zeros(len(vector), np.int8) if scale == 0.0 else np.rint(vector / scale).astype(np.int8)
    return _HEAD.pack(VECTOR_KIND, _VERSION, len(vector), item, digest, scale) + values.tobytes()


def gone(item: int) -> bytes:
    """What tells the learner that an item is gone."""
    return _HEAD.pack(VECTOR_KIND, _VERSION, 0, item, 0, 0.0)


def texts_of(item: CatalogueItem, settings: TextSettings) -> list[str]:
    """What is encoded of a catalogue entry: its text.fields that it has, as sentences of one text, or each by itself."""
    parts = []
    for field in settings.fields:
        value = getattr(item, field)
        said = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        if said.strip():
            parts.append(said.strip())
    return parts if settings.fields_apart or not parts else [". ".join(parts)]


class VectorMaker:
    """Makes the vectors of catalogue entries.

    Parameters
    ----------
    settings : section ``text``
    encoder : of texts; None where only the catalogue's own vectors are used

    Attributes
    ----------
    dimension : numbers of a vector
    """

    def __init__(self, settings: TextSettings, encoder: TextEncoder | None) -> None:
        self._settings, self._encoder = settings, encoder
        self._of_text = 0 if encoder is None else encoder.dimension
        self.dimension = self._of_text + settings.catalogue_dimension
        self._version = "none" if encoder is None else encoder.version

    def make(self, item_id: str, item: CatalogueItem, *, known: int = 0) -> tuple[int, bytes | None]:
        """Digest and record of an item's vector; no record where the digest is the one that is known.

        Raises
        ------
        ValueError
            When the catalogue's vector has not text.catalogue_dimension numbers.
        """
        own = np.array(item.vector or [], np.float32)
        wanted = self._settings.catalogue_dimension
        if wanted and len(own) not in (0, wanted):
            raise ValueError(f"vector: expected text.catalogue_dimension = {wanted} numbers, got {len(own)}")
        texts = [] if self._encoder is None else texts_of(item, self._settings)
        said = "\x1f".join((self._version, *(texts or [""]))).encode("utf-8", "surrogatepass") + (own.tobytes() if wanted else b"")
        digest = int.from_bytes(blake2b(said, digest_size=8).digest(), "little", signed=True) or 1
        if digest == known:
            return digest, None
        vector = np.zeros(self.dimension, np.float32)
        if self._encoder is not None and texts:
            vector[: self._of_text] = _unit(self._encoder.encode(texts).mean(0))
        if wanted and len(own):
            vector[self._of_text :] = _unit(own)
        return digest, encode_vector(hash64(item_id), digest, _unit(vector))


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


class ItemVectors:
    """The vectors of all items, for whoever compares or projects them.

    Memory: ``dimension + 12`` bytes an item, rounded up to a power of two of items, and about 100 for the dictionary.

    Attributes
    ----------
    dimension : numbers of a vector, 0 before the first
    values : int8[rows, dimension]
    scales : float32[rows]
    written : int64[rows], number of the change that wrote a row, from 1; it never falls
    """

    def __init__(self) -> None:
        self.dimension = 0
        self._rows: dict[int, int] = {}
        self._changes = 0
        self._resize(0)

    values: np.ndarray
    scales: np.ndarray
    written: np.ndarray

    def _resize(self, rows: int) -> None:
        values, scales, written = np.zeros((rows, self.dimension), np.int8), np.zeros(rows, np.float32), np.zeros(rows, np.int64)
        if hasattr(self, "values") and self.values.shape[1] == self.dimension:
            before = len(self.values)
            values[:before], scales[:before], written[:before] = self.values, self.scales, self.written
        self.values, self.scales, self.written = values, scales, written

    def __len__(self) -> int:
        return len(self._rows)

    def apply(self, record: VectorRecord) -> int:
        """Take a vector over; the row where it stands.

        A vector of another dimension than the others is of another encoder: theirs are forgotten, as they will come again.
        """
        if len(record.values) == 0:
            return self.forget(record.item)
        if len(record.values) != self.dimension:
            self.dimension = len(record.values)
            self._rows = {}
            self._resize(_FIRST_ROWS)
        row = self._rows.setdefault(record.item, len(self._rows))
        if row == len(self.scales):
            self._resize(2 * row)
        self._write(row, record.values, record.scale)
        return row

    def forget(self, item: int) -> int:
        """Let an item have no vector; its row stays."""
        row = self._rows.get(item, _NOWHERE)
        if row != _NOWHERE:
            self._write(row, 0, 0.0)
        return row

    def _write(self, row: int, values: np.ndarray | int, scale: float) -> None:
        self._changes += 1
        self.values[row], self.scales[row], self.written[row] = values, scale, self._changes

    def rows_of(self, items: np.ndarray) -> np.ndarray:
        """Where the vectors of some items stand, int64[n], -1 for none.

        Parameters
        ----------
        items : int64[n], hashes of their ids
        """
        rows = self._rows
        return np.array([rows.get(item, _NOWHERE) for item in items.tolist()], np.int64)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Vectors by row, float32[n, dimension]; zeros for -1."""
        if self.dimension == 0 or len(self.scales) == 0:
            return np.zeros((len(rows), self.dimension), np.float32)
        return self.values[rows].astype(np.float32) * np.where(rows < 0, np.float32(0.0), self.scales[rows])[:, None]

    def of(self, items: np.ndarray) -> np.ndarray:
        """Vectors of some items by the hashes of their ids, float32[n, dimension]."""
        return self.take(self.rows_of(items))
