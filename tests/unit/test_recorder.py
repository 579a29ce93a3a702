"""The recorder of judged events: its columns, what it costs, and what cannot be recorded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.over_time import coverage_growth
from models.evaluation.prequential import Judgement, PrequentialEvaluator
from models.evaluation.recorder import NEVER, Recorder, Shown, SourceCount
from models.evaluation.splits import gains, hits
from models.topics import RecommendedItem


def item(item_id: str, score: float = 0.0, probability: float | None = None, *sources: str) -> Shown:
    return Shown(item_id, score, probability, sources)


def test_the_columns_of_a_small_stream_are_those_worked_out_by_hand():
    recorder = Recorder(k=2)
    recorder.record("u", "a", 10, None, ())
    recorder.record("u", "b", 20, Judgement(1, 2), [item("b", 3.0, 0.5, "cf"), item("c", 2.0, 0.25, "cf", "new")])
    recorder.record("v", "a", 30, Judgement(None, 0), [])
    recorder.record("u", "c", 40, Judgement(2, 2), [item("d", 9.0, None, "new"), item("c", 8.0, 0.125, "cf", "new")])
    recording = recorder.recording()
    assert recording.users.tolist() == [0, 0, 1, 0]
    assert recording.items.tolist() == [0, 1, 0, 2]
    assert recording.times_ms.tolist() == [10, 20, 30, 40]
    assert recording.positions.tolist() == [-1, 1, 0, 2]
    assert recording.shown.tolist() == [0, 2, 0, 2]
    assert recording.judged.tolist() == [False, True, True, True]
    assert recording.scores.tolist() == [3.0, 2.0, 9.0, 8.0]
    np.testing.assert_array_equal(recording.probabilities, np.array([0.5, 0.25, np.nan, 0.125], np.float32))
    assert recording.labels.tolist() == [True, False, False, True]
    assert recording.shown_counts.tolist() == [0, 1, 2, 1]
    assert recording.first_shown.tolist() == [NEVER, 1, 1, 3]
    assert recording.sources == {
        ("cf",): SourceCount(1, 1),
        ("cf", "new"): SourceCount(2, 1),
        ("new",): SourceCount(1, 0),
    }


def test_an_item_of_a_recommendation_can_be_recorded_as_it_is():
    recorder = Recorder(k=1)
    recommended = RecommendedItem(item_id="a", position=1, score=2.0, probability=0.5, sources=["cf"])
    recorder.record("u", "a", 0, Judgement(1, 1), [recommended])
    recorder.record("u", "a", 0, Judgement(1, 1), [Shown.of(recommended)])
    assert recorder.recording().scores.tolist() == [2.0, 2.0]
    assert recorder.recording().sources == {("cf",): SourceCount(2, 2)}


def test_a_slate_other_than_the_judged_one_is_refused():
    with pytest.raises(ValueError, match="judged slate of 2 items, got 1"):
        Recorder(k=2).record("u", "a", 0, Judgement(1, 2), [item("a")])


def test_a_recording_does_not_change_while_the_recorder_goes_on():
    recorder = Recorder(k=1)
    recorder.record("u", "a", 0, Judgement(1, 1), [item("a", 0.0, None, "cf")])
    before = recorder.recording()
    recorder.record("u", "a", 1, Judgement(1, 1), [item("a", 0.0, None, "cf")])
    assert (len(before.users), before.shown_counts.tolist(), before.sources[("cf",)].shown) == (1, [1], 1)


def test_it_takes_the_stated_bytes_an_event():
    recorder = Recorder(k=10)
    slate = [item(f"{n}", 0.0, 0.5, "cf") for n in range(10)]
    for n in range(50):
        recorder.record("u", "0", n, Judgement(1, 10), slate)
    recording = recorder.recording()
    columns = (recording.users, recording.items, recording.times_ms, recording.positions, recording.shown)
    assert sum(column.nbytes for column in columns) == 50 * 20
    assert recording.scores.nbytes + recording.probabilities.nbytes == 50 * 10 * 8


@given(
    st.lists(
        st.tuples(
            st.sampled_from("uvw"),
            st.sampled_from("abcdef"),
            st.lists(st.sampled_from("abcdefgh"), max_size=3, unique=True),
        ),
        min_size=1,
    ),
    st.integers(1, 3),
)
def test_the_recording_holds_what_the_evaluator_reports(stream, every):
    evaluator, recorder = PrequentialEvaluator(3, every), Recorder(3)
    for number, (user, event_item, slate) in enumerate(stream):
        judgement = evaluator.judge(user, event_item, slate)
        recorder.record(user, event_item, number, judgement, [item(one) for one in slate] if judgement else ())
    report, recording = evaluator.report(), recorder.recording()
    judged = recording.positions[recording.judged]
    assert recording.judged.sum() == report.evaluated
    assert hits(judged).sum() == pytest.approx(report.hr_at_k * report.evaluated)
    assert gains(judged).sum() == pytest.approx(report.ndcg_at_k * report.evaluated)
    assert recording.labels.sum() == (judged > 0).sum()
    growth = coverage_growth(recording)
    assert growth.shown[-1] / growth.known[-1] == pytest.approx(report.coverage)
