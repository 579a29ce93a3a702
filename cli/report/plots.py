"""The charts of the report, one function each, from figures to SVG.

Colours mean the same everywhere: accent is this run, grey is the baseline or what was known before, warm is the mark to look at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from cli.report.svg import ACCENT, BASELINE, CARD, INK, MUTED, RULE, WARM, drawing
from models.evaluation.ablation import Ablation
from models.evaluation.comparison import Comparison
from models.evaluation.curves import PrecisionRecall, Reliability
from models.evaluation.figures import Exposure, Latency
from models.evaluation.over_time import Band, CoverageGrowth, Series
from models.evaluation.source_shares import SourceShare
from models.evaluation.splits import Slice
from models.evaluation.uncertainty import Z95

_ROW_IN = 0.27


def quality_over_time(series: Series, band: Band, so_far: Sequence[float], baseline: Sequence[float]) -> str:
    """A metric for each period with its band, its mean so far, and the baseline's."""
    at = np.array(series.at, np.int64)
    if series.unit != "events":
        at = at.astype("datetime64[ms]")
    with drawing() as chart:
        axes = chart.axes
        axes.fill_between(at, band.low, band.high, color=ACCENT, alpha=0.16, linewidth=0)
        axes.plot(at, baseline, color=BASELINE)
        axes.plot(at, so_far, color=INK, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.plot(at, band.mean, color=ACCENT)
        axes.set_ylim(0, _ceiling([*band.high, *so_far], outliers=series.unit != "events"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if series.unit == "events":
            axes.set_xlim(0, series.at[-1])
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
            axes.set_xlabel("events evaluated")
        else:
            _few_dates(axes)
            axes.set_xlabel(f"by {series.unit} (UTC)")
    return chart.svg


def precision_recall_curve(curve: PrecisionRecall, base_rate: float) -> str:
    """Precision against recall, with the precision of guessing."""
    # the first few items are noise: they shall not set the scale
    recall, precision = np.array(curve.recall), np.array(curve.precision)
    settled = recall >= min(0.005, recall[-1])
    recall, precision = recall[settled], precision[settled]
    with drawing() as chart:
        axes = chart.axes
        axes.fill_between(recall, precision, step="pre", color=ACCENT, alpha=0.1, linewidth=0)
        axes.step(recall, precision, where="pre", color=ACCENT)
        axes.axhline(base_rate, color=BASELINE, linewidth=1.2)
        axes.set_ylim(0, min(1.0, 1.15 * max(precision.max(), base_rate)))
        axes.set_xlim(0, 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _percent(axes, "x", "y")
        axes.set_xlabel("recall: share of the hits above the threshold")
        axes.set_ylabel("precision")
    return chart.svg


def reliability_diagram(reliability: Reliability) -> str:
    """Observed share against predicted probability, on logarithmic axes where the probabilities span decades."""
    predicted, observed = np.array(reliability.predicted), np.array(reliability.observed)
    low, high = np.array(reliability.low), np.array(reliability.high)
    floor = predicted.min()
    decades = 0 < floor < predicted.max() / 10
    with drawing() as chart:
        axes = chart.axes
        top = min(1.0, 1.3 * max(predicted.max(), observed.max()))
        bottom = floor / 1.6 if decades else 0.0
        if decades:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.plot([max(bottom, 1e-9), top], [max(bottom, 1e-9), top], color=BASELINE, linewidth=1.2)
        axes.vlines(predicted, np.maximum(low, bottom), high, color=ACCENT, linewidth=1.2, alpha=0.45)
        axes.plot(predicted, np.maximum(observed, bottom), "o", color=ACCENT, markersize=4, clip_on=False)
        axes.set_xlim(bottom, top)
        axes.set_ylim(bottom, top)
        for axis in (axes.xaxis, axes.yaxis):
            if decades:
                axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.set_minor_locator(NullLocator())
                axis.set_minor_formatter(NullFormatter())
            else:
                axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.2g}%"))
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("share taken")
    return chart.svg


def coverage_over_time(growth: CoverageGrowth) -> str:
    """Items shown so far, and items known so far."""
    with drawing() as chart:
        axes = chart.axes
        axes.fill_between(growth.at, growth.shown, color=ACCENT, alpha=0.1, linewidth=0)
        axes.plot(growth.at, growth.known, color=BASELINE)
        axes.plot(growth.at, growth.shown, color=ACCENT)
        axes.set_xlim(0, growth.at[-1])
        axes.set_ylim(0, 1.08 * max(*growth.known, *growth.shown))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(_thousands))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("events")
        axes.set_ylabel("items")
    return chart.svg


def lorenz_curves(shown: Exposure, consumed: Exposure) -> str:
    """How unequally items are shown, and consumed."""
    with drawing() as chart:
        axes = chart.axes
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2)
        axes.plot(consumed.items, consumed.taken, color=BASELINE)
        axes.plot(shown.items, shown.taken, color=ACCENT)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        _percent(axes, "x", "y")
        axes.set_xlabel("share of the items, the rarest first")
        axes.set_ylabel("share of all slots or events")
    return chart.svg


def source_bars(shares: Sequence[SourceShare]) -> str:
    """Share of what was shown and of what was hit, by source."""
    rows = np.arange(len(shares))[::-1]
    with drawing(height_in=_height(2 * len(shares))) as chart:
        axes = chart.axes
        for offset, colour, values in (
            (0.19, BASELINE, [share.shown_share for share in shares]),
            (-0.19, ACCENT, [share.hit_share for share in shares]),
        ):
            axes.barh(rows + offset, values, height=0.34, color=colour)
            for row, value in zip(rows, values, strict=True):
                axes.text(value + 0.01, row + offset, f"{value:.1%}", va="center", fontsize=7.5, color=MUTED)
        _rows(axes, rows, [share.name for share in shares])
        axes.set_xlim(0, 1.12 * max(max(share.shown_share, share.hit_share) for share in shares))
        _percent(axes, "x")
    return chart.svg


def ablation_dots(ablations: Sequence[Ablation]) -> str:
    """Change of the hit rate with its 95 % interval, one row a part."""
    rows = np.arange(len(ablations))[::-1]
    changes = np.array([one.hit_rate_change.value for one in ablations])
    half = Z95 * np.array([one.hit_rate_change.standard_error for one in ablations])
    with drawing(height_in=_height(len(ablations))) as chart:
        axes = chart.axes
        clear = np.abs(changes) > half
        axes.axvline(0, color=MUTED, linewidth=0.9)
        for chosen, colour in ((clear & (changes < 0), WARM), (clear & (changes > 0), ACCENT), (~clear, BASELINE)):
            axes.hlines(rows[chosen], (changes - half)[chosen], (changes + half)[chosen], color=colour, linewidth=1.6)
            axes.plot(changes[chosen], rows[chosen], "o", color=colour, markersize=4.5)
        _rows(axes, rows, [f"{one.part} {one.name}" for one in ablations])
        axes.margins(x=0.05)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda change, _: f"{100 * change:+.3g}" if change else "0"))
        axes.set_xlabel("change of the hit rate, percentage points")
    return chart.svg


