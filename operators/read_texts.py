"""READ: cleans texts and labels, drops those whose id was there before, and encodes them in batches, each once.

Key
    a shard of the texts, a LONG
Input
    Row(value bytes, key of the record, partition, offset) of `texts`, and of `labels` with the partition as
    `operators.recommend.request_mark` gives it
State
    ``ids``      MapState of str to bytes: hashes of the last monitor.kept_ids texts of the shard (`models.monitor.rings`)
    ``waiting``  ListState of bytes: what waits for its batch (`models.monitor.texts`), at most monitor.batch_texts; cleared with the batch
    No TTL: both are bounded by their numbers.
Timers
    one of processing time for the first text of a batch, monitor.batch_wait_ms later; and one of event time for each text, at its own
    time: before the watermark passes a text, it has gone on, so that waiting makes none late. All are part of a checkpoint
Outputs
    main: Row(0, bytes) for JUDGE; side: dead letters
Late, duplicate and malformed events
    A malformed record and a text whose id was there before become one dead letter each, and nothing else; nothing that arrives stops the
    job. A late text is judged like any other; its window may have ended, which WATCH and the metrics count.
Flink metrics
    ``texts``, ``labels``, ``batches``, ``refused{reason}``; ``encoding_us``, the time in the encoder
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor

from models.config import Configuration
from models.events import UNKNOWN_WATERMARK_MS, DeadLetter, Refusal, Rejected
from models.identity import hash64
from models.log_lines import Seldom
from models.monitor.encoding import monitor_encoder
from models.monitor.fingerprints import fingerprint
from models.monitor.judge import half_precision
from models.monitor.rings import Ring
from models.monitor.texts import Encoded, LabelCleaner, Text, TextCleaner, decode_encoded, encode_message
from models.topics import LABELS, TEXTS, topic_name
from operators.logs import Log
from operators.metrics import Counter, Metrics
from operators.recommend import RECORD, request_mark
from operators.threads import use_one_thread

UNREAD = OutputTag("unread", RECORD)
JUDGE_KEY = 0
_LOG_EVERY_MS = 10_000


class _Shard:
    """What a shard has in memory of its state."""

    def __init__(self, kept_ids: int) -> None:
        self.ids = Ring(kept_ids, payload_bytes=0)
        self.waiting: list[Encoded] = []


class ReadTexts(KeyedProcessFunction):  # type: ignore[misc]
    """The adapter of `models.monitor.texts` and of the encoder.

    Parameters
    ----------
    configuration : the whole configuration
    """

    def __init__(self, configuration: Configuration) -> None:
        self._config = configuration

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        events, monitor, prefix = self._config.events, self._config.monitor, self._config.kafka.topic_prefix
        self._encoder = monitor_encoder(self._config)
        self._texts, self._labels = TextCleaner(events), LabelCleaner(events, monitor.topics)
        self._texts_topic, self._labels_topic = topic_name(prefix, TEXTS), topic_name(prefix, LABELS)
        self._ids = runtime_context.get_map_state(MapStateDescriptor("ids", Types.STRING(), Types.PICKLED_BYTE_ARRAY()))
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", Types.PICKLED_BYTE_ARRAY()))
        self._shards: dict[int, _Shard] = {}
        self._metrics = Metrics(runtime_context.get_metrics_group())
        self._count = {name: self._metrics.counter(name) for name in ("texts", "labels", "batches", "encoding_us")}
        self._refused: dict[str, Counter] = {}
        self._log, self._seldom = Log("read"), Seldom(_LOG_EVERY_MS)

    def _shard(self, key: int) -> _Shard:
        """The shard of the current key, read from state on the first access after `open`."""
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = _Shard(self._config.monitor.kept_ids)
            shard.ids.load(bytes(row) for _, row in self._ids.items())
            shard.waiting = [decode_encoded(bytes(raw)) for raw in self._waiting.get()]
        return shard

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        raw, record_key, partition, offset = value
        raw, timers = None if raw is None else bytes(raw), ctx.timer_service()
        shard, now_ms = self._shard(ctx.get_current_key()), time.time_ns() // 1_000_000
        try:
            if partition < 0:
                read = Encoded(None, self._labels.clean(raw), None, None)
                self._count["labels"].n += 1
            else:
                watermark_ms = timers.current_watermark()
                text = self._texts.clean(raw, key=record_key, now_ms=now_ms, watermark_ms=max(watermark_ms, UNKNOWN_WATERMARK_MS))
                self._admit(shard, text)
                read = Encoded(text, None, None, fingerprint(text.text))
                timers.register_event_time_timer(text.event_time_ms)
                self._count["texts"].n += 1
        except Rejected as rejected:
            yield self._dead_letter(rejected, raw, record_key, partition, offset, now_ms)
        else:
            if not shard.waiting:
                timers.register_processing_time_timer(timers.current_processing_time() + self._config.monitor.batch_wait_ms)
            shard.waiting.append(read)
            self._waiting.add(encode_message(read))
            if len(shard.waiting) >= self._config.monitor.batch_texts:
                yield from self._send(shard)
        if self._metrics.is_due():
            self._metrics.tell()

    def _admit(self, shard: _Shard, text: Text) -> None:
        key = hash64(text.text_id)
        if key in shard.ids:
            raise Rejected(Refusal.DUPLICATE, f"text_id: {text.text_id!r} was there before")
        shard.ids.put(key, b"")
        for row, ring_row in shard.ids.take_rows():
            self._ids.put(row, ring_row)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Any]:
        yield from self._send(self._shard(ctx.get_current_key()))
        self._metrics.tell()

    def _send(self, shard: _Shard) -> Iterator[Row]:
        batch, shard.waiting = shard.waiting, []
        if not batch:
            return
        self._waiting.clear()
        began_ns = time.perf_counter_ns()
        words = [said for one in batch if (said := _words_of(one)) is not None]
        vectors = iter(half_precision(self._encoder.encode(words)) if words else [])
        self._count["encoding_us"].n += (time.perf_counter_ns() - began_ns) // 1_000
        self._count["batches"].n += 1
        for one in batch:
            vector = None if _words_of(one) is None else next(vectors)
            yield Row(JUDGE_KEY, encode_message(Encoded(one.text, one.label, vector, one.fingerprint)))

    def _dead_letter(
        self, rejected: Rejected, raw: bytes | None, key: str | None, partition: int, offset: int, now_ms: int
    ) -> tuple[OutputTag, Row]:
        topic = self._texts_topic if partition >= 0 else self._labels_topic
        reason = rejected.reason.value
        counter = self._refused.get(reason)
        if counter is None:
            counter = self._refused[reason] = self._metrics.counter("refused", reason=reason)
        counter.n += 1
        place = partition if partition >= 0 else request_mark(partition)
        left_out = self._seldom.admit(reason, now_ms)
        if left_out is not None:
            self._log.warn("record refused", reason=reason, detail=rejected.detail, topic=topic, left_out=left_out or None)
        letter = DeadLetter.of(rejected, raw, topic=topic, partition=place, offset=offset, key=key, rejected_at_ms=now_ms)
        return UNREAD, Row(reason.encode(), letter.encode())


def _words_of(read: Encoded) -> str | None:
    """What is to be encoded of a text, or of a label that comes with words."""
    if read.text is not None:
        return read.text.text
    assert read.label is not None
    return read.label.text
