"""Outcomes on a real broker and cluster, the serving TaskManager killed in mid-stream: one for each slate, and all of them right."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaProducer

from cli.clients import TopicReader
from cli.stack import Stack
from models.topics import EVENTS, OUTCOMES, RECOMMENDATIONS, topic_name
from tests.e2e import running
from tests.e2e.recompute_outcomes import comparable, recomputed

EVENTS_SENT = 2_400
KILL_AFTER = 900
IN_FLIGHT = 32
USERS, ITEMS = 12, 150
PATIENCE_S = 120


class Crowd:
    """Users who report what they were shown, and act on it, quoting the revision that they saw.

    Attributes
    ----------
    events : what was sent
    answered : ids of the events whose slate was seen
    """

    def __init__(self, config: running.Configuration) -> None:
        self._types = config.events.types
        self._topic = topic_name(config.kafka.topic_prefix, EVENTS)
        self._reader = TopicReader(config.kafka, (RECOMMENDATIONS,))
        self._producer = KafkaProducer(bootstrap_servers=config.kafka.bootstrap_servers, linger_ms=2)
        self._draw = np.random.default_rng(5)
        self._time_ms = 1_700_000_000_000
        self._seen: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._waiting: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.answered: set[str] = set()

    def act(self) -> None:
        """Send one more event, when the job has answered enough of the others."""
        while len(self._waiting) >= IN_FLIGHT:
            self._look()
        self._send(self._event(len(self.events)))

    def insist(self, recommendations: list[dict[str, Any]]) -> None:
        """Act on what was seen of slates that have become others since."""
        became = {slate["slate_id"]: slate["revision"] for slate in recommendations}
        for user, seen in self._seen.items():
            for slate in seen[-2:]:
                if slate["items"] and slate["revision"] != became[slate["slate_id"]]:
                    quoted = {"slate_id": slate["slate_id"], "revision": slate["revision"]}
                    act = {"event_id": f"e{len(self.events)}", "user_id": user, "item_id": slate["items"][0]["item_id"]}
                    self._send(act | {"type": "cart", "event_time_ms": self._time_ms} | quoted)

    def _send(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if self._types[event["type"]].makes_slate:
            self._waiting.add(event["event_id"])
        value, key = msgspec.json.encode(event), event["user_id"].encode()
        self._producer.send(self._topic, value=value, key=key, timestamp_ms=event["event_time_ms"])

    def wait(self) -> None:
        """Wait for the answers that are missing."""
        while self._waiting:
            self._look()

    def finish(self) -> None:
        """Wait, and disconnect."""
        self.wait()
        self._reader.close()
        self._producer.close()

    def _look(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        heard = False
        while not heard:
            assert time.monotonic() < deadline_s, f"{len(self._waiting)} events wait for an answer"
            for _, value, _ in self._reader.poll(100):
                slate = msgspec.json.decode(value)
                heard = True
                # who has seen a slate does not see what it became after a restore
                if slate["event_id"] in self._waiting:
                    self._waiting.discard(slate["event_id"])
                    self.answered.add(slate["event_id"])
                    self._seen[slate["user_id"]].append(slate)

    def _event(self, number: int) -> dict[str, Any]:
        draw, user = self._draw, f"user-{self._draw.integers(USERS)}"
        self._time_ms += int(draw.exponential(3_000)) + (4_000_000 if draw.random() < 0.005 else 0)
        event = {
            "event_id": f"e{number}",
            "user_id": user,
            "item_id": f"item-{int(ITEMS * draw.random() ** 2)}",
            "type": "view",
            "event_time_ms": self._time_ms,
        }
        seen = self._seen[user]
        if seen and draw.random() < 0.6:
            slate = seen[-1 - min(len(seen) - 1, int(draw.exponential(1)))]
            event["type"] = str(draw.choice(["impression", "click", "cart"], p=[0.5, 0.35, 0.15]))
            if slate["items"]:
                event["item_id"] = slate["items"][draw.integers(len(slate["items"]))]["item_id"]
            if draw.random() < 0.7:
                event |= {"slate_id": slate["slate_id"], "revision": slate["revision"]}
        return event


def test_outcomes_equal_a_recomputation_from_slates_and_events_though_the_serving_taskmanager_was_killed(stack: Stack) -> None:
    config = running.configuration(
        stack,
        events={"types": {"view": {}, "click": {}, "cart": {"weight": 2.0, "makes_slate": False},
            "impression": {"weight": 0.0, "makes_slate": False}}},
        policy={"name": "sarsa", "strategies": {"personal": {}, "sources": {"scorer_weight": 0.0}}},
        outcomes={"window_ms": 120_000, "max_open": 4, "idle_ms": 20_000, "served_means_seen": False, "aggregation": "sum"},
        learner={"batch_examples": 16, "publish_every_steps": 1},
    )
    job_id = running.submitted(config)
    crowd = Crowd(config)
    killed = False
    for _ in range(EVENTS_SENT):
        crowd.act()
        if len(crowd.answered) >= KILL_AFTER and not killed:
            killed = True
            name = running.taskmanager_of(config, job_id, "RECOMMEND").split(".")[0]
            os.kill(stack.processes()[name], signal.SIGKILL)
            crowd.wait()
            crowd.insist(running.values(config, RECOMMENDATIONS))
    crowd.finish()
    slates = {event["event_id"] for event in crowd.events if config.events.types[event["type"]].makes_slate}
    running.await_true(lambda: len(running.values(config, OUTCOMES)) >= len(slates), "outcomes are missing")
    outcomes = running.values(config, OUTCOMES)

    assert running.restarts(config, job_id) >= 1
    assert Counter(outcome["event_id"] for outcome in outcomes) == Counter(slates)
    recommendations = running.values(config, RECOMMENDATIONS)
    expected = recomputed(msgspec.to_builtins(config), recommendations, crowd.events)
    for mine, theirs in zip(comparable(outcomes), comparable(expected), strict=True):
        assert mine == theirs
    # what the stream was to show has happened
    assert {outcome["closed_by"] for outcome in outcomes} == {"window", "bound", "heartbeat"}
    assert len({outcome["activated"] for outcome in outcomes}) == len({outcome["terminal"] for outcome in outcomes}) == 2
    assert len({(slate["slate_id"], slate["revision"]) for slate in recommendations}) > len(slates), "slates were made twice"
    assert sum(outcome["outcomes"] for outcome in outcomes) > 100
