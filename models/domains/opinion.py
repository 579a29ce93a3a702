"""The world of public opinion: two weeks of labelled texts with seasons, reposts, surges and what only looks like one.

docs/domains/opinion.md is the specification. Everything is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log

import numpy as np

from models.domains.opinion_texts import ENTITIES, TOPICS, Writer
from models.monitor.alerts import AlertKind
from models.monitor.texts import Label, Sentiment, Text, TextKind

START_MS = 1_704_067_200_000
"""Monday, 1 January 2024."""

DAYS = 14
JUDGED_FROM_DAY = 7
WINDOW_S = 1_800
_WINDOW_MS = 1_000 * WINDOW_S
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_RARE = "governance"
_RARE_A_WINDOW = 0.05
_WEEK = (1.15, 1.0, 1.0, 1.0, 1.05, 0.35, 0.3)
_KINDS: tuple[TextKind, ...] = ("news", "post", "comment")
_KIND_SHARES = (0.3, 0.45, 0.25)
_REPOSTS = 0.08
_LABELLED = 0.06
_SECOND_ENTITY = 0.06
_APART_MS = 12 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Post:
    """A text with what is true of it.

    Attributes
    ----------
    text : as it comes; it says neither topic nor entities
    topic, entities, sentiment : what it is about, and its mood
    copy_of : id of the text that it is an edited copy of
    """

    text: Text
    topic: str
    entities: tuple[str, ...]
    sentiment: Sentiment
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class Surge:
    """What an alert is to be raised for: from `begin_ms` to `end_ms`, of a topic or of an entity in it."""

    kind: AlertKind
    topic: str
    entity: str | None
    begin_ms: int
    end_ms: int
    times: float


@dataclass(frozen=True, slots=True)
class TimedLabel:
    """A label, and when it comes."""

    time_ms: int
    label: Label


@dataclass(slots=True)
class OpinionStream:
    """All that happens: texts and labels in the order of their times, and the surges."""

    posts: list[Post] = field(default_factory=list)
    labels: list[TimedLabel] = field(default_factory=list)
    surges: list[Surge] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Habit:
    """What is usual for a topic."""

    base: float
    moods: tuple[float, float, float]
    entity_shares: tuple[float, ...]
    peak_hour: int


def opinion_stream(seed: int, *, days: int = DAYS) -> OpinionStream:
    """The stream of a seed."""
    return _World(seed, days).stream()


class _World:
    def __init__(self, seed: int, days: int) -> None:
        self._draw = np.random.default_rng([seed, 8_317])
        self._writer = Writer(np.random.default_rng([seed, 8_318]))
        self._days = days
        self._habits = {topic: self._habit(topic) for topic in TOPICS}
        self._surges = self._plan_surges()
        self._made: list[Post] = []

    def _habit(self, topic: str) -> _Habit:
        negative = float(self._draw.uniform(0.2, 0.3))
        shares = self._draw.dirichlet(np.full(len(ENTITIES), 2.0))
        return _Habit(
            base=_RARE_A_WINDOW if topic == _RARE else float(self._draw.uniform(5, 9)),
            moods=(negative, 0.7 - negative, 0.3),
            entity_shares=tuple(shares.tolist()),
            peak_hour=int(self._draw.integers(6, 22)),
        )

    def _plan_surges(self) -> list[Surge]:
        busy = [topic for topic in TOPICS if topic != _RARE]
        plans: list[tuple[AlertKind, bool, float]] = [
            *[("volume", False, float(self._draw.uniform(4, 6))) for _ in range(4)],
            *[("volume", True, 12.0) for _ in range(2)],
            *[("negative", False, 1.5) for _ in range(3)],
            ("negative", True, 2.5),
        ]
        surges: list[Surge] = []
        while len(surges) < len(plans):
            kind, of_entity, times = plans[len(surges)]
            topic = busy[int(self._draw.integers(len(busy)))]
            day = int(self._draw.choice([day for day in range(JUDGED_FROM_DAY, self._days) if day % 7 < 5]))
            begin_ms = START_MS + day * _DAY_MS + int(self._draw.uniform(8, 17) * _HOUR_MS)
            end_ms = begin_ms + int(self._draw.uniform(2, 4) * _HOUR_MS)
            entity = None
            if of_entity:
                # of those who are written about often enough that twelve times as much is a surge
                shares = self._habits[topic].entity_shares
                entity = list(ENTITIES)[int(np.argsort(shares)[-1 - int(self._draw.integers(3))])]
            if all(s.topic != topic or begin_ms - s.end_ms > _APART_MS or s.begin_ms - end_ms > _APART_MS for s in surges):
                surges.append(Surge(kind, topic, entity, begin_ms, end_ms, times))
        return surges

    def stream(self) -> OpinionStream:
        """Draw it."""
        spells = self._spells()
        for window in range(self._days * _DAY_MS // _WINDOW_MS):
            start_ms = START_MS + window * _WINDOW_MS
            for topic in TOPICS:
                factor = max((1.4 for t, begin, end in spells if t == topic and begin <= start_ms < end), default=1.0)
                self._write_window(topic, start_ms, factor)
        self._reposts()
        self._bursts()
        self._threes()
        self._made.sort(key=lambda post: (post.text.event_time_ms, post.text.text_id))
        return OpinionStream(self._made, self._labels(), sorted(self._surges, key=lambda surge: surge.begin_ms))

    def _rate(self, topic: str, time_ms: int) -> float:
        habit = self._habits[topic]
        if topic == _RARE:
            return habit.base
        hour = (time_ms % _DAY_MS) / _HOUR_MS
        weekday = (time_ms - START_MS) // _DAY_MS % 7
        shape = 0.15 + 1.1 * exp(-(((hour - 9) / 2.2) ** 2)) + 1.2 * exp(-(((hour - 16) / 3.0) ** 2))
        peak = 3.0 if weekday < 5 and int(hour) == habit.peak_hour else 1.0
        return float(habit.base * shape * _WEEK[weekday] * peak)

    def _write_window(self, topic: str, start_ms: int, factor: float) -> None:
        habit = self._habits[topic]
        rate = self._rate(topic, start_ms) * factor * exp(float(self._draw.normal(0, log(1.1))))
        names = list(ENTITIES)
        for time_ms in self._times(start_ms, rate):
            entity = names[int(self._draw.choice(len(names), p=habit.entity_shares))]
            self._add(topic, self._mood(topic, entity, time_ms), entity, time_ms)
        for surge in self._surges:
            if surge.topic == topic and surge.times > 1:
                share = 1.0 if surge.entity is None else habit.entity_shares[names.index(surge.entity)]
                for time_ms in self._times(start_ms, rate * share * (surge.times - 1)):
                    if surge.begin_ms <= time_ms < surge.end_ms:
                        entity = surge.entity or names[int(self._draw.choice(len(names), p=habit.entity_shares))]
                        self._add(topic, self._mood(topic, entity, time_ms), entity, time_ms)

    def _times(self, start_ms: int, mean: float) -> Sequence[int]:
        n = int(self._draw.poisson(mean))
        return sorted(int(start_ms + offset) for offset in self._draw.uniform(0, _WINDOW_MS, n))

    def _mood(self, topic: str, entity: str, time_ms: int) -> Sentiment:
        negative, neutral, positive = self._habits[topic].moods
        for surge in self._surges:
            if (
                surge.kind == "negative"
                and surge.topic == topic
                and surge.entity in (None, entity)
                and surge.begin_ms <= time_ms < surge.end_ms
            ):
                share = 0.85 if surge.entity is None else 0.95
                negative, neutral, positive = share, neutral * (1 - share) / (1 - negative), positive * (1 - share) / (1 - negative)
        moods: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
        return moods[int(self._draw.choice(3, p=np.array((negative, neutral, positive)) / (negative + neutral + positive)))]

    def _add(self, topic: str, mood: Sentiment, entity: str, time_ms: int) -> None:
        kind = _KINDS[int(self._draw.choice(3, p=_KIND_SHARES))]
        entities = (entity,)
        if self._draw.random() < _SECOND_ENTITY:
            other = list(ENTITIES)[int(self._draw.integers(len(ENTITIES)))]
            entities = (entity,) if other == entity else (entity, other)
        words = self._writer.write(topic, mood, entities, kind)
        self._made.append(Post(self._text(words, time_ms, kind), topic, entities, mood))

    def _text(self, words: str, time_ms: int, kind: TextKind) -> Text:
        author = f"author-{self._draw.integers(400)}"
        return Text(f"t{len(self._made)}", words, time_ms, kind, f"{kind}-{self._draw.integers(12)}", author, None, None)

    def _copy(self, post: Post, time_ms: int) -> None:
        copied = self._text(self._writer.edited(post.text.text), time_ms, "post")
        self._made.append(Post(copied, post.topic, post.entities, post.sentiment, post.copy_of or post.text.text_id))

    def _reposts(self) -> None:
        for post in list(self._made):
            if self._draw.random() < _REPOSTS:
                self._copy(post, post.text.event_time_ms + int(self._draw.uniform(60_000, 20 * _HOUR_MS)))

    def _bursts(self) -> None:
        judged = [post for post in self._made if post.text.event_time_ms >= START_MS + JUDGED_FROM_DAY * _DAY_MS]
        for _ in range(4):
            post = judged[int(self._draw.integers(len(judged)))]
            for _ in range(int(self._draw.integers(30, 51))):
                self._copy(post, post.text.event_time_ms + int(self._draw.uniform(10_000, _HOUR_MS)))

    def _threes(self) -> None:
        for _ in range(3):
            window = int(self._draw.integers(JUDGED_FROM_DAY * 48, self._days * 48))
            for time_ms in sorted(self._draw.uniform(0, _WINDOW_MS, 3)):
                entity = list(ENTITIES)[int(self._draw.integers(len(ENTITIES)))]
                at_ms = START_MS + window * _WINDOW_MS + int(time_ms)
                self._add(_RARE, self._mood(_RARE, entity, at_ms), entity, at_ms)

    def _spells(self) -> list[tuple[str, int, int]]:
        spells = []
        busy = [topic for topic in TOPICS if topic != _RARE]
        for _ in range(3):
            begin = START_MS + int(self._draw.uniform(JUDGED_FROM_DAY, self._days - 0.2) * _DAY_MS)
            spells.append((busy[int(self._draw.integers(len(busy)))], begin, begin + 3 * _HOUR_MS))
        return spells

    def _labels(self) -> list[TimedLabel]:
        labels = []
        for post in self._made:
            if post.copy_of is None and self._draw.random() < _LABELLED:
                delay_ms = int(self._draw.uniform(10, 60) * 60_000)
                label = Label(post.text.text_id, None, post.sentiment, post.topic)
                labels.append(TimedLabel(post.text.event_time_ms + delay_ms, label))
        return sorted(labels, key=lambda one: one.time_ms)
