"""Heads over the encoder: which of some classes a text is of, by multinomial logistic regression that learns one label at a time.

    p(c | x) = softmax(W x + b)_c

of the unit vector x of a text. Before the first label W holds what the configuration says of each class in words: the mean vector of its
phrases, less the mean of all classes', times `_SHARPNESS`. Each label is one step of AdaGrad (Duchi, Hazan and Singer, JMLR 12, 2011)
on the cross-entropy with weight decay towards the first weights, so that few labels do not undo what the words said; then so many
steps on earlier labels, drawn by `models.identity.uniform` from the ones that are kept, as a label is dear and a step is not.

Layout of the row ``head``, version 1 (little endian): ``version u8 | classes u16 | dimension u16 | labels u64 | weights f32[classes,
dimension + 1] | squared gradients f32[classes, dimension + 1]``. The kept labels are rows of a `models.monitor.rings.Ring`: ``class u16 |
vector f16[dimension]``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from models.identity import uniform
from models.monitor.rings import Ring

Floats = npt.NDArray[np.float32]

_VERSION = 1
_HEAD = struct.Struct("<BHHQ")
_CLASS = struct.Struct("<H")
_SHARPNESS = 8.0
_SEED = 7
HEAD_ROW = "head"
_KEPT_PREFIX = "kept:"


class Head:
    """One choice among classes.

    Parameters
    ----------
    prototypes : float32[classes, dimension], mean of the unit vectors of the phrases that describe each class; zeros where there is none
    learning_rate : of AdaGrad
    decay : how far each step goes back towards the first weights
    replays : steps on kept labels after each new one
    kept_labels : that are kept for them

    Attributes
    ----------
    labels : learned so far
    """

    def __init__(
        self, prototypes: Floats, *, learning_rate: float, decay: float, replays: int, kept_labels: int
    ) -> None:
        classes, self._dimension = prototypes.shape
        centred = _SHARPNESS * (prototypes - prototypes.mean(axis=0))
        self._first = np.concatenate([centred, np.zeros((classes, 1), np.float32)], axis=1).astype(np.float32)
        self._weights = self._first.copy()
        self._squares = np.full_like(self._first, 1e-6)
        self._rate, self._decay, self._replays = learning_rate, decay, replays
        self._kept = Ring(kept_labels, payload_bytes=_CLASS.size + 2 * self._dimension)
        self.labels = 0

    def predict(self, vectors: Floats) -> Floats:
        """Probabilities float32[n, classes] of unit vectors float32[n, dimension]."""
        return _softmax(vectors @ self._weights[:, :-1].T + self._weights[:, -1])

    def learn_one(self, vector: Floats, wanted: int) -> None:
        """Learn that the text of a unit vector float32[dimension] is of class `wanted`."""
        self._step(vector, wanted)
        for draw in range(self._replays if len(self._kept) else 0):
            place = int(uniform(self.labels, _SEED, draw) * len(self._kept))
            payload = self._kept.payloads[place]
            self._step(payload[_CLASS.size :].view(np.float16).astype(np.float32), int(payload[0]) | int(payload[1]) << 8)
        self._kept.put(self.labels, _CLASS.pack(wanted) + vector.astype(np.float16).tobytes())
        self.labels += 1

    def _step(self, vector: Floats, wanted: int) -> None:
        errors = self.predict(vector[None])[0]
        errors[wanted] -= 1
        gradient = np.outer(errors, np.append(vector, np.float32(1))) + self._decay * (self._weights - self._first)
        self._squares += gradient * gradient
        self._weights -= self._rate * gradient / np.sqrt(self._squares)

    def take_snapshot(self) -> Iterator[tuple[str, bytes]]:
        """The rows that changed since the last call."""
        rows = list(self._kept.take_rows())
        if rows:
            head = _HEAD.pack(_VERSION, len(self._weights), self._dimension, self.labels)
            yield HEAD_ROW, head + self._weights.tobytes() + self._squares.tobytes()
        yield from ((_KEPT_PREFIX + name, row) for name, row in rows)

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Fill a new head from saved rows.

        Raises
        ------
        ValueError
            When they are of another version, or of another number of classes or length of vectors.
        """
        saved = dict(rows)
        if not saved:
            return
        raw = saved.pop(HEAD_ROW)
        version, classes, dimension, self.labels = _HEAD.unpack_from(raw)
        if (version, classes, dimension) != (_VERSION, len(self._weights), self._dimension):
            raise ValueError(
                f"the state has a head of {classes} classes over {dimension} numbers (layout {version}), the configuration wants "
                f"{len(self._weights)} over {self._dimension} (layout {_VERSION}): start with those, or without the state"
            )
        shape = self._weights.shape
        numbers = np.frombuffer(raw, np.float32, offset=_HEAD.size).reshape(2, *shape)
        self._weights, self._squares = numbers[0].copy(), numbers[1].copy()
        self._kept.load(saved.values())


def prototypes(phrases: Sequence[Floats], dimension: int) -> Floats:
    """Mean vector of each class's phrases, float32[classes, dimension], of unit length; zeros where it has none."""
    means = np.zeros((len(phrases), dimension), np.float32)
    for mean, vectors in zip(means, phrases, strict=True):
        if len(vectors):
            mean[:] = vectors.mean(axis=0) / max(float(np.linalg.norm(vectors.mean(axis=0))), 1e-12)
    return means


def _softmax(logits: Floats) -> Floats:
    powers: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
