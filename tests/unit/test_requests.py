"""Cleaning of requests: what is accepted, and what becomes a dead letter of which reason."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import config
from models.events import UNKNOWN_WATERMARK_MS, Refusal, Rejected
from models.requests import Request, RequestCleaner

NOW_MS = 1_700_000_000_000
CLEANER = RequestCleaner(config.Events())
GIVEN = {"request_id": "r1", "user_id": 7, "event_time_ms": NOW_MS}


def clean(changes=None, *, key="7", watermark_ms=UNKNOWN_WATERMARK_MS) -> Request:
    raw = msgspec.json.encode(GIVEN | (changes or {}))
    return CLEANER.clean(raw, key=key, now_ms=NOW_MS, watermark_ms=watermark_ms)


def test_a_request_needs_no_more_than_its_id_user_and_time():
    assert clean() == Request(request_id="r1", user_id="7", event_time_ms=NOW_MS)


def test_what_is_asked_is_cleaned():
    asked = clean(
        {
            "request_id": 12,
            "k": 3.0,
            "context": {"page": "home"},
            "text": "  quiet films ",
            "restrict": ["a", 2],
            "exclude": [],
            "seed_items": [3],
            "after_event_id": 9,
            "sent_at_ms": 5,
            "trace": True,
            "of_next_year": 1,
        }
    )
    assert asked == Request(
        request_id="12",
        user_id="7",
        event_time_ms=NOW_MS,
        k=3,
        context={"page": "home"},
        text="quiet films",
        restrict=("a", "2"),
        exclude=(),
        seed_items=("3",),
        after_event_id="9",
        sent_at_ms=5,
        trace=True,
    )


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"request_id": ""}, Refusal.BAD_ID, "request_id: expected a non-empty text"),
        ({"request_id": None}, Refusal.WRONG_TYPE, "request_id: expected int | str, got null"),
        ({"k": 0}, Refusal.OUT_OF_BOUNDS, "k: expected 1 to 100, got '0'"),
        ({"k": 101}, Refusal.OUT_OF_BOUNDS, "k: expected 1 to 100, got '101'"),
        ({"k": 2.5}, Refusal.WRONG_TYPE, "k: expected a whole number, got 2.5"),
        ({"restrict": "a"}, Refusal.WRONG_TYPE, "restrict: expected array | null, got str"),
        ({"restrict": ["a"] * 1_001}, Refusal.OUT_OF_BOUNDS, "of length <= 1000"),
        ({"exclude": ["a\n\x00"]}, Refusal.BAD_ID, "exclude: expected no control characters"),
        ({"context": {"page": {"deep": 1}}}, Refusal.WRONG_TYPE, "context"),
        ({"event_time_ms": NOW_MS + 60_001}, Refusal.IN_THE_FUTURE, "60001 ms ahead of the clock"),
        ({"user_id": 8}, Refusal.KEY_MISMATCH, "the record's key is '7', but user_id is '8'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(changes, reason, said):
    with pytest.raises(Rejected) as caught:
        clean(changes)
    assert caught.value.reason is reason
    assert said in caught.value.detail


def test_a_request_that_lacks_a_field_names_it():
    with pytest.raises(Rejected, match="missing_field: request_id"):
        CLEANER.clean(b'{"user_id": 7, "event_time_ms": 1}', key=None, now_ms=NOW_MS, watermark_ms=0)


def test_a_request_is_too_old_when_an_event_is():
    cleaner = RequestCleaner(config.Events(max_age_days=1))
    raw = msgspec.json.encode(GIVEN)
    assert cleaner.clean(raw, key="7", now_ms=NOW_MS, watermark_ms=NOW_MS + 86_400_000).request_id == "r1"
    with pytest.raises(Rejected, match="too_old"):
        cleaner.clean(raw, key="7", now_ms=NOW_MS, watermark_ms=NOW_MS + 86_400_001)


@given(st.binary() | st.from_regex(rb'\{"request_id":.{0,40}\}'))
def test_whatever_the_bytes_are_nothing_but_a_refusal_comes_of_them(raw):
    try:
        CLEANER.clean(raw, key=None, now_ms=NOW_MS, watermark_ms=0)
    except Rejected as rejected:
        assert rejected.detail
