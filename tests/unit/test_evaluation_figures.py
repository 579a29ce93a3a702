"""Errors, curves, inequality, splits and series: known answers, and scikit-learn where it has the function."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve

from models.evaluation import popularity_baseline
from models.evaluation.bias import gini, lorenz, share_of_most_taken
from models.evaluation.curves import precision_recall, reliability
from models.evaluation.figures import figures_of
from models.evaluation.over_time import by_count, by_date
from models.evaluation.popularity_baseline import popularity_positions
from models.evaluation.prequential import PrequentialEvaluator
from models.evaluation.recorder import Recorder, Recording, Shown, SourceCount
from models.evaluation.source_shares import source_shares
from models.evaluation.splits import events_so_far, groups, slice_of
from models.evaluation.uncertainty import clustered_error, mean_of, standard_error, wilson_interval

DAY_MS = 86_400_000
scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1)


def columns(pairs):
    return np.array([score for score, _ in pairs]), np.array([label for _, label in pairs])


def recorded(stream, k=3, *, repeats=False):
    """A recording of (user, item, time_ms, slate) events, slates of item ids."""
    evaluator, recorder = PrequentialEvaluator(k), Recorder(k, repeats=repeats)
    for user, item, time_ms, slate in stream:
        judgement = evaluator.judge(user, item, slate)
        shown = [Shown(one, -place, 0.5 / (place + 1), ["cf"]) for place, one in enumerate(slate)]
        recorder.record(user, item, time_ms, judgement, shown if judgement else ())
    return recorder.recording()


def random_stream(n, *, users=7, items=30, seed=3, step_ms=1000):
    draw = np.random.default_rng(seed)
    for number in range(n):
        slate = [f"i{one}" for one in draw.choice(items, 3, replace=False)]
        item = f"i{int(items * draw.random() ** 2)}"
        yield f"u{draw.integers(users)}", item, number * step_ms, slate


# errors


def test_the_standard_error_is_that_of_the_mean():
    assert standard_error(np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx((1 / 3) ** 0.5 / 2)
    assert standard_error(np.array([1.0])) == 0


def test_one_event_a_user_makes_the_clustered_error_the_plain_one():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert clustered_error(values, np.arange(5)) == pytest.approx(standard_error(values))


def test_events_that_only_repeat_their_user_add_no_certainty():
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    repeated = clustered_error(np.repeat(values, 8), np.repeat(np.arange(5), 8))
    assert repeated == pytest.approx(standard_error(values))
    assert standard_error(np.repeat(values, 8)) < repeated / 2


def test_a_mean_of_nothing_or_of_one_user_has_no_error():
    assert mean_of(np.zeros(0), np.zeros(0, np.int32)).value == 0
    assert mean_of(np.array([0.0, 1.0]), np.array([4, 4])).user_error == 0


def test_the_wilson_interval_is_that_of_the_textbook():
    low, high = wilson_interval(np.array([0.0, 10.0, 0.0]), np.array([10.0, 20.0, 0.0]))
    np.testing.assert_allclose(low, [0, 0.299298, 0], atol=1e-6)
    np.testing.assert_allclose(high, [0.277533, 0.700702, 1], atol=1e-6)


# curves


@given(scored)
def test_the_precision_recall_curve_is_scikit_learns(pairs):
    scores, labels = columns(pairs)
    ours = precision_recall(scores, labels)
    if not labels.any():
        assert (ours.area, set(ours.recall)) == (0, {0})
        return
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    assert ours.thresholds == pytest.approx(thresholds[::-1])
    assert ours.precision == pytest.approx(precision[:-1][::-1])
    assert ours.recall == pytest.approx(recall[:-1][::-1])
    assert ours.area == pytest.approx(average_precision_score(labels, scores))


def test_a_thinned_curve_keeps_its_ends_and_its_area():
    draw = np.random.default_rng(5)
    scores = draw.random(5000)
    labels = draw.random(5000) < scores
    full, thin = precision_recall(scores, labels), precision_recall(scores, labels, points=50)
    assert len(thin.recall) <= 50
    assert (thin.area, thin.recall[-1], thin.precision[-1]) == (full.area, 1.0, full.precision[-1])
    assert max(np.diff(thin.recall)) < 0.03
    assert set(zip(thin.recall, thin.precision, strict=True)) <= set(zip(full.recall, full.precision, strict=True))


def test_a_curve_of_nothing_is_empty():
    assert precision_recall(np.zeros(0), np.zeros(0, bool)).thresholds == []


def test_reliability_is_scikit_learns_with_bins_of_equal_size():
    draw = np.random.default_rng(5)
    probabilities = draw.random(4000) ** 3
    labels = draw.random(4000) < probabilities**1.5
    ours = reliability(probabilities, labels, bins=10)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy="quantile")
    assert ours.observed == pytest.approx(observed, abs=0.005)
    assert ours.predicted == pytest.approx(predicted, abs=0.005)
    assert ours.n == [400] * 10
    assert ours.brier == pytest.approx(brier_score_loss(labels, probabilities))
    assert ours.expected_calibration_error == pytest.approx(np.mean(np.abs(observed - predicted)), abs=0.001)
    assert all(low <= share <= high for low, share, high in zip(ours.low, ours.observed, ours.high, strict=True))


def test_the_calibration_figures_of_two_groups_are_those_worked_out_by_hand():
    probabilities = np.array([0.1] * 10 + [0.6] * 5)
    labels = np.array([True] + [False] * 9 + [True, True, True, True, False])
    found = reliability(probabilities, labels, bins=3)
    assert (found.n, found.observed) == ([10, 5], [0.1, 0.8])
    assert found.predicted == pytest.approx([0.1, 0.6])
    assert found.expected_calibration_error == pytest.approx(0.2 * 5 / 15)
    assert found.brier == pytest.approx((0.81 + 9 * 0.01 + 4 * 0.16 + 0.36) / 15)
    assert found.brier_skill == pytest.approx(1 - found.brier / (1 / 3 * 2 / 3))


def test_reliability_of_no_prediction_is_none_and_of_one_is_whole():
    assert reliability(np.zeros(0), np.zeros(0, bool)) is None
    assert reliability(np.array([0.5]), np.array([True])).n == [1]


# inequality


def test_the_gini_index_of_small_catalogues_is_that_worked_out_by_hand():
    assert gini(np.array([7, 7, 7])) == pytest.approx(0)
    assert gini(np.array([0, 0, 0, 5])) == pytest.approx(3 / 4)
    assert gini(np.array([3, 1, 2])) == pytest.approx(2 / 9)
    assert gini(np.array([0, 0])) == gini(np.zeros(0, int)) == 0


@given(st.lists(st.integers(0, 50), min_size=1))
def test_the_gini_index_is_half_the_relative_mean_difference(counts):
    values = np.array(counts)
    differences = np.abs(values[:, None] - values[None, :]).mean()
    expected = differences / (2 * values.mean()) if values.any() else 0
    assert gini(values) == pytest.approx(expected, abs=1e-9)


def test_the_lorenz_curve_begins_with_the_rarest_item():
    items, taken = lorenz(np.array([6, 1, 3]))
    np.testing.assert_allclose(items, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(taken, [0, 0.1, 0.4, 1])
    assert share_of_most_taken(np.array([6, 1, 3]), 0.1) == 0.6


# splits


@given(st.lists(st.integers(0, 4)))
def test_events_so_far_counts_the_earlier_ones_of_the_same_id(ids):
    expected = [ids[:place].count(one) for place, one in enumerate(ids)]
    assert events_so_far(np.array(ids, np.int32)).tolist() == expected


def test_groups_share_nothing_and_leave_nothing_out():
    counts = np.arange(2000)
    found = groups(counts, (0, 1, 11, 101, 1001))
    assert [name for name, _ in found] == ["0", "1–10", "11–100", "101–1,000", "> 1,000"]
    assert [int(mask.sum()) for _, mask in found] == [1, 10, 90, 900, 999]
    assert np.add.reduce([mask for _, mask in found]).tolist() == [1] * 2000


def test_a_slice_compares_the_same_events():
    positions, theirs = np.array([-1, 1, 0, 3], np.int16), np.array([-1, 0, 0, 1], np.int16)
    judged = positions >= 0
    found = slice_of("all", judged, users=np.arange(4), positions=positions, baselines={"other": theirs})
    other = found.baselines["other"]
    assert found.hit_rate.value == pytest.approx(2 / 3)
    assert found.ndcg.value == pytest.approx((1 + 1 / 2) / 3)
    assert (other.hit_rate.value, other.ndcg.value) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert other.gain.value == pytest.approx(1 / 3)
    assert other.gain.standard_error == pytest.approx(standard_error(np.array([1.0, 0.0, 0.0])))


# popularity


def popular_by_force(recording: Recording, half_life_ms: float | None) -> list[int]:
    """Sorts all items at each event; of equal counts the one that had it first is ahead."""
    events, order, had, found = defaultdict(list), [], defaultdict(set), []
    for user, item, now, judged in zip(
        recording.users.tolist(), recording.items.tolist(), recording.times_ms.tolist(), recording.judged, strict=True
    ):
        hidden = set() if recording.repeats else had[user]
        visible = [one for one in order if one not in hidden][: recording.k]
        found.append((visible.index(item) + 1 if item in visible else 0) if judged else -1)
        had[user].add(item)
        events[item].append(now)
        counts = Counter(
            {
                one: sum(1.0 if half_life_ms is None else 0.5 ** ((now - then) / half_life_ms) for then in times)
                for one, times in events.items()
            }
        )
        order = [*order, item] if item not in order else order
        order = sorted(order, key=lambda one: -counts[one])
    return found


@pytest.mark.parametrize("half_life_ms", [None, 20_000.0, 100.0])
@pytest.mark.parametrize("repeats", [False, True])
def test_the_popularity_baseline_is_the_one_by_brute_force(half_life_ms, repeats):
    recording = recorded(random_stream(400), repeats=repeats)
    found = popularity_positions(recording, half_life_ms=half_life_ms)
    assert (found > 0).sum() > 30
    assert found.tolist() == popular_by_force(recording, half_life_ms)


def test_an_item_that_fell_out_of_the_ordered_ones_can_come_back(monkeypatch):
    recording = recorded(random_stream(400, items=60), repeats=True)
    columns_ = (recording.users, recording.items, recording.times_ms, recording.judged)
    monkeypatch.setattr(popularity_baseline, "_ORDERED", recording.k)
    found = popularity_baseline._positions.py_func(*columns_, 60, recording.k, True, np.inf)
    assert found.tolist() == popular_by_force(recording, None)


# over time


def test_blocks_hold_equally_many_events_and_add_up():
    positions = np.array([1, 0] * 100, np.int16)
    series = by_count(positions, np.zeros(200, np.int16))
    assert (series.at, series.n) == ([50, 100, 150, 200], [50] * 4)
    assert series.hit_rate.mean == [0.5] * 4
    assert series.hit_rate_so_far == series.ndcg_so_far == [0.5] * 4
    low, high = wilson_interval(np.array([25.0]), np.array([50.0]))
    assert (series.hit_rate.low[0], series.hit_rate.high[0]) == (low[0], high[0])
    half = 1.959963984540054 * standard_error(positions[:50].astype(float))
    assert series.ndcg.high[0] - 0.5 == pytest.approx(half)
    assert by_count(positions[:99], np.zeros(99, np.int16)) is None
    assert by_count(np.zeros(99_057, np.int16), np.zeros(99_057, np.int16)).n == [2000] * 48 + [3057]


@pytest.mark.parametrize(
    ("days", "unit"), [(1.9, None), (3, "hour"), (30, "day"), (215, "week"), (1000, "month"), (36500, "year")]
)
def test_periods_are_of_the_finest_unit_that_a_plot_can_hold(days, unit):
    times_ms = np.linspace(0, days * DAY_MS, 3000).astype(np.int64) + 880_000_000_000
    flat = np.zeros(3000, np.int16)
    series = by_date(times_ms, flat, flat)
    if unit is None:
        assert series is None
        return
    assert series.unit == unit
    assert sum(series.n) == 3000
    assert series.at[0] <= times_ms[0] < series.at[1]


def test_a_day_without_events_is_no_period():
    times_ms = np.array([0, 1, 5 * DAY_MS, 9 * DAY_MS], np.int64)
    series = by_date(times_ms, np.array([1, 0, 1, 0], np.int16), np.array([0, 0, 1, 1], np.int16))
    assert series.n == [2, 1, 1]
    assert series.hit_rate.mean == [0.5, 1.0, 0.0]
    assert series.baseline_hit_rate == series.baseline_ndcg == [0, 1, 1]


# sources


def test_an_item_of_two_sources_counts_for_both():
    cf, popular = source_shares(
        {("cf",): SourceCount(60, 6), ("cf", "popular"): SourceCount(30, 3), ("popular",): SourceCount(10, 1)}
    )
    assert (cf.name, cf.shown, cf.hits, cf.hits_alone) == ("cf", 90, 9, 6)
    assert (cf.shown_share, cf.hit_share, cf.hit_rate) == (0.9, 0.9, 0.1)
    assert (popular.name, popular.shown, popular.hits, popular.hits_alone) == ("popular", 40, 4, 1)
    assert popular.standard_error == pytest.approx((0.1 * 0.9 / 40) ** 0.5)


# all together


def test_all_figures_of_a_stream_fit_together():
    recording = recorded(random_stream(3000, users=40, step_ms=600_000))
    latencies_ms = np.r_[np.linspace(0.1, 5, 2998), 0.0, 1e6]
    figures = figures_of(recording, latencies_ms, recent_half_life_ms=DAY_MS)
    n = int(recording.judged.sum())
    assert (figures.users, figures.overall.hit_rate.n) == (40, n)
    for parts in (figures.by_user_activity, figures.by_item_warmth):
        assert sum(part.hit_rate.n for part in parts) == n
        assert sum(part.hit_rate.n * part.hit_rate.value for part in parts) == pytest.approx(
            n * figures.overall.hit_rate.value
        )
    assert figures.by_events.hit_rate_so_far[-1] == pytest.approx(figures.overall.hit_rate.value)
    assert figures.by_date.ndcg_so_far[-1] == pytest.approx(figures.overall.ndcg.value)
    assert sum(figures.latency.counts) == 3000
    assert figures.latency.quantiles["p50"] == pytest.approx(2.55, abs=0.01)
    assert figures.cold_start[0].hit_rate.n == 40 * 2  # of the first three events of a user the first tests nothing
    assert figures.reliability.brier == pytest.approx(
        np.mean((recording.probabilities - recording.labels) ** 2, dtype=np.float64)
    )


def test_without_probabilities_the_curve_is_drawn_from_scores():
    recorder = Recorder(1)
    evaluator = PrequentialEvaluator(1)
    for n, item in enumerate("abcab"):
        judgement = evaluator.judge("u", item, ["a"])
        recorder.record("u", item, n, judgement, [Shown("a", float(n), None, [])] if judgement else ())
    figures = figures_of(recorder.recording(), np.zeros(0), recent_half_life_ms=DAY_MS)
    assert figures.precision_recall.thresholds == [4.0, 3.0, 2.0, 1.0]
    assert figures.reliability is figures.latency is figures.by_events is figures.by_date is None


def test_an_item_that_was_shown_but_never_came_by_is_none_of_the_streams_items():
    stream = [("u", item, n, [item, "never"]) for n, item in enumerate("abab")]
    figures = figures_of(recorded(stream), np.zeros(0), recent_half_life_ms=DAY_MS)
    assert (figures.items, figures.shown.gini, figures.consumed.gini) == (2, pytest.approx(1 / 6), pytest.approx(1 / 6))
    assert (figures.coverage.shown[-1], figures.coverage.known[-1]) == (3, 3), "coverage is a share of what could be shown"


def test_an_empty_recording_has_no_figures():
    with pytest.raises(ValueError, match="at least one event"):
        figures_of(Recorder(3).recording(), np.zeros(0), recent_half_life_ms=DAY_MS)
