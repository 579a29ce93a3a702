"""The judge of a job's answers: the same figures as of `flinkrec evaluate --engine local --slate served`, whichever events are answered."""

from __future__ import annotations

import random
from collections import deque

import pytest

from cli.loop import ServedJudge
from models.evaluation.prequential import PrequentialEvaluator
from models.evaluation.recorder import Recorder, Shown
from models.events import Event

# counts, is answered with a slate
TYPES = {"view": (True, True), "purchase": (True, False), "skip": (False, True), "scroll": (False, False)}


class Job:
    """A judge and the answers on their way to it."""

    def __init__(self, k: int = 1) -> None:
        self.evaluator, self.recorder = PrequentialEvaluator(k), Recorder(k)
        self.judge = ServedJudge(
            self.evaluator, lambda event: TYPES[event.type][0], lambda event: TYPES[event.type][1], self.recorder
        )
        self.on_their_way: deque[tuple[str, str]] = deque()
        self.events: list[Event] = []

    def send(self, user: str, kind: str, item: str, shows: str) -> None:
        event = Event(f"e{len(self.events)}", user, item, kind, len(self.events))
        self.events.append(event)
        self.judge.sent(event)
        if TYPES[kind][1]:
            self.on_their_way.append((event.event_id, shows))

    def answer(self) -> None:
        event_id, shows = self.on_their_way.popleft()
        self.judge.answered(event_id, [Shown(shows, 1.0, None, [])])


@pytest.mark.parametrize("in_flight", [0, 1, 20])
def test_each_event_that_counts_is_judged_once_by_what_its_user_saw_last(in_flight):
    draw, job, saw, expected = random.Random(1), Job(), {}, []
    for _ in range(400):
        user, kind, item = draw.choice("abc"), draw.choice(list(TYPES)), draw.choice("xyz")
        if TYPES[kind][0]:
            expected.append((user, item, saw.pop(user, None)))
        if TYPES[kind][1]:
            saw[user] = draw.choice("xyz")
        job.send(user, kind, item, saw.get(user, ""))
        while len(job.on_their_way) > in_flight:
            job.answer()
    while job.on_their_way:
        job.answer()
    by_hand = PrequentialEvaluator(1)
    for user, item, slate in expected:
        by_hand.judge(user, item, slate)
    assert job.evaluator.report() == by_hand.report()
    assert len(job.recorder.recording().users) == len(expected) > 150


def test_slates_that_nothing_will_be_judged_by_are_not_kept():
    job = Job()
    for _ in range(100):
        job.send("a", "skip", "x", "y")
        job.answer()
    assert len(job.judge._slates) == 1
    job.send("a", "purchase", "y", "")
    assert (len(job.judge._slates), len(job.judge._waiting)) == (0, 0)
    assert job.evaluator.report().events == 1
