"""The readers of topics that the commands share, on a real broker."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import msgspec

from cli.clients import EventSender, TopicReader
from cli.stack import Stack
from cli.topics import create_topics
from models.events import Event
from models.topics import EVENTS
from tests.e2e import running

BEFORE = 1_000
BUSY_MS = 2
WITHIN_S = 20.0


def test_a_reader_of_a_topic_that_is_written_to_all_the_time_is_through_with_what_was_there(stack: Stack) -> None:
    config = running.configuration(stack)
    create_topics(config.kafka)
    written, enough = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        with closing(EventSender(config.kafka)) as sender:
            while not enough.is_set():
                sender.send(Event(f"{number}", "user", "item", "rating", 1_700_000_000_000))
                number += 1
                if number == BEFORE:
                    sender.flush()
                    written.set()
                if number >= BEFORE:
                    enough.wait(BUSY_MS / 1_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(WITHIN_S)
        reader, read = TopicReader(config.kafka, (EVENTS,), from_beginning=True), []
        with closing(reader):
            began_s = time.monotonic()
            while not reader.has_caught_up():
                assert time.monotonic() - began_s < WITHIN_S, "it reads on and on"
                read += [msgspec.json.decode(value)["event_id"] for _, value, _ in reader.poll(500)]
    finally:
        enough.set()
        writer.join()
    assert read[:BEFORE] == [f"{number}" for number in range(BEFORE)]
    with closing(TopicReader(config.kafka, (EVENTS,))) as reader:
        assert reader.has_caught_up(), "of what is there it is to read nothing"
