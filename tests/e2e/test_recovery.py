"""TaskManagers killed with SIGKILL in mid-stream, the serving one and the learning one: what came of each slate, and all that was
learned, is exactly what slates and events say.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from kafka import KafkaProducer

from cli.clients import TopicReader
from cli.stack import Stack
from models.events import Event
from models.topics import EVENTS, OUTCOMES, RECOMMENDATIONS, topic_name
from tests.e2e import running
from tests.e2e.recompute_outcomes import comparable, recomputed

EVENTS_SENT = 2_400
KILL_AFTER = {"RECOMMEND": 700, "CO-OCCURRENCE": 1_300}
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
        self._became: dict[str, str] = {}
        self._waiting: set[str] = set()
        self.events: list[dict[str, Any]] = []
        self.answered: set[str] = set()

    def act(self) -> None:
        """Send one more event, when the job has answered enough of the others."""
        while len(self._waiting) >= IN_FLIGHT:
            self._look()
        self._send(self._event(len(self.events)))

    def insist(self) -> None:
        """Act on what was seen of slates that have become others since."""
        for user, seen in self._seen.items():
            for slate in seen[-2:]:
                if slate["items"] and slate["revision"] != self._became[slate["slate_id"]]:
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
                self._became[slate["slate_id"]] = slate["revision"]
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


@dataclass(frozen=True)
class Survived:
    """The job after both kills, all events answered and all slates closed."""

    config: running.Configuration
    job_id: str
    events: list[dict[str, Any]]

    @property
    def asking(self) -> set[str]:
        """Ids of the events that a slate answers."""
        types = self.config.events.types
        return {event["event_id"] for event in self.events if types[event["type"]].makes_slate}


@pytest.fixture(scope="module")
def survived(stack: Stack) -> Survived:
    config = running.configuration(
        stack,
        events={"types": {"view": {}, "click": {}, "cart": {"weight": 2.0, "makes_slate": False},
            "impression": {"weight": 0.0, "makes_slate": False}}},
        policy={"name": "sarsa", "strategies": {"personal": {}, "sources": {"scorer_weight": 0.0}}},
        outcomes={"window_ms": 120_000, "max_open": 4, "idle_ms": 30_000, "served_means_seen": False, "aggregation": "sum"},
        learner={"batch_examples": 16, "publish_every_steps": 1},
        scorer={"embedding_rows": 256},
    )
    job_id = running.submitted(config)
    crowd = Crowd(config)
    to_kill = dict(KILL_AFTER)
    for _ in range(EVENTS_SENT):
        crowd.act()
        for vertex in [vertex for vertex, answered in to_kill.items() if len(crowd.answered) >= answered]:
            del to_kill[vertex]
            kill_and_await_restart(stack, config, job_id, vertex)
            crowd.wait()
            crowd.insist()
    assert not to_kill
    crowd.finish()
    done = Survived(config, job_id, crowd.events)
    running.await_records(config, OUTCOMES, len(done.asking))
    return done


def kill_and_await_restart(stack: Stack, config: running.Configuration, job_id: str, vertex: str) -> None:
    before = running.restarts(config, job_id)
    name = running.taskmanager_of(config, job_id, vertex).split(".")[0]
    os.kill(stack.processes()[name], signal.SIGKILL)
    running.await_true(lambda: running.restarts(config, job_id) > before, f"the job goes on without the TaskManager of {vertex}")


def test_every_event_is_answered(survived: Survived) -> None:
    recommendations = running.values(survived.config, RECOMMENDATIONS)

    assert {slate["event_id"] for slate in recommendations} == survived.asking
    slates = {(slate["slate_id"], slate["revision"]) for slate in recommendations}
    assert len(slates) > len(survived.asking), "slates were made twice"


def test_outcomes_equal_a_recomputation_from_slates_and_events(survived: Survived) -> None:
    outcomes = running.values(survived.config, OUTCOMES)

    assert Counter(outcome["event_id"] for outcome in outcomes) == Counter(survived.asking)
    recommendations = running.values(survived.config, RECOMMENDATIONS)
    expected = recomputed(msgspec.to_builtins(survived.config), recommendations, survived.events)
    for mine, theirs in zip(comparable(outcomes), comparable(expected), strict=True):
        assert mine == theirs
    # what the stream was to show has happened
    assert {outcome["closed_by"] for outcome in outcomes} == {"window", "bound", "heartbeat"}
    assert len({outcome["activated"] for outcome in outcomes}) == len({outcome["terminal"] for outcome in outcomes}) == 2
    assert sum(outcome["outcomes"] for outcome in outcomes) > 100


def test_the_table_is_that_of_one_process_which_nobody_killed(survived: Survived) -> None:
    types = survived.config.events.types
    events = [Event(**event) for event in survived.events]
    learned = running.await_learned(survived.config, sum(types[event.type].weight > 0 for event in events))

    assert running.content(learned) == running.content(running.recomputed_rows(survived.config, events))
    assert running.restarts(survived.config, survived.job_id) >= len(KILL_AFTER)
