"""What the console reads of Kafka: one thread with one client, which fills what the pages show.

Nothing is committed and no consumer group is joined: a console that starts reads the last records of each topic. Slates and what the
learn path has published it is told of by the service, which reads them anyway.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.config import Kafka
from models.events import DeadLetter, EventRecord
from models.topics import (
    DEAD_LETTER,
    EVENTS,
    METRICS,
    REQUESTS,
    TRACES,
    Metric,
    kept_value,
    topic_name,
)
from models.traces import Trace
from serving.brokers import librdkafka_options, next_messages
from serving.console.histories import Histories
from serving.console.learned import Learned
from serving.console.letters import Letters
from serving.console.rates import Rates
from serving.console.recent import RecentUsers
from serving.console.traces import Traces
from serving.console.windows import WindowedMetrics
from serving.service import Watcher

log = logging.getLogger(__name__)

_POLL_RECORDS = 1_000
_POLL_S = 0.2
_TIMEOUT_S = 5.0
_LAG_EVERY_S = 5.0
_LOOK_FOR_TOPICS_EVERY_S = 10.0
# records of each partition that are read of what is there already
_LAST = {METRICS: 50_000, DEAD_LETTER: 1_000, TRACES: 50, EVENTS: 20_000}
_SOURCES = (EVENTS, REQUESTS)


@dataclass(frozen=True, slots=True)
class SourceLag:
    """How far the job is behind one of its inputs.

    Attributes
    ----------
    topic : name in Kafka
    end : records that were ever written to it, over all partitions
    unread : of these, those behind the last checkpoint's offsets; None where the job has committed none
    """

    topic: str
    end: int
    unread: int | None


class Feed(Watcher):
    """Reads the topics until it is closed.

    Parameters
    ----------
    kafka : section of the configuration

    Attributes
    ----------
    rates, metrics, letters, learned, traces, users, histories : what was read
    lags : of the job's inputs
    problem : why nothing can be read at present, in one sentence; None while all is well
    """

    def __init__(self, kafka: Kafka) -> None:
        self.rates, self.metrics, self.letters = Rates(), WindowedMetrics(), Letters()
        self.learned, self.traces, self.users = Learned(), Traces(), RecentUsers()
        self.histories = Histories()
        self.lags: tuple[SourceLag, ...] = ()
        self.problem: str | None = None
        self._kafka = kafka
        self._assigned: dict[str, list[TopicPartition]] = {}
        self._handlers: dict[str, Callable[[Message], None]] = {
            topic_name(kafka.topic_prefix, name): handler
            for name, handler in (
                (METRICS, self._metric),
                (DEAD_LETTER, self._letter),
                (TRACES, self._trace),
                (EVENTS, self._event),
            )
        }
        self._decode_metric = msgspec.json.Decoder(Metric).decode
        self._decode_letter = msgspec.json.Decoder(DeadLetter).decode
        self._decode_trace = msgspec.json.Decoder(Trace).decode
        self._decode_event = msgspec.json.Decoder(EventRecord).decode
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the connection."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        consumer = Consumer(
            {
                "group.id": self._kafka.topic_prefix + self._kafka.consumer_group,  # to ask what it has committed: it is not joined
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                # four topics of a busy job: each record alone would be a request, and cost the broker more than the record
                "fetch.min.bytes": 262_144,
                "fetch.wait.max.ms": 200,
                "reconnect.backoff.max.ms": 1_000,
            }
            | librdkafka_options(self._kafka),
            logger=log,
        )
        looked_s = lag_s = float("-inf")
        try:
            while not self._closing.is_set():
                now_s = time.monotonic()
                try:
                    if now_s - looked_s > _LOOK_FOR_TOPICS_EVERY_S and len(self._assigned) < len(self._handlers):
                        looked_s = now_s
                        self._assign(consumer)
                    if now_s - lag_s > _LAG_EVERY_S:
                        lag_s = now_s
                        self.lags = tuple(lag for topic in _SOURCES if (lag := self._lag(consumer, topic)) is not None)
                    self.problem = None
                except KafkaException as error:
                    self.problem = f"No Kafka broker answers at {self._kafka.bootstrap_servers}: {error.args[0].str()}."
                if self._assigned:
                    self._take(next_messages(consumer, most=_POLL_RECORDS, wait_s=_POLL_S))
                else:
                    self._closing.wait(_POLL_S)
        finally:
            consumer.close()

    def _partitions(self, consumer: Consumer, topic: str) -> list[TopicPartition]:
        known = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        return [] if known.error is not None else [TopicPartition(topic, number) for number in sorted(known.partitions)]

    def _assign(self, consumer: Consumer) -> None:
        """Begin with those topics that were not there before; those that are read already go on where they are."""
        new: list[TopicPartition] = []
        for name, last in _LAST.items():
            topic = topic_name(self._kafka.topic_prefix, name)
            if topic in self._assigned:
                continue
            places = self._partitions(consumer, topic)
            for place in places:
                first, end = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
                place.offset = max(first, end - last)
            if places:
                self._assigned[topic] = places
                new += places
        if new:
            consumer.incremental_assign(new)

    def _lag(self, consumer: Consumer, name: str) -> SourceLag | None:
        topic = topic_name(self._kafka.topic_prefix, name)
        places = self._partitions(consumer, topic)
        if not places:
            return None
        ends = [consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)[1] for place in places]
        committed = [place.offset for place in consumer.committed(places, timeout=_TIMEOUT_S)]
        unread = sum(max(0, end - max(0, offset)) for end, offset in zip(ends, committed, strict=True))
        return SourceLag(topic, sum(ends), unread if any(offset >= 0 for offset in committed) else None)

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    self.problem = f"The topic {message.topic()} is gone: was another job submitted? Start the server again."
                continue
            try:
                self._handlers[message.topic() or ""](message)
            except (msgspec.MsgspecError, ValueError, struct.error) as error:
                log.warning("a record of %s at offset %s cannot be shown: %s", message.topic(), message.offset(), error)

    def _metric(self, message: Message) -> None:
        self.metrics.put(self._decode_metric(message.value() or b""))

    def _letter(self, message: Message) -> None:
        self.letters.put(self._decode_letter(message.value() or b""))

    def _trace(self, message: Message) -> None:
        self.traces.put(self._decode_trace(message.value() or b""))

    def _event(self, message: Message) -> None:
        try:
            event = self._decode_event(message.value() or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return  # the job makes a dead letter of it, which has a page of its own
        self.histories.put(event)

    def see_slate(self, user_id: str, *, at_ms: int, sent_at_ms: int | None) -> None:
        """See `Watcher.see_slate`."""
        self.rates.add(at_ms // 1000, latency_ms=None if sent_at_ms is None else max(0, at_ms - sent_at_ms))
        self.users.put(user_id)

    def see_update(self, key: bytes | None, value: bytes | None) -> None:
        """See `Watcher.see_update`."""
        name = (key or b"").decode("utf-8", "replace")
        try:
            self.learned.put(name, kept_value(value))
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("the record %s of model-updates cannot be shown: %s", name, error)
