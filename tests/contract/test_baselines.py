"""What every baseline keeps to, found by discovery: one without an entry in `MAKERS` fails the audit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import models.evaluation.baselines
from models.evaluation.baselines import discover
from models.evaluation.baselines.ease import EASE
from models.evaluation.baselines.implicit_als import ImplicitALS
from models.evaluation.baselines.implicit_cosine import ImplicitCosine
from models.evaluation.baselines.last_item_markov import LastItemMarkov
from models.evaluation.baselines.popularity import Popularity
from models.evaluation.baselines.river_mf import RiverBiasedMF
from models.evaluation.baselines.session_knn import SessionKNN
from models.evaluation.prequential import PrequentialEvaluator
from tests.contract.discovery import implementations
from tests.synthetic import events

# Those that refit do so often enough to be trained in a test.
MAKERS = {
    "ease": lambda repeats=False: EASE(repeats=repeats, penalty=10.0, refit_every=10),
    "implicit_als": lambda repeats=False: ImplicitALS(repeats=repeats, factors=8, refit_every=10),
    "implicit_cosine": lambda repeats=False: ImplicitCosine(repeats=repeats, refit_every=10),
    "last_item_markov": lambda repeats=False: LastItemMarkov(repeats=repeats),
    "popularity": lambda repeats=False: Popularity(repeats=repeats),
    "river_mf": lambda repeats=False: RiverBiasedMF(repeats=repeats),
    "session_knn": lambda repeats=False: SessionKNN(repeats=repeats),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As the command does: on a machine with other work a second one waits more than it computes."""
    with threadpool_limits(1):
        yield


of_every_baseline = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

streams = st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdefghij"), st.integers(0, 40)), max_size=40)


def test_no_baseline_escapes_the_contract():
    assert set(implementations(models.evaluation.baselines, "learn_one", "recommend")) == set(MAKERS)


def test_the_command_finds_the_same_baselines():
    found = discover()
    assert found == implementations(models.evaluation.baselines, "learn_one", "recommend")
    assert len({baseline.title for baseline in found.values()}) == len(found)


@of_every_baseline
@settings(max_examples=30)
@given(stream=streams, k=st.integers(1, 12))
def test_a_slate_is_full_of_distinct_items_of_the_stream_and_without_the_users_own(make, stream, k):
    model, seen, own, time_ms = make(), set(), {}, 0
    for user_id, item_id, minutes in stream:
        for asked in (user_id, "nobody"):
            slate = model.recommend(asked, k)
            assert len(set(slate)) == len(slate) == min(k, len(seen - own.get(asked, set())))
            assert set(slate) <= seen - own.get(asked, set())
        time_ms += 60_000 * minutes
        model.learn_one(user_id, item_id, time_ms)
        seen.add(item_id)
        own.setdefault(user_id, set()).add(item_id)


@of_every_baseline
@settings(max_examples=20)
@given(stream=streams, k=st.integers(1, 12))
def test_with_repeats_a_slate_may_hold_everything_of_the_stream(make, stream, k):
    model = make(repeats=True)
    for time_ms, (user_id, item_id, _) in enumerate(stream):
        model.learn_one(user_id, item_id, time_ms)
    seen = {item_id for _, item_id, _ in stream}
    for user_id in "uvwxy":
        slate = model.recommend(user_id, k)
        assert len(set(slate)) == len(slate) == min(k, len(seen))
        assert set(slate) <= seen


@of_every_baseline
def test_the_same_stream_gives_the_same_slates_however_often_it_is_asked(make):
    stream = events(300)
    asked, quiet = make(), make()
    for number, event in enumerate(stream):
        asked.recommend(event.user_id, 10)
        asked.recommend("nobody", 3)
        if number % 50 == 49:
            assert asked.recommend(event.user_id, 10) == quiet.recommend(event.user_id, 10)
        asked.learn_one(event.user_id, event.item_id, event.event_time_ms)
        quiet.learn_one(event.user_id, event.item_id, event.event_time_ms)
    users = {event.user_id for event in stream}
    assert [asked.recommend(user_id, 10) for user_id in users] == [quiet.recommend(user_id, 10) for user_id in users]


def hit_rate(model, stream):
    evaluator = PrequentialEvaluator(10)
    for event in stream:
        evaluator.judge(event.user_id, event.item_id, model.recommend(event.user_id, 10))
        model.learn_one(event.user_id, event.item_id, event.event_time_ms)
    return evaluator.report().hr_at_k


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - {"popularity"}))
def test_users_with_a_taste_are_served_better_than_by_popularity(name):
    stream = events(2_000, users=150, items=60)
    assert hit_rate(MAKERS[name](), stream) > 1.1 * hit_rate(MAKERS["popularity"](), stream)


@of_every_baseline
def test_a_baseline_says_how_it_was_run(make):
    assert make().title
    assert make().settings()
