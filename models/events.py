"""Behaviour events: the schema of the `events` topic, and the cleaning that stands between it and everything else.

`EventCleaner.clean` turns the bytes of one Kafka record into an `Event`, or raises `Rejected` with a `Refusal` and a
sentence; it raises nothing else, whatever the bytes are. `DeadLetter` is what becomes of a rejected record.

What cleaning does to a valid record: ids given as integers become strings, white space around texts goes, an empty
optional text becomes None, the type is lower-cased or set to the default, a whole number written `1.0` becomes 1.
Unknown fields are ignored; of a field given twice the last counts (both as RFC 8259 leaves open). Duplicates, late
events and too busy users need the state of the user and are found by the recommender; their refusals are named here so
that all of them are counted in one place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Generic, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from models import config

UNKNOWN_WATERMARK_MS = -(2**63)
"""Flink's watermark before there is one: nothing is too old against it."""

ERASE = "erase"
"""The event type that erases its user: everything that is kept of them goes. It is built in, and is none of events.types."""

DEAD_LETTER_RAW_BYTES = 524_288
"""At most this much of a rejected record is kept: its base64 (700 kB) stays under Kafka's default limit of 1 MB."""

DEAD_LETTER_TEXT_CHARACTERS = 1_024
"""At most this much of a key or a detail is kept in a dead letter."""

Record = TypeVar("Record", bound=Struct)
Value = TypeVar("Value")

Context = dict[str, str | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | float | bool | None]
"""The circumstances of an event, one level deep: what nests without end cannot be written again safely."""

# A whole number may be written 1.0, so a float is decoded too and looked at later; the schema says what is meant.
GivenMilliseconds = Annotated[int | float, Meta(extra_json_schema={"type": "integer", "minimum": 0})]
_Position = Annotated[int | float, Meta(extra_json_schema={"type": "integer", "minimum": 1})]

_MS_A_DAY = 86_400_000
_INT64_MAX = 2**63 - 1
_POSITION_MAX = 2**31 - 1
# Far beyond any price or dwell time, and far below where sums or the float32 of a pair message overflow.
VALUE_MAX = 1e15
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_AT = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)


class Refusal(StrEnum):
    """Why a record was not used: the `reason` of a dead letter, and of a counter."""

    EMPTY = "empty"
    """No value at all: a tombstone on a topic that has none."""
    OVERSIZED = "oversized"
    """More bytes than events.max_record_bytes."""
    NOT_JSON = "not_json"
    """Not one JSON document in UTF-8, or nested too deeply to read."""
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_TYPE = "unknown_type"
    """The event's type is not one of events.types."""
    BAD_ID = "bad_id"
    """An id is empty, longer than events.max_id_bytes, or holds control characters."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """A number that no event can have: a negative time, an infinite value, position 0."""
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"
    KEY_MISMATCH = "key_mismatch"
    """The Kafka key names another user than the payload."""
    DUPLICATE = "duplicate"
    """Found by the recommender: this user's event id was seen before."""
    TOO_MANY = "too_many"
    """Found by the recommender: more than events.max_events_per_minute of one user."""
    TOMBSTONE_KEY = "tombstone_key"
    """A tombstone without a key on a compacted topic: it names nothing."""


class Rejected(Exception):
    """A record that cannot be used.

    Parameters
    ----------
    reason : what kind of fault, for counters and for the key of the dead letter
    detail : one sentence for a person: which field, what was expected, what came
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason, self.detail = reason, detail

    def __reduce__(self) -> tuple[type[Rejected], tuple[Refusal, str]]:
        return type(self), (self.reason, self.detail)


class Event(Struct, frozen=True, gc=False):
    """One cleaned behaviour event.

    Attributes
    ----------
    event_id, user_id, item_id : non-empty, without control characters, at most events.max_id_bytes of UTF-8; the item_id of an
        `ERASE` may be empty
    type : one of the names in events.types, or `ERASE`
    event_time_ms : when it happened, milliseconds since 1970
    value : rating, price or dwell time, whatever the type means by it; between -1e15 and 1e15
    session_id, slate_id : the shop's session; the slate that the user acted on
    position : 1-based place of the item in that slate
    sent_at_ms : when the producer sent it, for latency
    source : who produced it, such as ``web`` or ``replay``
    text : words that came with it, such as a search or a comment
    trace : the slate that answers this event is to be taken apart on the `traces` topic
    context : the circumstances, as the producer sent them
    revision : of the slate that the user acted on
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    event_time_ms: int
    value: float | None = None
    session_id: str | None = None
    slate_id: str | None = None
    position: int | None = None
    sent_at_ms: int | None = None
    source: str | None = None
    text: str | None = None
    trace: bool = False
    context: Context | None = None
    revision: str | None = None


