"""The pipeline knows nothing of what has not happened yet."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.events import Event
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.synthetic import events

STREAM = events(500, users=25, items=120)
PAST = 300

SETTINGS = {
    "defaults": {},
    "no scorer": {"scorer": {"name": "none"}},
    "each source alike": {"sources": dict.fromkeys(("item_cf", "user_cf", "content", "trending", "new_items"), 0.2)},
    "pearson": {"user_cf": {"similarity": "pearson"}},
    "counts that age": {"item_cf": {"half_life_days": 0.01}},
    "repeats and exploration": {"slate": {"recommend_seen": True}, "policy": {"epsilon": 0.3}},
}


def slates(stream, sections):
    pipeline = LocalPipeline(parse_configuration(sections, "test.yaml"))
    answers = []
    for event in stream:
        pipeline.learn(event)
        answers.append(msgspec.json.encode(pipeline.recommend(event)))
    return answers


@pytest.mark.parametrize("sections", SETTINGS.values(), ids=SETTINGS)
def test_a_shuffled_future_leaves_the_slates_of_the_past_as_they_were(sections):
    past, future = STREAM[:PAST], STREAM[PAST:]
    order = np.random.default_rng(1).permutation(len(future))
    times = sorted(event.event_time_ms for event in future)
    shuffled = [
        msgspec.structs.replace(future[n], event_time_ms=time_ms) for n, time_ms in zip(order, times, strict=True)
    ]
    there, elsewhere = slates(past + future, sections), slates(past + shuffled, sections)
    assert there[:PAST] == elsewhere[:PAST]
    assert there[PAST:] != elsewhere[PAST:]


def fresh():
    return LocalPipeline(parse_configuration({"policy": {"epsilon": 0.0, "epsilon_min": 0.0}}, "test.yaml"))


def test_what_is_hot_now_is_shown_before_everybody_has_clicked_it():
    pipeline = fresh()
    for number in range(330):
        pipeline.learn(Event(f"a{number}", f"u{number}", f"i{number}", "view", 60_000 * number))
    shown = 0
    for number in range(330):
        event = Event(f"b{number}", f"u{number}", "hot", "view", 60_000 * (330 + number))
        shown += "hot" in [item.item_id for item in pipeline.recommend(event).items]
        pipeline.learn(event)
    assert shown > 250


def test_the_first_events_are_learned_at_once():
    pipeline = fresh()
    for number, (user, item) in enumerate((("v", "a"), ("v", "b"), ("w", "a"))):
        event = Event(f"e{number}", user, item, "view", 60_000 * number)
        pipeline.learn(event)
    assert [item.item_id for item in pipeline.recommend(event).items] == ["b"]


def test_a_catalogue_that_nobody_has_touched_fills_the_slates_of_the_first_users():
    pipeline = fresh()
    for number in range(30):
        pipeline.recommender.apply_catalogue(f"i{number}", b'{"title": "new"}')
    slates = [pipeline.recommend(Event(f"e{number}", f"u{number}", "elsewhere", "view", number)) for number in range(3)]
    assert [len(slate.items) for slate in slates] == [10, 10, 10]
    assert {source for slate in slates for item in slate.items for source in item.sources} == {"new_items"}
