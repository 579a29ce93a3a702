"""Options of the charts, in the colours of console.css: drawn as SVG, so that a change of theme needs no redrawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TEXT = {"color": "var(--muted)", "fontFamily": "Roboto, system-ui, sans-serif", "fontSize": 12}
_TOOLTIP = {
    "backgroundColor": "var(--panel)",
    "borderColor": "var(--line)",
    "textStyle": {"color": "var(--ink)", "fontSize": 12},
    "confine": True,
}
_TIMES = {
    "year": "{yyyy}",
    "month": "{MMM} {yyyy}",
    "day": "{MMM} {d}",
    "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
    "second": "{HH}:{mm}:{ss}",
    "millisecond": "{HH}:{mm}:{ss}",
    "none": "{HH}:{mm}:{ss}",
}
_AXIS_LINE = {"lineStyle": {"color": "var(--line)"}}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name : in legend and tooltip
    points : time in milliseconds since 1970 and value; None leaves a gap
    colour : a name of console.css
    area : whether what lies below it is filled
    """

    name: str
    points: Sequence[tuple[int, float | None]]
    colour: str
    area: bool = False


def over_time(lines: Sequence[Line], *, unit: str = "", percent: bool = False, digits: int = 2) -> dict[str, Any]:
    """Options of a chart of lines over time.

    Parameters
    ----------
    unit : written behind the numbers of the tooltip
    percent : the values are shares of one
    digits : behind the point of the tooltip's numbers
    """
    factor, suffix = (100, " %") if percent else (1, f" {unit}" if unit else "")
    return {
        "animation": False,
        "aria": {"enabled": True},
        "textStyle": _TEXT,
        "grid": {"left": 8, "right": 16, "top": 36 if len(lines) > 1 else 12, "bottom": 4, "containLabel": True},
        "legend": {"show": len(lines) > 1, "top": 0, "left": 0, "itemWidth": 14, "itemHeight": 8, "icon": "roundRect", "textStyle": _TEXT},
        "tooltip": _TOOLTIP
        | {
            "trigger": "axis",
            "axisPointer": {"lineStyle": {"color": "var(--muted)"}},
            ":valueFormatter": f"value => value == null ? '–' : value.toFixed({digits}) + {suffix!r}",
        },
        "xAxis": {
            "type": "time",
            "axisLine": _AXIS_LINE,
            "axisTick": {"show": False},
            "axisLabel": _TEXT | {"hideOverlap": True, "formatter": _TIMES, "alignMinLabel": "left", "alignMaxLabel": "right"},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "splitNumber": 4,
            "axisLabel": _TEXT | {"formatter": "{value}" + (" %" if percent else "")},
            "splitLine": {"lineStyle": {"color": "var(--line)"}},
        },
        "series": [
            {
                "type": "line",
                "name": line.name,
                "data": [[at_ms, None if value is None else factor * value] for at_ms, value in line.points],
                "showSymbol": len(line.points) < 3,
                "symbolSize": 5,
                "color": f"var(--{line.colour})",
                "lineStyle": {"width": 2, "color": f"var(--{line.colour})"},
                "areaStyle": {"opacity": 0.12, "color": f"var(--{line.colour})"} if line.area else None,
                "emphasis": {"disabled": True},
            }
            for line in lines
        ],
    }


def heat_map(
    values: np.ndarray, *, rows: Sequence[str], columns: Sequence[str], tips: Sequence[Sequence[str]], lowest: float, highest: float
) -> dict[str, Any]:
    """Options of a heat map.

    Parameters
    ----------
    values : float64[rows, columns], NaN where there is no value
    tips : what the tooltip says of each cell
    lowest, highest : ends of the scale of colours
    """
    cells = []
    for (row, column), value in np.ndenumerate(values):
        strength = 0.0 if value != value or highest <= lowest else (value - lowest) / (highest - lowest)
        # opacity over the accent colour is right in both themes; what was never tried is grey
        colour = "var(--heat-none)" if value != value else "var(--s1)"
        style = {"color": colour, "opacity": 1.0 if value != value else round(0.12 + 0.88 * min(1.0, max(0.0, strength)), 3)}
        cells.append({"value": [column, row, 0], "itemStyle": style, "name": tips[row][column]})
    axis = {
        "type": "category",
        "axisLine": {"show": False},
        "axisTick": {"show": False},
        "axisLabel": _TEXT | {"interval": 0, "fontSize": 11, "lineHeight": 14},
    }
    return {
        "animation": False,
        "textStyle": _TEXT,
        "grid": {"left": 4, "right": 8, "top": 4, "bottom": 4, "containLabel": True},
        "tooltip": _TOOLTIP | {"formatter": "{b}", "extraCssText": "white-space: pre-line"},
        "xAxis": axis | {"data": list(columns), "position": "bottom"},
        "yAxis": axis | {"data": list(rows), "inverse": True},
        "series": [
            {
                "type": "heatmap",
                "data": cells,
                "itemStyle": {"borderColor": "var(--panel)", "borderWidth": 2, "borderRadius": 3},
                "emphasis": {"disabled": True},
            }
        ],
    }
