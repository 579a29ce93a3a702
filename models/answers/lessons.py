"""Lessons: what one report on an answer teaches, as RECOMMEND sends it to the memory.

Layout (little endian): ``version u8 | kind u8 'a' | said i8 | label i8 | dimension u16 | item i64 | time_ms i64 |
features f32[FEATURES] | vector i8[dimension]``
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from models.answers.confidence import FEATURES

NOBODY = 0
"""In the place of an item: no template answers the question (`models.identity.hash64` gives no item this number)."""
UNKNOWN, NO, YES = -1, 0, 1
_VERSION = 1
_KIND = ord("a")
_HEAD = struct.Struct("<BBbbHqq")


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What was said of an answer to a question.

    Attributes
    ----------
    item : hash of the template, or `NOBODY`
    said : 1 it solved the question, -1 it did not, 0 nothing
    label : whether its slate solved the question: `YES`, `NO`, or `UNKNOWN`
    time_ms : event time
    features : float32[FEATURES] of the slate
    vector : int8[dimension], the question
    """

    item: int
    said: int
    label: int
    time_ms: int
    features: np.ndarray
    vector: np.ndarray


def encode_lesson(lesson: Lesson) -> bytes:
    """The packed bytes (layout: module docstring)."""
    head = _HEAD.pack(_VERSION, _KIND, lesson.said, lesson.label, len(lesson.vector), lesson.item, lesson.time_ms)
    return head + lesson.features.astype("<f4").tobytes() + lesson.vector.tobytes()


def decode_lesson(raw: bytes) -> Lesson:
    """The lesson in `raw`.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    version, kind, said, label, dimension, item, time_ms = _HEAD.unpack_from(raw)
    if (version, kind) != (_VERSION, _KIND):
        raise ValueError(f"lesson of version {version} and kind {kind}, this release reads {_VERSION} and {_KIND}")
    features = np.frombuffer(raw, "<f4", len(FEATURES), _HEAD.size)
    vector = np.frombuffer(raw, np.int8, dimension, _HEAD.size + features.nbytes)
    return Lesson(item, said, label, time_ms, features, vector)
