"""The preset of the news on a running job: what is out of stock leaves at once, what is breaking is there within a second."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import yaml
from kafka import KafkaProducer

from cli.domains.registry import preset_path
from cli.loop import Loop
from cli.stack import Stack
from models.config import Configuration
from models.domains.news import BREAKING
from models.events import Event
from models.topics import ITEMS, topic_name
from tests import synthetic
from tests.e2e import running

WITHIN_S = 1.0


class Newsroom:
    """A running job whose catalogue is written, and whose slates are looked at."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self._loop: Loop = running.loop(config)
        self._producer = KafkaProducer(bootstrap_servers=config.kafka.bootstrap_servers)
        self._stream = [msgspec.structs.replace(event, type="read", value=30_000.0) for event in synthetic.events(300, users=15)]
        for _ in self._loop.run(self._stream):
            pass
        self.now_ms = self._stream[-1].event_time_ms

    def slate(self) -> list[str]:
        """The items of the slate that answers one more event, of the same reader each time."""
        self.now_ms += 1
        event = Event(f"asked-{self.now_ms}", "a reader", self._stream[-1].item_id, "read", self.now_ms, value=60_000.0)
        for progress in self._loop.run([event]):
            answer = progress.last
        assert answer is not None
        assert answer.event_id == event.event_id
        return [item.item_id for item in answer.items]

    def write(self, item_id: str, **entry: Any) -> float:
        """Write a catalogue entry; the time at which the broker had it."""
        topic = topic_name(self.config.kafka.topic_prefix, ITEMS)
        self._producer.send(topic, key=item_id.encode(), value=json.dumps(entry).encode()).get(timeout=10)
        return time.monotonic()

    def until(self, holds: Callable[[list[str]], bool], since_s: float) -> float:
        """How long after a time slates are such."""
        while not holds(self.slate()):
            assert time.monotonic() - since_s < 30, "slates stay as they were"
        return time.monotonic() - since_s

    def close(self) -> None:
        self._producer.close()
        self._loop.close()


@contextmanager
def newsroom(stack: Stack) -> Iterator[Newsroom]:
    sections = yaml.safe_load(preset_path("news").read_text(encoding="utf-8"))
    sections["policy"]["epsilon"] = 0.0
    config = running.configuration(stack, **sections)
    running.submitted(config)
    room = Newsroom(config)
    try:
        yield room
    finally:
        room.close()


@pytest.fixture(scope="module")
def room(stack: Stack) -> Iterator[Newsroom]:
    with newsroom(stack) as opened:
        yield opened


def test_what_goes_out_of_stock_leaves_the_next_slates_and_what_breaks_is_there_within_a_second(room: Newsroom) -> None:
    sold_out = room.slate()[0]
    written_s = room.write(sold_out, title="the last one", stock=0)
    assert room.until(lambda slate: sold_out not in slate, written_s) < WITHIN_S
    assert all(sold_out not in room.slate() for _ in range(5))

    lives = {"available_from_ms": room.now_ms, "available_until_ms": room.now_ms + 3_600_000}
    written_s = room.write("flash", categories=["politics", BREAKING], **lives)
    assert room.until(lambda slate: "flash" in slate, written_s) < WITHIN_S
    room.now_ms += 3_600_000
    assert "flash" not in room.slate()
