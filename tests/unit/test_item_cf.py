"""Item CF, end to end in one process: slates are scored by the formula, whatever the kernels do to get there."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.config import ItemCF
from models.cooccurrence import decode_row
from models.events import Event
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.synthetic import events

STREAM = events(600, users=25, items=120)


def configuration(**sections):
    """Item CF alone, by the formula without pauses and values unless `sections` say otherwise."""
    by_order = {"gap_decay": 1.0, "liked_weight": 1.0, "disliked_weight": 1.0}
    alone = {"user_cf": 0.0, "content": 0.0, "trending": 0.0, "new_items": 0.0}
    plain = {
        "scorer": {"name": "none"},
        "learner": {"enabled": False},
        "policy": {"epsilon": 0.0},
        "sources": alone,
        "item_cf": by_order | sections.pop("item_cf", {}),
    }
    return parse_configuration(plain | sections, "test.yaml")


class Truth:
    """The definition, in dictionaries and floats."""

    def __init__(self, settings: ItemCF) -> None:
        self.settings = settings
        self.taken: dict[str, list[str]] = {}
        self.events: dict[str, list[Event]] = {}
        self.count: dict[str, float] = {}
        self.a: dict[tuple[str, str], float] = {}

    def learn(self, event):
        had = self.taken.setdefault(event.user_id, [])
        for d, earlier in enumerate(had[::-1][: self.settings.pair_items]):
            if earlier != event.item_id:
                fixed = round(4096 * self.settings.pair_decay**d)
                self.a[event.item_id, earlier] = self.a.get((event.item_id, earlier), 0.0) + fixed / 4096
        had.append(event.item_id)
        self.events.setdefault(event.user_id, []).append(event)
        self.count[event.item_id] = self.count.get(event.item_id, 0.0) + 1

    def parts(self, user_id, x):
        """What each of the user's last items adds to the score of x."""
        return [(j, step * self.similarity(j, x)) for j, step in self.steps(user_id)]

    def steps(self, user_id):
        """The user's last items, and how much each counts."""
        s = self.settings
        latest = self.events.get(user_id, [])[::-1][: s.score_items]
        usual = np.mean([event.value for event in self.events[user_id]]) if latest else 0.0
        steps, pauses = [], 0
        for d, event in enumerate(latest):
            if d > 0 and latest[d - 1].event_time_ms - event.event_time_ms > 3_600_000:
                pauses += 1
            opinion = s.liked_weight if event.value >= usual else s.disliked_weight
            steps.append(s.score_decay**d * s.gap_decay**pauses * opinion)
        taken = self.taken.get(user_id, [])[::-1][: s.score_items]
        return list(zip(taken, steps, strict=True))

    def similarity(self, j, x):
        s = self.settings
        return (self.a.get((x, j), 0.0) + s.reverse_weight * self.a.get((j, x), 0.0)) / np.sqrt(
            (self.count[j] + s.shrinkage) * (self.count[x] + s.shrinkage)
        )

    def scores(self, user_id):
        steps = self.steps(user_id)
        return {x: sum(step * self.similarity(j, x) for j, step in steps) for x in self.count}


def slates(config, stream=STREAM, *, warm=100):
    """(event, slate, truth) after each event of a stream."""
    pipeline, truth = LocalPipeline(config, publish_every=1), Truth(config.item_cf)
    for number, event in enumerate(stream):
        pipeline.learn(event)
        truth.learn(event)
        slate = pipeline.recommend(event)
        if number >= warm:
            yield event, slate, truth


def test_every_slate_holds_the_best_items_by_the_formula_with_their_scores():
    checked = 0
    for event, slate, truth in slates(configuration()):
        had = set(truth.taken[event.user_id])
        scores = truth.scores(event.user_id)
        best = sorted((score for x, score in scores.items() if x not in had), reverse=True)[:10]
        assert [item.cf_score for item in slate.items] == pytest.approx(best, rel=1e-5)
        for item in slate.items:
            assert item.cf_score == pytest.approx(scores[item.item_id], rel=1e-5)
            checked += 1
    assert checked > 4_000


def test_other_settings_of_the_formula_are_followed():
    settings = {"score_decay": 0.5, "reverse_weight": 0.0, "shrinkage": 1.0, "pair_items": 3, "score_items": 4}
    for event, slate, truth in slates(configuration(item_cf=settings), STREAM[:250]):
        scores = truth.scores(event.user_id)
        for item in slate.items:
            assert item.cf_score == pytest.approx(scores[item.item_id], rel=1e-5)


def test_pauses_and_values_weigh_as_configured():
    # the users of this stream come back after hours
    stream = [msgspec.structs.replace(event, event_time_ms=event.event_time_ms * 20) for event in STREAM[:300]]
    settings = {"gap_decay": 0.3, "liked_weight": 1.5, "disliked_weight": 0.5}
    for event, slate, truth in slates(configuration(item_cf=settings), stream):
        scores = truth.scores(event.user_id)
        for item in slate.items:
            assert item.cf_score == pytest.approx(scores[item.item_id], rel=1e-5)


