"""The page of the service desk's demo: what came of the cases over time, how sure it was and how right, and two answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cli.report.svg import ACCENT, BASELINE, WARM, drawing
from cli.report.writing import render
from models.domains.service_figures import Closed, ServiceFigures
from models.fields import Reason
from models.topics import Recommendation

_PERIODS = 12
_REASONS = {"solved": "solved {n} similar questions", "meaning": "says the same", "rule": "a rule"}


@dataclass(frozen=True, slots=True)
class Worked:
    """What one configuration made of the cases.

    Attributes
    ----------
    name : of the configuration
    closed : the cases, in their order
    kept : the kept questions after them
    """

    name: str
    closed: Sequence[Closed]
    kept: Sequence[Closed]


@dataclass(frozen=True, slots=True)
class ServicePage:
    """What the page shows.

    Attributes
    ----------
    closed : cases of the job, in their order
    examples : cases with their answers
    compared : configurations in this process, the preset first
    days, seed : of the comparison
    """

    closed: Sequence[Closed]
    examples: Sequence[tuple[Closed, Recommendation]]
    compared: Sequence[Worked]
    days: int
    seed: int


def render_service(page: ServicePage) -> str:
    """The whole page."""
    kept = page.compared[0].kept
    return render(
        "service.html.jinja",
        filters={"share": _share, "reason": _reason},
        page=page,
        figures=ServiceFigures.of(page.closed),
        rows=[(one.name, ServiceFigures.of(one.closed), ServiceFigures.of(one.kept)) for one in page.compared],
        over_time=Markup(_over_time(page.closed)),
        learning=Markup(_learning(page.compared)),
        reliability=Markup(_reliability(ServiceFigures.of(kept))),
    )


def _share(value: float) -> str:
    return "–" if value != value else f"{100 * value:.0f} %"


def _reason(reason: Reason) -> str:
    return _REASONS.get(reason.kind, reason.kind).format(n=f"{reason.contribution:.0f}")


def _periods(closed: Sequence[Closed]) -> list[Sequence[Closed]]:
    parts = np.array_split(np.arange(len(closed)), min(_PERIODS, max(1, len(closed))))
    return [[closed[place] for place in part] for part in parts if len(part)]


def _over_time(closed: Sequence[Closed]) -> str:
    periods = _periods(closed)
    ends = np.cumsum([len(part) for part in periods])
    figures = [ServiceFigures.of(part) for part in periods]
    with drawing() as chart:
        for name, colour, label in (
            ("top3", BASELINE, "right template in the top 3"),
            ("solved", ACCENT, "solved without a person"),
            ("handed_over", WARM, "handed over, of all cases"),
        ):
            chart.axes.plot(ends, [100 * getattr(one, name) for one in figures], color=colour, label=label)
        chart.axes.set_xlabel("cases")
        chart.axes.set_ylabel("%")
        chart.axes.set_ylim(0, 100)
        chart.axes.legend(frameon=False, fontsize=7)
    return chart.svg


def _learning(compared: Sequence[Worked]) -> str:
    with drawing() as chart:
        for one, colour in zip(compared, (ACCENT, BASELINE, WARM), strict=False):
            periods = _periods(one.closed)
            ends = np.cumsum([len(part) for part in periods])
            chart.axes.plot(ends, [100 * ServiceFigures.of(part).solved for part in periods], color=colour, label=one.name)
        chart.axes.set_xlabel("cases")
        chart.axes.set_ylabel("solved without a person, %")
        chart.axes.set_ylim(0, 100)
        chart.axes.legend(frameon=False, fontsize=7)
    return chart.svg


def _reliability(figures: ServiceFigures) -> str:
    with drawing() as chart:
        chart.axes.plot((0, 100), (0, 100), color=BASELINE, linestyle="--", linewidth=1)
        said, came, cases = zip(*figures.reliability, strict=True)
        chart.axes.plot([100 * one for one in said], [100 * one for one in came], color=ACCENT, marker="o")
        for x, y, n in zip(said, came, cases, strict=True):
            chart.axes.annotate(f"{n}", (100 * x, 100 * y), textcoords="offset points", xytext=(4, -10), fontsize=7)
        chart.axes.set_xlabel("confidence, %")
        chart.axes.set_ylabel("one of the three is right, %")
        chart.axes.set_ylim(0, 100)
    return chart.svg
