"""Followers: threads that read topics to their end and then on, whatever happens to the brokers.

No consumer group: each process reads everything. A broker that does not answer, or a topic that is not made yet, is waited for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.config import Kafka
from serving.brokers import Backlog, Place, librdkafka_options, next_messages

_LOGGER = logging.getLogger(__name__)
_RECORDS_A_POLL = 500
_POLL_S = 0.2
_TIMEOUT_S = 2.0
_AGAIN_S = 1.0
_LAG_EVERY_S = 0.5


class Follower(threading.Thread):
    """Follows topics from where they were left.

    Parameters
    ----------
    kafka : section of the configuration
    topics : full names
    start : called with the id of the Kafka cluster when a broker answers, gives the offset of the next record of each partition; those
        that it does not name are read from their beginning
    take : called with records in their order, and with the offset of the next record of each of their partitions
    tick : called a few times a second, with whether all is read that there was in the beginning; also when nothing comes
    at_once : fetch each record as it comes, where somebody waits for it; otherwise many at a time, which is cheaper

    Attributes
    ----------
    caught_up : set once everything was read that there was in the beginning
    lag : records that were there and not read a moment ago, as far as the broker has said
    failure : why it has stopped, None while it follows
    """

    def __init__(
        self,
        kafka: Kafka,
        topics: Sequence[str],
        *,
        start: Callable[[str], Mapping[Place, int]],
        take: Callable[[list[Message], dict[Place, int]], None],
        at_once: bool,
        tick: Callable[[bool], None] = lambda _: None,
    ) -> None:
        super().__init__(name=f"follower-{topics[0]}", daemon=True)
        self._kafka, self._topics, self._start, self._take = kafka, tuple(topics), start, take
        self._at_once, self._tick = at_once, tick
        self._stopping = threading.Event()
        self._ended: set[Place] = set()
        self._backlog = Backlog()
        self._places: list[TopicPartition] = []
        self.caught_up = threading.Event()
        self.lag = 0
        self.failure: str | None = None
        self._next: dict[Place, int] = {}
        self._counted_s = 0.0

    def run(self) -> None:
        try:
            consumer = Consumer(
                librdkafka_options(self._kafka)
                | {
                    "group.id": "flinkrec-serving",  # librdkafka asks for one; nothing is ever committed
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "fetch.min.bytes": 1 if self._at_once else 65_536,
                    "fetch.wait.max.ms": 100,
                    # a broker that comes back is noticed soon
                    "reconnect.backoff.max.ms": 1_000,
                },
                logger=_LOGGER,
            )
            try:
                if self._connect(consumer):
                    self._follow(consumer)
            finally:
                consumer.close()
        except Exception as error:
            # said by /readyz: what was read so far is still served
            self.failure = f"{', '.join(self._topics)} cannot be followed any more: {type(error).__name__}: {error}"
            _LOGGER.exception(self.failure)

    def _connect(self, consumer: Consumer) -> bool:
        """Find the partitions, as soon as there are all topics; False when it is to stop before."""
        while not self._stopping.is_set():
            try:
                known = consumer.list_topics(timeout=_TIMEOUT_S)
                if all(topic in known.topics for topic in self._topics):
                    places = [(topic, number) for topic in self._topics for number in sorted(known.topics[topic].partitions)]
                    self._begin(consumer, self._start(known.cluster_id or ""), places)
                    return True
            except KafkaException:
                pass
            self._stopping.wait(_AGAIN_S)
        return False

    def _begin(self, consumer: Consumer, begin: Mapping[Place, int], places: list[Place]) -> None:
        self._next = dict(begin)
        self._places = [TopicPartition(*at, begin.get(at, OFFSET_BEGINNING)) for at in places]
        for at, place in zip(places, self._places, strict=True):
            first, end = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
            self._backlog.add(at, start=begin.get(at, first), end=end)
        consumer.assign(self._places)

    def _follow(self, consumer: Consumer) -> None:
        while not self._stopping.is_set():
            records, offsets = [], {}
            for message in next_messages(consumer, most=_RECORDS_A_POLL, wait_s=_POLL_S):
                error = message.error()
                place = (message.topic() or "", message.partition() or 0)
                if error is None:
                    self._ended.discard(place)
                    records.append(message)
                    offsets[place] = (message.offset() or 0) + 1
                    self._backlog.took(place, message.offset() or 0)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._ended.add(place)
                    self._backlog.ended(place)
                elif error.fatal():
                    raise KafkaException(error)
            if records:
                self._take(records, offsets)
                self._next |= offsets
            self._count_lag(consumer)
            self._tick(not self._backlog)
            if not self._backlog:
                self.caught_up.set()

    def _count_lag(self, consumer: Consumer) -> None:
        """Here and not where it is asked for: a consumer answers no other thread while it polls."""
        now_s = time.monotonic()
        if now_s - self._counted_s < _LAG_EVERY_S:
            return
        self._counted_s, lag = now_s, 0
        for place in self._places:
            at = (place.topic, place.partition)
            # marks of transactions are no records, and stand behind the last one
            if at not in self._ended:
                begin, end = consumer.get_watermark_offsets(place, cached=True)
                lag += max(0, end - self._next.get(at, begin))
        self.lag = lag

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopping.set()
        self.join()
