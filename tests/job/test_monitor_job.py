"""The job that watches what is written, on the embedded MiniCluster: it makes the alerts of the same objects in one process."""

from __future__ import annotations

import base64
import json
import sysconfig
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pyflink.common import Row
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.monitor import MAX_PARALLELISM, build
from jobs.opinion_windows import attach_opinion_metrics
from jobs.recommend import environment
from jobs.streams import TEXT_ROW, shard_keys
from models.config import Configuration, Flink, Monitor
from models.monitor.alerts import Alert
from models.monitor.local import LocalMonitor
from models.monitor.texts import Label, Text
from models.text.words import HashedWords
from operators.recommend import request_mark
from tests.job.captured import Captured
from tests.job.test_minicluster import Collected

ROOT = Path(__file__).resolve().parents[2]
HOUR_MS = 3_600_000
MONDAY_MS = 1_704_067_200_000
SURGE_HOUR = 3 * 24 + 9
CONFIG = Configuration(
    flink=Flink(
        checkpoint_interval_ms=200,
        options={
            "taskmanager.numberOfTaskSlots": "8",
            "python.pythonpath": f"{sysconfig.get_path('purelib')}:{ROOT}",
        },
    ),
    monitor=Monitor(
        topics={"deals": ["a merger, a takeover bid"], "jobs": ["layoffs and strikes"]},
        entities={"Norvik Bank": ["Norvik"]},
        window_s=3_600,
        batch_texts=5,
        min_texts=6,
    ),
)
def text(number: int, time_ms: int, words: str, **fields: Any) -> dict[str, Any]:
    return {"text_id": f"t{number}", "text": words, "event_time_ms": time_ms, "kind": "news"} | fields


def stream() -> list[dict[str, Any]]:
    """Four days of a text an hour and topic; a surge of one topic, of other words each, from 9 to 11 on the fourth; and a repost."""
    made: list[dict[str, Any]] = []
    draw = np.random.default_rng(5)
    for hour in range(4 * 24):
        for place, topic in enumerate(("deals", "jobs")):
            n = 40 if topic == "deals" and SURGE_HOUR <= hour < SURGE_HOUR + 2 else 1
            for more in range(n):
                number = len(made)
                words = " ".join(f"word{one}" for one in draw.integers(3_000, size=9))
                entity = "They say" if number % 3 else "Norvik says"
                at_ms = MONDAY_MS + hour * HOUR_MS + place * 1_000 + more * 60_000
                given = {} if topic == "jobs" and hour % 5 == 0 else {"topic": topic}
                made.append(text(number, at_ms, f"{entity} {words} {number}", **given))
    made.append(text(len(made), MONDAY_MS + 96 * HOUR_MS, made[-1]["text"] + " again"))
    return sorted(made, key=lambda one: one["event_time_ms"])


TEXTS = stream()
LABELS = [
    {"text_id": "t3", "topic": "deals", "sentiment": "negative"},
    {"text": "layoffs at the plant", "topic": "jobs", "sentiment": "negative"},
    {"text_id": "t12", "sentiment": "positive"},
]
BAD = b'{"text_id": "bad", "text": 3}'


def source_rows(key: int) -> list[Row]:
    values = [(one["text_id"], msgspec.json.encode(one)) for one in TEXTS]
    values[20:20] = [("bad", BAD), values[3]]  # one that is no text, and one that was there before
    rows = [Row(key, Row(value, name, 0, offset)) for offset, (name, value) in enumerate(values)]
    # labels come in between, the first of them before its text
    for place, label in zip((2, 30, 40), LABELS, strict=True):
        rows.insert(place, Row(key, Row(msgspec.json.encode(label), None, request_mark(0), place)))
    return rows


