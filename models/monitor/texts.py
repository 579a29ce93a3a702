"""Texts and labels: the schemas of `texts` and `labels`, their cleaning, and what READ hands to JUDGE, and JUDGE to WATCH.

Cleaning is that of `models.events`: whatever the bytes are, a record becomes a `Text` or a `Label`, or `Rejected` is raised.

Layout of a message from READ, version 1: ``version u8 | MessagePack``, an array of `Encoded`'s fields; of a text from JUDGE to WATCH the
same of `JudgedText`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from models import config
from models.events import GivenMilliseconds, RecordCleaner, Refusal, Rejected

Sentiment = Literal["negative", "neutral", "positive"]
SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
"""In the order of their value: -1, 0, 1."""

TextKind = Literal["news", "post", "comment"]
MAX_ENTITIES = 16
_VERSION = b"\x01"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class TextRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The value of one record of the `texts` topic, as producers may send it.

    Attributes
    ----------
    text_id : unique; a text whose id was there before is a duplicate. Also the key of the record
    text : what was written
    event_time_ms : when, milliseconds since 1970; also the time stamp of the record
    kind : where such texts stand
    source, author : who published it, and who wrote it
    entities : whom it is about, at most 16; without it the names of the configuration are looked for
    topic : what it is about; without it the encoder and the head of topics say
    """

    text_id: str | int
    text: str
    event_time_ms: GivenMilliseconds
    kind: TextKind = "post"
    source: str | int | None = None
    author: str | int | None = None
    entities: Annotated[list[str | int], Meta(max_length=MAX_ENTITIES)] | None = None
    topic: str | None = None


class LabelRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The value of one record of the `labels` topic, as producers may send it: what a text is according to a person.

    Attributes
    ----------
    text_id : of a text of `texts`, at most monitor.kept_texts of which are remembered; a label that comes before its text waits for it
    text : the words themselves, where they are not on `texts`
    sentiment : its mood, as far as the label says
    topic : one of monitor.topics, as far as the label says
    """

    text_id: str | int | None = None
    text: str | None = None
    sentiment: Sentiment | None = None
    topic: str | None = None


class Text(Struct, frozen=True, array_like=True, gc=False):
    """One cleaned text (fields: `TextRecord`); entities None where it does not say any."""

    text_id: str
    text: str
    event_time_ms: int
    kind: TextKind
    source: str | None
    author: str | None
    entities: tuple[str, ...] | None
    topic: str | None


class Label(Struct, frozen=True, array_like=True, gc=False):
    """One cleaned label (fields: `LabelRecord`)."""

    text_id: str | None
    text: str | None
    sentiment: Sentiment | None
    topic: str | None


class Encoded(Struct, frozen=True, array_like=True, gc=False):
    """What READ has read: a text, or a label.

    Attributes
    ----------
    text, label : one of them
    vector : float16[dimension] of the text, or of the label's own words; None for a label of a text id
    fingerprint : of the text
    """

    text: Text | None
    label: Label | None
    vector: bytes | None
    fingerprint: bytes | None


class JudgedText(Struct, frozen=True, array_like=True, gc=False):
    """A text that is new, as WATCH keeps it until its window has ended.

    Attributes
    ----------
    topic, entities : what it is about
    sentiment : -1, 0 or 1
    vector : float16[dimension]
    """

    text: Text
    topic: str
    entities: tuple[str, ...]
    sentiment: int
    vector: bytes


class TextCleaner(RecordCleaner[TextRecord]):
    """Decodes and checks the records of the `texts` topic.

    Parameters
    ----------
    events_config : section ``events`` of the configuration, which says how long records and ids may be, and how old

    Examples
    --------
    >>> cleaner = TextCleaner(config.Events())
    >>> cleaner.clean(b'{"text_id": 1, "text": " Profits rose ", "event_time_ms": 5}', key="1", now_ms=5, watermark_ms=0).text
    'Profits rose'
    """

    def __init__(self, events_config: config.Events) -> None:
        super().__init__(TextRecord, events_config)

    def clean(self, raw: bytes | None, *, key: str | None, now_ms: int, watermark_ms: int) -> Text:
        """Turn one record into a text; `Rejected` where it cannot be used, and nothing else, whatever the bytes are."""
        record = self._decoded(raw)
        text_id = self._id("text_id", record.text_id)
        if key is not None and key != text_id:
            raise Rejected(Refusal.KEY_MISMATCH, f"the record's key is {key[:80]!r}, but text_id is {text_id!r}")
        entities = record.entities
        return Text(
            text_id,
            _words(record.text),
            self._event_time_ms(record.event_time_ms, now_ms=now_ms, watermark_ms=watermark_ms),
            record.kind,
            self._optional_id("source", record.source),
            self._optional_id("author", record.author),
            None if entities is None else tuple(dict.fromkeys(self._id("entities", entity) for entity in entities)),
            self._optional_id("topic", record.topic),
        )


class LabelCleaner(RecordCleaner[LabelRecord]):
    """Decodes and checks the records of the `labels` topic.

    Parameters
    ----------
    events_config : section ``events`` of the configuration
    topics : that a label may name
    """

    def __init__(self, events_config: config.Events, topics: Collection[str]) -> None:
        super().__init__(LabelRecord, events_config)
        self._topics = topics

    def clean(self, raw: bytes | None) -> Label:
        """Turn one record into a label; `Rejected` where it cannot be used, and nothing else."""
        record = self._decoded(raw)
        text_id = self._optional_id("text_id", record.text_id)
        topic = self._optional_id("topic", record.topic)
        if text_id is None and record.text is None:
            raise Rejected(Refusal.MISSING_FIELD, "text_id: expected it, or text, but neither is there")
        if record.sentiment is None and topic is None:
            raise Rejected(Refusal.MISSING_FIELD, "sentiment: expected it, or topic, but neither is there")
        if topic is not None and topic not in self._topics:
            raise Rejected(Refusal.UNKNOWN_TYPE, f"topic: expected one of {', '.join(self._topics) or 'none'}, got {topic[:80]!r}")
        return Label(text_id, None if text_id is not None else _words(record.text or ""), record.sentiment, topic)


def _words(given: str) -> str:
    text = " ".join(_CONTROL.sub(" ", given).split())
    if not text:
        raise Rejected(Refusal.EMPTY, "text: expected words, but there are none")
    return text


_encode = msgspec.msgpack.Encoder().encode
_decode_encoded: Callable[[bytes], Encoded] = msgspec.msgpack.Decoder(Encoded).decode
_decode_judged: Callable[[bytes], JudgedText] = msgspec.msgpack.Decoder(JudgedText).decode


def encode_message(message: Encoded | JudgedText | Text | Label) -> bytes:
    """The packed bytes (layout: module docstring)."""
    return _VERSION + _encode(message)


def decode_encoded(raw: bytes) -> Encoded:
    """What READ has sent; a ValueError where it is of another version."""
    return _decode_encoded(_body(raw))


def decode_judged(raw: bytes) -> JudgedText:
    """What JUDGE has sent to WATCH; a ValueError where it is of another version."""
    return _decode_judged(_body(raw))


def _body(raw: bytes) -> bytes:
    if raw[:1] != _VERSION:
        raise ValueError(f"a message of version {raw[:1].hex()}: this release reads version {_VERSION.hex()}")
    return raw[1:]
