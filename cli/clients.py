"""The Kafka clients of the commands that move many records: one that writes events, one that reads topics.

They are librdkafka's (confluent-kafka), whose work is done in C: beside a job on the same machine a client in Python takes
a tenth of what the job could have used.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from cli.errors import UserError
from models.config import Kafka
from models.events import Event
from models.monitor.texts import LabelRecord, TextRecord
from models.requests import Request
from models.topics import EVENTS, ITEMS, LABELS, REQUESTS, TEXTS, CatalogueItem, topic_name
from serving.brokers import Backlog, librdkafka_options

_POLL_RECORDS = 2_000
_POLL_MS = 500
_TIMEOUT_S = 10.0
_PATIENCE_S = 30.0
_OPTIONAL = ("value", "session_id", "slate_id", "position")
_encode = msgspec.json.Encoder().encode


class EventSender:
    """Writes events, catalogue items, texts and labels to their topics.

    Parameters
    ----------
    kafka : section of the configuration
    shift_ms : added to the event time of every event

    Raises
    ------
    UserError
        When no broker answers or an option is unknown; from `flush`, when records could not be written.
    """

    def __init__(self, kafka: Kafka, *, shift_ms: int = 0) -> None:
        self._servers = kafka.bootstrap_servers
        try:
            # the partition of a key is the Java client's, as it is for every other producer of `events`
            self._producer = Producer(
                librdkafka_options(kafka)
                # idempotent: a batch that is sent again would come behind the next ones, and a user's events out of order
                | {"partitioner": "murmur2_random", "linger.ms": 5, "enable.idempotence": True}
            )
            self._producer.list_topics(timeout=_TIMEOUT_S)
        except KafkaException as error:
            raise _no_answer(kafka, error) from None
        self._events = topic_name(kafka.topic_prefix, EVENTS)
        self._items = topic_name(kafka.topic_prefix, ITEMS)
        self._requests = topic_name(kafka.topic_prefix, REQUESTS)
        self._texts, self._labels = topic_name(kafka.topic_prefix, TEXTS), topic_name(kafka.topic_prefix, LABELS)
        self._shift_ms = shift_ms
        self._failure: str | None = None

    def send(self, event: Event) -> None:
        """Write one event, keyed by its user, with its event time as the record's."""
        event_time_ms = event.event_time_ms + self._shift_ms
        value = {
            "event_id": event.event_id,
            "user_id": event.user_id,
            "item_id": event.item_id,
            "type": event.type,
            "event_time_ms": event_time_ms,
            "sent_at_ms": time.time_ns() // 1_000_000,
            "source": "replay",
        }
        value |= {name: said for name in _OPTIONAL if (said := getattr(event, name)) is not None}
        self._write(self._events, event.user_id.encode(), _encode(value), timestamp=event_time_ms)

    def send_request(self, request: Request) -> None:
        """Write one request, keyed by its user, and let it go at once: somebody waits for the answer."""
        self._write(self._requests, request.user_id.encode(), _encode(request))
        self._producer.flush(_TIMEOUT_S)

    def send_items(self, items: dict[str, CatalogueItem]) -> None:
        """Write a catalogue, and wait until Kafka has it."""
        for item_id, item in items.items():
            self.send_item(item_id, item)
        self.flush()

    def send_item(self, item_id: str, item: CatalogueItem) -> None:
        """Write one item of a catalogue."""
        self._write(self._items, item_id.encode(), _encode(item))

    def send_text(self, text: TextRecord) -> None:
        """Write one text, keyed by its id, with its event time as the record's."""
        given = {name: value for name, value in msgspec.structs.asdict(text).items() if value is not None}
        self._write(self._texts, str(text.text_id).encode(), _encode(given), timestamp=int(text.event_time_ms))

    def send_label(self, label: LabelRecord) -> None:
        """Write one label, keyed by the id of its text."""
        given = {name: value for name, value in msgspec.structs.asdict(label).items() if value is not None}
        self._write(self._labels, str(label.text_id or "").encode(), _encode(given))

    def _write(self, topic: str, key: bytes, value: bytes, *, timestamp: int = 0) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, timestamp=timestamp, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)  # the queue is full: wait until some of it is written
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: object, _message: object) -> None:
        if error is not None:
            self._failure = str(error)

    def flush(self) -> None:
        """Wait until everything is written."""
        while self._producer.flush(_TIMEOUT_S):
            pass
        if self._failure is not None:
            raise UserError(f"Kafka at {self._servers} did not take a record: {self._failure}")

    def close(self) -> None:
        """Write what is left, give up what no broker takes, and disconnect.

        A producer that stays open prints a log of its own when the brokers stop.
        """
        self._producer.flush(_TIMEOUT_S)
        self._producer.purge()
        self._producer.close()


