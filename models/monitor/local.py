"""The monitor in one process: the objects of the job in the order of the job, without Kafka, Flink or a clock.

Texts are taken in the order in which they are given; a window ends where a text is out_of_order_ms younger than its end, as the job's
watermark has it. Windows are counted here as the job's SQL counts them, and a test holds the two to the same alerts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from models.config import Monitor
from models.identity import hash64
from models.monitor.alerts import Alert
from models.monitor.fingerprints import fingerprint
from models.monitor.judge import Judge, Judgement, Learned, half_precision, needs_vector
from models.monitor.surges import WHOLE, Counts, TopicWatch
from models.monitor.texts import Encoded, JudgedText, Label, Text
from models.text.encoder import TextEncoder


class LocalMonitor:
    """Judges texts, learns labels, and raises and clears alerts.

    Parameters
    ----------
    settings : section monitor of the configuration
    encoder : of the texts

    Attributes
    ----------
    alerts : so far
    learned : what came of each label that was learned
    """

    def __init__(self, settings: Monitor, encoder: TextEncoder) -> None:
        self._settings, self._encoder = settings, encoder
        self._window_ms = 1_000 * settings.window_s
        self._judge = Judge(settings, encoder)
        self._watches: dict[str, TopicWatch] = {}
        self._open: dict[int, list[JudgedText]] = {}
        self._next_end_ms: int | None = None
        self.alerts: list[Alert] = []
        self.learned: list[Learned] = []

    def take(self, batch: Sequence[Text | Label]) -> Iterator[Judgement]:
        """Read some texts and labels, encoded together; what the texts are."""
        words = [one.text or "" for one in batch if isinstance(one, Text) or needs_vector(one)]
        vectors = iter(half_precision(self._encoder.encode(words)) if words else [])
        for one in batch:
            if isinstance(one, Label):
                self._note(self._judge.learn(Encoded(None, one, next(vectors) if needs_vector(one) else None, None)))
                continue
            judgement, learned = self._judge.judge(Encoded(one, None, next(vectors), fingerprint(one.text)))
            self._note(learned)
            self._count(judgement)
            yield judgement

    def _note(self, learned: Learned | None) -> None:
        if learned is not None:
            self.learned.append(learned)

    def _count(self, judgement: Judgement) -> None:
        time_ms = judgement.text.text.event_time_ms
        end_ms = (time_ms // self._window_ms + 1) * self._window_ms
        if self._next_end_ms is None:
            self._next_end_ms = end_ms
        if not judgement.repeats and end_ms >= self._next_end_ms:
            self._open.setdefault(end_ms, []).append(judgement.text)
        self.advance(time_ms - self._settings.out_of_order_ms)

    def advance(self, watermark_ms: int) -> None:
        """Close the windows that have ended by a point of event time."""
        while self._next_end_ms is not None and self._next_end_ms - 1 <= watermark_ms:
            self._close(self._next_end_ms)
            self._next_end_ms += self._window_ms

    def _close(self, end_ms: int) -> None:
        texts = self._open.pop(end_ms, [])
        by_topic = {topic: list(some) for topic, some in groupby(sorted(texts, key=_topic), key=_topic)}
        for topic in sorted(self._watches.keys() | by_topic.keys()):
            watch = self._watches.get(topic)
            if watch is None:
                watch = self._watches[topic] = TopicWatch(topic, self._settings)
            some = by_topic.get(topic, [])
            self.alerts += watch.close(end_ms, counted(some), sampled(some, self._settings.sample_texts))


def counted(texts: Sequence[JudgedText]) -> dict[str, Counts]:
    """The counts of a topic's window, of the topic and of each of its entities."""
    written: Counter[str] = Counter()
    negative: Counter[str] = Counter()
    for one in texts:
        for name in (WHOLE, *one.entities):
            written[name] += 1
            negative[name] += one.sentiment < 0
    return {name: Counts(written[name], negative[name]) for name in written}


def sample_place(text_id: str, sample_texts: int) -> int:
    """Which of the places of its window's sample a text takes: the last text of a place stays."""
    return hash64(text_id) % sample_texts


def sampled(texts: Sequence[JudgedText], sample_texts: int) -> list[JudgedText]:
    """The sample of a topic's window, by place."""
    places = {sample_place(one.text.text_id, sample_texts): one for one in texts}
    return [places[place] for place in sorted(places)]


def _topic(one: JudgedText) -> str:
    return one.topic
