"""Quality along the stream: in blocks of equally many events, and by calendar time; and how coverage grows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.recorder import NEVER, Recording
from models.evaluation.splits import gains, hits
from models.evaluation.uncertainty import Z95, wilson_interval

MOST_PERIODS = 100
_DAY_MS = 86_400_000
_LONG_MS = 2 * _DAY_MS
_UNITS = {"hour": "h", "day": "D", "week": "W", "month": "M", "year": "Y"}


class Band(Struct, frozen=True, kw_only=True):
    """A mean for each period, with its 95 % interval."""

    mean: list[float]
    low: list[float]
    high: list[float]


class Series(Struct, frozen=True, kw_only=True):
    """Quality of consecutive periods.

    Attributes
    ----------
    unit : ``events``, or the calendar unit
    at : where each period stands: how many events had been judged at its end, or its first millisecond
    n : judged events of each
    hit_rate : with the Wilson interval
    ndcg : with the normal interval
    baseline_hit_rate, baseline_ndcg : means of the baseline
    hit_rate_so_far, ndcg_so_far : means over everything up to the end of each period
    """

    unit: str
    at: list[int]
    n: list[int]
    hit_rate: Band
    ndcg: Band
    baseline_hit_rate: list[float]
    baseline_ndcg: list[float]
    hit_rate_so_far: list[float]
    ndcg_so_far: list[float]


def by_count(positions: npt.NDArray[np.int16], baseline: npt.NDArray[np.int16]) -> Series | None:
    """Quality in 20 to 50 blocks of equally many judged events, fewer where a block would be of less than 50 events.

    Parameters
    ----------
    positions, baseline : int16[n] of the judged events, in stream order

    Returns
    -------
    Series or None
        None where there are too few events for two blocks. Blocks are of a round number of events; the last takes the rest.
    """
    n = len(positions)
    size = max(50, _round_up(n / 50))
    blocks = n // size
    if blocks < 2:
        return None
    starts = size * np.arange(blocks, dtype=np.int64)
    return _series("events", np.r_[starts[1:], n], starts, positions, baseline)


def _round_up(number: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ...

    Examples
    --------
    >>> [_round_up(number) for number in (1, 3, 50, 1981.2)]
    [1, 5, 50, 2000]
    """
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power >= number:
                return step * power
        power *= 10


def by_date(
    times_ms: npt.NDArray[np.int64], positions: npt.NDArray[np.int16], baseline: npt.NDArray[np.int16]
) -> Series | None:
    """Quality by calendar time (UTC), in the finest unit that gives at most 100 periods.

    Parameters
    ----------
    times_ms, positions, baseline : of the n judged events, in the order of their times

    Returns
    -------
    Series or None
        None where the events span less than two days.
    """
    if not len(times_ms) or times_ms[-1] - times_ms[0] < _LONG_MS:
        return None
    moments = times_ms.astype("datetime64[ms]")
    for unit, code in _UNITS.items():
        period = moments.astype(f"datetime64[{code}]")
        if unit == "year" or (period[-1] - period[0]).astype(np.int64) < MOST_PERIODS:
            break
    starts = np.flatnonzero(np.r_[True, period[1:] != period[:-1]])
    at = period[starts].astype("datetime64[ms]").astype(np.int64)
    return _series(unit, at, starts, positions, baseline)


def _series(
    unit: str,
    at: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int16],
    baseline: npt.NDArray[np.int16],
) -> Series:
    n = np.diff(np.r_[starts, len(positions)])
    so_far = np.cumsum(n)
    hit, gain = hits(positions), gains(positions)
    hit_sums, gain_sums = np.add.reduceat(hit, starts), np.add.reduceat(gain, starts)
    low, high = wilson_interval(hit_sums, n)
    means = gain_sums / n
    spread = np.maximum(np.add.reduceat(gain * gain, starts) / n - means * means, 0.0)
    half = Z95 * np.sqrt(spread / np.maximum(n - 1, 1))
    return Series(
        unit=unit,
        at=at.tolist(),
        n=n.tolist(),
        hit_rate=Band(mean=(hit_sums / n).tolist(), low=low.tolist(), high=high.tolist()),
        ndcg=Band(mean=means.tolist(), low=np.maximum(means - half, 0.0).tolist(), high=(means + half).tolist()),
        baseline_hit_rate=(np.add.reduceat(hits(baseline), starts) / n).tolist(),
        baseline_ndcg=(np.add.reduceat(gains(baseline), starts) / n).tolist(),
        hit_rate_so_far=(np.cumsum(hit_sums) / so_far).tolist(),
        ndcg_so_far=(np.cumsum(gain_sums) / so_far).tolist(),
    )


class CoverageGrowth(Struct, frozen=True, kw_only=True):
    """How many items were ever shown, of those that had ever come by.

    Attributes
    ----------
    at : events so far
    shown : distinct items in judged slates so far
    known : distinct items of events or of judged slates so far
    """

    at: list[int]
    shown: list[int]
    known: list[int]


def coverage_growth(recording: Recording, *, points: int = 200) -> CoverageGrowth:
    """Coverage along the stream, at evenly spaced events."""
    n = len(recording.items)
    at = np.unique(np.linspace(0, n, min(points, n) + 1).astype(np.int64)[1:])
    shown = recording.first_shown != NEVER
    first_shown = np.sort(recording.first_shown[shown])
    first_known = np.where(shown, recording.first_shown, n)
    np.minimum.at(first_known, recording.items, np.arange(n))
    return CoverageGrowth(
        at=at.tolist(),
        shown=np.searchsorted(first_shown, at, "left").tolist(),
        known=np.searchsorted(np.sort(first_known), at, "left").tolist(),
    )
