"""Training examples: the frozen candidates of a slate, and which of them came next, if any.

Layout, version 2 (little endian): ``version u8 | width u8 | history u8 | candidates u16 | label u16 | matrix
f16[candidates, width] | items i64[candidates] | history i64[history]``. The matrix is what the scorer saw, items and
history are hashes, the latest of the history first. The same bytes without a label (``NO_LABEL``) are the pending
example in the user's state: the next event of that user turns them into an example. Its label stays ``NO_LABEL`` when the
event's item is not among the candidates. An example without a history is of a scorer that knows no items: their hashes stay behind.

Layout, version 3, written where examples have weights (learner.debias): ``version u8 | width u8 | history u8 | candidates u16 | label u16 |
weight f32 | places u8`` and then as before; in a pending example, of weight 1, the propensities f32[places] of the slate's items at
their places stand at the end. An example has no places.

Layout, version 4, written where the probability is that of shown items (learner.probability_of): ``version u8 | width u8 | history u8 |
candidates u16 | label u16 | weight f32 | places u8 | shown u8``, then as version 3, and at the very end the rows of the slate's items
u16[shown], also in an example. Hashes of items stay in an example of this version whatever its scorer knows.

Layout, version 5, of a pending example of an arm with a ranker of its own (`models.rankers`): ``version u8 | learner i64`` and then one of
another version, which is what its learner is sent.

Layout, version 1: ``version u8 | width u8 | candidates u16 | label u16 | matrix``, and in a pending example the items
behind it. It is still read, as one without a history.

Size of a pending example: 7 + (2 * width + 8) * candidates + 8 * history bytes, with weights 5 + 4 * places more; an example without a
history has no items.
"""

from __future__ import annotations

import struct

import numpy as np
from msgspec import Struct

from models.hashes import first_place

VERSION = 2
WEIGHTED = 3
SHOWN = 4
OF_ARM = 5
NO_LABEL = 0xFFFF
_HEAD = struct.Struct("<BBBHH")
_HEAD_1 = struct.Struct("<BBHH")
_WEIGHT = struct.Struct("<fB")
_SHOWN = struct.Struct("<B")
_OF_ARM = struct.Struct("<Bq")
NO_ITEMS = np.zeros(0, np.int64)
"""Hashes of no items."""


class Example(Struct, frozen=True):
    """One list of candidates with its answer.

    Parameters
    ----------
    features : float16[candidates, width], the frozen matrix as it was scored
    label : position of the item that came next, -1 where it was none of them
    items : int64[candidates], hashes of the candidates; none where the scorer knows no items
    history : int64[m], hashes of the user's items before, the latest first; none likewise
    weight : of the example in the loss of the order; below 0 the labelled item is one that the user did not want
    shown : int64[m], positions of the candidates that were shown; None where their probability is that of all candidates
    """

    features: np.ndarray
    label: int
    items: np.ndarray
    history: np.ndarray
    weight: float = 1.0
    shown: np.ndarray | None = None


class _Shape(Struct, frozen=True):
    """What the head of an example says, and where its matrix stands."""

    version: int
    width: int
    history: int
    candidates: int
    label: int
    matrix_at: int
    weight: float = 1.0
    places: int = 0
    shown: int = 0

    @classmethod
    def of(cls, raw: bytes) -> _Shape:
        if raw[0] == 1:
            version, width, candidates, label = _HEAD_1.unpack_from(raw)
            return cls(version, width, 0, candidates, label, _HEAD_1.size)
        if raw[0] == VERSION:
            version, width, history, candidates, label = _HEAD.unpack_from(raw)
            return cls(version, width, history, candidates, label, _HEAD.size)
        if raw[0] == WEIGHTED:
            version, width, history, candidates, label = _HEAD.unpack_from(raw)
            weight, places = _WEIGHT.unpack_from(raw, _HEAD.size)
            return cls(version, width, history, candidates, label, _HEAD.size + _WEIGHT.size, weight, places)
        if raw[0] == SHOWN:
            version, width, history, candidates, label = _HEAD.unpack_from(raw)
            weight, places = _WEIGHT.unpack_from(raw, _HEAD.size)
            (shown,) = _SHOWN.unpack_from(raw, _HEAD.size + _WEIGHT.size)
            matrix_at = _HEAD.size + _WEIGHT.size + _SHOWN.size
            return cls(version, width, history, candidates, label, matrix_at, weight, places, shown)
        raise ValueError(f"example of version {raw[0]}, this release reads 1 to {SHOWN}")

    @property
    def matrix_end(self) -> int:
        return self.matrix_at + 2 * self.candidates * self.width


def example_bytes(*, width: int, candidates: int, history: int) -> int:
    """Size of a labelled example."""
    known = 8 * (candidates + history) if history else 0
    return _HEAD.size + 2 * width * candidates + known


