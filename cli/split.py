"""Whether the arms of a running experiment have the users that they should have, from the job's own metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from cli.topics import connecting
from models.config import Kafka
from models.experiments import mismatch
from models.topics import METRICS, Metric, topic_name

_DAY_MS = 86_400_000
# of each partition, from its end: some windows of every slice, however long the job runs
_RECORDS = 20_000
_POLL_MS = 500
_ARM = "arm="
_ROUNDING = 1e-4


def split_problem(kafka: Kafka) -> str | None:
    """What is wrong with the split of the latest day of event time, in one sentence; None where nothing is, or no experiment runs."""
    return problem_of(_newest_metrics(kafka))


def problem_of(metrics: Iterable[Metric]) -> str | None:
    """The same, from records of `metrics`.

    Users are those whose first event of the day is in a window, so they add up over the windows of a day. Windows in which the arms
    should have had other shares than in the last one are left out.
    """
    shares: defaultdict[int, dict[str, float]] = defaultdict(dict)
    users: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for record in metrics:
        arm = record.slice.removeprefix(_ARM)
        if arm == record.slice or "/" in arm or record.value is None:
            continue
        if record.metric == "expected_share":
            shares[record.window_start_ms][arm] = record.value
        elif record.metric == "users":
            users[record.window_start_ms][arm] = int(record.value)
    if not shares:
        return None
    last_ms = max(shares)
    expected: dict[str, float] = {}
    total: defaultdict[str, int] = defaultdict(int)
    for start_ms in sorted(shares, reverse=True):
        # an arm whom nobody was in has no record in that window
        same = all(expected.get(arm, share) == share for arm, share in shares[start_ms].items())
        if start_ms // _DAY_MS != last_ms // _DAY_MS or not same:
            break
        expected |= shares[start_ms]
        for arm, count in users[start_ms].items():
            total[arm] += count
    unseen = 1 - sum(expected.values())
    return mismatch(total, expected | ({"others": unseen} if unseen > _ROUNDING else {}))


def _newest_metrics(kafka: Kafka) -> list[Metric]:
    from kafka import KafkaConsumer, TopicPartition

    with connecting(kafka):
        consumer = KafkaConsumer(
            bootstrap_servers=kafka.bootstrap_servers.split(","),
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            **kafka.client_properties,
        )
    decode = msgspec.json.Decoder(Metric).decode
    found = []
    try:
        topic = topic_name(kafka.topic_prefix, METRICS)
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            return []
        consumer.assign(partitions)
        begins, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, max(begins[partition], ends[partition] - _RECORDS))
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(_POLL_MS).values():
                found += [decode(record.value) for record in records if record.value is not None]
    finally:
        consumer.close()
    return found
