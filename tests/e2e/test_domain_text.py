"""The preset of the stories on a running job: a story is found by its text and cover the moment it is written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest
import yaml
from kafka import KafkaProducer

from cli.domains.registry import preset_path
from cli.stack import Stack
from models.config import Configuration
from models.domains.text import TextWorld
from models.events import Event
from models.text.vectors import VECTOR_PREFIX, VectorRecord
from models.topics import EVENTS, ITEMS, MODEL_UPDATES, TRACES, topic_name
from models.traces import Trace, TracedCandidate
from models.versions import decode_tensors, decode_version, weights_key
from tests.e2e import running

STORIES, READERS, READS = 60, 12, 240
WITHIN_S = 20.0


class Shop:
    """A running job with a catalogue of stories, and readers who each stay with one subject."""

    def __init__(self, config: Configuration) -> None:
        self.config, self.world = config, TextWorld(1)
        self._producer = KafkaProducer(bootstrap_servers=config.kafka.bootstrap_servers)
        self._loop = running.loop(config)
        self.now_ms = self.world.start_ms

    def write(self, item_id: str, entry: dict[str, object]) -> None:
        topic = topic_name(self.config.kafka.topic_prefix, ITEMS)
        self._producer.send(topic, key=item_id.encode(), value=json.dumps(entry).encode()).get(timeout=10)

    def entry(self, item: int) -> dict[str, object]:
        kept = msgspec.to_builtins(self.world.entry(item, 0))
        return {name: kept[name] for name in ("title", "text", "vector")}

    def answer(self, events: list[Event]) -> None:
        """Let readers read, and wait for the slates."""
        for _ in self._loop.run(events):
            pass

    def trace_until(self, read: str, found: str, source: str) -> TracedCandidate:
        """What the trace of a slate says of a candidate, from the first slate of a reader of one story that has it from this source.

        The slates before may have it from another: its entry arrives before its vector.
        """
        events = topic_name(self.config.kafka.topic_prefix, EVENTS)
        ends_s = time.monotonic() + WITHIN_S
        while time.monotonic() < ends_s:
            event = msgspec.to_builtins(self.read(99, read)) | {"trace": True}
            given = {name: event[name] for name in ("event_id", "user_id", "item_id", "type", "event_time_ms", "trace")}
            self._producer.send(events, key=b"reader 99", value=json.dumps(given).encode()).get(timeout=10)
            for _, value in running.records(self.config, TRACES):
                trace = msgspec.json.decode(value or b"", type=Trace)
                candidate = next((one for one in trace.candidates if one.item_id == found and source in one.sources), None)
                if candidate is not None:
                    return candidate
        raise AssertionError(f"no slate of a reader of {read} has {found} among its candidates from {source}")

    def read(self, reader: int, item_id: str) -> Event:
        self.now_ms += 1_000
        return Event(f"e{self.now_ms}", f"reader {reader}", item_id, "click", self.now_ms)

    def vectors(self) -> list[tuple[bytes, bytes]]:
        """Keys and records of vectors, as they were published."""
        records = running.records(self.config, MODEL_UPDATES)
        return [(key, value or b"") for key, value in records if key is not None and key.startswith(VECTOR_PREFIX.encode())]

    def has_tuned(self) -> bool:
        """Whether the projection of the newest version is another than that of the first."""
        records = running.records(self.config, MODEL_UPDATES)
        versions = [value or b"" for key, value in records if key == weights_key("ranker").encode()]
        projections = [decode_tensors(decode_version(version)[1])["projection"] for version in versions[:1] + versions[-1:]]
        return any((one != projections[0]).any() for one in projections)

    def until_published(self, n: int) -> list[tuple[bytes, bytes]]:
        ends_s = time.monotonic() + 60
        while len(found := self.vectors()) < n:
            assert time.monotonic() < ends_s, f"{len(found)} of {n} vectors"
        return found

    def close(self) -> None:
        self._producer.close()
        self._loop.close()


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[Shop]:
    sections = yaml.safe_load(preset_path("text").read_text(encoding="utf-8"))
    sections["scorer"]["candidates"] = 20  # fewer than there are stories: a source has to bring one
    sections["learner"]["batch_examples"] = 8
    config = running.configuration(stack, **sections)
    running.submitted(config)
    with closing(Shop(config)) as opened:
        yield opened


def test_a_text_is_encoded_once_tunes_the_learner_and_places_a_new_story(shop: Shop) -> None:
    for item in range(STORIES):
        shop.write(f"i{item}", shop.entry(item))
    published = shop.until_published(STORIES)
    assert {key.decode() for key, _ in published} == {f"{VECTOR_PREFIX}i{item}" for item in range(STORIES)}
    assert len(VectorRecord.decode(published[0][1]).values) == shop.config.scorer.vector_dimension

    genre = shop.world.genre
    of_subject = [[item for item in range(STORIES) if genre[item] == subject] for subject in range(10)]
    stream = [shop.read(n % READERS, f"i{of[n % len(of)]}") for n in range(READS) for of in [of_subject[n % READERS % 10]] if of]
    shop.answer(stream)
    running.await_true(shop.has_tuned, "what readers took has not tuned the projection")

    shop.write("i0", shop.entry(0) | {"price": 3.0})
    sea = next(item for item in of_subject[0])
    cover = shop.entry(sea)["vector"]
    shop.write("new", {"title": "The lighthouse", "text": "A story about sailors, a fishing boat and storms.", "vector": cover})
    assert len(shop.until_published(STORIES + 1)) == STORIES + 1, "a text that is the same was encoded again"
    told_of = shop.trace_until(f"i{sea}", "new", "content")
    assert told_of.sources["content"] > 0.5, "its text and its cover are those of the story that was read"
    assert told_of.cf_score == 0.0
