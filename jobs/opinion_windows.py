"""The windows of opinions by topic and entity, counted by SQL in the JVM: for WATCH, and as metrics."""

from __future__ import annotations

from pyflink.datastream import DataStream
from pyflink.table import Schema, StreamTableEnvironment

from jobs.metrics_sink import attach_metrics_sink
from jobs.streams import typed
from jobs.windows import WINDOW, ratio, tumble
from models.config import Configuration
from operators.judge_texts import NEW_TEXT, OPINION


def opinion_windows(t_env: StreamTableEnvironment, opinions: DataStream, configuration: Configuration) -> DataStream:
    """The windows of new texts as Row(topic, JSON of `operators.watch_topics.Window`); they come before the watermark that ends them."""
    schema = Schema.new_builder()
    for name in OPINION.get_field_names():
        schema.column(name, _sql_type(name))
    schema.column_by_expression("event_time", "TO_TIMESTAMP_LTZ(time_ms, 3)")
    schema.watermark("event_time", "SOURCE_WATERMARK()")
    t_env.create_temporary_view("opinions", t_env.from_data_stream(opinions, schema.build()))
    t_env.create_temporary_view("opinion_windows", t_env.sql_query(_windows(configuration.monitor.window_s)))
    table = t_env.sql_query(
        """
        SELECT topic, CAST(JSON_OBJECT(
            KEY 'window_end_ms' VALUE window_end_ms, KEY 'entity' VALUE entity,
            KEY 'texts' VALUE texts, KEY 'negative' VALUE negative) AS BYTES)
        FROM opinion_windows WHERE texts > 0
        """
    )
    return typed(t_env.to_data_stream(table), NEW_TEXT)


def attach_opinion_metrics(t_env: StreamTableEnvironment, configuration: Configuration) -> None:
    """Attach the exactly-once sink of the windows of `opinion_windows` to the job.

    Every window gives records ``texts``, ``negative_texts``, ``sentiment`` (the mean of -1, 0 and 1) and ``near_duplicates`` for each slice
    ``topic=T`` and ``topic=T/entity=E``; and ``sentiment_accuracy`` and ``topic_accuracy`` under ``all``, of the labels that came in it, as
    the heads had it before they learned them.
    """
    t_env.create_temporary_view("label_windows", t_env.sql_query(_labels(configuration.monitor.window_s)))
    query = f"{_OPINION_METRICS} UNION ALL {_LABEL_METRICS}"
    attach_metrics_sink(t_env, configuration.kafka, query, transactional_prefix="opinion-metrics")


def _sql_type(name: str) -> str:
    return "STRING" if name in ("kind", "topic", "entity") else "BIGINT"


def _windows(window_s: int) -> str:
    return f"""
        SELECT
            {WINDOW},
            topic,
            entity,
            SUM(CASE WHEN kind = 'text' THEN 1 ELSE 0 END) AS texts,
            SUM(CASE WHEN kind = 'text' AND sentiment < 0 THEN 1 ELSE 0 END) AS negative,
            SUM(CASE WHEN kind = 'text' THEN sentiment ELSE 0 END) AS sentiment,
            SUM(CASE WHEN kind = 'repeat' THEN 1 ELSE 0 END) AS repeats
        FROM {tumble(window_s, "opinions")}
        WHERE kind <> 'label'
        GROUP BY window_start, window_end, topic, entity"""


def _labels(window_s: int) -> str:
    return f"""
        SELECT
            {WINDOW},
            SUM(CASE WHEN sentiment_right >= 0 THEN 1 ELSE 0 END) AS sentiments,
            SUM(CASE WHEN sentiment_right > 0 THEN 1 ELSE 0 END) AS sentiments_right,
            SUM(CASE WHEN topic_right >= 0 THEN 1 ELSE 0 END) AS topics,
            SUM(CASE WHEN topic_right > 0 THEN 1 ELSE 0 END) AS topics_right
        FROM {tumble(window_s, "opinions")}
        WHERE kind = 'label'
        GROUP BY window_start, window_end"""


_OPINION_METRICS = f"""
    SELECT window_start_ms, window_end_ms, metric,
        CONCAT('topic=', topic, CASE WHEN entity = '' THEN '' ELSE CONCAT('/entity=', entity) END) AS `slice`, `value`, n
    FROM opinion_windows CROSS JOIN UNNEST(ARRAY[
        ROW('texts', CAST(texts AS DOUBLE), texts),
        ROW('negative_texts', CAST(negative AS DOUBLE), texts),
        ROW('sentiment', {ratio("sentiment", "texts")}, texts),
        ROW('near_duplicates', CAST(repeats AS DOUBLE), texts + repeats)
    ]) AS T(metric, `value`, n)"""

_LABEL_METRICS = f"""
    SELECT window_start_ms, window_end_ms, metric, 'all' AS `slice`, `value`, n
    FROM label_windows CROSS JOIN UNNEST(ARRAY[
        ROW('sentiment_accuracy', {ratio("sentiments_right", "sentiments")}, sentiments),
        ROW('topic_accuracy', {ratio("topics_right", "topics")}, topics)
    ]) AS T(metric, `value`, n)"""
