"""The monitor on real Kafka and Flink: a surge is raised once with its texts, within seconds of its window's end, and cleared once."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import numpy as np
from typer.testing import CliRunner

from cli.clients import EventSender
from cli.cluster import submit_job
from cli.domains.opinion import replayed
from cli.main import app
from cli.stack import Stack
from cli.topics import MONITOR_TOPICS, create_topics
from models.monitor.texts import LabelRecord, TextRecord
from models.topics import ALERTS, DEAD_LETTER, METRICS
from tests.e2e import running

HOUR_MS = 3_600_000
MONDAY_MS = 1_704_067_200_000
SURGE_HOUR = 3 * 24 + 9
DELAY_MS = 5_000


def texts(hours: range, *, surge: bool = False) -> list[TextRecord]:
    """A text an hour, in a surge 40, none of which repeats another."""
    draw = np.random.default_rng(hours.start)
    made = []
    for hour in hours:
        for n in range(40 if surge else 1):
            words = " ".join(f"word{one}" for one in draw.integers(3_000, size=9))
            # a window is judged when a text is out_of_order_ms behind its end
            at_ms = MONDAY_MS + hour * HOUR_MS + (n + 1) * 60_000
            made.append(TextRecord(text_id=f"{hour}-{n}", text=f"Norvik {words}", event_time_ms=at_ms, topic="deals", kind="news"))
    return made


def test_a_surge_is_raised_once_within_seconds_with_its_texts_and_cleared_once(stack: Stack) -> None:
    monitor: dict[str, Any] = {"window_s": 3_600, "min_texts": 6, "topics": {"deals": ["a merger"], "jobs": ["a strike"]}}
    config = replayed(running.configuration(stack, monitor=monitor, text={"encoder": "words"}))
    create_topics(config.kafka, MONITOR_TOPICS)
    submit_job(config, progress=lambda _: None, job="monitor")

    def alerts() -> list[dict[str, Any]]:
        # what 40 words without a meaning say of the mood is chance
        return [one for one in running.values(config, ALERTS) if one["kind"] == "volume"]

    with closing(EventSender(config.kafka)) as sender:

        def send(some: list[TextRecord]) -> None:
            for one in some:
                sender.send_text(one)
            sender.flush()

        send(texts(range(SURGE_HOUR)))
        sender.send_label(LabelRecord(text_id="5-0", sentiment="positive", topic="deals"))
        send([texts(range(5, 6))[0]])  # a text that was there before
        send(texts(range(SURGE_HOUR, SURGE_HOUR + 1), surge=True))
        # the window before is judged: what comes now is judged by a job that runs, not by one that starts
        running.await_true(lambda: bool(running.values(config, METRICS)), "the job has counted no window")
        assert alerts() == []
        ended_ms = time.time_ns() // 1_000_000
        send(texts(range(SURGE_HOUR + 1, SURGE_HOUR + 2)))
        running.await_true(lambda: bool(alerts()), "no alert was raised")
        send(texts(range(SURGE_HOUR + 2, SURGE_HOUR + 6)))
        running.await_true(lambda: len(alerts()) > 1, "no alert was cleared")
        send(texts(range(SURGE_HOUR + 6, SURGE_HOUR + 9)))
        last_ms = MONDAY_MS + (SURGE_HOUR + 8) * HOUR_MS
        running.await_true(
            lambda: any(one["window_end_ms"] == last_ms for one in running.values(config, METRICS)), "the last windows are not counted"
        )

    place = ("--bootstrap-servers", config.kafka.bootstrap_servers, "--topic-prefix", config.kafka.topic_prefix)
    shown = CliRunner().invoke(app, ["alerts", "--all", *place], catch_exceptions=False).output
    assert "raised   deals: 40 texts where" in shown
    assert "cleared  deals: " in shown
    raised, cleared = alerts()
    assert (raised["state"], cleared["state"], raised["alert_id"]) == ("raised", "cleared", cleared["alert_id"])
    assert (raised["topic"], raised["kind"], raised["texts"]) == ("deals", "volume", 40)
    assert raised["window_start_ms"] == MONDAY_MS + SURGE_HOUR * HOUR_MS
    assert raised["emitted_at_ms"] - ended_ms <= DELAY_MS
    assert len(raised["examples"]) == config.monitor.alert_texts
    assert all(one["text_id"].startswith(f"{SURGE_HOUR}-") for one in raised["examples"])
    [letter] = running.values(config, DEAD_LETTER)
    assert letter["reason"] == "duplicate"
    counted = {(one["window_start_ms"], one["metric"], one["slice"]): one["value"] for one in running.values(config, METRICS)}
    assert counted[raised["window_start_ms"], "texts", "topic=deals"] == 40
    assert sum(value for (_, metric, _), value in counted.items() if metric == "sentiment_accuracy" and value is not None) in (0.0, 1.0)
