"""The monitor's operators: whatever is killed when, each text is judged, each label learned, each surge raised and cleared once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from pyflink.common import Row

from models.config import Configuration, Monitor
from models.config import Text as TextSettings
from models.events import DeadLetter
from models.monitor.alerts import Alert
from models.monitor.texts import Encoded, JudgedText, Text, decode_encoded, encode_message
from operators.judge_texts import NEW_TEXTS, JudgeTexts
from operators.read_texts import JUDGE_KEY, UNREAD, ReadTexts
from operators.recommend import request_mark
from operators.watch_topics import WatchTopics, Window
from tests.operator.fakes import FakeBackend, Running

HOUR_MS = 3_600_000
MONDAY_MS = 1_704_067_200_000
SHARD = 5
CONFIG = Configuration(
    text=TextSettings(encoder="words", words_dimension=64),
    monitor=Monitor(
        topics={"deals": ["a merger, a takeover bid"], "jobs": ["layoffs and strikes"]},
        entities={"Norvik Bank": ["Norvik"]},
        window_s=3_600,
        batch_texts=3,
        batch_wait_ms=100,
        min_texts=6,
        kept_texts=16,
        kept_labels=16,
        sample_texts=1_009,  # none of the texts below takes the place of another
    ),
)


def record(value: Any, *, key: str | None = None, partition: int = 0) -> Row:
    raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
    return Row(raw, key, partition, 7)


def text(name: str, words: str, at_ms: int = MONDAY_MS) -> dict[str, Any]:
    return {"text_id": name, "text": words, "event_time_ms": at_ms}


def sent(yielded: list[Any]) -> list[Encoded]:
    assert all(row[0] == JUDGE_KEY for row in yielded if isinstance(row, Row))
    return [decode_encoded(row[1]) for row in yielded if isinstance(row, Row)]


def letters(yielded: list[Any]) -> list[DeadLetter]:
    return [msgspec.json.decode(row[1], type=DeadLetter) for tag, row in (y for y in yielded if isinstance(y, tuple)) if tag is UNREAD]


# ------------------------------------------------------------------------------------------------ READ


def test_texts_wait_for_a_full_batch_and_are_encoded_together_in_their_order():
    read = Running(ReadTexts(CONFIG))
    assert read.send(SHARD, record(text("a", "one"))) == read.send(SHARD, record(text("b", "two"))) == []
    batch = sent(read.send(SHARD, record({"text": "three", "topic": "jobs"}, partition=request_mark(0))))
    assert [(one.text or one.label).text for one in batch] == ["one", "two", "three"]
    assert all(len(one.vector or b"") == 2 * 64 for one in batch)
    assert batch[0].vector != batch[1].vector


@pytest.mark.parametrize("by", ["clock", "watermark"])
def test_a_text_goes_on_before_its_time_passes_and_does_not_wait_for_ever(by):
    read = Running(ReadTexts(CONFIG))
    read.backend.now_ms = 1_000
    read.send(SHARD, record(text("a", "one", MONDAY_MS + 5)))
    if by == "clock":
        assert read.fire_timers(1_099) == []
        assert len(sent(read.fire_timers(1_100))) == 1
    else:
        assert read.advance_watermark(MONDAY_MS + 4) == []
        assert len(sent(read.advance_watermark(MONDAY_MS + 5))) == 1
    assert read.fire_timers(2_000) == read.advance_watermark(MONDAY_MS + HOUR_MS) == []


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (None, None, "empty"),
        (b"\xff", None, "not_json"),
        ({"text": "no id", "event_time_ms": 1}, None, "missing_field"),
        (text("a", "  "), None, "empty"),
        (text("a", "words"), "b", "key_mismatch"),
        ({**text("a", "words"), "entities": ["x"] * 17}, None, "out_of_bounds"),
        ({**text("a", "words"), "kind": "rumour"}, None, "wrong_type"),
        (text("a", "words", 10**17), None, "in_the_future"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter_and_the_next_text_is_read(value, key, reason):
    read = Running(ReadTexts(CONFIG))
    [letter] = letters(read.send(SHARD, record(value, key=key)))
    assert (letter.reason, letter.topic, letter.offset) == (reason, "texts", 7)
    read.send(SHARD, record(text("a", "words")))
    assert len(sent(read.fire_timers(10**6))) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"sentiment": "positive"}, "missing_field"),
        ({"text_id": "a"}, "missing_field"),
        ({"text_id": "a", "topic": "weather"}, "unknown_type"),
        ({"text_id": "a", "sentiment": "angry"}, "wrong_type"),
    ],
)
def test_a_label_that_says_nothing_usable_is_a_dead_letter_of_its_topic(value, reason):
    [letter] = letters(Running(ReadTexts(CONFIG)).send(SHARD, record(value, partition=request_mark(3))))
    assert (letter.reason, letter.topic, letter.partition) == (reason, "labels", 3)


def test_after_a_restore_what_waited_is_sent_once_and_an_id_is_still_known():
    read = Running(ReadTexts(CONFIG))
    read.send(SHARD, record(text("a", "one")))
    restored = Running(ReadTexts(CONFIG), read.backend.checkpoint())
    [letter] = letters(restored.send(SHARD, record(text("a", "one"))))
    assert letter.reason == "duplicate"
    restored.send(SHARD, record(text("b", "two")))
    [first, second] = sent(restored.fire_timers(10**6))
    assert [first.text.text_id, second.text.text_id] == ["a", "b"]
    assert first == sent(read.fire_timers(10**6))[0]


# ------------------------------------------------------------------------------------------------ JUDGE


def messages() -> list[bytes]:
    """Texts and labels as READ sends them; a label before its text, a label of words, a repost."""
    read = Running(ReadTexts(msgspec.structs.replace(CONFIG, monitor=msgspec.structs.replace(CONFIG.monitor, batch_texts=1))))
    draw = np.random.default_rng(2)
    given: list[Row] = []
    for number in range(30):
        words = " ".join(f"word{one}" for one in draw.integers(40, size=9))
        given.append(record(text(f"t{number}", f"Norvik {words}", MONDAY_MS + number)))
        if number % 2:
            label = {"text_id": f"t{number + number % 3}", "sentiment": ("negative", "positive")[number % 4 // 2], "topic": "jobs"}
            given.append(record(label, partition=request_mark(0)))
    given.insert(9, record({"text": "strike at the plant", "topic": "jobs"}, partition=request_mark(0)))
    given.append(record(text("copy", f"RT @x: Norvik {words} now", MONDAY_MS + 99)))
    return [row[1] for one in given for row in read.send(SHARD, one)]


def test_a_judge_that_is_killed_after_every_message_says_and_learns_what_one_does_that_lives():
    lives = Running(JudgeTexts(CONFIG))
    expected = [lives.send(JUDGE_KEY, message) for message in messages()]
    backend = FakeBackend()
    got = []
    for message in messages():
        killed = Running(JudgeTexts(CONFIG), backend.checkpoint())
        got.append(killed.send(JUDGE_KEY, message))
        backend = killed.backend
    assert got == expected
    assert backend.cells == lives.backend.cells
    kinds = [row[1] for yielded in expected for row in yielded if isinstance(row, Row)]
    assert (kinds.count("repeat"), kinds.count("label")) == (2, 15)  # a text and its entity; all labels but the one whose text never comes


def test_a_repost_is_counted_as_one_and_is_no_new_text():
    judge = Running(JudgeTexts(CONFIG))
    *_, last = [judge.send(JUDGE_KEY, message) for message in messages()]
    assert [row[1] for row in last] == ["repeat", "repeat"]
    assert [row[3] for row in last] == ["", "Norvik Bank"]
    assert not any(isinstance(one, tuple) and one[0] is NEW_TEXTS for one in last)


def test_the_state_of_other_topics_is_refused_in_words():
    judge = Running(JudgeTexts(CONFIG))
    for message in messages():
        judge.send(JUDGE_KEY, message)
    others = msgspec.structs.replace(CONFIG, monitor=msgspec.structs.replace(CONFIG.monitor, topics={"one": []}))
    with pytest.raises(ValueError, match="head of 2 classes"):
        Running(JudgeTexts(others), judge.backend.checkpoint()).send(JUDGE_KEY, messages()[0])


# ------------------------------------------------------------------------------------------------ WATCH


def window(hour: int, texts: int, *, entity: str = "", negative: int = 0) -> bytes:
    return msgspec.json.encode(Window(MONDAY_MS + (hour + 1) * HOUR_MS, entity, texts, negative))


def judged_texts(hour: int, n: int) -> list[bytes]:
    """New texts of an hour as JUDGE sends them."""
    made = []
    for number in range(n):
        one = Text(f"{hour}-{number}", f"text {number}", MONDAY_MS + hour * HOUR_MS + number, "post", None, None, None, None)
        vector = np.eye(64, dtype=np.float16)[number].tobytes()
        made.append(encode_message(JudgedText(one, "deals", (), 0, vector)))
    return made


SURGE = range(57, 60)
"""From 9 to 12 on Wednesday."""


def watched(*, killed_at: int | None = None) -> list[Alert]:
    """Four days of two texts an hour and a surge; the operator is killed in the middle of an hour, with its window half there."""
    watch = Running(WatchTopics(CONFIG))
    alerts: list[Alert] = []
    for hour in range(96):
        n = 30 if hour in SURGE else 2
        texts = judged_texts(hour, min(n, 4))
        for value in texts[:2]:
            watch.send("deals", value)
        if hour == killed_at:
            watch = Running(WatchTopics(CONFIG), watch.backend.checkpoint())
        for value in (*texts[2:], window(hour, n)):
            watch.send("deals", value)
        yielded = watch.advance_watermark(MONDAY_MS + (hour + 1) * HOUR_MS - 1)
        alerts += [msgspec.json.decode(row[1], type=Alert) for row in yielded]
    return [msgspec.structs.replace(alert, emitted_at_ms=0) for alert in alerts]


@pytest.mark.parametrize("killed_at", [None, 20, SURGE[0], SURGE[1], SURGE[-1] + 1])
def test_a_surge_is_raised_once_with_its_texts_and_cleared_once_whenever_the_operator_is_killed(killed_at):
    alerts = watched(killed_at=killed_at)
    assert [(one.state, (one.window_start_ms - MONDAY_MS) // HOUR_MS) for one in alerts] == [("raised", 57), ("cleared", 61)]
    raised, cleared = alerts
    assert raised.alert_id == cleared.alert_id
    assert {one.text_id for one in raised.examples} == {f"57-{number}" for number in range(4)}
    assert alerts == watched()


def test_windows_without_a_text_are_judged_too_and_a_topic_that_stays_silent_is_forgotten():
    short = msgspec.structs.replace(CONFIG, monitor=msgspec.structs.replace(CONFIG.monitor, history_days=2))
    watch = Running(WatchTopics(short))
    watch.send("deals", window(0, 2))
    watch.advance_watermark(MONDAY_MS + 40 * HOUR_MS)
    assert watch.backend.cells["rows", "deals"]
    watch.advance_watermark(MONDAY_MS + 60 * HOUR_MS)
    assert not watch.backend.cells.get(("rows", "deals"))
    assert not watch.backend.event_timers


def test_a_text_whose_window_was_judged_is_left_out_and_counted():
    watch = Running(WatchTopics(CONFIG))
    watch.send("deals", window(5, 2))
    watch.advance_watermark(MONDAY_MS + 6 * HOUR_MS - 1)
    watch.send("deals", judged_texts(5, 1)[0])
    watch.advance_watermark(MONDAY_MS + 7 * HOUR_MS - 1)
    assert not watch.backend.cells.get(("sample", "deals"))
    assert watch.backend.told["flinkrec.texts_late_total"] == 1
