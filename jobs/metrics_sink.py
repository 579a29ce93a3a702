"""The sink of windowed metrics: one record of the topic `metrics` for each window, measure and slice, exactly once."""

from __future__ import annotations

from pyflink.table import StreamTableEnvironment

from jobs.streams import sql_options
from models.config import Kafka
from models.topics import METRICS, topic_name


def attach_metrics_sink(t_env: StreamTableEnvironment, kafka: Kafka, query: str, *, transactional_prefix: str) -> None:
    """Write the rows of a query to the topic.

    Parameters
    ----------
    query : SELECT of ``window_start_ms``, ``window_end_ms``, ``metric``, ``slice``, ``value``, ``n``. One for all rows of a job: two
        sinks would fight for the same transactional ids
    transactional_prefix : of these ids, another one for each job
    """
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
            {sql_options(kafka, topic_name(kafka.topic_prefix, METRICS), transactional_prefix=transactional_prefix)},
            'key.fields' = 'record_key'
        )
        """
    )
    statements = t_env.create_statement_set()
    statements.add_insert_sql(
        f"""
        INSERT INTO metrics_sink
        SELECT
            CONCAT(CAST(window_start_ms AS STRING), '/', metric, '/', `slice`),
            window_start_ms, window_end_ms, metric, `slice`, `value`, n
        FROM ({query})
        """
    )
    statements.attach_as_datastream()
