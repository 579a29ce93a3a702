"""The windowed metrics, computed from facts by SQL in the JVM."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import Schema, StreamTableEnvironment

from jobs.streams import sql_options
from models.config import Configuration
from models.facts import Fact
from models.topics import METRICS, topic_name


def attach_metrics(t_env: StreamTableEnvironment, facts: DataStream, configuration: Configuration) -> None:
    """Attach the windows over the facts and their exactly-once sink to the job.

    Every window gives one record for each measure under the slice ``all``, and one for each event type and each reason of a
    dead letter under ``type=...`` and ``reason=...``.
    """
    t_env.create_temporary_view("facts", t_env.from_data_stream(facts, _fact_schema()))
    t_env.create_temporary_view("summaries", t_env.sql_query(_summaries(configuration.metrics.window_s)))
    t_env.create_temporary_view("shown_items", t_env.sql_query(_coverage(configuration.metrics.window_s)))
    t_env.create_temporary_view("kinds", t_env.sql_query(_kinds(configuration.metrics.window_s)))
    kafka = configuration.kafka
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE metrics_sink (
            record_key STRING,
            window_start_ms BIGINT,
            window_end_ms BIGINT,
            metric STRING,
            `slice` STRING,
            `value` DOUBLE,
            n BIGINT
        ) WITH (
            {sql_options(kafka, topic_name(kafka.topic_prefix, METRICS), transactional_prefix="metrics")},
            'key.fields' = 'record_key'
        )
        """
    )
    statements = t_env.create_statement_set()
    # one insert, hence one sink: two of them would fight for the same transactional ids
    statements.add_insert_sql(
        f"""
        INSERT INTO metrics_sink
        SELECT
            CONCAT(CAST(window_start_ms AS STRING), '/', metric, '/', `slice`),
            window_start_ms, window_end_ms, metric, `slice`, `value`, n
        FROM ({" UNION ALL ".join((_SUMMARY_METRICS, _COVERAGE_METRIC, _KIND_METRICS))})
        """
    )
    statements.attach_as_datastream()


def _fact_schema() -> Schema:
    builder = Schema.new_builder()
    for name in Fact.__struct_fields__:
        builder.column(name, "STRING" if Fact.__annotations__[name] == "str" else "BIGINT")
    builder.column_by_expression("event_time", "TO_TIMESTAMP_LTZ(time_ms, 3)")
    return builder.watermark("event_time", "SOURCE_WATERMARK()").build()


_WINDOW = """
    CAST(EXTRACT(EPOCH FROM window_start) AS BIGINT) * 1000 AS window_start_ms,
    CAST(EXTRACT(EPOCH FROM window_end) AS BIGINT) * 1000 AS window_end_ms"""


def _tumble(window_s: int, table: str = "facts") -> str:
    return f"TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(event_time), INTERVAL '{window_s}' SECOND(10)))"


def _summaries(window_s: int) -> str:
    return f"""
        SELECT
            {_WINDOW},
            COUNT(*) AS facts,
            SUM(CASE WHEN kind = 'event' THEN 1 ELSE 0 END) AS events,
            SUM(CASE WHEN kind = 'rejected' THEN 1 ELSE 0 END) AS dead_letters,
            SUM(CASE WHEN kind = 'rejected' AND `type` = 'duplicate' THEN 1 ELSE 0 END) AS duplicates,
            SUM(late) AS late,
            SUM(evaluated) AS evaluated,
            SUM(CASE WHEN evaluated = 1 AND `position` > 0 THEN 1 ELSE 0 END) AS hits,
            SUM(CASE WHEN evaluated = 1 AND `position` > 0
                THEN LN(2.0) / LN(CAST(`position` AS DOUBLE) + 1.0) ELSE 0.0 END) AS gain,
            SUM(CASE WHEN evaluated = 1 THEN shown ELSE 0 END) AS shown,
            SUM(slates) AS slates,
            SUM(recommended) AS recommended,
            SUM(CASE WHEN latency_ms >= 0 THEN 1 ELSE 0 END) AS timed,
            PERCENTILE(CASE WHEN latency_ms >= 0 THEN latency_ms END, 0.5) AS latency_p50,
            PERCENTILE(CASE WHEN latency_ms >= 0 THEN latency_ms END, 0.99) AS latency_p99
        FROM {_tumble(window_s)}
        GROUP BY window_start, window_end"""


def _coverage(window_s: int) -> str:
    return f"""
        SELECT
            {_WINDOW},
            COUNT(DISTINCT item) AS shown_items,
            MAX(known_items) AS known_items
        FROM {_tumble(window_s)} CROSS JOIN UNNEST(SPLIT(items, U&'\\001F')) AS T(item)
        WHERE items <> ''
        GROUP BY window_start, window_end"""


def _kinds(window_s: int) -> str:
    return f"""
        SELECT {_WINDOW}, kind, `type`, COUNT(*) AS n
        FROM {_tumble(window_s)}
        GROUP BY window_start, window_end, kind, `type`"""


_SUMMARY_METRICS = """
    SELECT window_start_ms, window_end_ms, metric, 'all' AS `slice`, `value`, n
    FROM summaries CROSS JOIN UNNEST(ARRAY[
        ROW('events', CAST(events AS DOUBLE), facts),
        ROW('dead_letters', CAST(dead_letters AS DOUBLE), facts),
        ROW('duplicates', CAST(duplicates AS DOUBLE), facts),
        ROW('late', CAST(late AS DOUBLE), events),
        ROW('hr_at_k', CAST(hits AS DOUBLE) / NULLIF(evaluated, 0), evaluated),
        ROW('ndcg_at_k', gain / NULLIF(evaluated, 0), evaluated),
        ROW('precision_at_k', CAST(hits AS DOUBLE) / NULLIF(shown, 0), shown),
        ROW('recall_at_k', CAST(hits AS DOUBLE) / NULLIF(evaluated, 0), evaluated),
        ROW('f1_at_k', CAST(2 * hits AS DOUBLE) / NULLIF(shown + evaluated, 0), evaluated),
        ROW('avg_recommendations', CAST(recommended AS DOUBLE) / NULLIF(slates, 0), slates),
        ROW('latency_p50_ms', CAST(latency_p50 AS DOUBLE), timed),
        ROW('latency_p99_ms', CAST(latency_p99 AS DOUBLE), timed)
    ]) AS T(metric, `value`, n)"""

_COVERAGE_METRIC = """
    SELECT window_start_ms, window_end_ms, 'coverage' AS metric, 'all' AS `slice`,
        CAST(shown_items AS DOUBLE) / NULLIF(known_items, 0) AS `value`, known_items AS n
    FROM shown_items"""

_KIND_METRICS = """
    SELECT window_start_ms, window_end_ms,
        CASE WHEN kind = 'event' THEN 'events' ELSE 'dead_letters' END AS metric,
        CONCAT(CASE WHEN kind = 'event' THEN 'type=' ELSE 'reason=' END, `type`) AS `slice`,
        CAST(n AS DOUBLE) AS `value`, n
    FROM kinds"""
