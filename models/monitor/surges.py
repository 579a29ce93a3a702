"""The windows of one topic, one after the other: when a surge of it, or of an entity in it, is raised and cleared.

A surge is of volume (more texts than usual) or negative (a larger part of them is negative than usual). Each window is evidence for one
or against it: the logarithm of how much more likely its x texts, k of them negative, are in a surge than usually, where mu texts and a
share p of negative ones are (`models.monitor.seasons`):

    volume      x ln r - mu (r - 1)                               Poisson, r = min_ratio
    negative    k ln(q / p) + (x - k) ln((1 - q) / (1 - p))       binomial, q = p + min_share_rise

divided by the square of the spread that the windows have beside chance. It is summed up as by Page, "Continuous inspection schemes",
Biometrika 41, 1954: S <- max(0, S + evidence). An alert is raised where S reaches raise_evidence and there were min_texts texts
(negative ones, for a negative surge) since S was 0; an entity is one of n, and needs ln n more. It is cleared when a window's score, its standard deviations above what is usual, was
below clear_score for clear_windows windows, or after max_surge_hours, when it is what is usual now. In between nothing more is raised:
that is the hysteresis.

One surge makes one alert: where one entity has more than half of a topic's excess the alert is the entity's, and covers the topic;
otherwise it is the topic's, and covers the entities. Who is covered raises nothing until they were calm again.

Layout of the row ``phases``, version 1: ``version u8 | MessagePack``, a map of the entity ("" for the topic) to the `Phase`s of the two
kinds as arrays. The rows ``series:ENTITY`` are `models.monitor.seasons.Series`; at most `MAX_ENTITIES` entities of a topic are followed,
those with the most texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import log
from typing import NamedTuple

import msgspec
import numpy as np

from models.config import Monitor
from models.monitor.alerts import Alert, AlertKind, AlertText
from models.monitor.seasons import NEGATIVE, VOLUME, Series, Usual
from models.monitor.texts import SENTIMENTS, JudgedText
from models.monitor.typical import most_typical

MAX_ENTITIES = 64
WHOLE = ""
"""The name under which the topic itself stands beside its entities."""

_VERSION = b"\x01"
_KINDS: dict[AlertKind, int] = {"volume": VOLUME, "negative": NEGATIVE}
_PHASES_ROW = "phases"
_SERIES_PREFIX = "series:"
_EXCERPT_CHARACTERS = 500
_MAJORITY = 0.5
_LEAST_TEXTS = 0.5
_MOST_SHARE = 0.98
_NAMED = 5
_HOUR_S = 3_600

QUIET, RAISED, COVERED = range(3)


class Counts(NamedTuple):
    """What was written in a window."""

    texts: int = 0
    negative: int = 0


class Phase(msgspec.Struct, array_like=True, gc=False):
    """How far it has come with one kind of surge of one series.

    Attributes
    ----------
    state : `QUIET`, `RAISED`, or `COVERED` by the alert of the topic or of an entity
    since : index of the window in which that began
    calm : windows in a row with a score below clear_score
    evidence : S of the module docstring
    texts : since it was 0 the last time; negative ones in the phase of negative surges
    """

    state: int = QUIET
    since: int = 0
    calm: int = 0
    evidence: float = 0.0
    texts: int = 0


@dataclass(frozen=True, slots=True)
class _Reading:
    """A window beside what is usual for it."""

    texts: int
    negative: int
    usual: Usual

    def score(self, kind: AlertKind) -> float:
        return self.usual.volume_score if kind == "volume" else self.usual.share_score

    def evidence(self, kind: AlertKind, *, ratio: float, rise: float) -> float:
        """For a surge (formulas: module docstring)."""
        usual = self.usual
        if kind == "volume":
            return (self.texts * log(ratio) - max(usual.texts_high, _LEAST_TEXTS) * (ratio - 1)) / usual.volume_spread**2
        share = min(max(usual.share, 1 - _MOST_SHARE), _MOST_SHARE - rise / 2)
        raised = min(share + rise, _MOST_SHARE)
        others = self.texts - self.negative
        return (self.negative * log(raised / share) + others * log((1 - raised) / (1 - share))) / usual.share_spread**2

    def excess(self, kind: AlertKind) -> float:
        if kind == "volume":
            return self.texts - self.usual.texts
        return self.negative - self.usual.share * self.texts


class TopicWatch:
    """Follows one topic.

    Parameters
    ----------
    topic : its name
    settings : section monitor of the configuration
    """

    def __init__(self, topic: str, settings: Monitor) -> None:
        self._topic = topic
        self._settings = settings
        self._window_ms = 1_000 * settings.window_s
        self._series: dict[str, Series] = {}
        self._phases: dict[str, dict[AlertKind, Phase]] = {}
        self._first_index: int | None = None
        self._unsaved: set[str] = set()

    @property
    def last_window_end_ms(self) -> int | None:
        """End of the last window that was closed, None before the first."""
        whole = self._series.get(WHOLE)
        return None if whole is None or whole.last_index is None else (whole.last_index + 1) * self._window_ms

    def is_silent(self) -> bool:
        """Whether nothing was written about the topic in all windows that are kept."""
        return WHOLE not in self._series or self._series[WHOLE].total() == 0

    def close(self, window_end_ms: int, counts: Mapping[str, Counts], kept: Sequence[JudgedText]) -> list[Alert]:
        """Judge a window that has ended.

        Parameters
        ----------
        window_end_ms : its end, excluded; later than that of the call before. Windows between the two were empty
        counts : of the topic under `WHOLE`, and of its entities; who is missing was not written about
        kept : texts of the window, for the examples of an alert

        Returns
        -------
        list of Alert
            What is raised and what is cleared.
        """
        index = window_end_ms // self._window_ms - 1
        self._follow(index, counts)
        readings: dict[str, _Reading] = {}
        for name, series in self._series.items():  # the topic itself is the first
            texts, negative = counts.get(name, Counts())
            prior = {"prior_share": readings[WHOLE].usual.share} if WHOLE in readings else {}
            usual = series.judge(index, texts, negative, **prior)
            if usual is not None:
                readings[name] = _Reading(texts, negative, usual)
        alerts = [alert for kind in _KINDS for alert in self._alerts(kind, index, readings, kept)]
        for name, series in self._series.items():
            reading = readings.get(name)
            texts, negative = counts.get(name, Counts())
            usual = None if reading is None else reading.usual
            series.add(index, texts, negative, usual=usual, flags=self._flags(name))
            self._unsaved.add(name)
        return alerts

    def _follow(self, index: int, counts: Mapping[str, Counts]) -> None:
        if self._first_index is None:
            self._first_index = index
        for name in (WHOLE, *counts):
            if name not in self._series:
                self._series[name] = self._new_series()
                self._series[name].begin(self._first_index)
                self._fill(name, index)
                self._phases[name] = {kind: Phase() for kind in _KINDS}
        # those without a surge, with the fewest texts
        while len(self._series) > 1 + MAX_ENTITIES:
            quiet = [name for name in self._series if name and all(p.state == QUIET for p in self._phases[name].values())]
            least = min(quiet or [name for name in self._series if name], key=lambda name: self._series[name].total())
            del self._series[least], self._phases[least]
            self._unsaved.add(least)

    def _new_series(self) -> Series:
        settings = self._settings
        return Series(window_s=settings.window_s, history_days=settings.history_days, min_days=settings.min_days)

    def _fill(self, name: str, index: int) -> None:
        """A series that begins later than its topic was silent before."""
        assert self._first_index is not None
        if index > self._first_index:
            self._series[name].add(index - 1, 0, 0, usual=None, flags=0)

    def _flags(self, name: str) -> int:
        phases = self._phases[name]
        return sum(flag for kind, flag in _KINDS.items() if phases[kind].state != QUIET)

    def _alerts(
        self, kind: AlertKind, index: int, readings: Mapping[str, _Reading], kept: Sequence[JudgedText]
    ) -> Iterator[Alert]:
        high: set[str] = set()
        for name, reading in readings.items():
            phase = self._phases[name][kind]
            if phase.state != QUIET:
                cleared_by = self._calms_down(phase, reading.score(kind), index)
                if cleared_by is not None:
                    if phase.state == RAISED:
                        yield self._alert(kind, name, index, phase.since, reading, cleared_by=cleared_by)
                    if cleared_by == "duration":
                        self._series[name].accept(_KINDS[kind], index - phase.since)
                    self._phases[name][kind] = Phase()
            elif self._rises(kind, phase, reading, of_entity=bool(name)):
                high.add(name)
        whole = readings.get(WHOLE)
        if whole is None:
            return
        of_entities = {name: readings[name].excess(kind) for name in readings if name and self._is_up(kind, name, high)}
        most = max(of_entities, key=lambda name: of_entities[name], default=None)
        by_entity = most is not None and of_entities[most] > _MAJORITY * whole.excess(kind)
        if self._phases[WHOLE][kind].state == RAISED:
            raised: list[str] = []
        elif WHOLE in high and not by_entity:
            raised = [WHOLE]
        else:
            raised = [name for name in high if name and of_entities[name] > _MAJORITY * whole.excess(kind)]
        for name in sorted(high):
            self._phases[name][kind] = Phase(state=RAISED if name in raised else COVERED, since=index)
        for name in sorted(raised):
            yield self._alert(kind, name, index, index, readings[name], kept=kept)

    def _is_up(self, kind: AlertKind, name: str, high: set[str]) -> bool:
        return name in high or self._phases[name][kind].state == RAISED

    def _calms_down(self, phase: Phase, score: float, index: int) -> str | None:
        settings = self._settings
        phase.calm = phase.calm + 1 if score < settings.clear_score else 0
        if phase.calm >= settings.clear_windows:
            return "usual"
        lasted_s = (index - phase.since) * settings.window_s
        return "duration" if lasted_s >= settings.max_surge_hours * _HOUR_S else None

    def _rises(self, kind: AlertKind, phase: Phase, reading: _Reading, *, of_entity: bool) -> bool:
        """Take a window into the sum; whether that is enough for an alert."""
        settings = self._settings
        more = reading.evidence(kind, ratio=settings.min_ratio, rise=settings.min_share_rise)
        phase.evidence = min(max(0.0, phase.evidence + more), 2 * settings.raise_evidence)
        phase.texts = phase.texts + (reading.texts if kind == "volume" else reading.negative) if phase.evidence else 0
        needed = settings.raise_evidence + (log(len(self._series)) if of_entity else 0.0)
        return phase.evidence >= needed and phase.texts >= settings.min_texts

    def _alert(
        self,
        kind: AlertKind,
        name: str,
        index: int,
        raised_index: int,
        reading: _Reading,
        *,
        kept: Sequence[JudgedText] = (),
        cleared_by: str | None = None,
    ) -> Alert:
        relevant = [one for one in kept if (not name or name in one.entities) and (kind == "volume" or one.sentiment < 0)]
        raised_end_ms = (raised_index + 1) * self._window_ms
        return Alert(
            alert_id=_alert_id(self._topic, name, kind, raised_end_ms),
            state="raised" if cleared_by is None else "cleared",
            kind=kind,
            topic=self._topic,
            entity=name or None,
            raised_window_end_ms=raised_end_ms,
            window_start_ms=index * self._window_ms,
            window_end_ms=(index + 1) * self._window_ms,
            texts=reading.texts,
            expected_texts=round(reading.usual.texts, 3),
            negative_share=round(reading.negative / reading.texts, 4) if reading.texts else None,
            expected_negative_share=round(reading.usual.share, 4),
            score=round(reading.score(kind), 3),
            entities=_most_named(relevant),
            examples=[_example(relevant[place]) for place in self._typical(relevant)],
            cleared_by=cleared_by,  # type: ignore[arg-type]
        )

    def _typical(self, texts: Sequence[JudgedText]) -> Sequence[int]:
        vectors = [np.frombuffer(one.vector, np.float16).astype(np.float32) for one in texts]
        return most_typical(np.array(vectors), self._settings.alert_texts) if vectors else []

    def take_snapshot(self) -> Iterator[tuple[str, bytes | None]]:
        """The rows that changed since the last call."""
        if not self._unsaved:
            return
        for name in self._unsaved:
            yield _SERIES_PREFIX + name, self._series[name].encode() if name in self._series else None
        self._unsaved = set()
        yield _PHASES_ROW, _VERSION + _encode([self._first_index or 0, self._phases])

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Fill a new watch from saved rows.

        Raises
        ------
        ValueError
            When they are of another version.
        """
        saved = dict(rows)
        if not saved:
            return
        raw = saved.pop(_PHASES_ROW)
        if raw[:1] != _VERSION:
            raise ValueError(f"phases of version {raw[:1].hex()}: this release reads version {_VERSION.hex()}")
        self._first_index, self._phases = _decode(raw[1:])
        for name in self._phases:
            self._series[name] = self._new_series()
            self._series[name].load(saved[_SERIES_PREFIX + name])


def _alert_id(topic: str, entity: str, kind: str, raised_end_ms: int) -> str:
    cause = "\x1f".join((topic, entity, kind, str(raised_end_ms)))
    return blake2b(cause.encode("utf-8", "replace"), digest_size=8, person=b"alert").hexdigest()


def _most_named(texts: Sequence[JudgedText]) -> list[str]:
    named: dict[str, int] = {}
    for one in texts:
        for entity in one.entities:
            named[entity] = named.get(entity, 0) + 1
    return sorted(named, key=lambda entity: (-named[entity], entity))[:_NAMED]


def _example(one: JudgedText) -> AlertText:
    text = one.text
    return AlertText(
        text_id=text.text_id,
        kind=text.kind,
        text=text.text[:_EXCERPT_CHARACTERS],
        event_time_ms=text.event_time_ms,
        sentiment=SENTIMENTS[one.sentiment + 1],
        source=text.source,
        author=text.author,
        entities=list(one.entities),
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, dict[str, dict[AlertKind, Phase]]]).decode
