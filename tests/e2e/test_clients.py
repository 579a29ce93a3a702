"""Who reads a topic, on a real broker, is through with what was there, though more is written all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest
from confluent_kafka import Message

from cli.clients import EventSender, TopicReader, read_topic
from cli.stack import Stack
from cli.topics import create_topics
from models.config import Kafka
from models.events import Event
from models.topics import EVENTS, topic_name
from serving.followers import Follower
from tests.e2e import running

BEFORE = [f"{number}" for number in range(1_000)]
BUSY_S = 0.002
WITHIN_S = 20.0


@pytest.fixture
def busy(stack: Stack) -> Iterator[Kafka]:
    """Brokers on which `events` holds some records, and gets more the whole time."""
    config = running.configuration(stack)
    create_topics(config.kafka)
    written, enough = threading.Event(), threading.Event()

    def write() -> None:
        with closing(EventSender(config.kafka)) as sender:
            for number in BEFORE:
                sender.send(Event(number, "user", "item", "rating", 1_700_000_000_000))
            sender.flush()
            written.set()
            while not enough.wait(BUSY_S):
                sender.send(Event("later", "user", "item", "rating", 1_700_000_000_000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(WITHIN_S)
        yield config.kafka
    finally:
        enough.set()
        writer.join()


def event_ids(values: list[bytes]) -> list[str]:
    return [msgspec.json.decode(value)["event_id"] for value in values]


def test_what_a_topic_holds_now(busy: Kafka) -> None:
    read: list[bytes] = []
    began_s = time.monotonic()
    for key, value in read_topic(busy, EVENTS):
        assert time.monotonic() - began_s < WITHIN_S, "it reads on and on"
        assert key == b"user"
        read.append(value or b"")
    assert event_ids(read)[: len(BEFORE)] == BEFORE


def test_a_reader_of_what_comes_has_nothing_to_catch_up(busy: Kafka) -> None:
    with closing(TopicReader(busy, (EVENTS,))) as reader:
        assert reader.has_caught_up()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_follower(busy: Kafka, at_once: bool) -> None:
    read: list[bytes] = []

    def take(messages: list[Message], offsets: dict[tuple[str, int], int]) -> None:
        read.extend(message.value() or b"" for message in messages)

    follower = Follower(busy, (topic_name(busy.topic_prefix, EVENTS),), start=lambda _: {}, take=take, at_once=at_once)
    follower.start()
    try:
        assert follower.caught_up.wait(WITHIN_S)
    finally:
        follower.stop()
    assert event_ids(read)[: len(BEFORE)] == BEFORE
