"""The topics in Kafka: made when they are missing, with the settings that the job relies on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from cli.errors import UserError
from models.config import Kafka
from models.topics import (
    ALERTS,
    CONTROLS,
    DEAD_LETTER,
    ITEMS,
    LABELS,
    METRICS,
    MODEL_DELTAS,
    MODEL_UPDATES,
    RECOMMENDATIONS,
    REQUESTS,
    TEXTS,
    TOPICS,
    topic_name,
)

_OF_THE_MONITOR_ALONE = (TEXTS, LABELS, ALERTS)
JOB_TOPICS = tuple(topic for topic in TOPICS if topic not in _OF_THE_MONITOR_ALONE)
MONITOR_TOPICS = (*_OF_THE_MONITOR_ALONE, METRICS, DEAD_LETTER)
_COMPACTED = (ITEMS, CONTROLS, MODEL_UPDATES)
# Broadcast topics and requests are read from a point of time on, recommendations are timed: both by the broker's clock.
_BROKER_TIME = (REQUESTS, ITEMS, CONTROLS, MODEL_UPDATES, MODEL_DELTAS, RECOMMENDATIONS)
# A delta is of use until its row has come whole (item_cf.rows_interval_ms), or to a job that goes on from a checkpoint.
_DELTAS_RETENTION_MS = 86_400_000
_FOR_EVER_MS = 100 * 365 * 86_400_000
_SMALL_SEGMENT_BYTES = 64 * 1024 * 1024


@contextmanager
def connecting(kafka: Kafka) -> Iterator[None]:
    """Say in one sentence, a UserError, that a broker does not answer the client that is made here."""
    try:
        yield
    except KafkaError as error:
        raise UserError(f"no Kafka broker answers at {kafka.bootstrap_servers}: {error}") from None


def create_topics(kafka: Kafka, topics: Sequence[str] = JOB_TOPICS) -> list[str]:
    """Create the topics of a job that are missing.

    Returns
    -------
    list of str
        Names of the topics that were created.

    Raises
    ------
    UserError
        When the broker cannot be reached or refuses.
    """
    with connecting(kafka):
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers.split(","), **kafka.client_properties)
    try:
        existing = set(admin.list_topics())
        missing = [name for name in topics if topic_name(kafka.topic_prefix, name) not in existing]
        if missing:
            admin.create_topics([_new_topic(kafka, name) for name in missing])
    except KafkaError as error:
        raise UserError(f"Kafka at {kafka.bootstrap_servers} did not create the topics: {error}") from None
    finally:
        admin.close()
    return [topic_name(kafka.topic_prefix, name) for name in missing]


def delete_topics(kafka: Kafka, topics: Sequence[str] = JOB_TOPICS) -> None:
    """Delete the topics of a job, with all that is in them."""
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers.split(","), **kafka.client_properties)
    try:
        admin.delete_topics([topic_name(kafka.topic_prefix, name) for name in topics])
    finally:
        admin.close()


def _new_topic(kafka: Kafka, name: str) -> NewTopic:
    settings = {"message.timestamp.type": "LogAppendTime" if name in _BROKER_TIME else "CreateTime"}
    if name in _COMPACTED:
        settings |= {"cleanup.policy": "compact", "segment.bytes": str(_SMALL_SEGMENT_BYTES)}
    if name == ITEMS:
        # nothing else says that an item was withdrawn: a replica that starts would offer what it knows of its row alone
        settings["delete.retention.ms"] = str(_FOR_EVER_MS)
    if name == MODEL_DELTAS:
        settings |= {"retention.ms": str(_DELTAS_RETENTION_MS), "segment.bytes": str(_SMALL_SEGMENT_BYTES)}
    return NewTopic(
        topic_name(kafka.topic_prefix, name),
        num_partitions=kafka.partitions,
        replication_factor=kafka.replication_factor,
        topic_configs=settings,
    )
