"""Which encoder the monitor uses: the one of section text, and hashed words where that names none."""

from __future__ import annotations

from models.config import Configuration
from models.text.encoder import TextEncoder, make_encoder
from models.text.words import HashedWords


def monitor_encoder(configuration: Configuration) -> TextEncoder:
    """The encoder of texts and of the phrases that describe topics and moods.

    Raises
    ------
    ConfigurationError
        When the model that text.encoder names, or what runs it, is not installed or cannot be used.
    """
    text = configuration.text
    return HashedWords(text.words_dimension) if text.encoder == "none" else make_encoder(text)
