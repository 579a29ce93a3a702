"""The questions that a user asked last, so that what is reported on their answers can be learned from.

Layout of those of one user, version 1: ``version u8 | MessagePack``, an array of arrays of
    (``slate_id`` u64, ``time_ms`` event time, ``vector`` bin i8 of the question, ``features`` bin f32 of the slate,
    ``items`` bin i64 hashes of the answers that were given or suggested, ``refused`` bits of those that did not solve it,
    whether it is known if the slate solved it), the oldest first
Size bound: `MAX_ASKED` * (dimension + 8 * slate.k + 60) bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct

from models.answers.lessons import NO, NOBODY, UNKNOWN, YES, Lesson
from models.layouts import require_version

MAX_ASKED = 8
"""Questions of one user that are remembered for feedback."""

ASKED_VERSION = 1

Report = Literal["solved", "not_solved", "handed_over"]


class AskedQuestion(Struct, array_like=True, gc=False):
    """One question that was answered (fields: module docstring)."""

    slate_id: int
    time_ms: int
    vector: bytes
    features: bytes
    items: bytes
    refused: int = 0
    is_settled: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[AskedQuestion]).decode


def encode_asked(asked: list[AskedQuestion]) -> bytes:
    """The packed bytes (layout: module docstring)."""
    return bytes((ASKED_VERSION,)) + _encode(asked)


def decode_asked(raw: bytes | None) -> list[AskedQuestion]:
    """The questions in `raw`, none where there is no state.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    if raw is None:
        return []
    require_version(raw, ASKED_VERSION, what="asked questions")
    return _decode(memoryview(raw)[1:])


def remember(asked: list[AskedQuestion], question: AskedQuestion, *, window_ms: int) -> None:
    """Add a question; one that is asked again takes its own place, and those whose time is over leave."""
    kept = [other for other in asked if other.slate_id != question.slate_id and other.time_ms >= question.time_ms - window_ms]
    asked[:] = [*kept[1 - MAX_ASKED :], question]


def lesson_of(asked: list[AskedQuestion], report: Report, *, slate_id: int, item: int, time_ms: int, window_ms: int) -> Lesson | None:
    """What a report on an answer teaches; None where its question is not known, or its time is over.

    A slate has solved its question when one of its answers has; it has not when none did, when another template did, or
    when a person had to answer. The first of these that is reported counts.

    Parameters
    ----------
    asked : of the user; what is settled by the report is noted there
    item : hash of the template that it is about; of no account where a person answered
    """
    question = next((one for one in asked if one.slate_id == slate_id), None)
    if question is None or time_ms > question.time_ms + window_ms:
        return None
    items = np.frombuffer(question.items, "<i8").tolist()
    label = UNKNOWN
    if report == "solved":
        label = YES if item in items else NO
    elif report == "handed_over":
        item, label = NOBODY, NO
    elif item in items:
        question.refused |= 1 << items.index(item)
        if question.refused == (1 << len(items)) - 1:
            label = NO
    if question.is_settled:
        label = UNKNOWN
    question.is_settled |= label != UNKNOWN
    return Lesson(
        item=item,
        said=1 if report == "solved" else -1,
        label=label,
        time_ms=time_ms,
        features=np.frombuffer(question.features, "<f4"),
        vector=np.frombuffer(question.vector, np.int8),
    )