class EventRecord(Struct, frozen=True, gc=False):
    """The value of one record of the `events` topic, as producers may send it.

    Attributes
    ----------
    event_id : unique per user; an id that this user sent a moment ago is a duplicate
    user_id : who did it; also the key of the record
    event_time_ms : when, milliseconds since 1970; also the time stamp of the record
    item_id : what it was done to; only an event of type erase needs none
    type : one of events.types of the configuration, events.default_type when missing; or erase, which makes the recommender forget
        the user
    value : rating, price or dwell time, whatever the type means by it
    session_id : the shop's own session
    slate_id : the slate that the user acted on
    position : place of the item in that slate, from 1
    sent_at_ms : when the producer sent it, milliseconds since 1970, for latency
    source : who produced it, such as ``web``
    text : words that came with it, such as a search or a comment
    trace : whether the slate that answers it is taken apart on the `traces` topic
    context : the circumstances, one level deep
    revision : of that slate, as the recommendation says it; a slate of which another revision was shown teaches the policy nothing
    """

    event_id: str | int
    user_id: str | int
    event_time_ms: GivenMilliseconds
    item_id: str | int | UnsetType = UNSET
    type: str | None = None
    value: float | None = None
    session_id: str | int | None = None
    slate_id: str | int | None = None
    position: _Position | None = None
    sent_at_ms: GivenMilliseconds | None = None
    source: str | None = None
    text: str | None = None
    trace: bool = False
    context: Context | None = None
    revision: str | int | None = None


class RecordCleaner(Generic[Record]):
    """What cleaning the records of a topic that is keyed by user has in common.

    Parameters
    ----------
    record_type : of the topic's values
    events_config : section ``events`` of the configuration, which says how long records and ids may be, and how old
    """

    def __init__(self, record_type: type[Record], events_config: config.Events) -> None:
        self._decode = msgspec.json.Decoder(record_type).decode
        self._max_record_bytes = events_config.max_record_bytes
        self._max_id_bytes = events_config.max_id_bytes
        self._max_age_ms = int(events_config.max_age_days * _MS_A_DAY)
        self._max_future_ms = events_config.max_future_ms

    def _decoded(self, raw: bytes | None) -> Record:
        if raw is None:
            raise Rejected(Refusal.EMPTY, "the record has no value")
        if len(raw) > self._max_record_bytes:
            raise Rejected(
                Refusal.OVERSIZED, f"the record has {len(raw)} bytes, at most {self._max_record_bytes} are accepted"
            )
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            _raise_explained(str(error))
        # UnicodeDecodeError and the digit limit of int() are ValueErrors, as is msgspec's own DecodeError.
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise Rejected(Refusal.NOT_JSON, f"the record is not JSON in UTF-8: {error}") from None
        except RecursionError:
            raise Rejected(Refusal.NOT_JSON, "the record is nested too deeply") from None

    def _user_id(self, given: str | int, *, key: str | None) -> str:
        user_id = self._id("user_id", given)
        if key is not None and key != user_id:
            raise Rejected(Refusal.KEY_MISMATCH, f"the record's key is {_shown(key)}, but user_id is {_shown(user_id)}")
        return user_id

    def _id(self, field: str, given: str | int) -> str:
        text = given if type(given) is str else str(given)
        # Nearly every id is short and printable, and has nothing to strip or measure: the rest takes the long way.
        if text.isprintable() and len(text) * 4 <= self._max_id_bytes and text and text[0] != " " and text[-1] != " ":
            return text
        return self._careful_id(field, text)

    def _careful_id(self, field: str, text: str) -> str:
        text = text.strip()
        if not text:
            raise Rejected(Refusal.BAD_ID, f"{field}: expected a non-empty text")
        size_bytes = len(text.encode("utf-8", "surrogatepass"))
        if size_bytes > self._max_id_bytes:
            raise Rejected(Refusal.BAD_ID, f"{field}: expected at most {self._max_id_bytes} bytes, got {size_bytes}")
        if _CONTROL.search(text):
            raise Rejected(Refusal.BAD_ID, f"{field}: expected no control characters, got {_shown(text)}")
        return text

    def _optional_id(self, field: str, given: str | int | None) -> str | None:
        if given is None or (isinstance(given, str) and not given.strip()):
            return None
        return self._id(field, given)

    def _event_time_ms(self, given: int | float, *, now_ms: int, watermark_ms: int) -> int:
        event_time_ms = whole("event_time_ms", given)
        if event_time_ms > now_ms + self._max_future_ms:
            raise Rejected(
                Refusal.IN_THE_FUTURE,
                f"event_time_ms: {event_time_ms} is {event_time_ms - now_ms} ms ahead of the clock, "
                f"at most {self._max_future_ms} are accepted",
            )
        if event_time_ms < watermark_ms - self._max_age_ms:
            raise Rejected(
                Refusal.TOO_OLD,
                f"event_time_ms: {event_time_ms} is {watermark_ms - event_time_ms} ms behind the watermark, "
                f"at most {self._max_age_ms} are accepted",
            )
        return event_time_ms


