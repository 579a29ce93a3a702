"""WATCH: judges the windows of a topic as they end, and raises and clears alerts.

Key
    the topic, a STRING
Input
    bytes: a window of the topic or of an entity in it, JSON of `Window` from the SQL; or a text that is new, from JUDGE
    (`models.monitor.texts.JudgedText`)
State (MapStates of str to bytes; no TTL: the state of a topic goes when nothing was written about it for monitor.history_days)
    ``rows``     `models.monitor.surges.TopicWatch`: some 9 bytes a window and entity, at most 65 of them
    ``windows``  counts of the windows that have not been judged, ``texts u32 | negative u32`` under ``END/ENTITY``; the topic's entity
    is ""
    ``sample``   texts of these windows under ``END/PLACE``, at most monitor.sample_texts a window, about 1 kB each
Timers
    one of event time, at the last millisecond of the window that is judged next. It fires when the texts and the counts of its window
    are all there, since both come before the watermark. Windows without a text are judged, too
Outputs
    main: Row(topic, JSON) for `alerts`. They are written at once, before the checkpoint: after a restore an alert may be written again,
    under the same alert_id and state
Late, duplicate and malformed events
    A text whose window was judged is counted and left out; SQL leaves it out of the counts, too. Bytes that cannot be decoded stop the job.
Flink metrics
    ``windows``, ``texts_late``, ``alerts{state}``; ``topics``
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapState, MapStateDescriptor

from models.config import Configuration
from models.monitor.local import sample_place
from models.monitor.surges import Counts, TopicWatch
from models.monitor.texts import JudgedText, decode_judged
from operators.logs import Log
from operators.metrics import Metrics

_COUNTS = struct.Struct("<II")


class Window(msgspec.Struct, frozen=True):
    """What the SQL counted in a window."""

    window_end_ms: int
    entity: str
    texts: int
    negative: int


@dataclass(slots=True)
class _Topic:
    """What a topic has in memory of its state.

    Attributes
    ----------
    watch : of the windows that were judged
    counts, sample : of each window that was not, by its end
    """

    watch: TopicWatch
    counts: dict[int, dict[str, Counts]] = field(default_factory=dict)
    sample: dict[int, dict[int, JudgedText]] = field(default_factory=dict)


class WatchTopics(KeyedProcessFunction):  # type: ignore[misc]
    """The adapter of `models.monitor.surges.TopicWatch`.

    Parameters
    ----------
    configuration : the whole configuration
    """

    def __init__(self, configuration: Configuration) -> None:
        self._config = configuration

    def open(self, runtime_context: RuntimeContext) -> None:
        self._window_ms = 1_000 * self._config.monitor.window_s

        def state(name: str) -> MapState:
            return runtime_context.get_map_state(MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY()))

        self._rows, self._windows, self._sample = state("rows"), state("windows"), state("sample")
        self._topics: dict[str, _Topic] = {}
        self._metrics = Metrics(runtime_context.get_metrics_group())
        self._judged, self._late = self._metrics.counter("windows"), self._metrics.counter("texts_late")
        self._alerts = {state: self._metrics.counter("alerts", state=state) for state in ("raised", "cleared")}
        self._followed = self._metrics.gauge("topics")
        self._log = Log("watch")

    def _topic(self, name: str) -> _Topic:
        """The topic of the current key, read from state on the first access after `open`."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(TopicWatch(name, self._config.monitor))
            topic.watch.load_snapshot([(row, bytes(value)) for row, value in self._rows.items()])
            for place, value in self._windows.items():
                end, _, entity = place.partition("/")
                topic.counts.setdefault(int(end), {})[entity] = Counts(*_COUNTS.unpack(bytes(value)))
            for place, value in self._sample.items():
                end, _, number = place.partition("/")
                topic.sample.setdefault(int(end), {})[int(number)] = decode_judged(bytes(value))
        return topic

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> None:
        topic, raw = self._topic(ctx.get_current_key()), bytes(value)
        if raw[:1] == b"{":
            window = _decode_window(raw)
            end_ms = window.window_end_ms
        else:
            one = decode_judged(raw)
            end_ms = (one.text.event_time_ms // self._window_ms + 1) * self._window_ms
        if end_ms <= max(ctx.timer_service().current_watermark(), topic.watch.last_window_end_ms or 0):
            self._late.n += 1
            return
        if raw[:1] == b"{":
            topic.counts.setdefault(end_ms, {})[window.entity] = Counts(window.texts, window.negative)
            self._windows.put(f"{end_ms}/{window.entity}", _COUNTS.pack(window.texts, window.negative))
        else:
            place = sample_place(one.text.text_id, self._config.monitor.sample_texts)
            topic.sample.setdefault(end_ms, {})[place] = one
            self._sample.put(f"{end_ms}/{place}", raw)
        ctx.timer_service().register_event_time_timer(end_ms - 1)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        name, end_ms = ctx.get_current_key(), timestamp + 1
        topic = self._topic(name)
        if end_ms <= (topic.watch.last_window_end_ms or 0):
            return
        counts, sample = topic.counts.pop(end_ms, {}), topic.sample.pop(end_ms, {})
        for alert in topic.watch.close(end_ms, counts, [sample[place] for place in sorted(sample)]):
            self._alerts[alert.state].n += 1
            self._log.info(f"alert {alert.state}", alert_id=alert.alert_id, kind=alert.kind, topic=name, entity=alert.entity)
            emitted = msgspec.structs.replace(alert, emitted_at_ms=time.time_ns() // 1_000_000)
            yield Row(name.encode(), _encode(emitted))
        for entity in counts:
            self._windows.remove(f"{end_ms}/{entity}")
        for place in sample:
            self._sample.remove(f"{end_ms}/{place}")
        self._judged.n += 1
        self._save(name, topic, end_ms, ctx)
        self._metrics.tell()

    def _save(self, name: str, topic: _Topic, end_ms: int, ctx: KeyedProcessFunction.OnTimerContext) -> None:
        if topic.watch.is_silent() and not topic.counts:
            del self._topics[name]
            self._rows.clear()
            self._followed.value = len(self._topics)
            return
        for row, value in topic.watch.take_snapshot():
            if value is None:
                self._rows.remove(row)
            else:
                self._rows.put(row, value)
        self._followed.value = len(self._topics)
        ctx.timer_service().register_event_time_timer(end_ms + self._window_ms - 1)


_decode_window = msgspec.json.Decoder(Window).decode
_encode = msgspec.json.Encoder().encode
