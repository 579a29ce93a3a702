"""The memory of answered questions: which template solved which question, and which did not.

It is collaborative filtering on outcomes: a question is described by those that it is near to in meaning, and templates by the
questions that they solved. Questions of one template that are all but the same (answers.same_similarity) are remembered as one, by the
sum of their vectors: slips and politeness cancel out. Where answers.memory are remembered, the one with the least evidence leaves.
Evidence halves every answers.half_life_days of event time.

Layout of a record (little endian): ``version u8 | kind u8 'q' | dimension u16 | item i64 | time_ms i64 | solved f64 | unsolved f64 |
vector i32[dimension]``; evidence is as of ``time_ms``. Records of `model-updates` are keyed ``answer:PLACE``, so that the newcomer of a
place takes the other's, and ``answer:confidence`` (`models.answers.confidence`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from models.answers.confidence import Confidence
from models.answers.lessons import UNKNOWN, YES, decode_lesson
from models.answers.vectors import cosines
from models.config import Answers as Settings

ANSWER_PREFIX = "answer:"
_CONFIDENCE = "confidence"
CONFIDENCE_KEY = ANSWER_PREFIX + _CONFIDENCE
_VERSION = 1
_KIND = ord("q")
_RECORD = struct.Struct("<BBHqqdd")
_DAY_MS = 86_400_000.0
_FIRST_PLACES = 64


class Remembered(NamedTuple):
    """A question and what came of a template as its answer.

    Attributes
    ----------
    item : hash of the template, or `models.answers.lessons.NOBODY`
    time_ms : when something was said of it last
    solved, unsolved : how often it did and did not solve it, as of then
    vector : int32[dimension], the sum of what was asked in nearly the same words
    """

    item: int
    time_ms: int
    solved: float
    unsolved: float
    vector: np.ndarray


def decode_remembered(raw: bytes) -> Remembered:
    """The question in a record.

    Raises
    ------
    ValueError
        When the record is of another version.
    """
    version, kind, dimension, item, time_ms, solved, unsolved = _RECORD.unpack_from(raw)
    if (version, kind) != (_VERSION, _KIND):
        raise ValueError(f"remembered question of version {version} and kind {kind}, this release reads {_VERSION} and {_KIND}")
    return Remembered(item, time_ms, solved, unsolved, np.frombuffer(raw, "<i4", dimension, _RECORD.size))


class AnswerMemory:
    """Learns lessons (`models.answers.lessons`), and publishes what changed.

    Parameters
    ----------
    settings : section answers of the configuration

    Attributes
    ----------
    confidence : learned from the same lessons
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._half_life_ms = settings.half_life_days * _DAY_MS
        self.confidence = Confidence()
        self._size = 0
        self._items = np.zeros(_FIRST_PLACES, np.int64)
        self._times_ms = np.zeros(_FIRST_PLACES, np.int64)
        self._evidence = np.zeros((_FIRST_PLACES, 2))
        self._vectors = np.zeros((_FIRST_PLACES, 0), np.int32)
        self._unpublished: set[int] = set()
        self._unsaved: set[int] = set()
        self._confidence_is_new = self._confidence_is_unsaved = False

    def __len__(self) -> int:
        return self._size

    def learn_one(self, message: bytes) -> None:
        """Take one lesson."""
        lesson = decode_lesson(message)
        if lesson.label != UNKNOWN:
            self.confidence.learn_one(lesson.features, lesson.label == YES)
            self._confidence_is_new = self._confidence_is_unsaved = True
        if lesson.said == 0:
            return
        self._fit(len(lesson.vector))
        place = self._place_of(lesson.item, lesson.vector)
        if place is None:
            place = self._free_place(lesson.time_ms)
            self._items[place], self._times_ms[place] = lesson.item, lesson.time_ms
            self._evidence[place], self._vectors[place] = 0.0, lesson.vector
        elif lesson.said > 0:
            self._vectors[place] += lesson.vector
        time_ms = max(lesson.time_ms, int(self._times_ms[place]))
        self._evidence[place] *= 0.5 ** ((time_ms - int(self._times_ms[place])) / self._half_life_ms)
        late = 0.5 ** ((time_ms - lesson.time_ms) / self._half_life_ms)
        self._evidence[place, 0 if lesson.said > 0 else 1] += late
        self._times_ms[place] = time_ms
        self._unpublished.add(place)
        self._unsaved.add(place)

    def _fit(self, dimension: int) -> None:
        """What was learned with another encoder does not carry over; its places are taken again."""
        if self._vectors.shape[1] != dimension:
            self._size = 0
            self._vectors = np.zeros((len(self._items), dimension), np.int32)

    def _place_of(self, item: int, vector: np.ndarray) -> int | None:
        places = np.flatnonzero(self._items[: self._size] == item)
        if len(places) == 0:
            return None
        alike = cosines(self._vectors[places], vector)
        nearest = int(alike.argmax())
        return int(places[nearest]) if alike[nearest] >= self._settings.same_similarity else None

    def _free_place(self, now_ms: int) -> int:
        if self._size == self._settings.memory:
            ages = np.maximum(0, now_ms - self._times_ms) / self._half_life_ms
            return int((self._evidence.sum(1) * 0.5**ages)[: self._size].argmin())
        if self._size == len(self._items):
            more = min(self._size, self._settings.memory - self._size)
            self._items = np.concatenate((self._items, np.zeros(more, np.int64)))
            self._times_ms = np.concatenate((self._times_ms, np.zeros(more, np.int64)))
            self._evidence = np.concatenate((self._evidence, np.zeros((more, 2))))
            self._vectors = np.concatenate((self._vectors, np.zeros((more, self._vectors.shape[1]), np.int32)))
        self._size += 1
        return self._size - 1

    def _record(self, place: int) -> bytes:
        vector, (solved, unsolved) = self._vectors[place], self._evidence[place].tolist()
        head = (_VERSION, _KIND, len(vector), int(self._items[place]), int(self._times_ms[place]), solved, unsolved)
        return _RECORD.pack(*head) + vector.tobytes()

    def has_updates(self) -> bool:
        """Whether something changed since the last publication."""
        return bool(self._unpublished) or self._confidence_is_new

    def take_updates(self) -> list[tuple[str, bytes]]:
        """The records that changed since the last call, by key."""
        updates = [(f"{ANSWER_PREFIX}{place}", self._record(place)) for place in sorted(self._unpublished)]
        if self._confidence_is_new:
            updates.append((CONFIDENCE_KEY, self.confidence.encode()))
        self._unpublished.clear()
        self._confidence_is_new = False
        return updates

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows that changed since the last call."""
        rows = [(f"{place}", self._record(place)) for place in sorted(self._unsaved)]
        if self._confidence_is_unsaved:
            rows.append((_CONFIDENCE, self.confidence.encode()))
        self._unsaved.clear()
        self._confidence_is_unsaved = False
        return rows

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Carry on from an earlier snapshot.

        Raises
        ------
        ValueError
            When a row is of another version.
        """
        saved = dict(rows)
        if _CONFIDENCE in saved:
            self.confidence.load(saved.pop(_CONFIDENCE))
        for place, raw in sorted((int(name), raw) for name, raw in saved.items()):
            found = decode_remembered(raw)
            if self._size == 0:
                self._fit(len(found.vector))
            # those behind the last place: of a memory that was larger, or of an encoder before, whose places were not all taken again
            if place >= self._settings.memory or len(found.vector) != self._vectors.shape[1]:
                break
            while self._size <= place:
                self._free_place(found.time_ms)
            self._items[place], self._times_ms[place] = found.item, found.time_ms
            self._evidence[place], self._vectors[place] = (found.solved, found.unsolved), found.vector
