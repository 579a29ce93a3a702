"""What the end-to-end tests of the job share: a configuration of its own on the real stack, and readers of its topics."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

import cli
from cli.clients import TopicReader
from cli.cluster import Cluster, submit_job
from cli.loop import Loop
from cli.stack import Home, Stack
from cli.topics import create_topics
from models.config import Configuration, Kafka
from models.cooccurrence import Row, decode_row
from models.events import Event
from models.pipeline import LocalPipeline
from models.topics import MODEL_UPDATES, topic_name
from models.validation import parse_configuration
from operators.bootstrap import read_to_end

REPOSITORY = Path(next(iter(cli.__path__))).parent
_numbers = count(1)


def configuration(stack: Stack, **sections: dict[str, Any]) -> Configuration:
    """One partition, no exploration, fast checkpoints, topics that no other test uses."""
    mapping: dict[str, Any] = {
        "kafka": {"bootstrap_servers": stack.bootstrap_servers, "topic_prefix": f"t{next(_numbers)}-", "partitions": 1},
        "flink": {"jobmanager": stack.jobmanager, "checkpoint_interval_ms": 2_000},
        "policy": {"epsilon": 0.0, "epsilon_min": 0.0},
        "events": {"max_events_per_minute": 10**9},
        "item_cf": {"rows_interval_ms": 500},
    }
    for name, values in sections.items():
        mapping[name] = {**mapping.get(name, {}), **values}
    return parse_configuration(mapping, "the test")


def flinkrec(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the stack of a home, as a process of its own."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    variables = {"FLINKREC_HOME": str(home.root), "FLINKREC_JARS": str(home.jars), "PYTHONPATH": path, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def submitted(config: Configuration) -> str:
    """Submit the job on fresh topics and return its id."""
    create_topics(config.kafka)
    return submit_job(config, progress=lambda _: None)


def on_topics_of(config: Configuration, kafka: Kafka) -> Configuration:
    """The same configuration on the topics of another."""
    return msgspec.structs.replace(config, kafka=kafka)


def loop(config: Configuration, *, in_flight: int = 64) -> Loop:
    """A loop around the job in which every event is answered and judged."""
    return Loop(config, in_flight=in_flight)


def records(config: Configuration, topic: str, *, committed: bool = True) -> list[tuple[bytes | None, bytes | None]]:
    """All records of a topic, of ended transactions only."""
    properties = {"isolation_level": "read_committed"} if committed else {}
    name = topic_name(config.kafka.topic_prefix, topic)
    return [(key, value) for _, key, value in read_to_end((name,), config.kafka.bootstrap_servers, properties)]


def values(config: Configuration, topic: str) -> list[Any]:
    """All JSON values of a topic, of ended transactions only."""
    return [msgspec.json.decode(value) for _, value in records(config, topic) if value is not None]


def recomputed_rows(config: Configuration, events: list[Event]) -> dict[str, Row]:
    """The table that one process learns from the same events in the same order."""
    pipeline = LocalPipeline(config)
    for event in events:
        pipeline.learn(event)
    return {row.item_id: row for row in pipeline.table}


def content(rows: dict[str, Row]) -> dict[str, tuple[Any, ...]]:
    """Everything a row knows, comparable with ``==``."""
    return {
        item_id: (
            row.count,
            row.events,
            row.pop_fast,
            row.pop_slow,
            row.first_seen_ms,
            row.last_seen_ms,
            row.value_sum,
            row.value_count,
            row.neighbours(),
        )
        for item_id, row in rows.items()
    }


def await_true(condition: Callable[[], bool], what: str, *, timeout_s: float = 90.0) -> None:
    """Wait until a condition holds; the test fails when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:.0f} s: {what}")
        time.sleep(0.2)


def await_records(config: Configuration, topic: str, wanted: int) -> None:
    """Wait until a topic holds so many records of ended transactions."""
    found = 0

    def complete() -> bool:
        nonlocal found
        found += sum(1 for _ in reader.poll(200))
        return found >= wanted

    with closing(TopicReader(config.kafka, (topic,), from_beginning=True, committed=True)) as reader:
        await_true(complete, f"{topic} holds fewer than {wanted} records")


def await_learned(config: Configuration, events: int) -> dict[str, Row]:
    """The learned co-occurrence table as published, by item id, once it holds this many events."""
    rows: dict[bytes, Row] = {}

    def complete() -> bool:
        published = ((key, value) for key, value in updates.poll_keyed(200) if value is not None and key.startswith(b"row:"))
        rows.update((key, decode_row(value)) for key, value in published)
        return sum(row.events for row in rows.values()) >= events

    with closing(TopicReader(config.kafka, (MODEL_UPDATES,), from_beginning=True)) as updates:
        await_true(complete, f"the published rows hold fewer than {events} events")
    return {row.item_id: row for row in rows.values()}


def cluster(config: Configuration) -> Cluster:
    """The Flink cluster of a configuration."""
    return Cluster(config.flink.jobmanager)


def taskmanager_of(config: Configuration, job_id: str, vertex: str) -> str:
    """Resource id of the TaskManager that runs a vertex of a job."""
    flink = cluster(config)
    [found] = [v for v in flink.get(f"/jobs/{job_id}")["vertices"] if v["name"].startswith(vertex)]
    return str(flink.get(f"/jobs/{job_id}/vertices/{found['id']}")["subtasks"][0]["taskmanager-id"])


def restarts(config: Configuration, job_id: str) -> int:
    """How often the job was restored from a checkpoint."""
    return int(cluster(config).get(f"/jobs/{job_id}/checkpoints")["counts"]["restored"])