def by_local(rows: list[Row]) -> LocalMonitor:
    monitor = LocalMonitor(CONFIG.monitor, HashedWords(CONFIG.text.words_dimension))
    seen = set()
    for row in rows:
        given = json.loads(row[1][0])
        if row[1][2] < 0:
            label = Label(given.get("text_id"), given.get("text"), given.get("sentiment"), given.get("topic"))
            list(monitor.take([label]))
        elif given["text_id"] != "bad" and given["text_id"] not in seen:
            seen.add(given["text_id"])
            one = Text(given["text_id"], given["text"], given["event_time_ms"], "news", None, None, None, given.get("topic"))
            list(monitor.take([one]))
    monitor.advance(MONDAY_MS + 98 * HOUR_MS - 1)
    return monitor


class Ran:
    """The outputs of one run of the job over a stream that ends."""

    def __init__(self) -> None:
        env: StreamExecutionEnvironment = environment(CONFIG)
        t_env = StreamTableEnvironment.create(env)
        [key] = shard_keys(1, MAX_PARALLELISM)
        self.rows = source_rows(key)
        source = env.from_collection(self.rows, TEXT_ROW)
        outputs = build(t_env, source, CONFIG)
        captured = Captured(t_env)
        attach_opinion_metrics(captured, CONFIG)
        alerts, letters = Collected(outputs.alerts), Collected(outputs.dead_letters)
        measured = Collected(t_env.to_data_stream(t_env.sql_query(captured.select)))
        env.execute_async("monitor")
        for collected in (alerts, letters, measured):
            collected.until(lambda _: False)
        self.alerts = [msgspec.json.decode(bytes(value), type=Alert) for _, value in alerts.rows]
        self.letters = [json.loads(bytes(value)) for _, value in letters.rows]
        self.metrics = {(start, metric, part): (value, n) for _, start, _, metric, part, value, n in measured.rows}


@pytest.fixture(scope="module")
def ran() -> Ran:
    return Ran()


def test_the_job_raises_and_clears_what_the_same_objects_do_in_one_process(ran):
    local = by_local(ran.rows)
    made = sorted((msgspec.structs.replace(one, emitted_at_ms=0) for one in ran.alerts), key=lambda one: one.window_end_ms)
    assert made == local.alerts
    [raised, cleared] = [one for one in made if one.kind == "volume"]
    assert (raised.state, raised.topic, raised.texts) == ("raised", "deals", 40)
    assert raised.window_start_ms == MONDAY_MS + SURGE_HOUR * HOUR_MS
    assert (cleared.state, cleared.alert_id, cleared.cleared_by) == ("cleared", raised.alert_id, "usual")
    assert len({one.text_id for one in raised.examples}) == CONFIG.monitor.alert_texts
    assert all(one.emitted_at_ms > 0 for one in ran.alerts)


def test_what_is_no_text_and_what_was_there_before_is_a_dead_letter_with_its_reason(ran):
    assert sorted(letter["reason"] for letter in ran.letters) == ["duplicate", "wrong_type"]
    [bad] = [letter for letter in ran.letters if letter["reason"] == "wrong_type"]
    assert (base64.b64decode(bad["raw_base64"]), bad["topic"], bad["offset"]) == (BAD, "texts", 20)


def test_the_windows_count_texts_negative_texts_and_near_duplicates(ran):
    surge = MONDAY_MS + SURGE_HOUR * HOUR_MS
    assert ran.metrics[surge, "texts", "topic=deals"][0] == 40
    assert sum(v for (_, metric, part), (v, _) in ran.metrics.items() if metric == "texts" and "/" not in part) == len(TEXTS) - 1
    [(_, repeated)] = [(key, v) for key, v in ran.metrics.items() if key[1] == "near_duplicates" and v[0] and "/" not in key[2]]
    assert repeated == (1, 1)
    of_entity = ran.metrics[surge, "texts", "topic=deals/entity=Norvik Bank"][0]
    assert 0 < of_entity < 40
    sentiment, n = ran.metrics[surge, "sentiment", "topic=deals"]
    assert -1 <= sentiment <= 1 and n == 40


def test_labels_are_judged_before_they_are_learned_and_wait_for_their_text(ran):
    accuracy = [v for (_, metric, _), v in ran.metrics.items() if metric == "sentiment_accuracy"]
    assert sum(n for _, n in accuracy) == len(LABELS)
