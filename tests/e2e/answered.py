"""A job that has answered a stream with dirty records in it, for the tests that only look at what it has made of it."""

from __future__ import annotations

import pytest
from kafka import KafkaProducer

from cli.stack import Stack
from models.topics import EVENTS, topic_name
from tests import synthetic
from tests.e2e import running

EVENTS_SENT = 1_500
WINDOW_S = 3_600


@pytest.fixture(scope="session")
def stream() -> list[running.Event]:
    return synthetic.events(EVENTS_SENT)


@pytest.fixture(scope="session")
def run(stack: Stack, stream: list[running.Event]) -> running.Configuration:
    """The job after it has answered the whole stream, dirty records between its events."""
    strategies = {"personal": {}, "sources": {"scorer_weight": 0.0}}
    policy = {"name": "thompson", "strategies": strategies}
    at_the_next_slate = {"max_open": 1, "window_ms": 10**9}
    config = running.configuration(stack, metrics={"window_s": WINDOW_S}, policy=policy, outcomes=at_the_next_slate)
    running.submitted(config)
    loop = running.loop(config)
    half = len(stream) // 2
    for _ in loop.run(stream[:half]):
        pass
    send_dirt(config, stream)
    for _ in loop.run(stream[half:]):
        pass
    loop.close()
    return config


DIRT = {
    "not_json": b"{",
    "missing_field": b'{"event_id": "d1", "user_id": "user-1"}',
    "wrong_type": b'{"event_id": "d2", "user_id": "user-1", "item_id": [], "event_time_ms": 1}',
    "unknown_type": b'{"event_id": "d3", "user_id": "user-1", "item_id": "i", "event_time_ms": 1, "type": "sneeze"}',
    "oversized": b'{"text": "' + b"x" * 70_000 + b'"}',
    "key_mismatch": b'{"event_id": "d4", "user_id": "user-2", "item_id": "i", "event_time_ms": 1}',
    "in_the_future": b'{"event_id": "d5", "user_id": "user-1", "item_id": "i", "event_time_ms": 99999999999999}',
}


def send_dirt(config: running.Configuration, stream: list[running.Event]) -> None:
    """One record of every kind of dirt, and a duplicate of the first user's last event so far."""
    producer = KafkaProducer(bootstrap_servers=config.kafka.bootstrap_servers)
    topic = topic_name(config.kafka.topic_prefix, EVENTS)
    half = stream[: len(stream) // 2]
    for value in DIRT.values():
        producer.send(topic, key=b"user-1", value=value, timestamp_ms=half[-1].event_time_ms)
    again = running.msgspec.json.encode(half[-1])
    producer.send(topic, key=half[-1].user_id.encode(), value=again, timestamp_ms=half[-1].event_time_ms)
    producer.send(topic, key=b"user-1", value=None, timestamp_ms=half[-1].event_time_ms)
    producer.close()
