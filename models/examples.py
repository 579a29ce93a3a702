"""Training examples: the frozen candidates of a slate, and which of them came next, if any.

Layout, version 2 (little endian): ``version u8 | width u8 | history u8 | candidates u16 | label u16 | matrix
f16[candidates, width] | items i64[candidates] | history i64[history]``. The matrix is what the scorer saw, items and
history are hashes, the latest of the history first. The same bytes without a label (``NO_LABEL``) are the pending
example in the user's state: the next event of that user turns them into an example. Its label stays ``NO_LABEL`` when the
event's item is not among the candidates. An example without a history is of a scorer that knows no items: their hashes stay behind.

Layout, version 1: ``version u8 | width u8 | candidates u16 | label u16 | matrix``, and in a pending example the items
behind it. It is still read, as one without a history.

Size of a pending example: 7 + (2 * width + 8) * candidates + 8 * history bytes; an example without a history has no items.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

VERSION = 2
NO_LABEL = 0xFFFF
_HEAD = struct.Struct("<BBBHH")
_HEAD_1 = struct.Struct("<BBHH")
NO_ITEMS = np.zeros(0, np.int64)
"""Hashes of no items."""


@dataclass(frozen=True, slots=True)
class Example:
    """One list of candidates with its answer.

    Parameters
    ----------
    features : float16[candidates, width], the frozen matrix as it was scored
    label : position of the item that came next, -1 where it was none of them
    items : int64[candidates], hashes of the candidates; none where the scorer knows no items
    history : int64[m], hashes of the user's items before, the latest first; none likewise
    """

    features: np.ndarray
    label: int
    items: np.ndarray
    history: np.ndarray


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the head of an example says, and where its matrix stands."""

    version: int
    width: int
    history: int
    candidates: int
    label: int
    matrix_at: int

    @classmethod
    def of(cls, raw: bytes) -> _Shape:
        if raw[0] == 1:
            version, width, candidates, label = _HEAD_1.unpack_from(raw)
            return cls(version, width, 0, candidates, label, _HEAD_1.size)
        if raw[0] == VERSION:
            version, width, history, candidates, label = _HEAD.unpack_from(raw)
            return cls(version, width, history, candidates, label, _HEAD.size)
        raise ValueError(f"example of version {raw[0]}, this release reads 1 and {VERSION}")

    @property
    def matrix_end(self) -> int:
        return self.matrix_at + 2 * self.candidates * self.width


def example_bytes(*, width: int, candidates: int, history: int) -> int:
    """Size of a labelled example."""
    known = 8 * (candidates + history) if history else 0
    return _HEAD.size + 2 * width * candidates + known


def encode_pending(matrix: np.ndarray, items: np.ndarray, history: np.ndarray = NO_ITEMS) -> bytes:
    """The candidates of a slate, waiting for what comes next.

    Parameters
    ----------
    matrix : float16[candidates, width]
    items : int64[candidates], hashes of the candidates
    history : int64[m], hashes of the user's latest items that the scorer read, the latest first; at most 255
    """
    n, width = matrix.shape
    head = _HEAD.pack(VERSION, width, len(history), n, NO_LABEL)
    return b"".join((head, matrix.tobytes(), items.tobytes(), history.tobytes()))


def label_pending(pending: bytes, item: int) -> bytes | None:
    """The example that the next event makes of the pending candidates; None when its item is not among them.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    shape = _Shape.of(pending)
    found = np.flatnonzero(np.frombuffer(pending, "<i8", shape.candidates, shape.matrix_end) == item)
    if len(found) == 0:
        return None
    return _labelled(pending, shape, int(found[0]))


def missed(pending: bytes) -> bytes:
    """The example that an event makes of pending candidates without its item.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    return _labelled(pending, _Shape.of(pending), NO_LABEL)


def _labelled(pending: bytes, shape: _Shape, label: int) -> bytes:
    if shape.version == 1:
        head = _HEAD_1.pack(1, shape.width, shape.candidates, label)
        return head + pending[shape.matrix_at : shape.matrix_end]
    head = _HEAD.pack(VERSION, shape.width, shape.history, shape.candidates, label)
    return head + pending[shape.matrix_at : None if shape.history else shape.matrix_end]


def decode_example(raw: bytes) -> Example:
    """The example in `raw`, its arrays read-only views.

    Raises
    ------
    ValueError
        When the bytes are of another version, or their label is none of the candidates.
    """
    shape = _Shape.of(raw)
    n = shape.candidates
    label = -1 if shape.label == NO_LABEL else shape.label
    if label >= n:
        raise ValueError(f"example of version {shape.version} with label {label} of {n} candidates")
    matrix = np.frombuffer(raw, "<f2", n * shape.width, shape.matrix_at).reshape(n, shape.width)
    if shape.history == 0:
        return Example(matrix, label, NO_ITEMS, NO_ITEMS)
    items = np.frombuffer(raw, "<i8", n, shape.matrix_end)
    history = np.frombuffer(raw, "<i8", shape.history, shape.matrix_end + 8 * n)
    return Example(matrix, label, items, history)
