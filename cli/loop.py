"""The loop around a running job: events go in, recommendations come back, and each event judges the slate before it.

`Loop` keeps a bounded number of events unanswered, so that throughput is what the job sustains and latency is not the
length of a queue; `ServedJudge` tests every event against the slate that answered the same user's previous one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from cli.clients import EventSender, TopicReader
from cli.errors import UserError
from models.config import Configuration
from models.evaluation.prequential import PrequentialEvaluator, PrequentialReport
from models.evaluation.recorder import Recorder, Shown
from models.events import Event
from models.topics import DEAD_LETTER, RECOMMENDATIONS


class ShownReason(msgspec.Struct):
    """What the loop reads of a reason."""

    kind: str
    item_id: str | None = None
    contribution: float = 0.0


class ShownItem(msgspec.Struct):
    """What the loop reads of a recommended item."""

    item_id: str
    title: str | None = None
    explored: bool = False
    reasons: list[ShownReason] = []
    score: float = 0.0
    probability: float | None = None
    sources: list[str] = []


class AnswerTimings(msgspec.Struct):
    """What the loop reads of an answer's timings."""

    sent_at_ms: int | None = None
    compute_us: int = 0


class Answer(msgspec.Struct):
    """What the loop reads of a recommendation."""

    user_id: str
    event_id: str
    seq: int
    items: list[ShownItem]
    timings: AnswerTimings
    versions: dict[str, str] = {}
    erased: bool = False


decode_answer = msgspec.json.Decoder(Answer).decode


class ServedJudge:
    """Judges each event, in stream order, by the slate that answered the same user's previous event.

    Parameters
    ----------
    evaluator : what a judgement goes into
    counts : whether an event of this type tests a slate; the others are passed over
    makes_one : whether an event of this type is answered with a slate; a slate is there to be judged by until it is, or another comes
    recorder : keeps each judged event, where there is one
    """

    def __init__(
        self,
        evaluator: PrequentialEvaluator,
        counts: Callable[[Event], bool],
        makes_one: Callable[[Event], bool],
        recorder: Recorder | None = None,
    ) -> None:
        self._evaluator = evaluator
        self._counts = counts
        self._makes_one = makes_one
        self._recorder = recorder
        self._waiting: deque[tuple[Event, str | None]] = deque()
        # By user the event whose slate the next one that counts is judged by; and the slates of such events, None until they are there.
        self._previous: dict[str, str] = {}
        self._slates: dict[str, Sequence[Shown] | None] = {}

    def sent(self, event: Event) -> None:
        """Note an event that was sent, and judge what can be judged."""
        if self._counts(event):
            self._waiting.append((event, self._previous.pop(event.user_id, None)))
            self._judge()
        if self._makes_one(event):
            replaced = self._previous.get(event.user_id)
            if replaced is not None:
                self._slates.pop(replaced, None)
            self._previous[event.user_id] = event.event_id
            self._slates[event.event_id] = None

    def answered(self, event_id: str, items: Sequence[Shown]) -> None:
        """Note the slate that answers an event (no items: there will be none), and judge what can be judged."""
        if event_id in self._slates:
            self._slates[event_id] = items
            self._judge()

    def _judge(self) -> None:
        while self._waiting:
            event, previous = self._waiting[0]
            slate = () if previous is None else self._slates[previous]
            if slate is None:
                return
            if previous is not None:
                del self._slates[previous]
            judgement = self._evaluator.judge(event.user_id, event.item_id, [item.item_id for item in slate])
            if self._recorder is not None:
                self._recorder.record(event.user_id, event.item_id, event.event_time_ms, judgement, slate)
            self._waiting.popleft()


@dataclass(slots=True)
class Progress:
    """How far a loop is.

    Attributes
    ----------
    sent, answered, dead_letters : events so far
    waiting : of the sent events, those that wait for their answer
    latencies_ms : from sending an event to its recommendation in Kafka, by the broker's clock
    compute_us : time RECOMMEND spent on each answer
    started_s, finished_s : monotonic time of the first event and of the latest answer
    last : the latest answer
    watched : the latest answer to the user that the loop watches
    """

    sent: int = 0
    answered: int = 0
    dead_letters: int = 0
    waiting: int = 0
    latencies_ms: list[int] = field(default_factory=list)
    compute_us: list[int] = field(default_factory=list)
    started_s: float = 0.0
    finished_s: float = 0.0
    last: Answer | None = None
    watched: Answer | None = None

    @property
    def events_per_s(self) -> float:
        """Answered events a second."""
        elapsed_s = self.finished_s - self.started_s
        return self.answered / elapsed_s if elapsed_s > 0 else 0.0

    def median_compute_us(self) -> float:
        """Median of the time that RECOMMEND spent on an answer; 0 before the first."""
        return float(np.median(self.compute_us)) if self.compute_us else 0.0

    def latency_ms(self, quantile: float, *, last: int | None = None) -> float:
        """Quantile of the latency, of all events or of the last ones; 0 before the first."""
        latencies = self.latencies_ms if last is None else self.latencies_ms[-last:]
        return float(np.quantile(latencies, quantile)) if latencies else 0.0