def encode_pending(
    matrix: np.ndarray,
    items: np.ndarray,
    history: np.ndarray = NO_ITEMS,
    *,
    propensities: np.ndarray | None = None,
    shown: np.ndarray | None = None,
) -> bytes:
    """The candidates of a slate, waiting for what comes next.

    Parameters
    ----------
    matrix : float16[candidates, width]
    items : int64[candidates], hashes of the candidates
    history : int64[m], hashes of the user's latest items that the scorer read, the latest first; at most 255
    propensities : float32[places], of the items of the slate at their places, where the example is to have a weight; None otherwise
    shown : int64[m], rows of the slate's items, m <= 255, where the probability is to be theirs; None otherwise
    """
    n, width = matrix.shape
    frozen = (matrix.tobytes(), items.tobytes(), history.tobytes())
    if shown is not None:
        weighed = b"" if propensities is None else propensities.astype("<f4").tobytes()
        head = _HEAD.pack(SHOWN, width, len(history), n, NO_LABEL) + _WEIGHT.pack(1.0, len(weighed) // 4) + _SHOWN.pack(len(shown))
        return b"".join((head, *frozen, weighed, shown.astype("<u2").tobytes()))
    if propensities is None:
        return b"".join((_HEAD.pack(VERSION, width, len(history), n, NO_LABEL), *frozen))
    head = _HEAD.pack(WEIGHTED, width, len(history), n, NO_LABEL) + _WEIGHT.pack(1.0, len(propensities))
    return b"".join((head, *frozen, propensities.astype("<f4").tobytes()))


def of_arm(learner: int, pending: bytes) -> bytes:
    """A pending example for the learner of an arm, by the number of that (`models.rankers.Ranker.learner`)."""
    return _OF_ARM.pack(OF_ARM, learner) + pending


def learner_of(pending: bytes) -> tuple[int | None, bytes]:
    """Whose a pending example is, None for everybody's learner, and the pending example itself."""
    if pending[0] != OF_ARM:
        return None, pending
    return _OF_ARM.unpack_from(pending)[1], pending[_OF_ARM.size :]


def pending_propensities(pending: bytes) -> np.ndarray:
    """float32[places] of the slate's items; none where they were not written."""
    shape = _Shape.of(pending)
    return np.frombuffer(pending, "<f4", shape.places, len(pending) - 2 * shape.shown - 4 * shape.places)


def label_pending(pending: bytes, item: int, weight: float = 1.0) -> bytes | None:
    """The example that the next event makes of the pending candidates; None when its item is not among them.

    Parameters
    ----------
    weight : of the example, where the pending candidates were written for one; of others what was not wanted makes no example

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    shape = _Shape.of(pending)
    label = first_place(np.frombuffer(pending, "<i8", shape.candidates, shape.matrix_end), item)
    if weight < 0 and shape.version not in (WEIGHTED, SHOWN):
        return None
    return None if label < 0 else _labelled(pending, shape, label, weight)


def missed(pending: bytes) -> bytes:
    """The example that an event makes of pending candidates without its item.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    return _labelled(pending, _Shape.of(pending), NO_LABEL)


def _labelled(pending: bytes, shape: _Shape, label: int, weight: float = 1.0) -> bytes:
    if shape.version == 1:
        head = _HEAD_1.pack(1, shape.width, shape.candidates, label)
        return head + pending[shape.matrix_at : shape.matrix_end]
    head = _HEAD.pack(shape.version, shape.width, shape.history, shape.candidates, label)
    if shape.version == SHOWN:
        rows_at = len(pending) - 2 * shape.shown
        frozen = pending[shape.matrix_at : rows_at - 4 * shape.places]
        return head + _WEIGHT.pack(weight, 0) + _SHOWN.pack(shape.shown) + frozen + pending[rows_at:]
    if shape.version == WEIGHTED:
        head += _WEIGHT.pack(weight, 0)
    end = len(pending) - 4 * shape.places if shape.history else shape.matrix_end
    return head + pending[shape.matrix_at : end]


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
    if shape.version == SHOWN:
        items = np.frombuffer(raw, "<i8", n, shape.matrix_end)
        history = np.frombuffer(raw, "<i8", shape.history, shape.matrix_end + 8 * n)
        shown = np.frombuffer(raw, "<u2", shape.shown, len(raw) - 2 * shape.shown).astype(np.int64)
        return Example(matrix, label, items, history, shape.weight, shown)
    if shape.history == 0:
        return Example(matrix, label, NO_ITEMS, NO_ITEMS, shape.weight)
    items = np.frombuffer(raw, "<i8", n, shape.matrix_end)
    history = np.frombuffer(raw, "<i8", shape.history, shape.matrix_end + 8 * n)
    return Example(matrix, label, items, history, shape.weight)
