"""The windowed metrics, computed from facts by SQL in the JVM."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import Schema, StreamTableEnvironment

from jobs.arm_metrics import ARM_METRICS, arm_views
from jobs.metrics_sink import attach_metrics_sink
from jobs.windows import CLICKS, SUMS, WINDOW, ratio, share, tumble
from models.config import Configuration
from models.facts import HANDED_OVER, Fact
from models.metrics.score_bins import FIRST_MARK, ScoreBins


def attach_metrics(t_env: StreamTableEnvironment, facts: DataStream, configuration: Configuration) -> None:
    """Attach the windows over the facts and their exactly-once sink to the job.

    Every window gives one record for each measure under the slice ``all``, and one for each event type and each reason of a
    dead letter under ``type=...`` and ``reason=...``; where there were any, the number of ``requests`` and of ``erasures``. Of the
    requests that asked a question in words, ``hand_over_rate`` is the share that a person was left to answer.
    Where slates with probabilities were judged, the precision-recall curve has a ``pr_precision`` and a ``pr_recall`` under
    ``score>=x`` for each threshold of `models.metrics.score_bins` whose bin is not empty, and ``pr_auc`` is the area under it. Of
    each judged slate, the item that came next is the positive.

    Where `slices_by_arm` says so, there are the slices of `jobs.arm_metrics`.
    """
    t_env.create_temporary_view("facts", t_env.from_data_stream(facts, _fact_schema()))
    window_s, bins = configuration.metrics.window_s, ScoreBins(configuration.metrics.pr_bins)
    views = [
        ("summaries", _summaries(window_s)),
        ("shown_items", _coverage(window_s)),
        ("kinds", _kinds(window_s)),
        ("score_bins", _score_bins(window_s)),
        ("thresholds", _thresholds(window_s, bins)),
        ("curve_points", _CURVE_POINTS),
        ("curve", _curve(window_s)),
    ]
    metrics = [_SUMMARY_METRICS, _COVERAGE_METRIC, _KIND_METRICS, _CURVE_METRICS]
    if slices_by_arm(configuration):
        views += arm_views(window_s)
        metrics += ARM_METRICS
    for name, query in views:
        t_env.create_temporary_view(name, t_env.sql_query(query))
    attach_metrics_sink(t_env, configuration.kafka, " UNION ALL ".join(metrics), transactional_prefix="metrics")


def slices_by_arm(configuration: Configuration) -> bool:
    """Whether the metrics have slices of arms and strategies: as metrics.by_arm says, or where there are any."""
    by_arm = configuration.metrics.by_arm
    return bool(configuration.experiment.arms or len(configuration.policy.strategies) > 1) if by_arm is None else by_arm


def _fact_schema() -> Schema:
    builder = Schema.new_builder()
    for name in Fact.__struct_fields__:
        builder.column(name, "STRING" if Fact.__annotations__[name] == "str" else "BIGINT")
    builder.column_by_expression("event_time", "TO_TIMESTAMP_LTZ(time_ms, 3)")
    return builder.watermark("event_time", "SOURCE_WATERMARK()").build()


def _summaries(window_s: int) -> str:
    return f"""
        SELECT
            {WINDOW},
            SUM(CASE WHEN kind IN ('event', 'rejected') THEN 1 ELSE 0 END) AS facts,
            SUM(CASE WHEN kind = 'event' THEN 1 ELSE 0 END) AS events,
            SUM(CASE WHEN kind = 'rejected' THEN 1 ELSE 0 END) AS dead_letters,
            SUM(CASE WHEN kind = 'rejected' AND `type` = 'duplicate' THEN 1 ELSE 0 END) AS duplicates,
            SUM(late) AS late,
            SUM(evaluated) AS evaluated,
            SUM(CASE WHEN evaluated = 1 AND `position` > 0 THEN 1 ELSE 0 END) AS hits,
            SUM(CASE WHEN evaluated = 1 AND `position` > 0
                THEN LN(2.0) / LN(CAST(`position` AS DOUBLE) + 1.0) ELSE 0.0 END) AS gain,
            SUM(CASE WHEN evaluated = 1 THEN shown ELSE 0 END) AS shown,
            {SUMS},
            SUM(outcomes_joined) AS outcomes_joined,
            SUM(outcomes_late) AS outcomes_late,
            SUM(outcomes_orphan) AS outcomes_orphan,
            SUM(slates_closed) AS slates_closed,
            SUM(slates_judged) AS slates_judged,
            SUM(reward_micros) AS reward_micros,
            SUM(CASE WHEN kind = 'request' AND `type` <> '' THEN 1 ELSE 0 END) AS questions,
            SUM(CASE WHEN kind = 'request' AND `type` = '{HANDED_OVER}' THEN 1 ELSE 0 END) AS handed_over,
            SUM(CASE WHEN latency_ms >= 0 THEN 1 ELSE 0 END) AS timed,
            PERCENTILE(CASE WHEN latency_ms >= 0 THEN latency_ms END, 0.5) AS latency_p50,
            PERCENTILE(CASE WHEN latency_ms >= 0 THEN latency_ms END, 0.99) AS latency_p99
        FROM {tumble(window_s)}
        GROUP BY window_start, window_end"""


def _coverage(window_s: int) -> str:
    return f"""
        SELECT
            {WINDOW},
            COUNT(DISTINCT item) AS shown_items,
            MAX(known_items) AS known_items
        FROM {tumble(window_s)} CROSS JOIN UNNEST(SPLIT(items, U&'\\001F')) AS T(item)
        WHERE items <> ''
        GROUP BY window_start, window_end"""


def _kinds(window_s: int) -> str:
    return f"""
        SELECT {WINDOW}, kind, CASE kind WHEN 'request' THEN '' ELSE `type` END AS `type`, COUNT(*) AS n
        FROM {tumble(window_s)}
        WHERE kind <> 'outcome'
        GROUP BY window_start, window_end, kind, CASE kind WHEN 'request' THEN '' ELSE `type` END"""


def _score_bins(window_s: int) -> str:
    """The histogram of a window: how many shown items fell into a bin, and how many of them were what came next."""
    return f"""
        SELECT
            window_time AS event_time,
            ASCII(mark) - {FIRST_MARK} AS bin,
            COUNT(*) AS shown,
            COUNT(CASE WHEN place = `position` THEN 1 END) AS positives
        FROM {tumble(window_s)} CROSS JOIN UNNEST(SPLIT(score_marks, '')) WITH ORDINALITY AS T(mark, place)
        WHERE score_marks <> ''
        GROUP BY window_start, window_end, window_time, ASCII(mark) - {FIRST_MARK}"""


def _thresholds(window_s: int, bins: ScoreBins) -> str:
    """For each bin that is not empty, what lies in it, what lies above it, and what there is in all.

    The CASE is always true; without it the planner takes the constant array for a table of its own, and joins it with the
    histograms outside of their windows.
    """
    labels = ", ".join(f"'score>={threshold:g}'" for threshold in bins.thresholds)
    return f"""
        SELECT
            window_time AS event_time,
            label,
            SUM(CASE WHEN bin + 1 = place THEN shown ELSE 0 END) AS shown_here,
            SUM(CASE WHEN bin + 1 = place THEN positives ELSE 0 END) AS positives_here,
            SUM(CASE WHEN bin + 1 > place THEN shown ELSE 0 END) AS shown_above,
            SUM(CASE WHEN bin + 1 > place THEN positives ELSE 0 END) AS positives_above,
            SUM(shown) AS shown,
            SUM(positives) AS positives
        FROM {tumble(window_s, "score_bins")}
            CROSS JOIN UNNEST(CASE WHEN bin >= 0 THEN ARRAY[{labels}] END) WITH ORDINALITY AS T(label, place)
        GROUP BY window_start, window_end, window_time, label, place
        HAVING SUM(CASE WHEN bin + 1 = place THEN shown ELSE 0 END) > 0"""


# The last row is what a bin adds to the area: formula in `models.metrics.score_bins`.
_CURVE_POINTS = """
    SELECT event_time, metric, `slice`, `value`, n
    FROM (SELECT *, CAST(shown_here + 1 AS DOUBLE) / (positives_here + 1) AS step FROM thresholds)
        CROSS JOIN UNNEST(ARRAY[
        ROW('pr_precision', label,
            CAST(positives_above + positives_here AS DOUBLE) / (shown_above + shown_here), shown_above + shown_here),
        ROW('pr_recall', label,
            CAST(positives_above + positives_here AS DOUBLE) / NULLIF(positives, 0), positives),
        ROW('pr_auc', 'all',
            (positives_here / step + (positives_above - shown_above / step) / step
                * LN((shown_above + step * (positives_here + 0.5E0)) / (shown_above + step * 0.5E0)))
            / NULLIF(positives, 0), shown)
    ]) AS T(metric, `slice`, `value`, n)"""


def _curve(window_s: int) -> str:
    """The points as they are, and the area as the sum of its parts."""
    return f"""
        SELECT {WINDOW}, metric, `slice`, SUM(`value`) AS `value`, MAX(n) AS n
        FROM {tumble(window_s, "curve_points")}
        GROUP BY window_start, window_end, metric, `slice`"""


_CURVE_METRICS = "SELECT window_start_ms, window_end_ms, metric, `slice`, `value`, n FROM curve"

_SUMMARY_METRICS = f"""
    SELECT window_start_ms, window_end_ms, metric, 'all' AS `slice`, `value`, n
    FROM summaries CROSS JOIN UNNEST(ARRAY[
        ROW('events', CAST(events AS DOUBLE), facts),
        ROW('dead_letters', CAST(dead_letters AS DOUBLE), facts),
        ROW('duplicates', CAST(duplicates AS DOUBLE), facts),
        ROW('late', CAST(late AS DOUBLE), events),
        {share("hr_at_k", "hits", "evaluated")},
        ROW('ndcg_at_k', gain / NULLIF(evaluated, 0), evaluated),
        ROW('precision_at_k', {ratio("hits", "shown")}, shown),
        ROW('recall_at_k', {ratio("hits", "evaluated")}, evaluated),
        ROW('f1_at_k', {ratio("2 * hits", "shown + evaluated")}, evaluated),
        {share("ctr", CLICKS, "slates")},
        ROW('avg_recommendations', {ratio("recommended", "slates")}, slates),
        ROW('retention', {ratio("returned", "visits")}, visits),
        ROW('dwell', {ratio("dwell_milli", "1000 * dwells")}, dwells),
        ROW('outcomes_joined', CAST(outcomes_joined AS DOUBLE), events),
        ROW('outcomes_late', CAST(outcomes_late AS DOUBLE), events),
        ROW('outcomes_orphan', CAST(outcomes_orphan AS DOUBLE), events),
        ROW('slates_closed', CAST(slates_closed AS DOUBLE), slates),
        ROW('reward_mean', reward_micros / 1E6 / NULLIF(slates_judged, 0), slates_judged),
        {share("hand_over_rate", "handed_over", "questions")},
        ROW('latency_p50_ms', CAST(latency_p50 AS DOUBLE), timed),
        ROW('latency_p99_ms', CAST(latency_p99 AS DOUBLE), timed)
    ]) AS T(metric, `value`, n)"""

_COVERAGE_METRIC = """
    SELECT window_start_ms, window_end_ms, 'coverage' AS metric, 'all' AS `slice`,
        CAST(shown_items AS DOUBLE) / NULLIF(known_items, 0) AS `value`, known_items AS n
    FROM shown_items"""

_KIND_METRICS = """
    SELECT window_start_ms, window_end_ms,
        CASE kind WHEN 'event' THEN 'events' WHEN 'rejected' THEN 'dead_letters' WHEN 'request' THEN 'requests'
            ELSE 'erasures' END AS metric,
        CASE kind WHEN 'event' THEN CONCAT('type=', `type`) WHEN 'rejected' THEN CONCAT('reason=', `type`)
            ELSE 'all' END AS `slice`,
        CAST(n AS DOUBLE) AS `value`, n
    FROM kinds"""
