"""Cleaning: a record becomes an event or is refused with a reason, and never anything else."""

from __future__ import annotations

import json
import pickle
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models import config
from models.events import (
    DEAD_LETTER_RAW_BYTES,
    ERASE,
    UNKNOWN_WATERMARK_MS,
    DeadLetter,
    Event,
    EventCleaner,
    Refusal,
    Rejected,
)

NOW_MS = 1_700_000_000_000
PLAIN = {"event_id": "e1", "user_id": "u1", "item_id": "i1", "type": "click", "event_time_ms": NOW_MS}
CLEANER = EventCleaner(config.Events(max_age_days=30))


def record(**changes: object) -> bytes:
    return json.dumps({name: value for name, value in {**PLAIN, **changes}.items() if value != "absent"}).encode()


def clean(raw: bytes | None, *, key: str | None = None, watermark_ms: int = UNKNOWN_WATERMARK_MS) -> Event:
    return CLEANER.clean(raw, key=key, now_ms=NOW_MS, watermark_ms=watermark_ms)


def refusal(raw: bytes | None, **more: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        clean(raw, **more)
    return caught.value


def test_a_plain_record_becomes_an_event_with_nothing_optional_set():
    assert clean(record()) == Event("e1", "u1", "i1", "click", NOW_MS)


def test_every_optional_field_is_carried_over():
    optional = {
        "value": 4.5,
        "session_id": "s1",
        "slate_id": "1f3827a562ecf717",
        "position": 3,
        "sent_at_ms": NOW_MS - 5,
        "source": "web",
        "text": "red shoes",
        "trace": True,
        "context": {"device": "phone", "visits": 3, "new": False, "share": 0.5, "campaign": None},
    }
    assert clean(record(**optional)) == Event("e1", "u1", "i1", "click", NOW_MS, **optional)


def test_integer_ids_become_strings():
    event = clean(record(event_id=1, user_id=-2, item_id=2**40, session_id=7))
    assert (event.event_id, event.user_id, event.item_id, event.session_id) == ("1", "-2", "1099511627776", "7")


def test_white_space_around_ids_goes_and_inside_stays():
    event = clean(record(user_id=" a b\n", item_id="\u00a0i1\u2003", event_id="e1 ", session_id=" s1"))
    assert (event.user_id, event.item_id, event.event_id, event.session_id) == ("a b", "i1", "e1", "s1")


def test_an_empty_optional_id_means_none():
    event = clean(record(session_id="", slate_id="  ", source=""))
    assert (event.session_id, event.slate_id, event.source) == (None, None, None)


def test_a_missing_or_null_type_becomes_the_default_type():
    assert clean(record(type="absent")).type == "view"
    assert clean(record(type=None)).type == "view"


def test_a_type_is_found_whatever_its_case_and_takes_the_spelling_of_the_configuration():
    assert clean(record(type=" CLICK ")).type == "click"
    own = EventCleaner(config.Events(types={"Liked": config.EventType()}, default_type="Liked"))
    assert own.clean(record(type="liked"), key=None, now_ms=NOW_MS, watermark_ms=0).type == "Liked"


def test_a_whole_number_written_as_a_float_is_a_whole_number():
    event = clean(record(event_time_ms=float(NOW_MS), position=2.0, sent_at_ms=5.0))
    assert (event.event_time_ms, event.position, event.sent_at_ms) == (NOW_MS, 2, 5)
    assert type(event.event_time_ms) is type(event.position) is type(event.sent_at_ms) is int


def test_unknown_fields_are_ignored_whatever_they_hold():
    assert clean(record(colour={"deep": [1, {"er": None}]})) == clean(record())


def test_of_a_field_given_twice_the_last_counts():
    assert clean(record()[:-1] + b', "user_id": "u2"}').user_id == "u2"


def test_a_long_id_in_a_wide_script_is_measured_in_bytes():
    assert clean(record(item_id="☃" * 85)).item_id == "☃" * 85
    assert refusal(record(item_id="☃" * 86)).detail == "item_id: expected at most 256 bytes, got 258"


HUGE_INTEGER = b"9" * 5_000
TOO_DEEP = b"[" * 20_000 + b"]" * 20_000


@pytest.mark.parametrize(
    ("raw", "reason", "in_detail"),
    [
        (None, Refusal.EMPTY, "no value"),
        (b"", Refusal.NOT_JSON, "not JSON"),
        (b"\xff\xfe", Refusal.NOT_JSON, "not JSON"),
        (b"{", Refusal.NOT_JSON, "not JSON"),
        (record() + b"x", Refusal.NOT_JSON, "trailing characters"),
        (record()[:-1] + b', "value": NaN}', Refusal.NOT_JSON, "not JSON"),
        (record(user_id="U").replace(b'"U"', b'"\xff"'), Refusal.NOT_JSON, "utf-8"),
        (record(user_id="\ud800"), Refusal.NOT_JSON, "surrogate"),
        (record()[:-1] + b', "deep": ' + TOO_DEEP + b"}", Refusal.NOT_JSON, "nested too deeply"),
        (record()[:-1] + b', "text": "' + b"x" * 65_536 + b'"}', Refusal.OVERSIZED, "at most 65536"),
        (b"[]", Refusal.WRONG_TYPE, "the record: expected object, got array"),
        (b"null", Refusal.WRONG_TYPE, "the record: expected object, got null"),
        (record(event_id="absent"), Refusal.MISSING_FIELD, "event_id"),
        (record(user_id="absent"), Refusal.MISSING_FIELD, "user_id"),
        (record(item_id="absent"), Refusal.MISSING_FIELD, "item_id"),
        (record(event_time_ms="absent"), Refusal.MISSING_FIELD, "event_time_ms"),
        (record(user_id=None), Refusal.WRONG_TYPE, "user_id: expected int | str, got null"),
        (record(user_id=True), Refusal.WRONG_TYPE, "user_id: expected int | str, got bool"),
        (record(item_id=1.5), Refusal.WRONG_TYPE, "item_id: expected int | str, got float"),
        (record(event_time_ms="1"), Refusal.WRONG_TYPE, "event_time_ms: expected"),
        (record(event_time_ms=True), Refusal.WRONG_TYPE, "event_time_ms: expected"),
        (record(event_time_ms=1.5), Refusal.WRONG_TYPE, "event_time_ms: expected a whole number, got 1.5"),
        (record(type=3), Refusal.WRONG_TYPE, "type: expected"),
        (record(value="4"), Refusal.WRONG_TYPE, "value: expected"),
        (record(value=True), Refusal.WRONG_TYPE, "value: expected"),
        (record(trace="yes"), Refusal.WRONG_TYPE, "trace: expected bool, got str"),
        (record(context=[]), Refusal.WRONG_TYPE, "context: expected object"),
        (record(context={"deep": {}}), Refusal.WRONG_TYPE, "context[...]: expected"),
        (record(type="levitate"), Refusal.UNKNOWN_TYPE, "got 'levitate'"),
        (record(type=""), Refusal.UNKNOWN_TYPE, "got ''"),
        (record(user_id=""), Refusal.BAD_ID, "user_id: expected a non-empty text"),
        (record(item_id=" \t"), Refusal.BAD_ID, "item_id: expected a non-empty text"),
        (record(event_id="x" * 257), Refusal.BAD_ID, "event_id: expected at most 256 bytes, got 257"),
        (record(event_id=int("9" * 300)), Refusal.BAD_ID, "event_id: expected at most 256 bytes, got 300"),
        (record(user_id="a\x00b"), Refusal.BAD_ID, "user_id: expected no control characters"),
        (record(item_id="a\x85b"), Refusal.BAD_ID, "item_id: expected no control characters"),
        (record(session_id="a\nb"), Refusal.BAD_ID, "session_id: expected no control characters"),
        (record(event_time_ms=-1), Refusal.OUT_OF_BOUNDS, "event_time_ms: expected 0 to"),
        (record(event_time_ms=2**63), Refusal.OUT_OF_BOUNDS, "event_time_ms: expected 0 to"),
        (record(event_time_ms=1e300), Refusal.OUT_OF_BOUNDS, "event_time_ms: expected 0 to"),
        (record(position=0), Refusal.OUT_OF_BOUNDS, "position: expected 1 to"),
        (record(sent_at_ms=-5), Refusal.OUT_OF_BOUNDS, "sent_at_ms: expected 0 to"),
        (record(context={"n": 2**63}), Refusal.OUT_OF_BOUNDS, "context[...]"),
        (record()[:-1] + b', "value": 1e400}', Refusal.OUT_OF_BOUNDS, "value"),
        (record()[:-1] + b', "value": ' + HUGE_INTEGER + b"}", Refusal.OUT_OF_BOUNDS, "value"),
        (record()[:-1] + b', "user_id": ' + HUGE_INTEGER + b"}", Refusal.OUT_OF_BOUNDS, "user_id"),
    ],
)
def test_what_cannot_be_used_is_refused_with_reason_and_sentence(raw, reason, in_detail):
    rejected = refusal(raw)
    assert rejected.reason is reason
    assert in_detail in rejected.detail


def test_the_key_of_the_record_may_be_missing_or_equal_to_the_user():
    assert clean(record(user_id=42), key=None).user_id == clean(record(user_id=42), key="42").user_id == "42"
    assert clean(record(user_id=" u1 "), key="u1").user_id == "u1"


@pytest.mark.parametrize("key", ["u2", "", "U1", " u1"])
def test_a_key_that_is_not_the_user_to_the_letter_is_refused(key):
    assert refusal(record(), key=key).reason is Refusal.KEY_MISMATCH


def test_the_future_begins_after_the_allowed_lead_of_the_clock():
    lead_ms = config.Events().max_future_ms
    assert clean(record(event_time_ms=NOW_MS + lead_ms)).event_time_ms == NOW_MS + lead_ms
    assert refusal(record(event_time_ms=NOW_MS + lead_ms + 1)).reason is Refusal.IN_THE_FUTURE


def test_age_is_measured_against_the_watermark_and_not_the_clock():
    age_ms = 30 * 86_400_000
    old = record(event_time_ms=1_000)
    assert clean(old, watermark_ms=UNKNOWN_WATERMARK_MS) == clean(old, watermark_ms=1_000 + age_ms)
    assert refusal(old, watermark_ms=1_001 + age_ms).reason is Refusal.TOO_OLD


def test_a_rejection_survives_pickling():
    rejected = pickle.loads(pickle.dumps(Rejected(Refusal.BAD_ID, "why")))
    assert (rejected.reason, rejected.detail, str(rejected)) == (Refusal.BAD_ID, "why", "bad_id: why")


AWKWARD_TEXT = st.text(st.sampled_from('a1 \t\x00\x85"\\é☃😀\ud800\u2003'), max_size=100)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | AWKWARD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(AWKWARD_TEXT, inner, max_size=3),
    max_leaves=8,
)


