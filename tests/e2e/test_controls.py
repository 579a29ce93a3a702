"""Rules on a running job: a record on the topic changes the slates within a second, a bad one does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from kafka import KafkaProducer

from cli.stack import Stack
from models.events import Event
from models.experiments import Split
from models.identity import hash64
from models.policies.learner import learner_of
from models.topics import CONTROLS, DEAD_LETTER, METRICS, MODEL_UPDATES, RECOMMENDATIONS, topic_name
from tests import synthetic
from tests.e2e import running

WITHIN_S = 1.0
ARMS = {
    "salt": "spring",
    "arms": {"a": {}, "b": {"policy": {"name": "ucb1", "strategies": {"personal": {}, "sources": {"scorer_weight": 0.0}}}}},
}


class Job:
    """A running job that is asked and told."""

    def __init__(self, stack: Stack) -> None:
        self.config = running.configuration(stack, metrics={"window_s": 60, "by_arm": True}, learner={"enabled": False})
        running.submitted(self.config)
        self.stream = synthetic.events(400, users=20)
        self._loop = running.loop(self.config)
        self._producer = KafkaProducer(bootstrap_servers=self.config.kafka.bootstrap_servers)
        self._asked = 0
        self.ask(self.stream)

    def ask(self, events: list[Event]) -> list[dict[str, Any]]:
        """The slates that answer some events."""
        for _ in self._loop.run(events):
            pass
        wanted = {event.event_id for event in events}
        return [slate for slate in running.values(self.config, RECOMMENDATIONS) if slate["event_id"] in wanted]

    def slate(self, **of: Any) -> dict[str, Any]:
        """A slate of somebody who has done little so far, the same person each time."""
        self._asked += 1
        last = self.stream[-1]
        event = Event(f"asked-{self._asked}", of.get("user", "somebody"), last.item_id, "view", last.event_time_ms + self._asked)
        for progress in self._loop.run([event]):
            answer = progress.last
        assert answer is not None
        assert answer.event_id == event.event_id
        return {"items": [item.item_id for item in answer.items]}

    def tell(self, name: str, rule: Any) -> float:
        """Send a rule, bytes as they are; the time at which the broker had it."""
        value = rule if rule is None or isinstance(rule, bytes) else json.dumps(rule).encode()
        topic = topic_name(self.config.kafka.topic_prefix, CONTROLS)
        self._producer.send(topic, key=name.encode(), value=value).get(timeout=10)
        return time.monotonic()

    def in_force_after_s(self, name: str, rule: Any, holds: Callable[[dict[str, Any]], bool]) -> float:
        """How long until slates keep a rule that was sent."""
        sent = self.tell(name, rule)
        while not holds(self.slate()):
            assert time.monotonic() - sent < 30, f"{name} is not in force"
        return time.monotonic() - sent


@pytest.fixture(scope="module")
def job(stack: Stack) -> Job:
    return Job(stack)


def test_a_rule_is_in_force_within_a_second_and_a_bad_one_leaves_the_last_good_one(job: Job) -> None:
    first, second, *_ = job.slate()["items"]
    assert job.in_force_after_s("exclude:recall", {"items": [first]}, lambda slate: first not in slate["items"]) < WITHIN_S
    pinned = job.in_force_after_s("pin", {"item": second, "position": 4}, lambda slate: slate["items"][3] == second)
    assert pinned < WITHIN_S
    for name, bad in (("exclude:recall", b'{"items": 7}'), ("pin", b"{"), ("no-such-rule", b"{}")):
        job.tell(name, bad)
    running.await_true(lambda: len(running.values(job.config, DEAD_LETTER)) == 3, "three rules are bad")
    assert {letter["key"] for letter in running.values(job.config, DEAD_LETTER)} == {"exclude:recall", "pin", "no-such-rule"}
    slate = job.slate()
    assert first not in slate["items"]
    assert slate["items"][3] == second
    published = {key for key, _ in running.records(job.config, MODEL_UPDATES, committed=False)}
    assert {b"control:exclude:recall", b"control:pin"} <= published
    assert job.in_force_after_s("exclude:recall", None, lambda slate: first in slate["items"]) < WITHIN_S
    job.tell("pin", None)


def test_an_experiment_that_begins_while_the_job_runs_splits_users_and_its_arm_learns(job: Job) -> None:
    job.tell("experiment", ARMS)
    split = Split("spring", {"a": 1, "b": 1})
    user_of_b = next(f"new-{number}" for number in range(99) if split.arm_of(hash64(f"new-{number}")) == "b")
    running.await_true(
        lambda: bool(job.slate(user=user_of_b)) and running.values(job.config, RECOMMENDATIONS)[-1]["arm"] == "b",
        "the experiment is not in force",
    )
    later = job.stream[-1].event_time_ms + 600_000
    asked = [Event(f"x-{event.event_id}", event.user_id, event.item_id, "view", later + 1_000 * number)
             for number, event in enumerate(synthetic.events(300, users=20))]
    slates = job.ask(asked)
    assert len(slates) == 300
    for slate in slates:
        assert slate["arm"] == split.arm_of(hash64(slate["user_id"]))
        assert (slate["policy"] == "ucb1") == (slate["arm"] == "b")
    assert {slate["action"] for slate in slates if slate["arm"] == "b"} == {"personal", "sources"}
    key = b"policy:ucb1@spring.b"
    assert learner_of(key.decode()) != 0
    running.await_true(
        lambda: any(found == key for found, _ in running.records(job.config, MODEL_UPDATES, committed=False)),
        "the arm's tables are not published",
    )

    def slices() -> set[str]:
        return {metric["slice"] for metric in running.values(job.config, METRICS)}

    running.await_true(lambda: {"arm=a", "arm=b", "arm=b/action=personal"} <= slices(), "no metrics of the arms")
    assert any(metric["metric"] == "srm_p" for metric in running.values(job.config, METRICS))
