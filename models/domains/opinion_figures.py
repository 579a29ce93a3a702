"""How good alerts and judgements are on a stream of `models.domains.opinion`, whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from models.config import Monitor
from models.domains.opinion import JUDGED_FROM_DAY, START_MS, OpinionStream, Post, Surge
from models.monitor.alerts import Alert
from models.monitor.judge import Judgement
from models.monitor.local import counted
from models.monitor.surges import TopicWatch
from models.monitor.texts import SENTIMENTS, JudgedText

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class AlertFigures:
    """Alerts beside the surges that they were to be raised for (docs/domains/opinion.md says which alert is right).

    Attributes
    ----------
    found : the first right alert of each surge that has one
    missed : surges without one
    false : alerts that are of no surge, or not the first of theirs
    entities_right : of the found, how many name the entity, or the whole topic, that the surge was of
    uncleared : raised alerts that were never cleared
    """

    found: tuple[tuple[Surge, Alert], ...]
    missed: tuple[Surge, ...]
    false: tuple[Alert, ...]
    entities_right: int
    uncleared: int

    @property
    def recall(self) -> float:
        return len(self.found) / max(1, len(self.found) + len(self.missed))

    @property
    def precision(self) -> float:
        return len(self.found) / max(1, len(self.found) + len(self.false))

    @property
    def windows_late(self) -> list[float]:
        """Of each found surge, the time from its begin to the end of the window that raised the alert, in windows."""
        return [
            (alert.window_end_ms - surge.begin_ms) / (alert.window_end_ms - alert.window_start_ms)
            for surge, alert in self.found
        ]


def alert_figures(stream: OpinionStream, alerts: Iterable[Alert]) -> AlertFigures:
    """Match alerts with the surges of a stream, both in the order of their times."""
    alerts = list(alerts)
    judged_from_ms = START_MS + JUDGED_FROM_DAY * _DAY_MS
    found: dict[int, Alert] = {}
    false = []
    raised = [one for one in alerts if one.state == "raised" and one.window_start_ms >= judged_from_ms]
    for alert in raised:
        place = next((n for n, surge in enumerate(stream.surges) if n not in found and _is_of(alert, surge)), None)
        if place is None:
            false.append(alert)
        else:
            found[place] = alert
    cleared = {one.alert_id for one in alerts if one.state == "cleared"}
    return AlertFigures(
        found=tuple((stream.surges[place], found[place]) for place in sorted(found)),
        missed=tuple(surge for place, surge in enumerate(stream.surges) if place not in found),
        false=tuple(false),
        entities_right=sum(stream.surges[place].entity == alert.entity for place, alert in found.items()),
        uncleared=sum(one.alert_id not in cleared for one in raised),
    )


def _is_of(alert: Alert, surge: Surge) -> bool:
    window_ms = alert.window_end_ms - alert.window_start_ms
    return (
        (alert.topic, alert.kind) == (surge.topic, surge.kind)
        and surge.begin_ms < alert.window_end_ms <= surge.end_ms + window_ms
    )


@dataclass(frozen=True, slots=True)
class JudgementFigures:
    """Shares of texts that were judged right, from the day on from which alerts are judged, copies left out; and of copies that were found.

    Attributes
    ----------
    sentiment, topic, entities : shares that are right
    copy_precision, copy_recall : of near-duplicates, over the whole stream
    """

    sentiment: float
    topic: float
    entities: float
    copy_precision: float
    copy_recall: float


def judgement_figures(posts: Sequence[Post], judgements: Sequence[Judgement]) -> JudgementFigures:
    """Compare judgements with what is true of their texts."""
    both = list(zip(posts, judgements, strict=True))
    judged_from_ms = START_MS + JUDGED_FROM_DAY * _DAY_MS
    late = [(p, j.text) for p, j in both if p.copy_of is None and p.text.event_time_ms >= judged_from_ms]
    right = sum(p.copy_of is not None and j.repeats for p, j in both)
    return JudgementFigures(
        sentiment=sum(SENTIMENTS[one.sentiment + 1] == p.sentiment for p, one in late) / len(late),
        topic=sum(one.topic == p.topic for p, one in late) / len(late),
        entities=sum(set(one.entities) == set(p.entities) for p, one in late) / len(late),
        copy_precision=right / max(1, sum(j.repeats for _, j in both)),
        copy_recall=right / max(1, sum(p.copy_of is not None for p, _ in both)),
    )


def alerts_of_truth(stream: OpinionStream, settings: Monitor) -> list[Alert]:
    """The alerts of a monitor that would judge every text right: what is left is the detection of surges by itself."""
    window_ms = 1_000 * settings.window_s
    windows: dict[int, dict[str, list[JudgedText]]] = {}
    for post in stream.posts:
        if post.copy_of is None:
            one = JudgedText(post.text, post.topic, post.entities, SENTIMENTS.index(post.sentiment) - 1, b"")
            windows.setdefault(post.text.event_time_ms // window_ms, {}).setdefault(post.topic, []).append(one)
    watches = {topic: TopicWatch(topic, settings) for topic in sorted({post.topic for post in stream.posts})}
    alerts: list[Alert] = []
    for index in range(min(windows), max(windows) + 2 + settings.clear_windows):
        for topic, watch in watches.items():
            alerts += watch.close((index + 1) * window_ms, counted(windows.get(index, {}).get(topic, [])), ())
    return alerts
