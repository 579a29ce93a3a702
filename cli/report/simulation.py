"""The page of a simulation: CTR and regret over time for every competitor, and the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cli.report.svg import ACCENT, BASELINE, INK, MUTED, WARM, drawing, variable_of
from cli.report.writing import render
from models.simulation.figures import NO_LEARNING, ORACLE, CompetitorFigures, Curve, SimulationFigures

_COLOURS = {"flinkrec": ACCENT, NO_LEARNING: WARM, ORACLE: INK, "popularity": MUTED, "random": BASELINE}
# of moderate lightness: they stand on light and on dark
_OTHERS = ("#3f9a6e", "#8d6bc9", "#c2568f", "#b58a22", "#2d98a8", "#7c8f3a", "#b0644a", "#6f83b5", "#58a04a", "#a46fa8")


def render_simulation(figures: SimulationFigures) -> str:
    """The whole page."""
    colours = _colours(figures)
    return render(
        "simulation.html.jinja",
        filters={"rate": lambda share: f"{share:.4f}", "percent": lambda share: f"{share:.0%}"},
        figures=figures,
        legend=[(name, variable_of(colour)) for name, colour in colours.items()],
        ctr=Markup(_over_time(figures, colours, lambda one: one.ctr_over_time, "clicked slates over seen slates")),
        regret=Markup(_over_time(figures, colours, lambda one: one.cumulative_regret, "clicks missed so far")),
    )


def _colours(figures: SimulationFigures) -> dict[str, str]:
    others = [one.name for one in figures.competitors if one.name not in _COLOURS]
    of_others = {name: _OTHERS[place % len(_OTHERS)] for place, name in enumerate(others)}
    return {one.name: (_COLOURS | of_others)[one.name] for one in figures.competitors}


def _over_time(
    figures: SimulationFigures, colours: dict[str, str], curve_of: Callable[[CompetitorFigures], Curve], label: str
) -> str:
    """A line with a band of one standard error for each competitor."""
    with drawing() as chart:
        axes = chart.axes
        for one in figures.competitors:
            curve, colour = curve_of(one), colours[one.name]
            mean, error = np.array(curve.mean), np.array(curve.standard_error)
            axes.fill_between(figures.periods_end, mean - error, mean + error, color=colour, alpha=0.16, linewidth=0)
            axes.plot(figures.periods_end, mean, color=colour, linewidth=1.3)
        axes.set_xlim(0, figures.slates)
        axes.set_ylim(bottom=0)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.set_xlabel("slates seen")
        axes.set_ylabel(label)
    return chart.svg
