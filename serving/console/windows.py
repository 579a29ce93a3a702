"""The job's windowed metrics as series over time: what the topic `metrics` says, by name and slice."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass

from models.topics import Metric

WINDOWS = 1_500
"""Windows that are kept: a day of minutes, or years of days."""

ALL = "all"
_ARM = re.compile(r"arm=([^/]+)")


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of one window.

    Attributes
    ----------
    value : None where it is not defined
    n : facts that it was computed from
    """

    value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over windows with its interval of 95 %; bounds are None where no window says them.

    Attributes
    ----------
    value : weighted by what each window was computed from
    low, high : of one window; of several windows the interval is narrower by the root of their weight
    n : facts in all
    """

    value: float
    low: float | None
    high: float | None
    n: int


class WindowedMetrics:
    """The newest readings of the last windows; a window that is written again replaces what it said."""

    def __init__(self) -> None:
        self._windows: OrderedDict[int, dict[tuple[str, str], Reading]] = OrderedDict()
        self.window_ms = 0
        self.changes = 0

    def put(self, metric: Metric) -> None:
        """Take one record of `metrics`."""
        window = self._windows.get(metric.window_start_ms)
        if window is None:
            window = self._windows[metric.window_start_ms] = {}
            self.window_ms = metric.window_end_ms - metric.window_start_ms
            if len(self._windows) > WINDOWS:
                del self._windows[min(self._windows)]
        window[metric.metric, metric.slice] = Reading(metric.value, metric.n)
        self.changes += 1

    def series(self, metric: str, part: str = ALL) -> list[tuple[int, float | None]]:
        """Start of each window and the value of a metric in it, the oldest first; windows that do not know it are left out."""
        return [
            (start_ms, window[metric, part].value) for start_ms, window in sorted(list(self._windows.items())) if (metric, part) in window
        ]

    def latest(self, metric: str, part: str = ALL) -> Reading | None:
        """The last window's reading that has a value."""
        for _, window in sorted(list(self._windows.items()), reverse=True):
            reading = window.get((metric, part))
            if reading is not None and reading.value is not None:
                return reading
        return None

    def arms(self) -> list[str]:
        """Names of the arms that any window has, in the order of the alphabet."""
        found = {match[1] for window in list(self._windows.values()) for _, part in list(window) if (match := _ARM.fullmatch(part))}
        return sorted(found)

    def actions(self, arm: str | None) -> list[str]:
        """Names of the strategies of an arm, or of everybody where there is none."""
        prefix = "action=" if arm is None else f"arm={arm}/action="
        parts = {part for window in list(self._windows.values()) for _, part in list(window) if part.startswith(prefix)}
        return sorted(part.removeprefix(prefix) for part in parts)

    def total(self, metric: str, part: str = ALL) -> float:
        """Sum of a count over all windows."""
        readings = [window.get((metric, part)) for window in list(self._windows.values())]
        return sum(reading.value or 0.0 for reading in readings if reading is not None)

    def pooled(self, metric: str, part: str = ALL) -> Interval | None:
        """A mean or share over all windows together, with its interval.

        The value is the mean of the windows weighted by n. Half the width of a window's interval is 1.96 standard errors of it
        (for a share Wilson's, which is nearly that), so the variances of the weighted parts add up.
        """
        total, mean, variance, complete = 0, 0.0, 0.0, True
        for window in list(self._windows.values()):
            reading = window.get((metric, part))
            if reading is None or reading.value is None or reading.n == 0:
                continue
            low, high = window.get((f"{metric}_low", part)), window.get((f"{metric}_high", part))
            total += reading.n
            mean += reading.n * reading.value
            if low is None or high is None or low.value is None or high.value is None:
                # a window of one fact has no spread: what it adds to the width is not known, and little
                complete = complete and reading.n == 1
            else:
                variance += (reading.n * (high.value - low.value) / 2) ** 2
        if total == 0:
            return None
        value, half = mean / total, variance**0.5 / total
        known = complete and variance > 0
        return Interval(value, value - half if known else None, value + half if known else None, total)
