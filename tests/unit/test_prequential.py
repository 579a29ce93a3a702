"""Prequential evaluation: what is judged, and figures worked out by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.prequential import Judgement, PrequentialEvaluator, PrequentialReport
from models.evaluation.report import EvaluationReport, LatencyMs


def judged(*events: tuple[str, str, list[str] | None], **options: object) -> PrequentialReport:
    evaluator = PrequentialEvaluator(3, **options)
    for user_id, item_id, slate_items in events:
        evaluator.judge(user_id, item_id, slate_items)
    return evaluator.report()


def test_the_figures_of_a_small_stream_are_those_worked_out_by_hand():
    report = judged(
        ("u", "a", None),  # the first of u: not evaluated
        ("v", "a", ["z"]),  # the first of v: not evaluated, its slate does not count
        ("u", "b", ["b", "c"]),  # hit at 1
        ("u", "c", ["d", "e", "c"]),  # hit at 3
        ("v", "d", ["a"]),  # miss
        ("v", "e", None),  # miss, nothing shown
    )
    assert report == PrequentialReport(
        events=6,
        evaluated=4,
        hr_at_k=2 / 4,
        ndcg_at_k=(1 + 1 / 2) / 4,
        precision_at_k=2 / 6,
        recall_at_k=2 / 4,
        f1_at_k=pytest.approx(0.4),  # 2 * 1/3 * 1/2 / (1/3 + 1/2)
        coverage=5 / 5,  # b c d e a of a b c d e
        avg_recommendations=6 / 4,
    )


def test_an_empty_stream_has_a_report_of_zeros():
    assert judged() == PrequentialReport(
        events=0,
        evaluated=0,
        hr_at_k=0,
        ndcg_at_k=0,
        precision_at_k=0,
        recall_at_k=0,
        f1_at_k=0,
        coverage=0,
        avg_recommendations=0,
    )


def test_no_slate_and_an_empty_slate_are_the_same_miss():
    assert judged(("u", "a", None), ("u", "b", None)) == judged(("u", "a", None), ("u", "b", []))
    assert judged(("u", "a", None), ("u", "b", None)).evaluated == 1


def test_a_repeated_item_is_evaluated_unless_told_otherwise():
    stream = [("u", "a", None), ("u", "a", ["b"]), ("v", "a", None), ("v", "b", ["b"])]
    assert (judged(*stream).evaluated, judged(*stream).hr_at_k) == (2, 0.5)
    assert (judged(*stream, repeats=False).evaluated, judged(*stream, repeats=False).hr_at_k) == (1, 1.0)


def test_every_third_evaluates_the_third_and_the_sixth_that_could_be():
    stream = [("u", "a", None)] + [("u", item_id, [item_id] if item_id in "dg" else []) for item_id in "bcdefgh"]
    report = judged(*stream, every=3)
    assert (report.events, report.evaluated, report.hr_at_k) == (8, 2, 1.0)


def test_first_events_of_users_do_not_count_towards_every():
    assert judged(("u", "a", None), ("v", "a", None), ("u", "b", ["b"]), ("v", "c", ["c"]), every=2).evaluated == 1


@given(
    st.lists(st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"))),
    st.integers(1, 4),
    st.booleans(),
)
def test_a_slate_is_looked_at_exactly_when_it_was_said_to_be_needed(stream, every, repeats):
    evaluator = PrequentialEvaluator(3, every, repeats=repeats)
    for user_id, item_id in stream:
        before = evaluator.report().evaluated
        needed = evaluator.needs_slate(user_id, item_id)
        evaluator.judge(user_id, item_id, ["a"])
        assert evaluator.report().evaluated == before + needed


def test_a_slate_that_is_too_long_or_holds_an_item_twice_is_an_error():
    evaluator = PrequentialEvaluator(3)
    evaluator.judge("u", "a", None)
    with pytest.raises(ValueError, match="at most 3 items in a slate, got 4"):
        evaluator.judge("u", "b", list("abcd"))
    with pytest.raises(ValueError, match="distinct items"):
        evaluator.judge("u", "b", ["a", "a"])


@pytest.mark.parametrize(("k", "every"), [(0, 1), (1, 0)])
def test_an_evaluator_of_nothing_is_refused(k, every):
    with pytest.raises(ValueError, match="at least 1"):
        PrequentialEvaluator(k, every)


def test_the_report_of_the_command_has_exactly_the_keys_that_programs_read():
    report = EvaluationReport.of(
        judged(("u", "a", None), ("u", "b", ["b"])),
        events_per_s=1000.0,
        latency_ms=LatencyMs(p50=0.5, p99=2.0),
        config={"slate": {"k": 10}},
        versions={"python": "3.11.7"},
    )
    assert json.loads(report.encode()) == {
        "events": 2,
        "evaluated": 1,
        "hr_at_k": 1.0,
        "ndcg_at_k": 1.0,
        "precision_at_k": 1.0,
        "recall_at_k": 1.0,
        "f1_at_k": 1.0,
        "coverage": 0.5,
        "avg_recommendations": 1.0,
        "events_per_s": 1000.0,
        "latency_ms": {"p50": 0.5, "p99": 2.0},
        "config": {"slate": {"k": 10}},
        "versions": {"python": "3.11.7"},
    }


def test_a_judgement_says_where_the_item_stood_and_how_much_was_shown():
    evaluator = PrequentialEvaluator(k=3)
    assert evaluator.judge("u", "a", ["a"]) is None
    assert evaluator.judge("u", "b", ["c", "b"]) == Judgement(position=2, shown=2)
    assert evaluator.judge("u", "d", None) == Judgement(position=None, shown=0)
