"""The SQL of the windowed metrics, on facts made by hand, against numbers computed by hand. No Kafka."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import numpy as np
import pytest
from pyflink.common import Row, WatermarkStrategy
from pyflink.table import StreamTableEnvironment
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve

from jobs.arm_metrics import chi_square_tail
from jobs.metrics import attach_metrics
from jobs.recommend import environment
from models.config import Configuration, Flink, Metrics
from models.experiments import srm_p_value
from models.facts import ANSWERED, HANDED_OVER, NO_LATENCY, Fact
from models.metrics.score_bins import ScoreBins
from operators.recommend import FACT
from tests.job.captured import Captured

WINDOW_MS = 60_000
T0 = 1_700_000_040_000  # the start of a minute
FIRST, SECOND = T0, T0 + WINDOW_MS
CONFIG = Configuration(
    flink=Flink(options={"taskmanager.numberOfTaskSlots": "4"}), metrics=Metrics(window_s=WINDOW_MS // 1000, by_arm=True)
)
BINS = ScoreBins(CONFIG.metrics.pr_bins)
NO_FACT = Fact(T0, "event", "view", 0, 0, 0, 0, "", 0, 0, "", 0, NO_LATENCY, arm="default", share_ppm=1_000_000)


def fact(after_ms: int, **fields: Any) -> Fact:
    return msgspec.structs.replace(NO_FACT, time_ms=T0 + after_ms, **fields)


def rejected(after_ms: int, reason: str) -> Fact:
    return fact(after_ms, kind="rejected", type=reason)


def answered(*items: str) -> dict[str, Any]:
    return {"slates": 1, "recommended": len(items), "items": "\x1f".join(items)}


def judged(position: int, *probabilities: float) -> dict[str, Any]:
    marks = BINS.marks(np.array(probabilities, np.float32))
    return {"evaluated": 1, "position": position, "shown": len(probabilities), "score_marks": marks}


FACTS = [
    # the first minute: three slates are judged, two of them hold the item: at place 1 and at place 3
    fact(0, known_items=4, latency_ms=10, **answered("a", "b")),
    fact(1_000, evaluated=1, position=1, shown=2, known_items=5, latency_ms=30, **answered("b", "c", "d")),
    fact(2_000, evaluated=1, position=3, shown=3, late=1, type="rating", known_items=8, **answered("a")),
    fact(3_000, evaluated=1, position=0, shown=1, late=1, known_items=8, latency_ms=20, outcomes_joined=1, **answered()),
    # one that is shown a slate without being judged by it counts nowhere in the precision
    fact(4_000, position=1, shown=7, type="impression", slates_closed=2, slates_judged=2, reward_micros=3_000_000),
    rejected(5_000, "duplicate"),
    rejected(6_000, "duplicate"),
    rejected(59_999, "not_json"),
    # slates that closed by themselves are no event
    fact(8_000, kind="outcome", type="", outcomes_late=2, outcomes_orphan=1, slates_closed=2, slates_judged=1, reward_micros=-1_000_000),
    # the second minute: nothing is judged, nothing answered, nothing timed
    fact(60_000, type="impression"),
    # the third has dead letters only
    rejected(120_000, "not_json"),
    # the fourth judges three slates with probabilities: a hit, a miss, and a hit
    fact(180_000, **judged(1, 0.5, 0.03, 0.03)),
    fact(181_000, **judged(0, 0.2, 0.03)),
    fact(239_999, **judged(2, 0.2, 0.00005)),
    # the fifth has no positive
    fact(240_000, **judged(0, 0.5, 0.2)),
]
FOURTH, FIFTH = T0 + 3 * WINDOW_MS, T0 + 4 * WINDOW_MS


def random_slates(n: int, *, seed: int) -> list[tuple[np.ndarray, int]]:
    """Slates of ten with skewed probabilities, and which item came next: at most one, the likelier the more probable."""
    draw = np.random.default_rng(seed)
    slates = []
    for _ in range(n):
        probabilities = np.sort(10 ** draw.normal(-1.7, 0.5, 10).clip(-6, 0)).astype(np.float32)[::-1]
        hits = np.flatnonzero(draw.random(10) < probabilities)
        slates.append((probabilities, int(hits[0]) + 1 if len(hits) else 0))
    return slates


# windows of one slate, of few, and of many, from an hour on
RANDOM = {T0 + (60 + minute) * WINDOW_MS: random_slates(n, seed=minute) for minute, n in enumerate((1, 25, 2_000))}
FACTS += [
    fact(start - T0 + number, **judged(position, *probabilities))
    for start, slates in RANDOM.items()
    for number, (probabilities, position) in enumerate(slates)
]

# the sixth minute has an experiment: what was judged, by arm, strategy of the judged slate and of the new one
ARMS = {"a": 0.5, "b": 0.3, "c": 0.2}


def in_arm(after_ms: int, arm: str, judged: str, action: str, **fields: Any) -> Fact:
    of_experiment = {"arm": arm, "arms": 3, "share_ppm": round(1_000_000 * ARMS[arm])}
    made = {"slates": 1, "recommended": 2, "action": action} if action else {}
    seen = {"evaluated": 1, "shown": 2, "judged_action": judged} if judged else {}
    return fact(300_000 + after_ms, **of_experiment | made | seen | fields)


SIXTH = T0 + 5 * WINDOW_MS
FACTS += [
    in_arm(0, "a", "", "x", visit=1, first_of_day=1),
    in_arm(1_000, "a", "x", "x", position=1, reward_milli=1_000, visit=2, first_of_day=1),
    in_arm(2_000, "a", "x", "y", position=2, reward_milli=3_000),
    in_arm(3_000, "a", "y", "x", visit=2, dwell_milli=1_500),
    in_arm(4_000, "a", "y", "", dwell_milli=2_500, visit=1),
    in_arm(5_000, "b", "x", "x", position=2, reward_milli=500, first_of_day=1),
    in_arm(6_000, "b", "x", "x", type="rating"),
    fact(300_500, type="impression", dwell_milli=500),
]
# the seventh has strategies and no experiment
SEVENTH = T0 + 6 * WINDOW_MS
FACTS += [
    fact(360_000, action="x", slates=1, recommended=4),
    fact(361_000, action="y", slates=1, recommended=2, **judged(1, 0.5, 0.4), judged_action="x"),
]
# the eighth and the ninth: a split that is as it should be, and one that is not
USERS = {T0 + 7 * WINDOW_MS: {"a": 100, "b": 70, "c": 40}, T0 + 8 * WINDOW_MS: {"a": 100, "b": 30, "c": 80}}
FACTS += [
    in_arm(start - T0 - 300_000 + number, arm, "", "", first_of_day=1)
    for start, users in USERS.items()
    for arm, count in users.items()
    for number in range(count)
]
# the tenth: requests, of which one asked for less and four in words, and an erasure
TENTH = T0 + 9 * WINDOW_MS
FACTS += [
    fact(540_000, action="x", known_items=8, **answered("a", "b"), **judged(1, 0.5, 0.4), judged_action="x"),
    fact(541_000, kind="request", type="", action="y", known_items=8, latency_ms=40, **answered("c", "d", "e", "f")),
    fact(542_000, kind="request", type="", latency_ms=60, slates_closed=1, slates_judged=1, reward_micros=500_000),
    fact(543_000, kind="erasure", type="", arm=""),
    *(fact(544_000, kind="request", type=what) for what in (HANDED_OVER, *3 * (ANSWERED,))),
]


@pytest.fixture(scope="module")
def planned_and_run() -> tuple[str, list[tuple[Any, ...]]]:
    """The plan, and all that the job would write to the topic: key, window start and end, metric, slice, value, n."""
    env = environment(CONFIG)
    t_env = StreamTableEnvironment.create(env)
    # The facts are out of order; the watermark passes all windows when they end.
    shuffled = FACTS[::-2] + FACTS[-2::-2]
    stream = env.from_collection([Row(*msgspec.structs.astuple(made)) for made in shuffled], FACT)
    captured = Captured(t_env)
    attach_metrics(captured, stream.assign_timestamps_and_watermarks(WatermarkStrategy.no_watermarks()), CONFIG)
    rows = t_env.to_data_stream(t_env.sql_query(captured.select))
    plan = env.get_execution_plan()
    with rows.execute_and_collect() as results:
        return plan, [tuple(row) for row in results]


@pytest.fixture(scope="module")
def rows(planned_and_run: tuple[str, list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    return planned_and_run[1]


@pytest.fixture(scope="module")
def measured(rows: list[tuple[Any, ...]]) -> dict[tuple[int, str, str], tuple[float | None, int]]:
    return {(start, metric, part): (value, n) for _, start, _, metric, part, value, n in rows}


def test_each_measure_of_a_window_is_one_record_whose_key_names_it(rows):
    assert len({row[0] for row in rows}) == len(rows)
    for key, start, end, metric, part, _, _ in rows:
        assert key == f"{start}/{metric}/{part}"
        assert (start % WINDOW_MS, end - start) == (0, WINDOW_MS)
    assert {row[1] for row in rows} == {FIRST, SECOND, SECOND + WINDOW_MS, FOURTH, FIFTH, SIXTH, SEVENTH, TENTH, *USERS, *RANDOM}


def test_nothing_in_the_plan_keeps_state_beyond_its_window(planned_and_run):
    plan, _ = planned_and_run
    stateful = set(re.findall(r"\w*(?:Aggregate|Join|Rank|Deduplicate)\(", plan))
    assert stateful == {"LocalWindowAggregate(", "GlobalWindowAggregate("}


GAIN_AT_3 = math.log(2) / math.log(4)


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("events", 5, 8),
        ("dead_letters", 3, 8),
        ("duplicates", 2, 8),
        ("late", 2, 5),
        ("hr_at_k", 2 / 3, 3),
        ("ctr", 2 / 4, 4),
        ("ndcg_at_k", (1 + GAIN_AT_3) / 3, 3),
        ("precision_at_k", 2 / 6, 6),
        ("recall_at_k", 2 / 3, 3),
        ("f1_at_k", 2 * 2 / (6 + 3), 3),
        ("avg_recommendations", (2 + 3 + 1 + 0) / 4, 4),
        ("outcomes_joined", 1, 5),
        ("outcomes_late", 2, 5),
        ("outcomes_orphan", 1, 5),
        ("slates_closed", 4, 4),
        ("reward_mean", (3 - 1) / 3, 3),
        ("coverage", 4 / 8, 8),
        ("latency_p50_ms", 20, 3),
        # linear between the two highest of 10, 20, 30
        ("latency_p99_ms", 20 + 0.98 * 10, 3),
    ],
)
def test_the_value_of_a_window_is_the_one_computed_by_hand(measured, metric, value, n):
    found, count = measured[FIRST, metric, "all"]
    assert found == pytest.approx(value, abs=1e-9)
    assert count == n


def test_f1_is_the_harmonic_mean_of_precision_and_recall(measured):
    precision, recall, f1 = (measured[FIRST, f"{name}_at_k", "all"][0] for name in ("precision", "recall", "f1"))
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_events_are_counted_by_type_and_dead_letters_by_reason(measured):
    first = {(metric, part): value for (start, metric, part), value in measured.items() if start == FIRST}
    slices = {name: value for name, value in first.items() if name[1] != "all"}
    assert slices == {
        ("events", "type=view"): (3, 3),
        ("events", "type=rating"): (1, 1),
        ("events", "type=impression"): (1, 1),
        ("dead_letters", "reason=duplicate"): (2, 2),
        ("dead_letters", "reason=not_json"): (1, 1),
    }


@pytest.mark.parametrize(
    "metric",
    ["hr_at_k", "ndcg_at_k", "precision_at_k", "recall_at_k", "f1_at_k", "avg_recommendations", "latency_p50_ms", "reward_mean"],
)
@pytest.mark.parametrize("window", [SECOND, SECOND + WINDOW_MS], ids=["events only", "dead letters only"])
def test_a_mean_of_nothing_is_null_and_not_zero(measured, metric, window):
    assert measured[window, metric, "all"] == (None, 0)


def test_a_window_of_dead_letters_only_is_still_counted(measured):
    window = SECOND + WINDOW_MS
    assert measured[window, "events", "all"] == (0, 1)
    assert measured[window, "dead_letters", "all"] == (1, 1)
    assert measured[window, "dead_letters", "reason=not_json"] == (1, 1)


# ------------------------------------------------------------------------------------------------ the curve


def curve_of(measured: dict[tuple[int, str, str], tuple[float | None, int]], window: int) -> dict[Any, Any]:
    return {
        (metric, part): value
        for (start, metric, part), value in measured.items()
        if start == window and metric.startswith("pr_")
    }


def test_the_curve_of_a_window_is_the_one_worked_out_by_hand(measured):
    # by score: 0.5 hit | 0.2 0.2 | 0.03 0.03 0.03 | 0.00005 hit
    assert curve_of(measured, FOURTH) == {
        ("pr_precision", "score>=0.3981"): (1 / 1, 1),
        ("pr_recall", "score>=0.3981"): (1 / 2, 2),
        ("pr_precision", "score>=0.1995"): (1 / 3, 3),
        ("pr_recall", "score>=0.1995"): (1 / 2, 2),
        ("pr_precision", "score>=0.02512"): (1 / 6, 6),
        ("pr_recall", "score>=0.02512"): (1 / 2, 2),
        ("pr_precision", "score>=0"): (2 / 7, 7),
        ("pr_recall", "score>=0"): (2 / 2, 2),
        # (1 / 1 + 2 / 7) / 2, each term as its integral: 1 of 1 shown with 0 above, then 1 of 1 with 1 of 6 above
        ("pr_auc", "all"): (pytest.approx((1 + 1 - 5 * math.log(7.5 / 6.5)) / 2), 7),
    }


def test_without_a_positive_precision_is_zero_and_recall_and_area_are_null(measured):
    assert curve_of(measured, FIFTH) == {
        ("pr_precision", "score>=0.3981"): (0.0, 1),
        ("pr_recall", "score>=0.3981"): (None, 0),
        ("pr_precision", "score>=0.1995"): (0.0, 2),
        ("pr_recall", "score>=0.1995"): (None, 0),
        ("pr_auc", "all"): (None, 2),
    }


@pytest.mark.parametrize("window", [FIRST, SECOND, SECOND + WINDOW_MS])
def test_a_window_that_labels_no_probability_has_no_curve(measured, window):
    assert curve_of(measured, window) == {}


@pytest.mark.parametrize("window", RANDOM)
def test_the_curve_is_that_of_scikit_learn_at_every_threshold(measured, window):
    labels, scores = labelled(RANDOM[window])
    assert labels.any()
    precisions, recalls, thresholds = precision_recall_curve(labels, scores)
    curve = curve_of(measured, window)
    at = sorted({float(part.removeprefix("score>=")) for metric, part in curve if metric != "pr_auc"})
    occupied = {bin_of(BINS, score) for score in scores}
    assert at == [BINS.thresholds[number] for number in sorted(occupied)]
    for threshold in at:
        place = int(np.searchsorted(thresholds, threshold))
        precision, retrieved = curve["pr_precision", f"score>={threshold:g}"]
        recall, positives = curve["pr_recall", f"score>={threshold:g}"]
        assert (precision, recall) == pytest.approx((precisions[place], recalls[place]), abs=1e-12)
        assert (retrieved, positives) == (int((scores >= threshold).sum()), int(labels.sum()))


@pytest.mark.parametrize("window", RANDOM)
def test_the_area_is_that_of_scikit_learn_within_what_a_bin_can_hide(measured, window):
    labels, scores = labelled(RANDOM[window])
    area, n = curve_of(measured, window)["pr_auc", "all"]
    assert n == len(labels)
    # within a bin the order is lost: at best its positives come first, at worst last
    binned = np.array([bin_of(BINS, score) for score in scores])
    best, worst = (average_precision_score(labels, binned + sign * 0.5 * labels) for sign in (1, -1))
    exact = average_precision_score(labels, scores)
    assert worst <= exact <= best
    # a sum of one term and its integral are at most 2.2 % apart, of more terms less
    assert 0.978 * worst <= area <= best
    if len(RANDOM[window]) > 1_000:
        assert area == pytest.approx(exact, rel=0.02)
        assert best - worst > 0.1 * exact, "hardly a bin to hide anything in: the data are too easy"


@pytest.mark.parametrize("window", RANDOM)
def test_the_area_is_the_mean_over_all_orders_within_the_bins(measured, window):
    labels, scores = labelled(RANDOM[window])
    area, _ = curve_of(measured, window)["pr_auc", "all"]
    binned = np.array([bin_of(BINS, score) for score in scores])
    draw = np.random.default_rng(1)
    shuffled = [average_precision_score(labels, binned + 0.5 * draw.random(len(binned))) for _ in range(20)]
    assert area == pytest.approx(float(np.mean(shuffled)), rel=0.03)


# ------------------------------------------------------------------------------------------------ arms and strategies


def sliced(measured: dict[tuple[int, str, str], tuple[float | None, int]], window: int, part: str) -> dict[str, Any]:
    return {metric: found for (start, metric, of), found in measured.items() if (start, of) == (window, part)}


def wilson(hits: int, n: int) -> tuple[float, float]:
    found = proportion_interval(hits, n, 0.95)
    return float(found.low), float(found.high)


def proportion_interval(hits: int, n: int, level: float) -> Any:
    return stats.binomtest(hits, n).proportion_ci(level, method="wilson")


def test_an_arm_has_the_measures_worked_out_by_hand(measured):
    of_a = sliced(measured, SIXTH, "arm=a")
    gain = math.log(2) / math.log(3)
    expected = {
        "hr_at_k": (2 / 4, 4),
        "ndcg_at_k": ((1 + gain) / 4, 4),
        "precision_at_k": (2 / 8, 8),
        "recall_at_k": (2 / 4, 4),
        "f1_at_k": (2 * 2 / (8 + 4), 4),
        "ctr": (2 / 4, 4),
        "reward": ((1 + 3) / 4, 4),
        "avg_recommendations": (2.0, 4),
        "events": (5, 5),
        "users": (2, 2),
        "expected_share": (0.5, 2),
        "user_share": (2 / 3, 3),
        "retention": (2 / 4, 4),
        "dwell": (2.0, 2),
    }
    assert {name: found for name, found in of_a.items() if not name.endswith(("_low", "_high"))} == {
        name: (pytest.approx(value), n) for name, (value, n) in expected.items()
    }


@pytest.mark.parametrize(("part", "hits", "n"), [("arm=a", 2, 4), ("arm=b", 1, 2), ("arm=a/action=y", 0, 2)])
def test_a_hit_rate_has_its_wilson_interval(measured, part, hits, n):
    found = sliced(measured, SIXTH, part)
    low, high = wilson(hits, n)
    assert (found["hr_at_k_low"], found["hr_at_k_high"]) == ((pytest.approx(low, abs=1e-9), n), (pytest.approx(high, abs=1e-9), n))


def test_a_mean_has_its_normal_interval(measured):
    found = sliced(measured, SIXTH, "arm=a")
    error = np.std([1.0, 3.0, 0.0, 0.0], ddof=1) / 2
    low, high = stats.norm.interval(0.95, 1.0, error)
    assert (found["reward_low"][0], found["reward_high"][0]) == (pytest.approx(low), pytest.approx(high))
    one = sliced(measured, SIXTH, "arm=b/action=x")
    assert one["reward"] == (0.25, 2)


def test_a_hit_counts_under_the_strategy_of_the_slate_that_it_hit_and_a_slate_under_its_own(measured):
    x, y = (sliced(measured, SIXTH, f"arm=a/action={name}") for name in "xy")
    assert x["hr_at_k"] == (2 / 2, 2)
    assert x["ctr"] == (pytest.approx(2 / 3), 3)
    assert y["hr_at_k"] == (0.0, 2)
    assert y["ctr"] == (0.0, 1)
    assert x["reward"] == (2.0, 2)
    assert "users" not in x
    assert sliced(measured, SIXTH, "action=x") == {}


def test_without_an_experiment_there_are_strategies_and_no_arms(measured):
    assert sliced(measured, SEVENTH, "action=x")["hr_at_k"] == (1.0, 1)
    assert sliced(measured, SEVENTH, "action=y")["avg_recommendations"] == (2.0, 1)
    parts = {part for start, _, part in measured if start == SEVENTH}
    assert {part for part in parts if not part.startswith(("score", "type"))} == {"all", "action=x", "action=y"}
    assert (SEVENTH, "srm_p", "all") not in measured


def test_requests_and_erasures_are_counted_and_what_requests_showed_is_shown(measured):
    found = {metric: measured[TENTH, metric, "all"] for start, metric, part in measured if (start, part) == (TENTH, "all")}
    assert (found["requests"], found["erasures"], found["events"], found["dead_letters"]) == ((6, 6), (1, 1), (1, 1), (0, 1))
    assert (found["hand_over_rate"], measured[FIRST, "hand_over_rate", "all"]) == ((0.25, 4), (None, 0))
    interval = stats.binomtest(1, 4).proportion_ci(method="wilson")
    assert (found["hand_over_rate_low"][0], found["hand_over_rate_high"][0]) == pytest.approx(interval)
    assert (found["avg_recommendations"], found["ctr"], found["coverage"]) == ((3, 2), (0.5, 2), (6 / 8, 8))
    assert (found["hr_at_k"], found["latency_p50_ms"], found["reward_mean"]) == ((1, 1), (50, 2), (0.5, 1))
    assert {part for start, metric, part in measured if start == TENTH and metric == "events"} == {"all", "type=view"}
    assert sliced(measured, TENTH, "action=y")["avg_recommendations"] == (4, 1)
    assert ("requests", "all") not in {(metric, part) for start, metric, part in measured if start == FIRST}


@pytest.mark.parametrize("window", USERS)
def test_the_mismatch_of_the_split_is_that_of_the_chi_square_test(measured, window):
    p, n = measured[window, "srm_p", "all"]
    users = list(USERS[window].values())
    expected = stats.chisquare(users, [sum(users) * share for share in ARMS.values()]).pvalue
    assert p == pytest.approx(expected, rel=1e-5)
    assert p == pytest.approx(srm_p_value(users, list(ARMS.values())), rel=1e-5)
    assert n == sum(users)
    for arm, count in USERS[window].items():
        assert measured[window, "user_share", f"arm={arm}"] == (pytest.approx(count / n), n)


def test_an_arm_without_users_is_part_of_the_mismatch(measured):
    p, n = measured[SIXTH, "srm_p", "all"]
    assert (p, n) == (pytest.approx(srm_p_value([2, 1, 0], list(ARMS.values())), rel=1e-5), 3)


def test_the_tail_of_the_chi_square_is_right_for_every_number_of_arms():
    asked = [(arms, value) for arms in range(2, 9) for value in (0.0, 0.5, 3.0, 12.0, 40.0)]
    columns = ", ".join(chi_square_tail(f"CAST({value} AS DOUBLE)", arms - 1) for arms, value in asked)
    t_env = StreamTableEnvironment.create(environment(CONFIG))
    with t_env.execute_sql(f"SELECT {columns}").collect() as rows:
        [found] = [list(row) for row in rows]
    assert found == pytest.approx([stats.chi2.sf(value, arms - 1) for arms, value in asked], rel=1e-6)


def test_retention_and_dwell_of_all_users_are_counted(measured):
    assert measured[SIXTH, "retention", "all"] == (2 / 4, 4)
    assert measured[SIXTH, "dwell", "all"] == (1.5, 3)
    assert measured[FIRST, "retention", "all"] == (None, 0)


def labelled(slates: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels = np.concatenate([np.arange(1, len(shown) + 1) == position for shown, position in slates])
    return labels, np.concatenate([shown for shown, _ in slates]).astype(np.float64)


def bin_of(bins: ScoreBins, score: float) -> int:
    return sum(score >= threshold for threshold in bins.thresholds) - 1