class Loop:
    """Sends events to a job and follows its answers.

    Parameters
    ----------
    configuration : of the job; its event types say which events test a slate, and which are answered with one (a type that
        is not among them becomes a dead letter, which is an answer too)
    every : only each N-th event that could test a slate does
    in_flight : how many events may be unanswered
    shift_ms : added to the event times
    events_per_s : pace, None for as fast as the job answers
    recorder : keeps each judged event, where there is one

    Attributes
    ----------
    progress : how far it is
    shift_ms : as given
    watched_user : whose latest answer `progress.watched` keeps
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        every: int = 1,
        in_flight: int = 128,
        shift_ms: int = 0,
        events_per_s: float | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._types = configuration.events.types
        self._evaluator = PrequentialEvaluator(configuration.slate.k, every=every)
        self._judge = ServedJudge(self._evaluator, self._tests_a_slate, self._makes_a_slate, recorder)
        self._in_flight = in_flight
        self._pace = events_per_s
        self._reader = TopicReader(configuration.kafka, (RECOMMENDATIONS, DEAD_LETTER))
        self._sender = EventSender(configuration.kafka, shift_ms=shift_ms)
        self.shift_ms = shift_ms
        self._unanswered: set[str] = set()
        self.progress = Progress()
        self.watched_user: str | None = None

    @property
    def quality(self) -> PrequentialReport:
        """The figures so far."""
        return self._evaluator.report()

    def _tests_a_slate(self, event: Event) -> bool:
        return event.type in self._types and self._types[event.type].weight > 0

    def _makes_a_slate(self, event: Event) -> bool:
        return event.type in self._types and self._types[event.type].makes_slate

    def _is_answered(self, event: Event) -> bool:
        return event.type not in self._types or self._makes_a_slate(event)

    def run(self, events: Iterable[Event], *, patience_s: float = 120.0) -> Iterator[Progress]:
        """Send all events and wait for all answers, yielding the progress several times a second.

        Raises
        ------
        UserError
            When no answer comes for `patience_s` although events wait for one.
        """
        progress = self.progress
        progress.started_s = progress.finished_s = heard_s = shown_s = time.monotonic()
        source = iter(events)
        exhausted = False
        while not exhausted or self._unanswered:
            exhausted = exhausted or self._send_some(source)
            before = progress.answered + progress.dead_letters
            self._listen(20 if self._is_full() else 5 if self._unanswered else 0)
            progress.waiting = len(self._unanswered)
            now_s = time.monotonic()
            if progress.answered + progress.dead_letters > before or not self._unanswered:
                heard_s = now_s
            if now_s - heard_s > patience_s:
                raise UserError(
                    f"{len(self._unanswered)} events wait for an answer and none came for {patience_s:.0f} s: "
                    "does the job run? `flinkrec status` tells"
                )
            if now_s - shown_s > 0.2:
                shown_s = now_s
                yield progress
        yield progress

    def _is_full(self) -> bool:
        return len(self._unanswered) >= self._in_flight

    def _send_some(self, source: Iterator[Event]) -> bool:
        """Send until enough events are unanswered or the pace is met; True when there are no more events."""
        progress = self.progress
        while not self._is_full():
            if self._pace is not None:
                ahead_s = progress.sent / self._pace - (time.monotonic() - progress.started_s)
                if ahead_s > 0:
                    if not self._unanswered:
                        time.sleep(min(ahead_s, 0.01))
                    return False
            event = next(source, None)
            if event is None:
                self._sender.flush()
                return True
            self._judge.sent(event)
            if self._is_answered(event):
                self._unanswered.add(event.event_id)
            self._sender.send(event)
            progress.sent += 1
        return False

    def _listen(self, timeout_ms: int) -> None:
        progress = self.progress
        for topic, value, broker_ms in self._reader.poll(timeout_ms):
            if topic == DEAD_LETTER:
                self._note_dead_letter(value)
                continue
            answer = decode_answer(value)
            if answer.event_id not in self._unanswered:
                continue
            self._unanswered.discard(answer.event_id)
            progress.answered += 1
            progress.last = answer
            if answer.user_id == self.watched_user:
                progress.watched = answer
            progress.compute_us.append(answer.timings.compute_us)
            if answer.timings.sent_at_ms is not None:
                progress.latencies_ms.append(max(0, broker_ms - answer.timings.sent_at_ms))
            self._judge.answered(answer.event_id, [Shown.of(item) for item in answer.items])
        if progress.answered:
            progress.finished_s = time.monotonic()

    def _note_dead_letter(self, value: bytes) -> None:
        """Count a dead letter; when it is one of the events of this loop nobody waits for its answer any longer."""
        self.progress.dead_letters += 1
        letter = msgspec.json.decode(value, type=_Letter)
        event_id = _event_id_of(letter.raw_base64)
        if event_id in self._unanswered:
            self._unanswered.discard(event_id)
            self._judge.answered(event_id, ())

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()
        self._reader.close()


class _Letter(msgspec.Struct):
    raw_base64: bytes | None = None


class _Identified(msgspec.Struct):
    event_id: str


def _event_id_of(raw: bytes | None) -> str:
    try:
        return msgspec.json.decode(raw or b"", type=_Identified).event_id
    except msgspec.DecodeError:
        return ""
