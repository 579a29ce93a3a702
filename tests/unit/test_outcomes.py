"""The outcomes of the whole loop in one process, beside an independent recomputation from its slates and events."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from models.attribution import Tally
from models.config import Configuration
from models.events import Event
from models.identity import slate_id
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.e2e.recompute_outcomes import Recomputation, comparable

TYPES = {
    "view": {},
    "cart": {"weight": 2.0, "makes_slate": False},
    "play": {"reward": 2.0, "dwell_ms_full": 30_000},
    "pay": {"reward": 0.5, "times_value": True},
    "dismiss": {"weight": 0.0, "makes_slate": False, "reward": -1.0},
    "scroll": {"weight": 0.0, "makes_slate": False},
    "impression": {"weight": 0.0, "makes_slate": False},
}
STRATEGIES = {"personal": {}, "broad": {"diversity": 0.5}}
OUTCOMES = {"window_ms": 120_000, "backward_ms": 30_000}
VARIATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "unseen until reported": {"served_means_seen": False},
    "sum": {"aggregation": "sum", "default_reward": -0.25},
    "earliest": {"aggregation": "earliest", "served_means_seen": False},
    "few": {"max_open": 2, "served_means_seen": False},
    "closed at the next slate": {"max_open": 1, "window_ms": 86_400_000},
    "nothing waits": {"backward_ms": 0},
    "no features": {"features": False},
}


def configuration(**outcomes: Any) -> Configuration:
    sections = {
        "events": {"types": TYPES, "late_after_ms": 5_000, "max_events_per_minute": 10**9},
        "profile": {"sitting_gap_s": 300},
        "policy": {"name": "sarsa", "strategies": STRATEGIES, "epsilon": 0.2},
        "scorer": {"name": "none", "candidates": 20},
        "slate": {"k": 4},
        "outcomes": OUTCOMES | outcomes,
    }
    return parse_configuration(sections, "test.yaml")


class Crowd:
    """Users who act on what they were shown lately, or on anything; some events come late, some name slates that are not there yet."""

    def __init__(self, pipeline: LocalPipeline, seed: int) -> None:
        self.pipeline = pipeline
        self.draw = np.random.default_rng(seed)
        self.time_ms = 1_700_000_000_000
        self.slates: dict[str, list[Any]] = {}
        self.events: list[Event] = []
        self.recommendations: list[Any] = []

    def run(self, n: int) -> None:
        for number in range(n):
            event = self._event(number)
            self.events.append(event)
            self.pipeline.learn(event)
            if self.pipeline.recommender._config.events.types[event.type].makes_slate:
                slate = msgspec.json.decode(msgspec.json.encode(self.pipeline.recommend(event)))
                self.recommendations.append(slate)
                self.slates.setdefault(event.user_id, []).append(slate)

    def _event(self, number: int) -> Event:
        draw = self.draw
        # on a grid, so that times are equal and limits are met exactly
        self.time_ms += 2_000 * int(draw.exponential(2.5)) + (400_000 if draw.random() < 0.01 else 0)
        user = f"u{draw.integers(6)}"
        late_ms = 1_000 * int(draw.exponential(10)) if draw.random() < 0.2 else 0
        item, named, revision = f"i{draw.integers(60)}", None, None
        had = self.slates.get(user, [])
        if had and draw.random() < 0.6:
            slate = had[-1 - min(len(had) - 1, int(draw.exponential(2)))]
            if slate["items"] and draw.random() < 0.9:
                item = slate["items"][draw.integers(len(slate["items"]))]["item_id"]
            if draw.random() < 0.6:
                named = slate["slate_id"]
                revision = draw.choice([None, slate["revision"], "00000000000000aa"], p=[0.5, 0.45, 0.05])
        elif draw.random() < 0.15:
            named = slate_id(f"e{number + draw.integers(1, 12)}", user) if draw.random() < 0.8 else "no slate"
        kind = str(draw.choice(list(TYPES), p=[0.4, 0.1, 0.1, 0.1, 0.05, 0.05, 0.2]))
        value = float(draw.choice([7_000.0, 45_000.0])) if draw.random() < 0.8 else None
        return Event(f"e{number}", user, item, kind, self.time_ms - late_ms, value, slate_id=named, revision=revision)


def ran(config: Configuration, seed: int, n: int = 600) -> tuple[Crowd, list[dict[str, Any]]]:
    closed = []
    pipeline = LocalPipeline(config, on_closed=lambda user_id, one: closed.append((user_id, one)))
    crowd = Crowd(pipeline, seed)
    crowd.run(n)
    pipeline.close_all(now_ms=2_000_000_000_000)
    attribution = pipeline.recommender.attribution
    return crowd, [msgspec.json.decode(msgspec.json.encode(attribution.outcome(one, user))) for user, one in closed]


@pytest.mark.parametrize(("seed", "variation"), enumerate(VARIATIONS))
def test_outcomes_are_those_of_an_independent_recomputation(seed, variation):
    config = configuration(**VARIATIONS[variation])
    crowd, outcomes = ran(config, seed)
    recomputation = Recomputation(msgspec.to_builtins(config), crowd.recommendations)
    for event in crowd.events:
        recomputation.event(msgspec.to_builtins(event))
    expected = recomputation.finish()
    assert [o["slate_id"] for o in comparable(outcomes)] == [o["slate_id"] for o in comparable(expected)]
    for mine, theirs in zip(comparable(outcomes), comparable(expected), strict=True):
        assert mine == theirs
    tally = {name: sum(getattr(user.tally, name) for user in crowd.pipeline.users.values()) for name in Tally.__slots__[:5]}
    assert recomputation.counts == {
        "joined": tally["joined"], "late": tally["late"], "orphan": tally["orphans"], "superseded": tally["superseded"]
    }
    assert min(tally["joined"], tally["late"], tally["orphans"], tally["superseded"]) > 0, "the stream tries everything"


def test_each_slate_has_exactly_one_outcome_and_a_users_leave_in_order():
    crowd, outcomes = ran(configuration(served_means_seen=False), seed=1, n=300)
    assert sorted(o["slate_id"] for o in outcomes) == sorted(slate["slate_id"] for slate in crowd.recommendations)
    for user in crowd.slates:
        assert [o["seq"] for o in outcomes if o["user_id"] == user] == list(range(1, len(crowd.slates[user]) + 1))


def test_an_outcome_holds_what_the_scorer_saw_of_the_items_bit_for_bit():
    seen: dict[str, np.ndarray] = {}
    closed = []
    pipeline = LocalPipeline(configuration(), on_closed=lambda user_id, one: closed.append((user_id, one)))
    generate = pipeline.recommender._slates.generator.generate

    def spied(*arguments: Any, **named: Any) -> Any:
        candidates = generate(*arguments, **named)
        ids = pipeline.recommender.replica.item_ids
        seen.update({ids[item]: row.copy() for item, row in zip(candidates.items, candidates.features, strict=True)})
        return candidates

    pipeline.recommender._slates.generator.generate = spied
    for number in range(40):
        event = Event(f"e{number}", f"u{number % 2}", f"i{number * 7 % 53}", "view", 1_700_000_000_000 + 1_000 * number)
        pipeline.learn(event)
        seen.clear()
        pipeline.recommend(event)
        slate = pipeline.users[event.user_id].slates.slates[-1]
        pipeline.close_all(now_ms=0)
        user_id, one = closed[-1]
        assert one.slate.slate_id == slate.slate_id
        for item in pipeline.recommender.attribution.outcome(one, user_id).items:
            assert item.features == seen[item.item_id].tobytes()
    assert slate.size == 4


def test_where_outcomes_are_off_nothing_is_kept():
    config = parse_configuration({"outcomes": {"enabled": False}, "scorer": {"name": "none"}}, "test.yaml")
    pipeline = LocalPipeline(config)
    for number in range(5):
        event = Event(f"e{number}", "u", f"i{number}", "view", 1_700_000_000_000 + number)
        pipeline.learn(event)
        pipeline.recommend(event)
    assert pipeline.recommender.attribution is None
    assert pipeline.users["u"].slates.slates == []


def test_a_timer_lies_ahead_also_where_the_end_of_a_session_has_passed():
    minute_ms = 60_000
    pipeline = LocalPipeline(configuration(window_ms=20 * minute_ms, served_means_seen=False))
    # two slates of one sitting, which nobody is known to have seen; a session ends five minutes after its last event
    for number, minute in enumerate((0, 4)):
        event = Event(f"e{number}", "ann", f"i{number}", "view", minute * minute_ms)
        pipeline.learn(event)
        pipeline.recommend(event)
    attribution, ann = pipeline.recommender.attribution, pipeline.users["ann"]
    open_slates, timers = [], []
    for minute in (8, 21, 25):
        attribution.settle(ann.slates, watermark_ms=minute * minute_ms, tally=ann.tally)
        open_slates.append(len(ann.slates.slates))
        timers.append(attribution.due_ms(ann.slates, watermark_ms=minute * minute_ms))
    assert open_slates == [2, 2, 0]
    # five seconds, for late events, after the window of either
    assert timers == [20 * minute_ms + 5_000, 24 * minute_ms + 5_000, 0]