def assert_cleans_or_refuses(raw: bytes) -> None:
    try:
        event = clean(raw, watermark_ms=NOW_MS)
    except Rejected as rejected:
        DeadLetter.of(rejected, raw, topic="events").encode()
        return
    for text in (event.event_id, event.user_id, event.item_id):
        assert text
        assert text == text.strip()
        assert len(text.encode()) <= 256
    assert event.type in config.Events().types
    assert type(event.event_time_ms) is int
    # What is accepted can be written and read again: no event poisons a later stage.
    again = {name: getattr(event, name) for name in event.__struct_fields__}
    assert clean(json.dumps(again).encode(), watermark_ms=NOW_MS) == event


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf" + record())
def test_any_bytes_are_cleaned_or_refused(raw):
    assert_cleans_or_refuses(raw)


@given(st.dictionaries(st.sampled_from(Event.__struct_fields__), JSON_VALUE))
def test_any_values_of_the_known_fields_are_cleaned_or_refused(changes):
    assert_cleans_or_refuses(json.dumps({**PLAIN, **changes}).encode())


def test_fifty_thousand_damaged_records_are_cleaned_or_refused():
    generator = random.Random(20_240_501)
    whole = record(value=4.5, session_id="s☃", position=3, context={"a": 1, "b": "x"}, text='"\\u00e9"', trace=True)
    refused = 0
    for _ in range(50_000):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 4)):
            start = generator.randrange(len(damaged))
            damaged[start : start + generator.randint(0, 3)] = generator.randbytes(generator.randint(0, 3))
        try:
            clean(bytes(damaged), watermark_ms=NOW_MS)
        except Rejected:
            refused += 1
    assert 10_000 < refused < 50_000


