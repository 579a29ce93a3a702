"""Ranking strategies: what they do to a list, by hand, and that the recommender follows the policy's choice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.config import Strategy
from models.pipeline import LocalPipeline
from models.policies.strategies import order, relevance
from models.topics import CatalogueItem
from models.validation import parse_configuration
from tests.synthetic import events

SCORER, SOURCES = np.array([3.0, 1.0, 2.0], np.float32), np.array([0.0, 0.8, 0.4], np.float32)
STREAM = events(220, users=10, items=50)


def test_one_of_scorer_and_sources_alone_ranks_by_its_own_scores():
    assert relevance(Strategy(), SCORER, SOURCES) is SCORER
    assert relevance(Strategy(scorer_weight=0.0), SCORER, SOURCES) is SOURCES


def test_both_are_scaled_before_they_are_mixed():
    assert relevance(Strategy(scorer_weight=0.75), SCORER, SOURCES) == pytest.approx([0.75, 0.25, 0.5])
    equal = np.ones(3, np.float32)
    assert relevance(Strategy(scorer_weight=0.5), equal, SOURCES) == pytest.approx([0, 0.5, 0.25])


def test_without_diversity_the_best_come_first_and_ties_keep_their_order():
    scores = np.array([1.0, 2.0, 1.0, 3.0], np.float32)
    assert order(Strategy(), scores, np.ones(4, np.uint64), np.arange(4), k=2).tolist() == [3, 1, 0, 2]


def test_what_is_no_number_comes_last():
    scores = np.array([1.0, np.nan, 3.0, np.nan, 2.0], np.float32)
    assert order(Strategy(), scores, np.ones(5, np.uint64), np.arange(5), k=2).tolist() == [2, 4, 0, 1, 3]


def test_diversity_puts_off_what_is_like_an_item_that_is_listed():
    scores = np.array([1.0, 0.9, 0.8, 0.0, 0.5], np.float32)
    categories = np.array([0b0011, 0b0011, 0b0110, 0b1000, 0], np.uint64)
    # by hand, d = 0.5: after row 0 the others gain .45 - .5, .4 - .5 / 3, 0 and .25; row 4 is like none of them
    assert order(Strategy(diversity=0.5), scores, categories, np.arange(5), k=3).tolist() == [0, 4, 2, 1, 3]
    assert order(Strategy(diversity=0.1), scores, categories, np.arange(5), k=3).tolist() == [0, 1, 2, 4, 3]
    assert order(Strategy(diversity=1.0), scores, categories, np.arange(5), k=2).tolist() == [0, 4, 1, 2, 3]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_an_order_holds_every_candidate_once_however_few_there_are(n):
    scores, categories = np.zeros(n, np.float32), np.ones(n, np.uint64)
    for diversity in (0.0, 0.5, 1.0):
        assert sorted(order(Strategy(diversity=diversity), scores, categories, np.arange(n), k=10).tolist()) == list(range(n))


def slates(policy, stream=STREAM, **sections):
    small = {"scorer": {"hidden": [8]}, "learner": {"batch_examples": 8, "publish_every_steps": 1}}
    pipeline = LocalPipeline(parse_configuration(small | sections | {"policy": policy}, "test.yaml"), publish_every=1)
    for number in range(170):
        pipeline.recommender.replica.apply_catalogue_item(f"item-{number}", CatalogueItem(categories=[f"kind {number % 3}"]))
    answers = []
    for event in stream:
        pipeline.learn(event)
        answers.append(pipeline.recommend(event))
    return pipeline, answers


def shown(answers):
    return [[item.item_id for item in slate.items] for slate in answers]


QUIET = {"epsilon": 0.0, "epsilon_min": 0.0}


def test_a_slate_says_its_strategy_and_the_probability_that_it_had():
    strategies = {"one": {}, "two": {"epsilon": 0.5}}
    # so hot that what is learned makes no difference
    policy = QUIET | {"name": "softmax", "strategies": strategies, "action_epsilon": 0.0, "temperature": 1e9}
    _, answers = slates(policy)
    assert {slate.policy for slate in answers} == {"softmax"}
    assert [slate.action_probability for slate in answers] == pytest.approx([0.5] * len(answers))
    assert min(Counter(slate.action for slate in answers).values()) > 80
    explored = {slate.action: 0 for slate in answers}
    for slate in answers:
        explored[slate.action] += sum(item.explored for item in slate.items)
        assert slate.action == "two" or {item.propensity for item in slate.items} == {1.0}
    assert explored["one"] == 0
    assert explored["two"] > 300


def test_strategies_that_say_the_same_make_the_slates_of_a_single_one():
    _, single = slates(QUIET)
    _, several = slates(QUIET | {"strategies": {"one": {}, "two": {"scorer_weight": 1.0}}})
    assert shown(single) == shown(several)


@pytest.mark.parametrize("policy", [{}, {"strategies": {"one": {}, "two": {}}}], ids=["one strategy", "two"])
def test_the_sources_of_a_strategy_are_those_of_its_slates(policy):
    only = {"item_cf": 0.0, "user_cf": 0.0, "content": 0.0, "trending": 1.0, "new_items": 0.0}
    names = policy.get("strategies", {"exploit": {}})
    _, answers = slates(QUIET | {"strategies": {name: {"sources": only} for name in names}})
    _, configured = slates(QUIET | policy, sources=only)
    assert shown(answers) == shown(configured)
    assert shown(answers) != shown(slates(QUIET | policy)[1])


def test_a_strategy_without_sources_follows_the_control_and_one_with_them_does_not():
    only = {"item_cf": 0.0, "user_cf": 0.0, "content": 0.0, "trending": 1.0, "new_items": 0.0}
    for strategy, follows in (({}, True), ({"sources": only}, False)):
        pipeline, _ = slates(QUIET | {"strategies": {"exploit": strategy}}, scorer={"name": "none"})
        before = pipeline.recommend(STREAM[-1])
        pipeline.recommender.apply_control("sources", b'{"user_cf": 1.0}')
        after = pipeline.recommend(STREAM[-1])
        assert (shown([before]) != shown([after])) == follows


def kinds(answers):
    """Distinct categories among the first three items of the slates."""
    return np.mean([len({int(item[5:]) % 3 for item in slate[:3]}) for slate in shown(answers)[50:]])


def test_a_diverse_strategy_shows_more_categories_at_the_top():
    plain, diverse = (slates(QUIET | {"strategies": {"exploit": {"diversity": d}}})[1] for d in (0.0, 0.8))
    assert kinds(diverse) > 2.9 > kinds(plain)


def test_the_scorer_weight_decides_who_ranks():
    answers = {w: slates(QUIET | {"strategies": {"exploit": {"scorer_weight": w}}})[1] for w in (0.0, 0.5, 1.0)}
    orders = [shown(one) for one in answers.values()]
    assert orders[0] != orders[1] != orders[2] != orders[0]
