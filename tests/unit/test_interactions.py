"""The memory that baselines share: its order of popularity, its matrix, its slates."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.interactions import Interactions, PopularityOrder, best
from models.evaluation.refits import Refits


def learned(*events: tuple[str, str], repeats: bool = False) -> Interactions:
    so_far = Interactions(repeats=repeats)
    for user_id, item_id in events:
        so_far.learn_one(user_id, item_id)
    return so_far


@given(st.lists(st.integers(0, 12)))
def test_the_popularity_order_is_that_of_a_recount_after_every_event(drawn):
    order, index_of, counts = PopularityOrder(), {}, Counter()
    for value in drawn:
        index = index_of.setdefault(value, len(index_of))
        order.count(index)
        counts[index] += 1
        assert sorted(order.best) == list(range(len(index_of)))
        assert [counts[one] for one in order.best] == sorted(counts.values(), reverse=True)
        assert order.counts == [counts[one] for one in range(len(index_of))]


def test_the_last_items_are_different_and_in_the_order_of_their_latest_event():
    so_far = learned(("u", "a"), ("u", "b"), ("v", "x"), ("u", "c"), ("u", "a"))
    a, b, _, c = range(4)
    assert so_far.last("u", 10) == [a, c, b]
    assert so_far.last("u", 2) == [a, c]
    assert so_far.last("u", 2, among=range(c)) == [a, b]
    assert so_far.last("nobody", 2) == []


def test_the_matrix_counts_the_events_of_each_users_last_items():
    so_far = learned(("u", "a"), ("u", "b"), ("v", "b"), ("u", "c"), ("u", "a"))
    assert so_far.matrix(last=10).toarray().tolist() == [[2, 1, 1], [0, 1, 0]]
    assert so_far.matrix(last=2).toarray().tolist() == [[2, 0, 1], [0, 1, 0]]
    assert so_far.matrix(last=10).dtype == np.float32


def test_a_slate_skips_own_items_and_is_filled_with_popular_ones():
    so_far = learned(("u", "a"), ("v", "b"), ("w", "c"), ("x", "c"), ("y", "d"), ("z", "d"), ("y", "c"))
    a, b, _, d = range(4)
    assert so_far.slate("u", [a, b], 3) == ["b", "c", "d"]
    assert so_far.slate("u", [d, b], 1) == ["d"]
    assert so_far.slate("u", [], 9) == ["c", "d", "b"]
    assert so_far.slate("nobody", [b], 9)[0] == "b"


def test_with_repeats_own_items_are_recommended_too():
    events = ("u", "a"), ("u", "a"), ("v", "b")
    assert learned(*events, repeats=True).slate("u", [], 2) == ["a", "b"]
    assert learned(*events, repeats=False).slate("u", [], 2) == ["b"]
    scores = np.array([2.0, 1.0])
    assert learned(*events, repeats=True).slate_of_scores("u", scores.copy(), 2) == ["a", "b"]
    assert learned(*events, repeats=False).slate_of_scores("u", scores.copy(), 2) == ["b"]


def test_scores_may_be_of_fewer_items_than_are_known():
    so_far = learned(("u", "a"), ("v", "b"), ("w", "c"), ("x", "c"), ("u", "d"))
    assert so_far.slate_of_scores("u", np.array([5.0, 1.0]), 3) == ["b", "c"]
    assert so_far.slate_of_scores("v", np.array([0.5, 1.0]), 3) == ["a", "c", "d"]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 3.0]), max_size=12), st.integers(0, 14))
def test_the_best_scores_are_those_of_a_sort(scores, k):
    chosen = best(np.array(scores), k, above=0.0)
    expected = sorted((score for score in scores if score > 0), reverse=True)[:k]
    assert [scores[index] for index in chosen] == expected
    assert chosen == sorted(chosen, key=lambda index: (-scores[index], index))
    assert len(set(chosen)) == len(chosen)


def test_a_refit_is_due_when_the_events_doubled_and_at_the_latest_every_so_many():
    refits = Refits(1_000)
    assert [n for n in range(4_700) if refits.due(n)] == [100, 200, 400, 800, 1_600, 2_600, 3_600, 4_600]


def test_from_the_hundred_thousandth_event_on_the_distance_grows_with_the_events():
    refits = Refits(5_000)
    due = [n for n in range(0, 1_000_001, 100) if refits.due(n)]
    gaps = {second: second - first for first, second in pairwise(due)}
    assert {gap for n, gap in gaps.items() if 10_000 < n <= 100_000} == {5_000}
    assert max(gaps.values()) < 50_000
    assert gaps[due[-1]] == pytest.approx(0.05 * due[-2], rel=0.01)
    assert len(due) < 75


def test_a_refit_every_few_events_is_one_from_the_start():
    refits = Refits(30)
    assert [n for n in range(100) if refits.due(n)] == [30, 60, 90]
    with pytest.raises(ValueError, match="got 0"):
        Refits(0)