def test_the_contributions_of_the_reasons_are_those_of_the_formula_and_sum_to_the_score():
    rests = 0
    for event, slate, truth in slates(configuration(), warm=300):
        for item in slate.items:
            parts = truth.parts(event.user_id, item.item_id)
            named = [reason for reason in item.reasons if reason.item_id is not None]
            assert sum(reason.contribution for reason in item.reasons) == pytest.approx(item.cf_score, rel=1e-5)
            largest = sorted((part for _, part in parts if part > 0), reverse=True)[:3]
            assert [reason.contribution for reason in named] == pytest.approx(largest, rel=1e-5)
            for reason in named:
                assert pytest.approx(reason.contribution, rel=1e-5) in [p for j, p in parts if j == reason.item_id]
            rests += len(item.reasons) - len(named)
    assert rests > 0


def test_explored_items_carry_their_true_score_and_matching_reasons_and_sources():
    explored = 0
    exploring = {"epsilon": 0.8, "epsilon_min": 0.0}
    for event, slate, truth in slates(configuration(policy=exploring), warm=100):
        scores = truth.scores(event.user_id)
        for item in slate.items:
            explored += item.explored
            assert item.cf_score == pytest.approx(scores[item.item_id], rel=1e-5)
            assert sum(reason.contribution for reason in item.reasons) == pytest.approx(item.cf_score, rel=1e-5)
            kinds = {reason.kind for reason in item.reasons}
            assert ("item_cf" in item.sources) == (item.cf_score > 0)
            assert set(item.sources) <= {"item_cf", "popularity"}
            assert kinds == set(item.sources)
    assert explored > 1_000


def test_what_a_user_had_is_never_recommended_and_no_item_twice():
    for event, slate, truth in slates(configuration(policy={"epsilon": 0.5}), warm=0):
        ids = [item.item_id for item in slate.items]
        assert len(set(ids)) == len(ids)
        assert not set(ids) & set(truth.taken[event.user_id])
        assert [item.position for item in slate.items] == list(range(1, len(ids) + 1))


def test_what_a_user_had_is_recommended_again_where_the_configuration_says_so():
    again = 0
    for event, slate, truth in slates(configuration(slate={"recommend_seen": True})):
        again += len({item.item_id for item in slate.items} & set(truth.taken[event.user_id]))
        best = sorted(truth.scores(event.user_id).values(), reverse=True)[:10]
        assert [item.cf_score for item in slate.items] == pytest.approx(best, rel=1e-5)
    assert again > 1_000


def test_a_new_user_gets_the_popular_items_in_their_order():
    pipeline = LocalPipeline(configuration(), publish_every=1)
    for number in range(12):
        for event in range(12 - number):
            name = f"{number}-{event}"
            pipeline.learn(Event(name, name, f"item-{number}", "view", 1_000))
    slate = pipeline.recommend(Event("e", "somebody new", "item-0", "view", 2_000))
    assert [item.item_id for item in slate.items] == [f"item-{number}" for number in range(10)]
    assert {(*item.sources, item.cf_score, item.reasons[0].kind) for item in slate.items} == {
        ("popularity", 0.0, "popularity")
    }


def test_popular_items_follow_what_item_cf_knows_when_that_is_little():
    pipeline = LocalPipeline(configuration(), publish_every=1)
    for number in range(30):
        pipeline.learn(Event(f"p{number}", f"lonely-{number}", f"popular-{number % 10}", "view", 1_000 + number))
    for number, (user, item) in enumerate([("a", "x"), ("a", "y"), ("b", "x")]):
        pipeline.learn(Event(f"c{number}", user, item, "view", 2_000 + number))
    slate = pipeline.recommend(Event("e", "b", "x", "view", 3_000))
    assert [item.item_id for item in slate.items][:1] == ["y"]
    assert [item.sources for item in slate.items] == [["item_cf"]] + [["popularity"]] * 9
    assert len(slate.items) == 10


def test_an_empty_model_answers_with_an_empty_slate():
    slate = LocalPipeline(configuration()).recommend(Event("e", "u", "i", "view", 1))
    assert slate.items == []


def test_a_withdrawn_item_is_recommended_by_no_source_until_it_returns():
    pipeline = LocalPipeline(configuration(slate={"recommend_seen": True, "k": 50}), publish_every=1)
    for event in STREAM:
        pipeline.learn(event)
    cause = STREAM[-1]

    def shown(user_id):
        slate = pipeline.recommend(Event("e", user_id, cause.item_id, "view", cause.event_time_ms))
        return {item.item_id for item in slate.items}

    gone = sorted(shown("somebody new") & shown(cause.user_id))[0]
    pipeline.recommender.apply_catalogue(gone, None)
    assert gone not in shown(cause.user_id)
    assert gone not in shown("somebody new")
    pipeline.recommender.apply_catalogue(gone, b"{}")
    assert gone in shown(cause.user_id)
    assert gone in shown("somebody new")


def test_an_item_whose_own_row_has_not_come_yet_is_not_recommended_without_a_name():
    source = LocalPipeline(configuration(), publish_every=10_000)
    for number, (user, item) in enumerate([("a", "x"), ("a", "y"), ("b", "y")]):
        source.learn(Event(f"c{number}", user, item, "view", 1_000 + number))
    target = LocalPipeline(configuration())
    target.users = source.users
    rows = {decode_row(raw).item_id: (key, raw) for key, raw in source.table.take_updates()}
    cause = Event("e", "b", "y", "view", 2_000)
    target.recommender.apply_update(*rows["y"])
    assert target.recommend(cause).items == []
    target.recommender.apply_update(*rows["x"])
    assert [item.item_id for item in target.recommend(cause).items] == ["x"]
