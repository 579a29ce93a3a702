"""The page of a domain's demo: its preset beside another, the run through the job over time, and one slate with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from cli.report.svg import ACCENT, BASELINE, MUTED, WARM, drawing
from cli.report.writing import render
from models.domains.comparison import Compared, DomainCourse, Floats
from models.fields import Reason
from models.topics import Recommendation

_PERIODS, _VARIANT_PERIODS = 20, 8
_LINES = (ACCENT, WARM, BASELINE, MUTED)
_CHARTS = 4


@dataclass(frozen=True, slots=True)
class PageSection:
    """What a domain has to show beside the ordinary.

    Attributes
    ----------
    title, text : of the section
    charts : captions and drawings (SVG)
    columns, rows : of a table
    """

    title: str
    text: str
    charts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, slots=True)
class DomainPage:
    """What the page shows.

    Attributes
    ----------
    domain, title : of the domain
    headline : the measure that it is about
    course : the run through the job
    compared : the preset beside another, in this process
    against : which other
    seeds, slates : of the comparison
    example : a slate of the job, None where it made none
    titles : of items, by id, for the reasons of the slate
    sections : of the domain alone
    variants : what else the preset could be, each in the world of the first seed, in this process
    """

    domain: str
    title: str
    headline: str
    course: DomainCourse
    compared: Sequence[Compared]
    against: str
    seeds: Sequence[int]
    slates: int
    example: Recommendation | None
    titles: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[PageSection] = ()
    variants: Mapping[str, DomainCourse] = field(default_factory=dict)


def render_domain(page: DomainPage) -> str:
    """The whole page."""
    filters = {
        "short": lambda value: f"{value:.3g}",
        "signed": lambda value: f"{value:+.3g}".replace("-", "−"),
        "words": lambda name: name.replace("_", " "),
        "reasons": lambda reasons: _reasons(reasons, page.titles),
        "drawing": Markup,
    }
    names = [page.headline, *(name for name in page.course.measures if name != page.headline)][:_CHARTS]
    return render(
        "domain.html.jinja",
        filters=filters,
        page=page,
        charts=[(name, Markup(_over_time(page.course.measures[name], name))) for name in names if name in page.course.measures],
        variants=Markup(_variants(page.variants, page.headline)) if page.variants else None,
        headline=next((one for one in page.compared if one.name == page.headline), None),
    )


def _reasons(reasons: Sequence[Reason], titles: Mapping[str, str]) -> str:
    """The user's items behind a recommendation, then the sources and rules."""
    items = dict.fromkeys(titles.get(reason.item_id, reason.item_id) for reason in reasons if reason.item_id)
    kinds = dict.fromkeys(reason.kind.replace("_", " ") for reason in reasons)
    return "; ".join(part for part in (", ".join(items), ", ".join(kinds)) if part)


def _periods(values: Floats, most: int) -> tuple[list[int], list[float]]:
    """Ends of the periods of a run, and the means of a measure over them."""
    periods = [part for part in np.array_split(np.arange(len(values)), min(most, len(values))) if len(part)]
    ends = [int(part[-1]) + 1 for part in periods]
    return ends, [float(np.nanmean(values[part])) if not np.isnan(values[part]).all() else np.nan for part in periods]


def _variants(variants: Mapping[str, DomainCourse], label: str) -> str:
    """One measure of several runs over time, each named where its line ends."""
    with drawing() as chart:
        for (name, course), color in zip(variants.items(), _LINES, strict=False):
            ends, means = _periods(course.measures[label], _VARIANT_PERIODS)
            chart.axes.plot(ends, means, color=color, label=f"{name}: {course.mean(label):.3f}")
        chart.axes.set_xlabel("slates seen")
        chart.axes.set_ylabel(label.replace("_", " "))
        chart.axes.legend(frameon=False, loc="best")
    return chart.svg


def _over_time(values: Floats, label: str) -> str:
    """Means of a measure over the periods of a run."""
    ends, means = _periods(values, _PERIODS)
    with drawing() as chart:
        chart.axes.plot(ends, means, color=ACCENT)
        chart.axes.set_xlim(0, max(1, len(values)))
        chart.axes.set_xlabel("slates seen")
        chart.axes.set_ylabel(label.replace("_", " "))
    return chart.svg
