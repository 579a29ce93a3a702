"""Matplotlib figures as SVG that belongs to a page: its colours and its font, nothing from outside, no clash of ids.

Figures are drawn in the placeholder colours below. In the SVG each becomes a CSS variable, so that the same drawing is
right on light, on dark and on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, RULE, ACCENT, BASELINE, WARM, CARD = (f"#01000{n}" for n in range(1, 8))
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    ACCENT: "accent",
    BASELINE: "baseline",
    WARM: "warm",
    CARD: "card",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flinkrec",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.xmargin": 0.0,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "ytick.major.size": 0,
    "xtick.major.size": 2.5,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
WIDTH_IN, HEIGHT_IN = 4.6, 2.7


class Drawing:
    """One chart while it is drawn.

    Attributes
    ----------
    axes : to draw on
    svg : the finished drawing, once the context has ended
    """

    axes: Axes
    svg: str


@contextmanager
def drawing(*, height_in: float = HEIGHT_IN) -> Iterator[Drawing]:
    """A context in which one chart is drawn, in the style of the page."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        chart = Drawing()
        chart.axes = figure.subplots()
        yield chart
        buffer = io.StringIO()
        figure.patch.set_visible(False)
        chart.axes.patch.set_visible(False)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        chart.svg = for_page(buffer.getvalue())


def for_page(svg: str) -> str:
    """What stands between the tags of an SVG file, ready to stand in a page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = _with_own_ids(svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()


def variable_of(colour: str) -> str:
    """How the style sheet of the page says a colour of a drawing."""
    return f"var(--{_VARIABLES[colour]})" if colour in _VARIABLES else colour


def _with_own_ids(svg: str) -> str:
    """Keep only the ids that are referred to, under names that no other drawing of the page has."""
    own = "d" + blake2b(svg.encode(), digest_size=4).hexdigest()
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{own}-{match[1]}"' if match[1] in used else "", svg)
    return re.sub(r'(href="#|url\(#)', rf"\1{own}-", svg)
