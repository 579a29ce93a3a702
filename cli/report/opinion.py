"""The page of the demo of public opinion: volume and mood over time, with the true surges, and the alerts with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from markupsafe import Markup

from cli.report.svg import ACCENT, MUTED, WARM, drawing
from cli.report.writing import render
from models.domains.opinion import JUDGED_FROM_DAY, START_MS, OpinionStream
from models.domains.opinion_figures import AlertFigures
from models.monitor.alerts import Alert, AlertKind
from models.topics import Metric

_DAY_MS = 86_400_000
_MEAN_OF_WINDOWS = 6
_NAMES: dict[AlertKind, str] = {"volume": "texts a window", "negative": "share of negative texts"}


@dataclass(frozen=True, slots=True)
class OpinionPage:
    """What the page shows.

    Attributes
    ----------
    title : of the domain
    stream : that passed
    metrics, alerts : of the job
    figures : the alerts beside the true surges
    delays_ms : of the alerts
    """

    title: str
    stream: OpinionStream
    metrics: Sequence[Metric]
    alerts: Sequence[Alert]
    figures: AlertFigures
    delays_ms: Sequence[int]


def render_opinion(page: OpinionPage) -> str:
    """The whole page."""
    filters = {
        "share": lambda value: "" if value is None else f"{value:.0%}",
        "when": lambda time_ms: datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%a %d %b %H:%M"),
    }
    topics = sorted({surge.topic for surge in page.stream.surges})
    charts = [
        (f"{topic}: {name}", Markup(_chart(page, topic, kind)))
        for topic in topics
        for kind, name in _NAMES.items()
    ]
    right = {alert.alert_id for _, alert in page.figures.found}
    return render(
        "opinion.html.jinja",
        filters=filters,
        page=page,
        charts=charts,
        raised=[alert for alert in page.alerts if alert.state == "raised"],
        right=right,
        cleared={alert.alert_id: alert.window_end_ms for alert in page.alerts if alert.state == "cleared"},
        accuracy=_accuracies(page.metrics),
        slowest_ms=max(page.delays_ms, default=None),
    )


def _accuracies(metrics: Sequence[Metric]) -> list[tuple[str, float, float]]:
    """Of each head the accuracy on the labels of the first day and of the last half of them, before they were learned."""
    found = []
    for name in ("sentiment", "topic"):
        some = sorted((one for one in metrics if one.metric == f"{name}_accuracy" and one.n), key=lambda one: one.window_start_ms)
        if some:
            first = [one for one in some if one.window_start_ms < some[0].window_start_ms + _DAY_MS]
            found.append((name, _mean(first), _mean(some[len(some) // 2 :])))
    return found


def _mean(metrics: Sequence[Metric]) -> float:
    return sum((one.value or 0.0) * one.n for one in metrics) / max(1, sum(one.n for one in metrics))


def _chart(page: OpinionPage, topic: str, kind: AlertKind) -> str:
    """One measure of a topic in the judged week; true surges are shaded, alerts are marked where they were raised."""
    of_topic = [one for one in page.metrics if one.slice == f"topic={topic}" and one.value is not None]
    wanted = "texts" if kind == "volume" else "negative_texts"
    rows = sorted((one.window_start_ms, one.value or 0.0, one.n) for one in of_topic if one.metric == wanted)
    days = np.array([(start - START_MS) / _DAY_MS for start, _, _ in rows])
    values, texts = np.array([value for _, value, _ in rows]), np.array([n for _, _, n in rows], float)
    if kind == "negative" and len(values):
        kernel = np.ones(_MEAN_OF_WINDOWS)
        values = np.convolve(values, kernel, "same") / np.maximum(1, np.convolve(texts, kernel, "same"))
    with drawing() as chart:
        for surge in page.stream.surges:
            if (surge.topic, surge.kind) == (topic, kind):
                begin, end = ((at - START_MS) / _DAY_MS for at in (surge.begin_ms, surge.end_ms))
                chart.axes.axvspan(begin, end, color=WARM, alpha=0.25, linewidth=0)
        chart.axes.plot(days, values, color=ACCENT, linewidth=0.9)
        for alert in page.alerts:
            if (alert.topic, alert.kind, alert.state) == (topic, kind, "raised"):
                chart.axes.axvline((alert.window_end_ms - START_MS) / _DAY_MS, color=MUTED, linewidth=1.0, linestyle="--")
        chart.axes.set_xlim(JUDGED_FROM_DAY, JUDGED_FROM_DAY + 7)
        chart.axes.set_xlabel("day")
    return chart.svg