class TopicReader:
    """Reads topics from where they end now, without a consumer group.

    Parameters
    ----------
    kafka : section of the configuration
    topics : names without prefix
    from_beginning : read what is there already, too
    last : read so many records of what is there already in each partition, too
    committed : read a transaction's records only when it has ended well
    at_once : fetch each record as it comes, where somebody waits for it; otherwise many at a time, which is cheaper

    Raises
    ------
    UserError
        When no broker answers, an option is unknown, or a topic does not exist.
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Iterable[str],
        *,
        from_beginning: bool = False,
        last: int = 0,
        committed: bool = False,
        at_once: bool = False,
    ) -> None:
        options = {
            "group.id": "flinkrec-reader",  # librdkafka asks for one; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            # better a few full fetches than many for a record or two
            "fetch.min.bytes": 1 if at_once else 65_536,
            "fetch.wait.max.ms": 50,
        }
        self._prefix_length = len(kafka.topic_prefix)
        self._ended: set[tuple[str, int]] = set()
        self._backlog = Backlog()
        try:
            self._consumer = Consumer(options | librdkafka_options(kafka))
            self._partitions = [place for topic in topics for place in self._places(kafka, topic)]
            for place in self._partitions:
                first, end = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
                place.offset = OFFSET_BEGINNING if from_beginning else max(first, end - last)
                self._backlog.add((place.topic, place.partition), start=first if from_beginning else place.offset, end=end)
            self._consumer.assign(self._partitions)
        except KafkaException as error:
            raise _no_answer(kafka, error) from None

    def _places(self, kafka: Kafka, topic: str) -> list[TopicPartition]:
        name = topic_name(kafka.topic_prefix, topic)
        known = self._consumer.list_topics(name, timeout=_TIMEOUT_S).topics[name]
        if known.error is not None or not known.partitions:
            raise UserError(f"there is no topic {name} at {kafka.bootstrap_servers}: was the job ever submitted?")
        return [TopicPartition(name, number) for number in sorted(known.partitions)]

    def poll(self, timeout_ms: int) -> Iterator[tuple[str, bytes, int]]:
        """Topic (without prefix), value and broker time in ms of the records that came within this time."""
        for message in self._messages(timeout_ms):
            topic = message.topic() or ""
            yield topic[self._prefix_length :], message.value() or b"", message.timestamp()[1]

    def poll_keyed(self, timeout_ms: int) -> Iterator[tuple[bytes, bytes | None]]:
        """Key and value of the records that came within this time; None: a tombstone."""
        for message in self._messages(timeout_ms):
            yield message.key() or b"", message.value()

    def _messages(self, timeout_ms: int) -> Iterator[Message]:
        for message in self._consumer.consume(_POLL_RECORDS, timeout_ms / 1000):
            error, topic = message.error(), message.topic() or ""
            place = (topic, message.partition() or 0)
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    self._ended.add(place)
                    self._backlog.ended(place)
                elif error.fatal() or not error.retriable():
                    raise UserError(f"Kafka cannot be read: {error}")
                continue
            self._ended.discard(place)
            self._backlog.took(place, message.offset() or 0)
            yield message

    def is_at_end(self) -> bool:
        """Whether everything was read that the topics held at the last `poll`: where much is written, that may never be."""
        return len(self._ended) == len(self._partitions)

    def has_caught_up(self) -> bool:
        """Whether everything was read that the topics held when this reader was made."""
        return not self._backlog

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def read_topic(kafka: Kafka, topic: str, *, last: int | None = None, committed: bool = False) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of the records that a topic holds now; None: a tombstone.

    Parameters
    ----------
    kafka, topic, committed : as of `TopicReader`
    last : only so many of each partition

    Raises
    ------
    UserError
        As of `TopicReader`, and when the broker stops to send.
    """
    reader = TopicReader(kafka, (topic,), from_beginning=last is None, last=last or 0, committed=committed)
    heard_s = time.monotonic()
    with closing(reader):
        while not reader.has_caught_up():
            records = list(reader.poll_keyed(_POLL_MS))
            yield from records
            if records:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > _PATIENCE_S:
                raise UserError(f"Kafka at {kafka.bootstrap_servers} stopped to send {topic_name(kafka.topic_prefix, topic)}")


def _no_answer(kafka: Kafka, error: KafkaException) -> UserError:
    return UserError(f"no Kafka broker answers at {kafka.bootstrap_servers}: {error.args[0]}")
