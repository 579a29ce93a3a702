"""The latest dead letters, by reason, and the bytes that are sent again."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

import msgspec

from models.events import DEAD_LETTER_RAW_BYTES, DeadLetter

LETTERS = 2_000
"""So many are kept; the counts go on."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter with a number of its own, by which a page names it."""

    number: int
    content: DeadLetter

    @property
    def is_whole(self) -> bool:
        """Whether all bytes of the record were kept, so that it can be sent again as it was."""
        return self.content.raw_bytes <= DEAD_LETTER_RAW_BYTES

    @property
    def text(self) -> str | None:
        """The record as text; None where it is not UTF-8 or there is none."""
        try:
            return None if self.content.raw is None else self.content.raw.decode()
        except UnicodeDecodeError:
            return None

    def hexadecimal(self, *, most: int = 512) -> str:
        """The first bytes, for records that are no text."""
        return (self.content.raw or b"")[:most].hex(" ")


class Letters:
    """Keeps the newest dead letters.

    Attributes
    ----------
    counts : by reason, of all that came
    """

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque(maxlen=LETTERS)
        self._came = 0
        self.counts: Counter[str] = Counter()

    def put(self, letter: DeadLetter) -> None:
        """Take one record of `dead-letter`."""
        self._came += 1
        self._letters.append(Letter(self._came, letter))
        self.counts[letter.reason] += 1

    @property
    def came(self) -> int:
        """How many came in all."""
        return self._came

    def newest(self, reason: str | None = None, *, most: int = 200) -> list[Letter]:
        """The newest first, of one reason or of all."""
        found = [letter for letter in reversed(list(self._letters)) if reason in (None, letter.content.reason)]
        return found[:most]

    def find(self, number: int) -> Letter | None:
        """The letter of a number, None where it is forgotten."""
        return next((letter for letter in list(self._letters) if letter.number == number), None)


def pretty(text: str) -> str:
    """JSON with a field a line; any other text as it is."""
    try:
        return msgspec.json.format(text, indent=2)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
