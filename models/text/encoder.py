"""What an encoder of texts is, and which the configuration names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from models.config import Text as TextSettings
from models.text.side_by_side import AND, SideBySide
from models.text.words import HashedWords


class TextEncoder(Protocol):
    """Turns texts into vectors whose cosine says how much alike the texts are.

    Attributes
    ----------
    name : as the configuration names it
    version : another one where the same text may have another vector; vectors of two versions are not compared
    dimension : numbers of a vector
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of some texts.

        Returns
        -------
        float32[n, dimension]
            Rows of length 1, that of an empty text too. The row of a text is the same bit for bit whatever stands beside it.
        """


def make_encoder(settings: TextSettings) -> TextEncoder:
    """The configured encoder.

    Parameters
    ----------
    settings : section ``text``

    Raises
    ------
    ValueError
        When text.encoder is none.
    ConfigurationError
        When the model, or what runs it, is not installed or cannot be used.
    """
    if settings.encoder == "none":
        raise ValueError("text.encoder is none: there is no encoder to make")
    encoders = [_one_encoder(name, settings) for name in settings.encoder.split(AND)]
    return SideBySide(encoders) if len(encoders) > 1 else encoders[0]


def _one_encoder(name: str, settings: TextSettings) -> TextEncoder:
    if name == "words":
        return HashedWords(settings.words_dimension)
    from models.text.pretrained import SentenceEncoder

    return SentenceEncoder(name, max_tokens=settings.max_tokens)