class EventCleaner(RecordCleaner[EventRecord]):
    """Decodes and checks the records of the `events` topic.

    Parameters
    ----------
    events_config : section ``events`` of the configuration

    Examples
    --------
    >>> cleaner = EventCleaner(config.Events())
    >>> raw = b'{"event_id":"e1","user_id":7,"item_id":"i1","type":"View","event_time_ms":1000}'
    >>> event = cleaner.clean(raw, key="7", now_ms=1000, watermark_ms=UNKNOWN_WATERMARK_MS)
    >>> event.user_id, event.type
    ('7', 'view')
    """

    def __init__(self, events_config: config.Events) -> None:
        super().__init__(EventRecord, events_config)
        # The configuration's own spelling goes on, so that events.types can be looked up with Event.type.
        self._types = {name.lower(): name for name in (*events_config.types, ERASE)}
        self._default_type = events_config.default_type

    def clean(self, raw: bytes | None, *, key: str | None, now_ms: int, watermark_ms: int) -> Event:
        """Turn one record into an event.

        Parameters
        ----------
        raw : value of the record, None for a tombstone
        key : key of the record, None when it has none; it must be the cleaned user_id, to the letter: it is what state
            is partitioned by, and one user in two partitions would have two profiles and two `seq`
        now_ms : the clock, against which the future is measured
        watermark_ms : the watermark, against which age is measured; `UNKNOWN_WATERMARK_MS` when there is none yet

        Raises
        ------
        Rejected
            When the record cannot be used. Nothing else is raised, whatever the bytes are.
        """
        record = self._decoded(raw)
        user_id = self._user_id(record.user_id, key=key)
        event_time_ms = self._event_time_ms(record.event_time_ms, now_ms=now_ms, watermark_ms=watermark_ms)
        position, sent_at_ms = record.position, record.sent_at_ms
        if position is not None:
            position = whole("position", position, least=1, most=_POSITION_MAX)
        if sent_at_ms is not None:
            sent_at_ms = whole("sent_at_ms", sent_at_ms)
        if record.value is not None and not -VALUE_MAX <= record.value <= VALUE_MAX:
            raise Rejected(
                Refusal.OUT_OF_BOUNDS, f"value: expected {-VALUE_MAX:g} to {VALUE_MAX:g}, got {record.value:g}"
            )
        event_id = self._id("event_id", record.event_id)
        kind = self._type(record.type)
        return Event(
            event_id,
            user_id,
            self._item_id(record.item_id, kind),
            kind,
            event_time_ms,
            record.value,
            self._optional_id("session_id", record.session_id),
            self._optional_id("slate_id", record.slate_id),
            position,
            sent_at_ms,
            self._optional_id("source", record.source),
            record.text,
            record.trace,
            record.context,
            self._optional_id("revision", record.revision),
        )

    def _item_id(self, given: str | int | UnsetType, kind: str) -> str:
        if kind == ERASE:
            return "" if given is UNSET else self._optional_id("item_id", given) or ""
        if given is UNSET:
            raise Rejected(Refusal.MISSING_FIELD, "item_id: expected it, but it is not there")
        return self._id("item_id", given)

    def _type(self, given: str | None) -> str:
        if given is None:
            return self._default_type
        known = self._types.get(given) or self._types.get(given.strip().lower())
        if known is None:
            raise Rejected(Refusal.UNKNOWN_TYPE, f"type: expected one of {', '.join(self._types)}, got {_shown(given)}")
        return known