def test_a_dead_letter_says_why_and_where_and_keeps_the_bytes():
    raw = b'{"not": \xff'
    rejected = refusal(raw)
    letter = DeadLetter.of(
        rejected, raw, topic="events", partition=3, offset=17, key="u1", rejected_at_ms=NOW_MS
    )
    assert json.loads(letter.encode()) == {
        "reason": "not_json",
        "detail": rejected.detail,
        "raw_base64": "eyJub3QiOiD/",
        "raw_bytes": 9,
        "topic": "events",
        "partition": 3,
        "offset": 17,
        "key": "u1",
        "rejected_at_ms": NOW_MS,
    }
    assert letter.raw == raw


def test_the_dead_letter_of_an_oversized_record_fits_into_a_kafka_record_and_says_how_much_there_was():
    raw = b"x" * 5_000_000
    letter = DeadLetter.of(refusal(raw), raw, topic="events", key="☃" * 1_000_000)
    assert letter.raw == raw[:DEAD_LETTER_RAW_BYTES]
    assert letter.raw_bytes == 5_000_000
    assert len(letter.encode()) < 1_000_000


def test_the_dead_letter_of_a_tombstone_has_no_bytes():
    letter = DeadLetter.of(refusal(None), None, topic="events")
    assert (letter.raw, letter.raw_bytes) == (None, 0)


def test_a_key_that_utf8_cannot_hold_does_not_stop_a_dead_letter():
    assert json.loads(DeadLetter.of(refusal(b""), b"", topic="events", key="a\ud800").encode())["key"] == "a?"


def test_only_an_erasure_needs_no_item():
    assert clean(record(type="ERASE", item_id="absent")) == Event("e1", "u1", "", ERASE, NOW_MS)
    assert refusal(record(item_id="absent")).detail == "item_id: expected it, but it is not there"
    assert clean(record(type="erase", item_id="")) == Event("e1", "u1", "", ERASE, NOW_MS)
    assert refusal(record(type="erase", item_id=None)).reason is Refusal.WRONG_TYPE
    assert refusal(record(item_id="")).reason is Refusal.BAD_ID
