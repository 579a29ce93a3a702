"""Clients of Kafka: options, and a sender whose records are acknowledged.

They are librdkafka's (confluent-kafka): the work is done in C, outside Python's lock, so that answers are not held up by it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from models.config import Kafka

_LOGGER = logging.getLogger(__name__)
# kafka.client_properties names options as kafka-python does: librdkafka's are these, or the same with dots.
_OPTION_NAMES = {
    "sasl_plain_username": "sasl.username",
    "sasl_plain_password": "sasl.password",
    "ssl_cafile": "ssl.ca.location",
    "ssl_certfile": "ssl.certificate.location",
    "ssl_keyfile": "ssl.key.location",
    "ssl_password": "ssl.key.password",
}
_QUIET = 2
"""librdkafka's level of what is logged: not each attempt to reach a broker that is down. `serving.health` says so once."""
Place = tuple[str, int]
"""Topic and partition."""
_ACKNOWLEDGED_WITHIN_MS = 5_000
_FLUSH_S = 5.0


def librdkafka_options(kafka: Kafka) -> dict[str, str | int | float | bool]:
    """The brokers and `client_properties` of the configuration in librdkafka's names, and what is logged."""
    properties = {_OPTION_NAMES.get(name, name.replace("_", ".")): value for name, value in kafka.client_properties.items()}
    return {"bootstrap.servers": kafka.bootstrap_servers} | properties | {"log_level": _QUIET}


def next_messages(consumer: Consumer, *, most: int, wait_s: float) -> list[Message]:
    """What has come, about `most` at a time; the first is waited for alone, as `consume` waits until it has as many as it may bring."""
    first = consumer.poll(wait_s)
    return [] if first is None else [first, *consumer.consume(most, 0)]


class Backlog:
    """What partitions held at one moment and was not read yet; true while there is any.

    That a reader has reached an end says nothing of it where records come all the time: then it may never be told of one.
    """

    def __init__(self) -> None:
        self._ends: dict[Place, int] = {}

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, place: Place, *, start: int, end: int) -> None:
        """Add a partition, of which the record at `start` is read first and that at `end` is not there yet."""
        if end > start:
            self._ends[place] = end

    def took(self, place: Place, offset: int) -> None:
        """A record of a partition was read."""
        if offset + 1 >= self._ends.get(place, math.inf):
            del self._ends[place]

    def ended(self, place: Place) -> None:
        """A partition was read to its end, behind whose last record marks of transactions may stand."""
        self._ends.pop(place, None)


class NotAcknowledged(Exception):
    """Kafka did not say that it has a record; it may have it nevertheless."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record to send.

    Attributes
    ----------
    topic : its full name
    key, value : bytes; no value is a tombstone
    timestamp_ms : time of the record, 0: now
    """

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0


class Sender:
    """Sends records, and waits until all replicas have them.

    Parameters
    ----------
    kafka : section of the configuration; a broker need not answer yet
    """

    def __init__(self, kafka: Kafka) -> None:
        self._producer = Producer(
            librdkafka_options(kafka)
            # the partition of a key is the Java client's, as it is for every other producer of these topics
            | {
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": _ACKNOWLEDGED_WITHIN_MS,
                # a topic that is missing is an error at once, not after five minutes
                "topic.metadata.propagation.max.ms": 1_000,
            },
            logger=_LOGGER,
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="kafka-sender", daemon=True)
        self._thread.start()

    def _deliver(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.5)

    async def send(self, records: Sequence[Record]) -> None:
        """Send records.

        Raises
        ------
        NotAcknowledged
            When Kafka did not acknowledge each of them.
        """
        if not records:
            return
        delivery = _Delivery(len(records))
        for record in records:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, timestamp=record.timestamp_ms, on_delivery=delivery.one
                )
            except (BufferError, KafkaException) as error:
                delivery.fail(str(error))
        await delivery.done

    def brokers_answer(self, timeout_s: float) -> bool:
        """Whether a broker answers now; waits for it."""
        try:
            self._producer.list_topics(timeout=timeout_s)
        except KafkaException:
            return False
        return True

    def close(self) -> None:
        """Send what is left, and give up what no broker takes."""
        self._producer.flush(_FLUSH_S)
        self._producer.purge()
        self._stopping.set()
        self._thread.join()


class _Delivery:
    """Counts the acknowledgements of one `send`, which come in the sender's thread."""

    def __init__(self, records: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self._left = records
        self._failure: str | None = None

    def one(self, error: KafkaError | None, _message: Message) -> None:
        self._loop.call_soon_threadsafe(self._count, None if error is None else error.str())

    def fail(self, why: str) -> None:
        self._count(why)

    def _count(self, failure: str | None) -> None:
        self._left -= 1
        self._failure = self._failure or failure
        if self._left or self.done.done():
            return
        if self._failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(NotAcknowledged(self._failure))
