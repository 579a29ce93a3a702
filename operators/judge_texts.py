"""JUDGE: tells near-duplicates, topic, entities and mood of texts, and learns from labels.

Key
    0 alone: whether a text is new, and what labels say, concerns all of them
Input
    bytes from READ: a text or a label (`models.monitor.texts.Encoded`)
State
    ``rows``  MapState of str to bytes: `models.monitor.judge.Judge`, whose rows are written with each text and label that changes them;
              bounded by monitor.duplicate_texts, kept_texts and kept_labels. No TTL: it is what was learned
Timers
    none
Outputs
    main: Row of `OPINION` for the windows; side: Row(topic, bytes) of the texts that are new, for WATCH
Late, duplicate and malformed events
    do not reach it: READ has cleaned them. A near-duplicate is counted as one, and nothing else. Bytes that cannot be decoded break an
    invariant and stop the job.
Flink metrics
    ``judged``, ``repeats``, ``labels_learned``
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from models.config import Configuration
from models.monitor.encoding import monitor_encoder
from models.monitor.judge import Judge, Judgement, Learned
from models.monitor.texts import decode_encoded, encode_message
from operators.metrics import Metrics
from operators.threads import use_one_thread

OPINION = Types.ROW_NAMED(
    ["time_ms", "kind", "topic", "entity", "sentiment", "sentiment_right", "topic_right"],
    [Types.LONG(), Types.STRING(), Types.STRING(), Types.STRING(), Types.LONG(), Types.LONG(), Types.LONG()],
)
"""One for a text and one for each of its entities (kind text or repeat), one for a label; right is 1, 0, or -1: not said."""

NEW_TEXT = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
NEW_TEXTS = OutputTag("new-texts", NEW_TEXT)


class JudgeTexts(KeyedProcessFunction):  # type: ignore[misc]
    """The adapter of `models.monitor.judge.Judge`.

    Parameters
    ----------
    configuration : the whole configuration
    """

    def __init__(self, configuration: Configuration) -> None:
        self._config = configuration

    def open(self, runtime_context: RuntimeContext) -> None:
        use_one_thread()
        self._encoder = monitor_encoder(self._config)
        self._rows = runtime_context.get_map_state(MapStateDescriptor("rows", Types.STRING(), Types.PICKLED_BYTE_ARRAY()))
        self._judge: Judge | None = None
        self._metrics = Metrics(runtime_context.get_metrics_group())
        self._judged, self._repeats = self._metrics.counter("judged"), self._metrics.counter("repeats")
        self._learned = self._metrics.counter("labels_learned")

    def _of_state(self) -> Judge:
        """The judge, read from state on the first access after `open`."""
        if self._judge is None:
            self._judge = Judge(self._config.monitor, self._encoder)
            self._judge.load_snapshot((row, bytes(value)) for row, value in self._rows.items())
        return self._judge

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        judge, message = self._of_state(), decode_encoded(bytes(value))
        if message.text is not None:
            judgement, learned = judge.judge(message)
            yield from self._outputs(judgement)
        else:
            learned = judge.learn(message)
        for row, saved in judge.take_snapshot():
            self._rows.put(row, saved)
        if learned is not None:
            self._learned.n += 1
            yield _label_fact(learned, ctx.timer_service().current_watermark())
        if self._metrics.is_due():
            self._metrics.tell()

    def _outputs(self, judgement: Judgement) -> Iterator[Any]:
        one = judgement.text
        self._judged.n += 1
        self._repeats.n += judgement.repeats
        kind = "repeat" if judgement.repeats else "text"
        for entity in ("", *one.entities):
            yield Row(one.text.event_time_ms, kind, one.topic, entity, one.sentiment, -1, -1)
        if not judgement.repeats:
            yield NEW_TEXTS, Row(one.topic, encode_message(one))


def _label_fact(learned: Learned, watermark_ms: int) -> Row:
    # the window of its text may have ended when a label comes: it counts in the one that is open
    time_ms = max(learned.event_time_ms or 0, watermark_ms + 1)
    return Row(time_ms, "label", "", "", 0, _said(learned.sentiment_right), _said(learned.topic_right))


def _said(right: bool | None) -> int:
    return -1 if right is None else int(right)
