"""Ranking metrics: answers worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.metrics.ranking import f1, hit_at_k, ndcg_at_k, position_of, precision, recall, reciprocal_rank_at_k


@pytest.mark.parametrize(
    ("position", "hit", "reciprocal", "ndcg"),
    [
        (1, 1.0, 1.0, 1.0),
        (2, 1.0, 0.5, 0.6309297535714575),
        (3, 1.0, 1 / 3, 0.5),
        (7, 1.0, 1 / 7, 1 / 3),
        (10, 1.0, 0.1, 0.2890648263178879),
        (11, 0.0, 0.0, 0.0),
        (None, 0.0, 0.0, 0.0),
    ],
)
def test_a_single_relevant_item_is_worth_what_its_position_says(position, hit, reciprocal, ndcg):
    assert hit_at_k(position, 10) == hit
    assert reciprocal_rank_at_k(position, 10) == pytest.approx(reciprocal)
    assert ndcg_at_k(position, 10) == pytest.approx(ndcg)


@pytest.mark.parametrize("metric", [hit_at_k, reciprocal_rank_at_k, ndcg_at_k])
def test_a_position_below_one_is_no_position(metric):
    with pytest.raises(ValueError, match="a position from 1, got 0"):
        metric(0, 10)


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_better_position_is_never_worth_less(position, k):
    for metric in (hit_at_k, reciprocal_rank_at_k, ndcg_at_k):
        assert 0.0 <= metric(position + 1, k) <= metric(position, k) <= 1.0


def test_positions_are_counted_from_one():
    assert [position_of(item_id, ["a", "b"]) for item_id in "abc"] == [1, 2, None]
    assert position_of("a", ()) is None


def test_precision_recall_and_f1_are_shares_and_their_harmonic_mean():
    assert (precision(3, 12), recall(3, 4)) == (0.25, 0.75)
    assert f1(0.25, 0.75) == pytest.approx(0.375)


def test_shares_of_nothing_are_zero():
    assert (precision(0, 0), recall(0, 0), f1(0.0, 0.0)) == (0.0, 0.0, 0.0)
