"""Which plots stand in which section of the page, with their legends and how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cli.report import plots
from models.evaluation.ablation import Ablation
from models.evaluation.comparison import Comparison
from models.evaluation.figures import POPULARITY, Figures

_FEWEST_IN_A_BAR = 30


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of the page.

    Attributes
    ----------
    title : above it
    svg : the drawing
    legend : what a line or bar is, and the class of its colour
    note : how to read it, below
    """

    title: str
    svg: Markup
    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


def plots_by_section(
    figures: Figures, ablations: Sequence[Ablation], comparison: Comparison | None
) -> dict[str, list[Plot]]:
    """The plots of each section by its name; empty where there is nothing to draw."""
    return {
        "rivals": _rivals(comparison),
        "time": _time(figures),
        "probability": _probability(figures),
        "coverage": _coverage(figures),
        "splits": _splits(figures),
        "sources": _sources(figures),
        "ablation": _ablation(figures, ablations),
        "latency": _latency(figures),
    }


def by_part(ablations: Sequence[Ablation]) -> dict[str, list[Ablation]]:
    """Parts by name, of each what costs most first."""
    parts: dict[str, list[Ablation]] = {}
    for one in sorted(ablations, key=lambda one: (one.part, one.hit_rate_change.value)):
        parts.setdefault(one.part, []).append(one)
    return parts


def _rivals(comparison: Comparison | None) -> list[Plot]:
    if comparison is None:
        return []
    return [Plot(f"HR@{comparison.k} on the same events", Markup(plots.rival_bars(comparison)))]


def _time(figures: Figures) -> list[Plot]:
    found = []
    for series in (figures.by_events, figures.by_date):
        if series is None:
            continue
        by_events = series.unit == "events"
        along = "along the stream" if by_events else f"by {series.unit}"
        each = f"blocks of {series.n[0]:,} events" if by_events else f"each {series.unit}"
        legend = ((each, "accent"), ("mean so far", "dashed"), (POPULARITY, "baseline"))
        hit = plots.quality_over_time(series, series.hit_rate, series.hit_rate_so_far, series.baseline_hit_rate)
        ndcg = plots.quality_over_time(series, series.ndcg, series.ndcg_so_far, series.baseline_ndcg)
        found.append(Plot(f"HR@{figures.k} {along}", Markup(hit), legend))
        found.append(Plot(f"NDCG@{figures.k} {along}", Markup(ndcg), legend))
    return found


def _probability(figures: Figures) -> list[Plot]:
    found = []
    curve, true = figures.precision_recall, figures.reliability
    if curve is not None and curve.positives:
        by_chance = curve.precision[-1]
        found.append(
            Plot(
                "Precision and recall of the shown items",
                Markup(plots.precision_recall_curve(curve, by_chance)),
                (
                    (f"by {'probability' if true else 'score'}, area {curve.area:.4f}", "accent"),
                    (f"by chance, {by_chance:.4f}", "baseline"),
                ),
                f"Every item of every judged slate is one prediction; {curve.positives:,} of them were taken next.",
            )
        )
    if true is not None:
        found.append(
            Plot(
                "Calibration of the shown items",
                Markup(plots.reliability_diagram(true)),
                ((f"{len(true.n)} bins of equal size", "accent"), ("perfect", "baseline")),
                f"Brier score {true.brier:.5f}, skill {true.brier_skill:+.4f} over always saying the mean; expected "
                f"calibration error {true.expected_calibration_error:.5f}; predicted {true.mean_predicted:.4f} on average, "
                f"taken {true.base_rate:.4f}.",
            )
        )
    return found


def _coverage(figures: Figures) -> list[Plot]:
    shown, consumed = figures.shown, figures.consumed
    return [
        Plot(
            "Items shown, of those known",
            Markup(plots.coverage_over_time(figures.coverage)),
            (("shown at least once", "accent"), ("had an event or were shown", "baseline")),
        ),
        Plot(
            "How unequally items are treated",
            Markup(plots.lorenz_curves(shown, consumed)),
            ((f"shown, Gini {shown.gini:.3f}", "accent"), (f"consumed, Gini {consumed.gini:.3f}", "baseline")),
        ),
    ]


def _splits(figures: Figures) -> list[Plot]:
    """Groups of few events are left to the table: their bar would set the scale, and says nothing."""
    legend = (("this run", "accent"), ("the better list of popular items", "baseline"))
    found = []
    for title, slices, label in (
        (f"HR@{figures.k} by activity of the user", figures.by_user_activity, "events of the user so far"),
        (f"HR@{figures.k} by how well the item is known", figures.by_item_warmth, "events of the item so far"),
    ):
        drawn = [one for one in slices if one.hit_rate.n >= _FEWEST_IN_A_BAR]
        if drawn:
            found.append(Plot(title, Markup(plots.split_bars(drawn, label)), legend))
    return found


def _sources(figures: Figures) -> list[Plot]:
    if not figures.sources:
        return []
    legend = (("of the hits", "accent"), ("of the items shown", "baseline"))
    return [Plot("What each source brought", Markup(plots.source_bars(figures.sources)), legend)]


def _ablation(figures: Figures, ablations: Sequence[Ablation]) -> list[Plot]:
    if not ablations:
        return []
    ordered = [one for part in by_part(ablations).values() for one in part]
    legend = (("worse", "warm"), ("better", "accent"), ("no clear difference", "baseline"))
    return [Plot(f"HR@{figures.k} with one part changed", Markup(plots.ablation_dots(ordered)), legend)]


def _latency(figures: Figures) -> list[Plot]:
    if figures.latency is None:
        return []
    return [Plot("Time of one event", Markup(plots.latency_histogram(figures.latency)))]
