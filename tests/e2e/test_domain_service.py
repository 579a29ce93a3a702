"""The service desk on a running job: a question in, the right template out, and what reports change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer

from cli.stack import Stack
from models.domains.service_texts import TEMPLATES
from models.topics import EVENTS, ITEMS, MODEL_UPDATES, RECOMMENDATIONS, REQUESTS, topic_name
from tests.e2e import running

PRESET = Path(__file__).resolve().parents[2] / "conf" / "domains" / "service.yaml"
T0 = 1_704_067_200_000
UNANSWERABLE = "will it rain in the mountains at the weekend"


class Desk:
    """The job with the preset, asked over Kafka."""

    def __init__(self, stack: Stack) -> None:
        preset = yaml.safe_load(PRESET.read_text()) | {"policy": {}}  # no exploration: which answer comes first is asserted
        self.config = running.configuration(stack, **preset, metrics={"window_s": 1})
        self.job_id = running.submitted(self.config)
        self._producer = KafkaProducer(
            bootstrap_servers=self.config.kafka.bootstrap_servers,
            key_serializer=str.encode,
            value_serializer=lambda value: json.dumps(value).encode(),
        )
        for template in TEMPLATES:
            self._write(ITEMS, template.name, title=template.title, text=template.text, categories=[template.category])
        self._sent = 0
        running.await_true(lambda: len(self.keys(b"vector:")) == len(TEMPLATES), "the templates have no vectors")

    def _write(self, topic: str, key: str, **value: Any) -> None:
        self._producer.send(topic_name(self.config.kafka.topic_prefix, topic), key=key, value=value).get(timeout=10)

    def keys(self, prefix: bytes) -> set[bytes]:
        records = running.records(self.config, MODEL_UPDATES, committed=False)
        return {key for key, _ in records if key is not None and key.startswith(prefix)}

    def ask(self, text: str) -> dict[str, Any]:
        """The answer to the question of a customer who has not been here before."""
        self._sent += 1
        name = f"question {self._sent}"
        self._write(REQUESTS, name, request_id=name, user_id=name, event_time_ms=T0 + 1_000 * self._sent, text=text)
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [slate for slate in running.values(self.config, RECOMMENDATIONS) if slate["request_id"] == name]
            return bool(found)

        running.await_true(is_there, f"no answer to {name}")
        return found[0]

    def report(self, kind: str, item: str, slate: dict[str, Any]) -> None:
        self._sent += 1
        user, time_ms = slate["user_id"], T0 + 1_000 * self._sent
        event = {"event_id": f"report {self._sent}", "item_id": item, "type": kind, "slate_id": slate["slate_id"]}
        self._write(EVENTS, user, user_id=user, event_time_ms=time_ms, **event)

    def ask_until(self, text: str, holds: Any, what: str) -> dict[str, Any]:
        """Ask the same again until what was reported has come back to the replica."""
        last: list[dict[str, Any]] = []

        def asked() -> bool:
            last[:] = [self.ask(text)]
            return bool(holds(last[0]))

        running.await_true(asked, what)
        return last[0]


@pytest.fixture(scope="module")
def desk(stack: Stack) -> Desk:
    return Desk(stack)


def answers(slate: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in slate["items"] or slate["suggestions"]]


def test_the_desk_answers_learns_and_hands_over(desk: Desk) -> None:
    # the replica has the templates as soon as one of them answers
    slate = desk.ask_until(
        "my card was declined when i wanted to pay", lambda one: "card-declined" in answers(one)[:3], "nothing answers a question"
    )
    assert (slate["hand_over"], slate["suggestions"]) == (False, [])
    assert slate["confidence"] >= desk.config.answers.min_confidence
    assert "meaning" in slate["items"][0]["sources"]

    unanswerable = desk.ask(UNANSWERABLE)
    assert (unanswerable["hand_over"], unanswerable["items"]) == (True, [])
    assert len(unanswerable["suggestions"]) == 3

    # a person used a template; the next customer who asks like that gets it
    question, solution = "the wizard says no when i wave my plastic at your till", "donation"
    before = desk.ask(question)
    assert solution not in answers(before)
    for _ in range(3):
        desk.report("solved", solution, desk.ask(question))
    after = desk.ask_until(question, lambda one: answers(one)[:1] == [solution], "the report changed nothing")
    first = (after["items"] or after["suggestions"])[0]
    assert first["sources"][0] == "solved"
    assert first["reasons"][0]["kind"] == "solved"
    assert desk.keys(b"answer:") >= {b"answer:0", b"answer:confidence"}
    assert after["confidence"] > before["confidence"]
    assert running.restarts(desk.config, desk.job_id) == 0