def decode_value(decode: Callable[[bytes], Value], raw: bytes) -> Value:
    """The value of a record that is JSON; `Rejected` where it is none, or not of the type that is decoded."""
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        raise Rejected(Refusal.WRONG_TYPE, str(error)) from None
    # UnicodeDecodeError and the digit limit of int() are ValueErrors, as is msgspec's own DecodeError.
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise Rejected(Refusal.NOT_JSON, str(error)) from None
    except RecursionError:
        raise Rejected(Refusal.NOT_JSON, "the record is nested too deeply") from None


def whole(field: str, given: int | float, *, least: int = 0, most: int = _INT64_MAX) -> int:
    """A whole number within its bounds, also where it is written 1.0; `Rejected` otherwise."""
    if type(given) is not int:
        if not float(given).is_integer():
            raise Rejected(Refusal.WRONG_TYPE, f"{field}: expected a whole number, got {given}")
        given = int(given)
    if not least <= given <= most:
        raise Rejected(Refusal.OUT_OF_BOUNDS, f"{field}: expected {least} to {most}, got {_shown(str(given))}")
    return given


def _raise_explained(message: str) -> NoReturn:
    match = _AT.match(message)
    assert match is not None
    field = (match["path"] or "").removeprefix("$").lstrip(".") or "the record"
    said = match["message"].replace("`", "")
    if "missing required field" in said:
        raise Rejected(Refusal.MISSING_FIELD, f"{said.rsplit(' ', 1)[1]}: expected it, but it is not there")
    if "out of range" in said or "int >=" in said or "int <=" in said or "length <=" in said:
        raise Rejected(Refusal.OUT_OF_BOUNDS, f"{field}: {said}")
    raise Rejected(Refusal.WRONG_TYPE, f"{field}: {said[0].lower()}{said[1:]}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


class DeadLetter(Struct, frozen=True, kw_only=True):
    """The value of one record of the `dead-letter` topic: a rejected record, and why.

    Attributes
    ----------
    reason : a `Refusal`; also the key of the record
    detail : one sentence for a person
    raw_base64 : the record's bytes, the first `DEAD_LETTER_RAW_BYTES` of them, in base64; None for a tombstone
    raw_bytes : how many bytes the record had; more than raw_base64 holds when it was cut
    topic, partition, offset : where it was read, as far as known
    key : key of the record, the first `DEAD_LETTER_TEXT_CHARACTERS` characters of it
    rejected_at_ms : when it was rejected
    """

    reason: str
    detail: str
    raw_base64: str | None
    raw_bytes: int
    topic: str
    partition: int | None = None
    offset: int | None = None
    key: str | None = None
    rejected_at_ms: int | None = None

    @classmethod
    def of(
        cls,
        rejected: Rejected,
        raw: bytes | None,
        *,
        topic: str,
        partition: int | None = None,
        offset: int | None = None,
        key: str | None = None,
        rejected_at_ms: int | None = None,
    ) -> DeadLetter:
        """Make the dead letter of a rejected record, cut so that it fits into a Kafka record itself."""
        return cls(
            reason=rejected.reason.value,
            detail=_storable(rejected.detail),
            raw_base64=None if raw is None else base64.b64encode(raw[:DEAD_LETTER_RAW_BYTES]).decode("ascii"),
            raw_bytes=0 if raw is None else len(raw),
            topic=topic,
            partition=partition,
            offset=offset,
            key=None if key is None else _storable(key),
            rejected_at_ms=rejected_at_ms,
        )

    @property
    def raw(self) -> bytes | None:
        """The bytes that were kept."""
        return None if self.raw_base64 is None else base64.b64decode(self.raw_base64)

    def encode(self) -> bytes:
        """The JSON of this dead letter, in UTF-8."""
        return _encode_json(self)


_encode_json = msgspec.json.Encoder().encode


def _storable(text: str) -> str:
    """Cut a text to its bound; a lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    return text[:DEAD_LETTER_TEXT_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