def rival_bars(comparison: Comparison) -> str:
    """Hit rate of this run and of the baselines, the best first, with 95 % intervals."""
    means = [comparison.hit_rate, *(rival.hit_rate for rival in comparison.rivals)]
    rows = np.arange(len(means))[::-1]
    values = np.array([mean.value for mean in means])
    half = Z95 * np.array([mean.standard_error for mean in means])
    with drawing(height_in=_height(len(means))) as chart:
        axes = chart.axes
        axes.barh(rows, values, height=0.62, color=[ACCENT, *[BASELINE] * len(comparison.rivals)])
        axes.hlines(rows, np.maximum(values - half, 0), values + half, color=INK, linewidth=0.8)
        _rows(axes, rows, ["flinkrec", *(rival.title for rival in comparison.rivals)])
        axes.set_xlim(0, 1.04 * (values + half).max() or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    return chart.svg


def split_bars(slices: Sequence[Slice], xlabel: str) -> str:
    """Hit rate of each group of events beside the better baseline on the same events, with 95 % intervals."""
    places = np.arange(len(slices))
    with drawing() as chart:
        axes = chart.axes
        for offset, colour, means in (
            (-0.19, ACCENT, [one.hit_rate for one in slices]),
            (0.19, BASELINE, [one.best_baseline.hit_rate for one in slices]),
        ):
            values = np.array([mean.value for mean in means])
            half = Z95 * np.array([mean.standard_error for mean in means])
            axes.bar(places + offset, values, width=0.34, color=colour)
            axes.vlines(places + offset, np.maximum(values - half, 0), values + half, color=INK, linewidth=0.8)
        axes.set_xticks(places, [one.name for one in slices])
        axes.set_xlim(-0.6, len(slices) - 0.4)
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(xlabel)
    return chart.svg


def latency_histogram(latency: Latency) -> str:
    """Distribution on a logarithmic scale, with its median and its 99 % quantile."""
    edges = np.array(latency.edges)
    counts = np.array(latency.counts)
    with drawing() as chart:
        axes = chart.axes
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=ACCENT, alpha=0.85, edgecolor=CARD, linewidth=0.5)
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.22 * counts.max())
        for name, colour, side in (("p50", INK, "right"), ("p99", WARM, "left")):
            value = latency.quantiles[name]
            axes.axvline(value, color=colour, linewidth=1.1)
            axes.annotate(
                f"{name}  {milliseconds(value)}",
                (value, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(4 if side == "right" else -4, -2),
                textcoords="offset points",
                ha="left" if side == "right" else "right",
                va="top",
                fontsize=8,
                color=colour,
            )
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if edges[-1] < 3000 * edges[0] else (1.0,)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("milliseconds")
        axes.set_ylabel("events")
    return chart.svg


def milliseconds(value: float) -> str:
    """A time for people, to three figures."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _thousands(value: float, _: int) -> str:
    return f"{value:,.0f}"


def _percent(axes: Axes, *which: str) -> None:
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))


def _ceiling(values: Sequence[float], *, outliers: bool) -> float:
    """Upper end of an axis; a few periods of very few events shall not flatten all the others."""
    top = float(np.quantile(values, 0.95)) * 1.25 if outliers else max(values)
    return max(top * 1.08, 1e-3)


def _few_dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _height(rows: int) -> float:
    return 0.65 + _ROW_IN * max(rows, 2)


def _rows(axes: Axes, rows: npt.NDArray[np.int_], names: Sequence[str]) -> None:
    """Named rows instead of a y axis."""
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_yticks(rows, names)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
