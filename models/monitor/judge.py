"""Judges one text after the other: whether it is new, what it is about, in which mood; and learns from labels.

Rows of a snapshot: ``prints:N`` (`models.monitor.fingerprints`), ``vectors:N`` and ``waiting:N`` (`models.monitor.rings`: the vectors of
the last texts, float16, and the labels that wait for their text, ``sentiment i8 | topic i16``, -1 where it says none), ``sentiment:...``
and ``topic:...`` (`models.monitor.heads`). Every text and label changes a few of them: they are saved with it, so that a checkpoint is
exact without a log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.config import Monitor
from models.identity import hash64
from models.monitor.fingerprints import Fingerprints
from models.monitor.gazetteer import Gazetteer
from models.monitor.heads import Floats, Head, prototypes
from models.monitor.rings import Ring
from models.monitor.texts import SENTIMENTS, Encoded, JudgedText, Label

if TYPE_CHECKING:
    from models.text.encoder import TextEncoder

OTHER = "other"
"""The topic of a text that names none where the configuration describes none."""

_WAITING = struct.Struct("<bh")
_NONE = -1
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a text is.

    Attributes
    ----------
    text : as the windows count it and WATCH keeps it
    repeats : whether it is a near-duplicate, which is not counted
    """

    text: JudgedText
    repeats: bool


class Learned(msgspec.Struct, frozen=True):
    """What a label taught, and whether it was known before.

    Attributes
    ----------
    event_time_ms : of its text, None where the label came with the words
    sentiment_right, topic_right : whether the heads had said so before they learned it; None where the label does not say
    """

    event_time_ms: int | None
    sentiment_right: bool | None
    topic_right: bool | None


class Judge:
    """Near-duplicates, entities and heads over vectors that an encoder made.

    Parameters
    ----------
    settings : section monitor of the configuration
    encoder : by which the phrases of topics and moods are encoded, as the texts are
    """

    def __init__(self, settings: Monitor, encoder: TextEncoder) -> None:
        self._topics = tuple(settings.topics)
        self._topic_number = {topic: number for number, topic in enumerate(self._topics)}
        self._gazetteer = Gazetteer(settings.entities)
        self._prints = Fingerprints(
            settings.duplicate_texts,
            max_bits=settings.duplicate_bits,
            within_ms=int(settings.duplicate_hours * _HOUR_MS),
        )
        self._vectors = Ring(settings.kept_texts, payload_bytes=8 + 2 * encoder.dimension)
        self._waiting = Ring(settings.kept_texts, payload_bytes=_WAITING.size)

        def head(phrases: Iterable[Sequence[str]]) -> Head:
            encoded = [encoder.encode(list(some)) if some else np.zeros((0, encoder.dimension), np.float32) for some in phrases]
            return Head(
                prototypes(encoded, encoder.dimension),
                learning_rate=settings.learning_rate,
                decay=settings.decay,
                replays=settings.replays,
                kept_labels=settings.kept_labels,
            )

        self._sentiment = head(settings.sentiment.get(name, []) for name in SENTIMENTS)
        self._topic = head(settings.topics.values()) if settings.topics else None

    def judge(self, message: Encoded) -> tuple[Judgement, Learned | None]:
        """Judge a text, and learn a label that waited for it."""
        text, raw, given = message.text, message.vector, message.fingerprint
        assert text is not None and raw is not None and given is not None
        key = hash64(text.text_id)
        repeats = self._prints.original(given, text.event_time_ms) is not None
        if not repeats:
            self._prints.remember(key, given, text.event_time_ms)
        vector = _floats(raw)
        entities = text.entities if text.entities is not None else self._gazetteer.find(text.text)
        judged = JudgedText(text, text.topic or self._topic_of(vector), entities, self._sentiment_of(vector) - 1, raw)
        self._vectors.put(key, struct.pack("<q", text.event_time_ms) + raw)
        return Judgement(judged, repeats), self._learn_waiting(key)

    def _topic_of(self, vector: Floats) -> str:
        return OTHER if self._topic is None else self._topics[int(self._topic.predict(vector[None])[0].argmax())]

    def _sentiment_of(self, vector: Floats) -> int:
        return int(self._sentiment.predict(vector[None])[0].argmax())

    def learn(self, message: Encoded) -> Learned | None:
        """Learn a label; None where its text has not come yet, for which it waits then."""
        label = message.label
        assert label is not None
        sentiment = _NONE if label.sentiment is None else SENTIMENTS.index(label.sentiment)
        topic = _NONE if label.topic is None else self._topic_number.get(label.topic, _NONE)
        if label.text_id is None:
            assert message.vector is not None
            return self._learned(_floats(message.vector), sentiment, topic, None)
        return self._learn_of(hash64(label.text_id), sentiment, topic)

    def _learn_of(self, key: int, sentiment: int, topic: int) -> Learned | None:
        kept = self._vectors.get(key)
        if kept is None:
            self._waiting.put(key, _WAITING.pack(sentiment, topic))
            return None
        return self._learned(_floats(kept[8:]), sentiment, topic, struct.unpack_from("<q", kept)[0])

    def _learn_waiting(self, key: int) -> Learned | None:
        waiting = self._waiting.get(key)
        if waiting is None:
            return None
        sentiment, topic = _WAITING.unpack(waiting)
        self._waiting.put(key, _WAITING.pack(_NONE, _NONE))
        return self._learn_of(key, sentiment, topic) if (sentiment, topic) != (_NONE, _NONE) else None

    def _learned(self, vector: Floats, sentiment: int, topic: int, event_time_ms: int | None) -> Learned:
        sentiment_right = topic_right = None
        if sentiment != _NONE:
            sentiment_right = self._sentiment_of(vector) == sentiment
            self._sentiment.learn_one(vector, sentiment)
        if topic != _NONE and self._topic is not None:
            topic_right = self._topic_of(vector) == self._topics[topic]
            self._topic.learn_one(vector, topic)
        return Learned(event_time_ms, sentiment_right, topic_right)

    def _parts(self) -> Mapping[str, Ring | Fingerprints]:
        return {"prints": self._prints, "vectors": self._vectors, "waiting": self._waiting}

    def _heads(self) -> Mapping[str, Head]:
        heads = {"sentiment": self._sentiment}
        return heads if self._topic is None else heads | {"topic": self._topic}

    def take_snapshot(self) -> Iterator[tuple[str, bytes]]:
        """The rows that changed since the last call."""
        for name, part in self._parts().items():
            yield from ((f"{name}:{row}", value) for row, value in part.take_rows())
        for name, head in self._heads().items():
            yield from ((f"{name}:{row}", value) for row, value in head.take_snapshot())

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Fill a new judge from saved rows; a ValueError where they are of another version, encoder or set of topics."""
        saved: dict[str, dict[str, bytes]] = {}
        for row, value in rows:
            of, _, rest = row.partition(":")
            saved.setdefault(of, {})[rest] = value
        for name, part in self._parts().items():
            part.load(saved.get(name, {}).values())
        for name, head in self._heads().items():
            head.load_snapshot(saved.get(name, {}).items())


def half_precision(vectors: Floats) -> list[bytes]:
    """Vectors float32[n, dimension] as messages and state hold them: float16 each."""
    return [vector.tobytes() for vector in vectors.astype(np.float16)]


def _floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, np.float16).astype(np.float32)


def needs_vector(label: Label) -> bool:
    """Whether a label comes with words of its own, which are to be encoded."""
    return label.text_id is None
