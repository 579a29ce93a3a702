"""Requests, traces, erasures and rules on a running job: real records in, the records that answer them out.

One job for all of them, so that it is submitted once; what rules leave behind, the tests before them must not see.
"""

from __future__ import annotations

import ast
import json
import textwrap
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from cli.models import read_models
from cli.stack import Stack
from models.events import Event
from models.experiments import Split
from models.identity import hash64
from models.panel import panel_key
from models.policies.learner import learner_of
from models.topics import (
    CONTROLS,
    DEAD_LETTER,
    EVENTS,
    METRICS,
    MODEL_UPDATES,
    RECOMMENDATIONS,
    REQUESTS,
    TRACES,
    kept_value,
    slate_number,
    topic_name,
)
from models.versions import decode_version
from tests import synthetic
from tests.e2e import running

USER = "user-3"
# of a rule: until slates keep it
WITHIN_S = 1.0
ARMS = {
    "salt": "spring",
    "arms": {
        "a": {},
        "b": {
            "policy": {"name": "ucb1", "strategies": {"personal": {}, "sources": {"scorer_weight": 0.0}}},
            "scorer": {"name": "mlp", "hidden": [8]},
        },
    },
}
EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "serving.md"


class Job:
    """A running job that has learned something, and is asked and told."""

    def __init__(self, stack: Stack) -> None:
        # a wait that is longer than the machine is slow, so that it ends by the event and by nothing else
        self.config = running.configuration(
            stack,
            learner={"batch_examples": 8, "publish_every_steps": 1},
            requests={"wait_ms": 10_000},
            metrics={"window_s": 1, "by_arm": True},
            events={"late_after_ms": 0},
        )
        self.job_id = running.submitted(self.config)
        self._producer = KafkaProducer(
            bootstrap_servers=self.config.kafka.bootstrap_servers,
            key_serializer=str.encode,
            value_serializer=lambda value: json.dumps(value).encode(),
        )
        self._rules = KafkaProducer(bootstrap_servers=self.config.kafka.bootstrap_servers)
        self.stream = synthetic.events(400, users=20)
        self.now_ms = self.stream[-1].event_time_ms
        self._slates_asked = 0
        self._loop = running.loop(self.config)
        self.ask(self.stream)

    def send(self, topic: str, user: str, **fields: Any) -> None:
        self.now_ms += 1_000
        value = {"user_id": user, "event_time_ms": self.now_ms, **fields}
        # the record's time is the event's: what comes with the clock's would make all that is asked later late
        sent = self._producer.send(topic_name(self.config.kafka.topic_prefix, topic), key=user, value=value, timestamp_ms=self.now_ms)
        sent.get(timeout=10)

    def values(self, topic: str) -> list[dict[str, Any]]:
        return running.values(self.config, topic)

    def answer(self, name: str, user: str = USER, **asked: Any) -> dict[str, Any]:
        """The answer to a request."""
        self.send(REQUESTS, user, request_id=name, sent_at_ms=time.time_ns() // 1_000_000, **asked)
        return self.awaited(RECOMMENDATIONS, "request_id", name)

    def awaited(self, topic: str, field: str, value: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [record for record in self.values(topic) if record.get(field) == value]
            return bool(found)

        running.await_true(is_there, f"no record with {field} {value} on {topic}")
        [record] = found
        return record

    def ask(self, events: list[Event]) -> list[dict[str, Any]]:
        """The slates that answer some events."""
        for _ in self._loop.run(events):
            pass
        wanted = {event.event_id for event in events}
        return [slate for slate in self.values(RECOMMENDATIONS) if slate["event_id"] in wanted]

    def slate(self, user: str = "somebody") -> list[str]:
        """Item ids of a slate of somebody who has done little so far, the same person each time."""
        self._slates_asked += 1
        self.now_ms += 1
        event = Event(f"asked-{self._slates_asked}", user, self.stream[-1].item_id, "view", self.now_ms)
        for progress in self._loop.run([event]):
            answer = progress.last
        assert answer is not None
        assert answer.event_id == event.event_id
        return [item.item_id for item in answer.items]

    def tell(self, name: str, rule: Any) -> float:
        """Send a rule, bytes as they are; the time at which the broker had it."""
        value = rule if rule is None or isinstance(rule, bytes) else json.dumps(rule).encode()
        self._rules.send(topic_name(self.config.kafka.topic_prefix, CONTROLS), key=name.encode(), value=value).get(timeout=10)
        return time.monotonic()

    def in_force_after_s(self, name: str, rule: Any, holds: Callable[[list[str]], bool]) -> float:
        """How long until slates keep a rule that was sent."""
        sent = self.tell(name, rule)
        while not holds(self.slate()):
            assert time.monotonic() - sent < 30, f"{name} is not in force"
        return time.monotonic() - sent

    def members(self) -> dict[bytes, bytes | None]:
        """The last record of each member of the panel."""
        records = running.records(self.config, MODEL_UPDATES, committed=False)
        return {key: value for key, value in records if key is not None and key.startswith(b"panel:")}


@pytest.fixture(scope="module")
def job(stack: Stack) -> Job:
    return Job(stack)


def ids(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"]]


def test_a_request_is_answered_within_its_bounds(job: Job) -> None:
    plain = job.answer("plain")
    assert (plain["user_id"], plain["event_id"], len(plain["items"])) == (USER, "", 10)
    assert not {event.item_id for event in job.stream if event.user_id == USER} & set(ids(plain))
    first, second, *_ = ids(plain)
    assert not {first, second} & set(ids(job.answer("exclude", exclude=[first, second], k=5)))
    some = [first, second, ids(plain)[7]]
    assert set(ids(job.answer("restrict", restrict=some))) == set(some)
    listed = job.answer("listed", seed_items=[second, first])
    assert {reason["item_id"] for item in listed["items"] for reason in item["reasons"] if reason.get("item_id")} <= {first, second}
    assert not {first, second} & set(ids(listed))
    stranger = job.answer("stranger", user="nobody knows them")
    assert len(stranger["items"]) == 10
    assert all(item["sources"] and item["sources"][0] != "item_cf" for item in stranger["items"])
    assert stranger["timings"]["sent_at_ms"] <= stranger["timings"]["emitted_at_ms"]


def test_a_request_waits_for_the_event_that_it_names(job: Job) -> None:
    item = "item-1"
    job.send(REQUESTS, USER, request_id="behind", after_event_id="not yet", k=3, trace=True)
    # what is asked later is answered before
    assert job.answer("meanwhile", k=1)["request_id"] == "meanwhile"
    assert "behind" not in {slate["request_id"] for slate in job.values(RECOMMENDATIONS)}
    job.send(EVENTS, USER, event_id="not yet", item_id=item, type="view")
    answer, of_event = job.awaited(RECOMMENDATIONS, "request_id", "behind"), job.awaited(RECOMMENDATIONS, "event_id", "not yet")
    assert answer["seq"] == of_event["seq"] + 1
    assert job.awaited(TRACES, "request_id", "behind")["profile"][0]["item_id"] == item
    # and where no such event comes, it is answered all the same
    job.send(REQUESTS, "user-4", request_id="in vain", after_event_id="never")
    answer = job.awaited(RECOMMENDATIONS, "request_id", "in vain")
    waited_ms = answer["timings"]["emitted_at_ms"] - answer["timings"]["received_at_ms"]
    assert waited_ms >= job.config.requests.wait_ms


def test_a_slate_that_asks_for_it_is_taken_apart(job: Job) -> None:
    slate = job.answer("traced", trace=True)
    trace = job.awaited(TRACES, "request_id", "traced")
    assert trace["slate_id"] == slate["slate_id"]
    shown = sorted((c for c in trace["candidates"] if c["position"]), key=lambda c: c["position"])
    for name in ("item_id", "position", "propensity", "explored", "score", "cf_score", "reasons"):
        assert [candidate[name] for candidate in shown] == [item[name] for item in slate["items"]]
    job.send(EVENTS, USER, event_id="traced too", item_id="item-2", type="view", trace=True)
    trace = job.awaited(TRACES, "event_id", "traced too")
    assert trace["profile"][0]["item_id"] == "item-2"
    asked = {value["request_id"] for value in job.values(RECOMMENDATIONS)}
    assert {"plain", "traced"} <= asked
    assert "plain" not in {trace["request_id"] for trace in job.values(TRACES)}


def test_the_example_of_the_documentation_asks_and_reads_the_answer(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, example = EXAMPLE.read_text().partition("In ten lines:")
    code = textwrap.dedent(example.split("\n|")[0]).replace("localhost:19092", job.config.kafka.bootstrap_servers)
    for topic in (REQUESTS, RECOMMENDATIONS):
        code = code.replace(f'"{topic}"', repr(topic_name(job.config.kafka.topic_prefix, topic)))
    exec(compile(code, EXAMPLE.name, "exec"), {})
    printed = ast.literal_eval(capsys.readouterr().out)
    assert len(printed) == 5


def test_a_bad_request_is_a_dead_letter_and_good_ones_are_counted(job: Job) -> None:
    job.send(REQUESTS, USER, request_id="bad", k=0)
    letter = job.awaited(DEAD_LETTER, "topic", topic_name(job.config.kafka.topic_prefix, REQUESTS))
    assert (letter["reason"], letter["partition"]) == ("out_of_bounds", 0)
    job.now_ms += 60_000
    job.send(EVENTS, "user-5", event_id="moves the clock", item_id="item-3", type="view")
    running.await_true(lambda: any(m["metric"] == "requests" for m in job.values(METRICS)), "requests are not counted")


def test_a_record_whose_key_is_empty_is_of_the_user_that_it_names(job: Job) -> None:
    for user in ("a stranger", "another stranger"):
        job.send(REQUESTS, "", user_id=user, request_id=f"of {user}")
        answer = job.awaited(RECOMMENDATIONS, "request_id", f"of {user}")
        assert (answer["user_id"], slate_number(answer["seq"])) == (user, 1)


def test_an_erased_user_is_forgotten_by_state_and_panel(job: Job) -> None:
    key = panel_key(hash64(USER)).encode()
    running.await_true(lambda: job.members().get(key) is not None, "the user is in the panel")
    before = job.answer("before", k=2)
    assert before["seq"] > 1
    job.send(EVENTS, USER, event_id="erasure", type="erase")
    marker = job.awaited(RECOMMENDATIONS, "event_id", "erasure")
    assert (marker["erased"], marker["items"], marker["user_id"], marker["seq"]) == (True, [], USER, before["seq"] + 1)
    running.await_true(lambda: not job.members()[key], "the panel still has the user")
    after = job.answer("after", trace=True)
    assert slate_number(after["seq"]) == 1
    assert job.awaited(TRACES, "request_id", "after")["profile"] == []
    assert not any("item_cf" in item["sources"] for item in after["items"])
    assert running.restarts(job.config, job.job_id) == 0


# ------------------------------------------------------------------------------------------------ rules


def test_a_rule_is_in_force_within_a_second_and_a_bad_one_leaves_the_last_good_one(job: Job) -> None:
    first, second, *_ = job.slate()
    assert job.in_force_after_s("exclude:recall", {"items": [first]}, lambda slate: first not in slate) < WITHIN_S
    assert job.in_force_after_s("pin", {"item": second, "position": 4}, lambda slate: slate[3] == second) < WITHIN_S
    for name, bad in (("exclude:recall", b'{"items": 7}'), ("pin", b"{"), ("no-such-rule", b"{}")):
        job.tell(name, bad)

    def refused() -> list[str]:
        return [letter["key"] for letter in job.values(DEAD_LETTER) if letter["topic"].endswith(CONTROLS)]

    running.await_true(lambda: len(refused()) == 3, "three rules are bad")
    assert set(refused()) == {"exclude:recall", "pin", "no-such-rule"}
    slate = job.slate()
    assert first not in slate
    assert slate[3] == second
    published = {key for key, _ in running.records(job.config, MODEL_UPDATES, committed=False)}
    assert {b"control:exclude:recall", b"control:pin"} <= published
    assert job.in_force_after_s("exclude:recall", None, lambda slate: first in slate) < WITHIN_S
    job.tell("pin", None)


def test_an_experiment_that_begins_while_the_job_runs_splits_users_and_its_arm_learns(job: Job) -> None:
    job.tell("experiment", ARMS)
    split = Split("spring", {"a": 1, "b": 1})
    user_of_b = next(f"new-{number}" for number in range(99) if split.arm_of(hash64(f"new-{number}")) == "b")
    running.await_true(
        lambda: bool(job.slate(user_of_b)) and job.values(RECOMMENDATIONS)[-1]["arm"] == "b", "the experiment is not in force"
    )
    # new users: what others have had is in none of their slates, and hardly an example
    asked = [Event(f"x-{event.event_id}", f"new-{event.user_id}", event.item_id, "view", job.now_ms + 600_000 + 1_000 * number)
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
        return {metric["slice"] for metric in job.values(METRICS)}

    running.await_true(lambda: {"arm=a", "arm=b", "arm=b/action=personal"} <= slices(), "no metrics of the arms")
    assert any(metric["metric"] == "srm_p" for metric in job.values(METRICS))

    def networks() -> dict[bytes, list[str | None]]:
        """Versions of the networks of the arm, in order, None where one is gone."""
        found = defaultdict(list)
        for key, value in running.records(job.config, MODEL_UPDATES, committed=False):
            if key.startswith(b"weights:ranker/spring.b."):
                found[key].append(None if kept_value(value) is None else str(decode_version(value)[0]))
        return found

    running.await_true(lambda: bool(networks()), "the network of the arm is not published")
    theirs = job.slate(user_of_b) and job.values(RECOMMENDATIONS)[-1]["versions"]["ranker"]
    [published] = networks().values()
    assert theirs in published
    assert not {slate["versions"]["ranker"] for slate in slates if slate["arm"] == "a"} & set(published)
    of_arm = read_models(job.config, slates=10).arms["spring.b"]
    assert (of_arm.scorer, of_arm.serving) == ("mlp", theirs.partition("-")[0])
    job.tell("experiment", {})
    running.await_true(lambda: next(iter(networks().values()))[-1] is None, "the network of the arm that is gone stays in the topic")
    assert read_models(job.config, slates=10).arms == {}
