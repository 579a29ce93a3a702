"""Encoders side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from models.text.encoder import TextEncoder

AND = " + "
"""Between their names."""


class SideBySide:
    """Several encoders as one: a language model finds what means the same, words find what is said in the same words.

    The cosine of two texts is the mean of those that the encoders find.

    Parameters
    ----------
    encoders : in the order of their numbers

    Examples
    --------
    >>> from models.text.words import HashedWords
    >>> both = SideBySide([HashedWords(64), HashedWords(32)])
    >>> both.encode(["tea"]).shape, both.version
    ((1, 96), 'words-1-64 + words-1-32')
    """

    def __init__(self, encoders: Sequence[TextEncoder]) -> None:
        self._encoders = encoders
        self.name = AND.join(one.name for one in encoders)
        self.version = AND.join(one.version for one in encoders)
        self.dimension = sum(one.dimension for one in encoders)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextEncoder`."""
        parts = [one.encode(texts) for one in self._encoders]
        return np.concatenate(parts, 1) / np.float32(len(parts) ** 0.5)
