"""How sure an answer is: the probability that a slate solves its question, learned from what came of slates.

A logistic regression over a few numbers of the slate (`FEATURES`), learned online with a Gaussian posterior, one step of Newton's method
an example (Spiegelhalter and Lauritzen, "Sequential updating of conditional probabilities on directed graphical structures", 1990):

    p = sigmoid(w . x),    S = (S^-1 + p (1 - p) x x^T)^-1,    w += (y - p) S x

The prior, so that the first question has an honest answer, is what seeds 1 to 3 of docs/domains/service.md gave: it holds for sentence
encoders; hashed words learn theirs.

Layout of a record (little endian): ``version u8 | kind u8 'c' | examples u32 | weight f64[FEATURES] | covariance f64[FEATURES, FEATURES]``
"""

from __future__ import annotations

import struct
from math import exp

import numpy as np

FEATURES = ("constant", "best", "lead", "solved", "unsolved")
"""1; the best score of the slate; what it is ahead of the best that is not shown; what near questions say for the answers that are shown,
and against any answer."""

PRIOR_WEIGHTS = (-1.8, 4.2, 4.2, 4.0, -3.2)
PRIOR_VARIANCE = 0.5
_VERSION = 1
_KIND = ord("c")
_HEAD = struct.Struct("<BBI")
_FARTHEST = 30.0


class Confidence:
    """Predicts whether a slate of answers solves its question.

    Attributes
    ----------
    examples : learned so far
    weights, covariance : float64[FEATURES] and float64[FEATURES, FEATURES], mean and covariance of the posterior

    Examples
    --------
    >>> confidence = Confidence()
    >>> sure, unsure = np.array([1, 0.8, 0.3, 0.9, 0.0]), np.array([1, 0.2, 0.01, 0.0, 0.5])
    >>> confidence.predict_one(sure) > 0.8 > 0.2 > confidence.predict_one(unsure)
    True
    """

    def __init__(self) -> None:
        self.examples = 0
        self.weights = np.array(PRIOR_WEIGHTS)
        self.covariance = PRIOR_VARIANCE * np.eye(len(FEATURES))

    def predict_one(self, features: np.ndarray) -> float:
        """Probability that one of the answers solves the question.

        Parameters
        ----------
        features : float[FEATURES]
        """
        z = float(self.weights @ features.astype(np.float64))
        return 1.0 / (1.0 + exp(-min(_FARTHEST, max(-_FARTHEST, z))))

    def learn_one(self, features: np.ndarray, solved: bool) -> None:
        """Take what came of one slate."""
        x = features.astype(np.float64)
        p = self.predict_one(x)
        along = self.covariance @ x
        curvature = p * (1 - p)
        self.covariance -= np.outer(along, along) * (curvature / (1 + curvature * float(x @ along)))
        self.weights += (float(solved) - p) * (self.covariance @ x)
        self.examples += 1

    def encode(self) -> bytes:
        """The record (layout: module docstring)."""
        return _HEAD.pack(_VERSION, _KIND, self.examples) + self.weights.tobytes() + self.covariance.tobytes()

    def load(self, raw: bytes) -> None:
        """Become what a record says.

        Raises
        ------
        ValueError
            When the record is of another version.
        """
        version, kind, examples = _HEAD.unpack_from(raw)
        if (version, kind) != (_VERSION, _KIND):
            raise ValueError(f"confidence of version {version} and kind {kind}, this release reads {_VERSION} and {_KIND}")
        size = len(FEATURES)
        numbers = np.frombuffer(raw, "<f8", size + size * size, _HEAD.size).copy()
        self.examples = examples
        self.weights, self.covariance = numbers[:size], numbers[size:].reshape(size, size)
