"""Questions through the operators: a report becomes a lesson also after a restore, and the memory is exact whatever is killed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pyflink.common import Row

from models.answers.confidence import FEATURES
from models.answers.lessons import NO, UNKNOWN, YES, Lesson, decode_lesson, encode_lesson
from models.answers.memory import AnswerMemory
from models.answers.vectors import pack_vector
from models.config import Answers, Configuration
from models.events import Event
from models.identity import hash64
from models.pipeline import vector_maker
from models.text.vectors import vector_key
from models.topics import CatalogueItem
from models.validation import parse_configuration
from operators.learn import learn_answers
from operators.recommend import request_mark
from tests.operator.fakes import FakeBackend, Running
from tests.operator.test_recommend_operator import LEARNER_KEY, T0, Recommending, Yielded
from tests.unit.test_answer_desk import PRESET, TEMPLATES

CONFIG = parse_configuration(PRESET, "test.yaml")
SURE = "follow the parcel with the tracking number"
SNAPSHOT_EVERY = 5
MEMORY = Configuration(answers=Answers(memory=6, snapshot_every=SNAPSHOT_EVERY))


class Desk(Recommending):
    """RECOMMEND with the templates."""

    def __init__(self, backend: FakeBackend | None = None) -> None:
        super().__init__(CONFIG, backend)
        maker = vector_maker(CONFIG)
        for name, (title, text) in TEMPLATES.items():
            self.update("items", name, json.dumps({"title": title, "text": text}).encode())
            _, record = maker.make(name, CatalogueItem(title=title, text=text))
            self.update("model-updates", vector_key(name), record)

    def ask(self, name: str, text: str) -> dict[str, object]:
        raw = json.dumps({"request_id": name, "user_id": "u", "event_time_ms": T0, "text": text}).encode()
        [slate] = Yielded(self.send("u", Row(raw, request_mark(3), 17))).slates
        return slate


def report(number: int, kind: str, item: str, slate_id: object) -> Event:
    return Event(f"e{number}", "u", item, kind, T0 + 1_000 * number, slate_id=str(slate_id))


def test_a_report_becomes_a_lesson_also_after_a_restore_and_none_after_an_erasure():
    desk = Desk()
    slate = desk.ask("r1", SURE)
    assert slate["hand_over"] is False
    restored = Desk(desk.backend.checkpoint())
    [(key, message)] = restored.event(report(1, "solved", "parcel", slate["slate_id"])).lessons
    lesson = decode_lesson(message)
    assert (key, lesson.item, lesson.said, lesson.label) == (LEARNER_KEY, hash64("parcel"), 1, YES)
    # what is settled stays settled
    [(_, message)] = Desk(restored.backend.checkpoint()).event(report(2, "handed_over", "person", slate["slate_id"])).lessons
    assert decode_lesson(message).label == UNKNOWN
    assert restored.event(report(3, "solved", "parcel", "not a slate")).lessons == []
    restored.event(Event("e9", "u", "", "erase", T0 + 9_000))
    assert restored.event(report(4, "solved", "parcel", slate["slate_id"])).lessons == []


def test_what_the_memory_publishes_changes_the_next_answer():
    desk, memory = Desk(), AnswerMemory(CONFIG.answers)
    text = "quo vadis domine"
    for number in range(3):
        slate = desk.ask(f"r{number}", text)
        assert slate["items"] == []
        [(_, message)] = desk.event(report(number, "solved", "hours", slate["slate_id"])).lessons
        memory.learn_one(message)
    for key, value in memory.take_updates():
        desk.update("model-updates", key, value)
    after = desk.ask("after", text)
    shown = after["items"] or after["suggestions"]
    assert isinstance(shown, list)
    assert (shown[0]["item_id"], shown[0]["sources"][0]) == ("hours", "solved")


def lessons(n: int) -> list[bytes]:
    rng = np.random.default_rng(5)
    made = []
    for number in range(n):
        features = rng.random(len(FEATURES)).astype(np.float32)
        vector = pack_vector(rng.normal(size=8).astype(np.float32))
        said, label = int(rng.choice((-1, 1))), int(rng.choice((UNKNOWN, NO, YES)))
        made.append(encode_lesson(Lesson(hash64(f"{rng.integers(3)}"), said, label, number * 1_000, features, vector)))
    return made


def newest(rows: list[Row]) -> dict[bytes, bytes]:
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("killed_after", [3, 5, 8, 19])
def test_the_memory_is_exact_whatever_is_killed(killed_after):
    stream = lessons(20)
    whole = AnswerMemory(MEMORY.answers)
    for message in stream:
        whole.learn_one(message)
    first = Running(learn_answers(MEMORY))
    published = []
    for message in stream[:killed_after]:
        published += first.send(LEARNER_KEY, message)
    second = Running(learn_answers(MEMORY), first.backend.checkpoint())
    for message in stream[killed_after:]:
        published += second.send(LEARNER_KEY, message)
    published += second.fire_timers(second.backend.now_ms + 10_000)
    assert newest(published) == {key.encode(): value for key, value in whole.take_updates()}
