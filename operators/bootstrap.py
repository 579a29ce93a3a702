"""Bootstrap of a replica: the compacted topics, read from their beginning to their end before the first event.

The broadcast stream carries on behind it. A record read by both is harmless: one row a key, the last write wins.
No consumer group and no thread of our own: threads of Python hang or crash inside the JVM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition

_POLL_MS = 500
_RECORDS_A_POLL = 5_000


def read_to_end(
    topics: Sequence[str], bootstrap_servers: str, properties: Mapping[str, object]
) -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """Topic, key and value of all records that the topics hold now; parameters as of `read_records`."""
    for record in read_records(topics, bootstrap_servers, properties):
        yield record.topic, record.key, record.value


def read_records(topics: Sequence[str], bootstrap_servers: str, properties: Mapping[str, object]) -> Iterator[Any]:
    """All records that the topics hold now.

    Parameters
    ----------
    topics : read one after the other, in this order; a topic that does not exist is empty
    bootstrap_servers : ``host:port,...``
    properties : of kafka-python's consumer, such as ``security_protocol``

    Returns
    -------
    iterator of kafka-python's ConsumerRecord
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap_servers.split(","), group_id=None, enable_auto_commit=False, **properties
    )
    try:
        for topic in topics:
            partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
            if not partitions:
                continue
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                for records in consumer.poll(_POLL_MS, max_records=_RECORDS_A_POLL).values():
                    yield from records
    finally:
        consumer.close()
