"""Live: how much comes, how fast it is answered, how good it is, and whether everything behind it is well."""

from __future__ import annotations

import time
from dataclasses import dataclass

from nicegui import ui

from serving.console.charts import Line, over_time
from serving.console.desk import Desk
from serving.console.feed import SourceLag
from serving.console.flink import JobHealth
from serving.console.frame import html, panel
from serving.console.markup import Column, Markup, empty, facts, table
from serving.console.windows import WindowedMetrics
from serving.console.words import UNKNOWN, ago, duration, moment, number, share, size

_REFRESH_S = 2.0
_TILES_OVER_S = 60
_ARM_COLOURS = ("s1", "s4", "s2", "s3", "s5", "s7", "s6", "s1")


@dataclass(frozen=True, slots=True)
class _Measure:
    """A measure of quality that has a chart.

    Attributes
    ----------
    metric : its name in `metrics`
    of_arms : its name in the slices of arms, None where they have none
    title : of the chart
    percent : a share of one
    """

    metric: str
    of_arms: str | None
    title: str
    percent: bool = True


def live(desk: Desk, _user: str) -> None:
    """Build the page."""
    feed, k = desk.feed, desk.configuration.slate.k
    measures = (
        _Measure("hr_at_k", "hr_at_k", f"Hit rate, HR@{k}"),
        _Measure("ndcg_at_k", "ndcg_at_k", f"NDCG@{k}", percent=False),
        _Measure("ctr", "ctr", "Click-through rate"),
        _Measure("coverage", None, "Coverage"),
    )
    with ui.element("div").classes("grid tiles"):
        tiles = {title: _tile(title) for title in ("Slates a second", "Latency p50", "Latency p99", *(m.title for m in measures))}
    with ui.element("div").classes("grid two"):
        rate = _chart("Throughput", "Slates a second over the last ten minutes, by the broker's clock.")
        latency = _chart("Latency", "From sending an event to its slate in Kafka: what half and 99 % stay under.")
    quiet = html(
        empty("No slate in the last ten minutes.", "Act as somebody on the page User, or send events: flinkrec replay --events FILE.")
    )
    with ui.element("div").classes("grid two"):
        quality = {measure: _chart(measure.title, "") for measure in measures}
    nothing = html(
        empty("No window of metrics is closed yet.", "Windows close when newer events come: flinkrec replay --events FILE sends some.")
    )
    with ui.element("div").classes("grid two"):
        with panel("The job"):
            job = html("")
        with panel("What it reads"):
            lags = html("")
    shown = -1

    def refresh() -> None:
        nonlocal shown
        now_ms = time.time_ns() // 1_000_000
        now_s = now_ms // 1000
        recent = feed.rates.last(now_s, seconds=_TILES_OVER_S)
        points = feed.rates.points(now_s)
        quiet.set_visibility(not any(point.slates_per_s for point in points))
        tiles["Slates a second"].set_content(_figure(number(recent.slates_per_s, digits=1), "last minute"))
        tiles["Latency p50"].set_content(_figure(number(recent.p50_ms), "ms"))
        tiles["Latency p99"].set_content(_figure(number(recent.p99_ms), "ms"))
        _put(rate, [Line("slates a second", [(p.at_s * 1000, p.slates_per_s) for p in points], "s1", area=True)], digits=1, unit="/s")
        _put(
            latency,
            [
                Line("p50", [(p.at_s * 1000, p.p50_ms) for p in points], "s1"),
                Line("p99", [(p.at_s * 1000, p.p99_ms) for p in points], "s4"),
            ],
            digits=0,
            unit="ms",
        )
        job.set_content(_job(desk.watch.job, desk.watch.problem, now_ms=now_ms))
        lags.set_content(_lags(feed.lags, feed.problem))
        if feed.metrics.changes == shown:
            return
        shown = feed.metrics.changes
        nothing.set_visibility(not feed.metrics.changes)
        for measure, chart in quality.items():
            reading = feed.metrics.latest(measure.metric)
            value = None if reading is None else reading.value
            said = share(value) if measure.percent else number(value, digits=4)
            tiles[measure.title].set_content(_figure(said.removesuffix(" %"), "%" if measure.percent and value is not None else ""))
            _put(chart, _quality(feed.metrics, measure), percent=measure.percent, digits=1 if measure.percent else 4)

    ui.timer(_REFRESH_S, refresh)


def _quality(metrics: WindowedMetrics, measure: _Measure) -> list[Line]:
    """One line for everybody, or one for each arm while an experiment runs."""
    arms = metrics.arms()
    if measure.of_arms is not None and arms:
        return [Line(arm, metrics.series(measure.of_arms, f"arm={arm}"), colour) for arm, colour in zip(arms, _ARM_COLOURS, strict=False)]
    return [Line(measure.title, metrics.series(measure.metric), "s1", area=True)]


def _put(chart: ui.echart, lines: list[Line], *, digits: int, unit: str = "", percent: bool = False) -> None:
    chart.options.update(over_time(lines, unit=unit, percent=percent, digits=digits))
    chart.update()


def _tile(title: str) -> ui.html:
    with ui.element("div").classes("panel tile"):
        html(f"<h3>{title}</h3>")
        return html(_figure(UNKNOWN, ""))


def _figure(value: str, unit: str) -> Markup:
    return Markup(f'<div class="figure">{value}<span class="unit">{unit if value != UNKNOWN else ""}</span></div>')


def _chart(title: str, note: str) -> ui.echart:
    with panel(title, note=note or None):
        return ui.echart(over_time([]), renderer="svg").classes("chart").props(f'role="img" aria-label="{title} over time"')


def _job(job: JobHealth | None, problem: str | None, *, now_ms: int) -> Markup:
    if problem is not None:
        return empty("Flink does not answer.", f"{problem[0].upper()}{problem[1:]}.")
    if job is None:
        return empty("No job runs.", "flinkrec submit starts it, flinkrec demo starts everything.")
    checkpoints = job.checkpoints
    waiting = [
        f"{operator.name} ({operator.running} of {operator.parallelism})"
        for operator in job.operators
        if operator.running < operator.parallelism
    ]
    return facts(
        [
            ("State", f"{job.state.lower()} for {duration(now_ms - job.since_ms)}"),
            ("Operators", f"all {len(job.operators)} run" if not waiting else f"waiting for {', '.join(waiting)}"),
            ("Restarts", number(checkpoints.restored)),
            (
                "Last checkpoint",
                "none yet"
                if checkpoints.last_ms is None
                else f"{ago(checkpoints.last_ms, now_ms=now_ms)}, took {duration(checkpoints.duration_ms)}, {size(checkpoints.size_bytes)}",
            ),
            ("Checkpoints", f"{number(checkpoints.completed)} completed, {number(checkpoints.failed)} failed"),
            ("Since", moment(job.since_ms)),
            ("Job", job.job_id),
        ]
    )


def _lags(lags: tuple[SourceLag, ...], problem: str | None) -> Markup:
    if problem is not None:
        return empty("Kafka cannot be read.", problem)
    if not lags:
        return empty("No topic yet.", "The topics are made when a job is submitted.")
    rows = [(lag.topic, number(lag.end), UNKNOWN if lag.unread is None else number(lag.unread)) for lag in lags]
    columns = (Column("Topic"), Column("Records in all", number=True), Column("Behind the last checkpoint", number=True))
    return table(columns, rows, caption="Inputs of the job")
