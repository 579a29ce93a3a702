"""What a simulation shows of its competitors: CTR and regret with standard errors over seeds, as numbers and over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.uncertainty import standard_error
from models.simulation.loop import Seen

NO_LEARNING, ORACLE = "no-learning", "oracle"
_PERIODS = 40
_END = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One run of one competitor, a value for each slate that was seen.

    Attributes
    ----------
    clicked, regret : float64[slates]
    """

    clicked: npt.NDArray[np.float64]
    regret: npt.NDArray[np.float64]

    @classmethod
    def of(cls, seen: Iterable[Seen]) -> Course:
        """Collect a run."""
        rows = np.array([(one.clicked, one.best - one.probability) for one in seen], np.float64).reshape(-1, 2)
        return cls(rows[:, 0], rows[:, 1])


class Figure(Struct, frozen=True):
    """A mean over seeds.

    Attributes
    ----------
    by_seed : of each, in the order of the seeds
    value, standard_error : of the mean; the error is None where there is one seed
    """

    by_seed: list[float]
    value: float
    standard_error: float | None

    @classmethod
    def of(cls, by_seed: npt.NDArray[np.float64]) -> Figure:
        """From float64[seeds]."""
        error = standard_error(by_seed) if len(by_seed) > 1 else None
        return cls(by_seed.tolist(), float(by_seed.mean()), error)


class Curve(Struct, frozen=True):
    """A mean over seeds after each period; the errors are 0 where there is one seed."""

    mean: list[float]
    standard_error: list[float]

    @classmethod
    def of(cls, by_seed: npt.NDArray[np.float64]) -> Curve:
        """From float64[seeds, periods]."""
        errors = [standard_error(period) for period in by_seed.T]
        return cls(by_seed.mean(0).tolist(), errors)


class CompetitorFigures(Struct, frozen=True, kw_only=True):
    """One competitor.

    Attributes
    ----------
    name : of the competitor
    ctr, ctr_at_end : clicked slates over seen slates, of the whole run and of its last quarter
    regret : of one slate, mean over the run
    gain, gap_closed : at the end, over no-learning as a share of its CTR, and as a share of what the oracle gains over it;
        None where one of the two did not run, and where the share is of nothing
    ctr_over_time, cumulative_regret : of each period, and after it
    """

    name: str
    ctr: Figure
    ctr_at_end: Figure
    regret: Figure
    gain: Figure | None
    gap_closed: Figure | None
    ctr_over_time: Curve
    cumulative_regret: Curve


class SimulationFigures(Struct, frozen=True, kw_only=True):
    """All that a simulation shows.

    Attributes
    ----------
    engine, world, seeds, users, items, slates : what was run
    periods_end : number of slates after each period
    competitors : in the order in which they ran
    config : the configuration, as plain values
    """

    engine: str
    world: str
    seeds: list[int]
    users: int
    items: int
    slates: int
    periods_end: list[int]
    competitors: list[CompetitorFigures]
    config: dict[str, object]

    def encode(self) -> bytes:
        """The JSON of these figures, indented, in UTF-8 with a newline at its end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def period_ends(slates: int) -> list[int]:
    """Number of slates after each period of a run."""
    return np.unique(np.linspace(0, slates, min(_PERIODS, slates) + 1).astype(int))[1:].tolist()


def competitor_figures(courses: Mapping[str, Sequence[Course]]) -> list[CompetitorFigures]:
    """Figures of all competitors.

    Parameters
    ----------
    courses : of each by name, one a seed, all of the same seeds and of the same length
    """
    at_end = {name: np.array([_end(course.clicked) for course in own]) for name, own in courses.items()}
    return [
        CompetitorFigures(
            name=name,
            ctr=Figure.of(np.array([course.clicked.mean() for course in own])),
            ctr_at_end=Figure.of(at_end[name]),
            regret=Figure.of(np.array([course.regret.mean() for course in own])),
            gain=_gain(at_end, name),
            gap_closed=_gap_closed(at_end, name),
            ctr_over_time=Curve.of(np.array([_by_period(course.clicked) for course in own])),
            cumulative_regret=Curve.of(np.array([_sums(course.regret) for course in own])),
        )
        for name, own in courses.items()
    ]


def _end(values: npt.NDArray[np.float64]) -> float:
    return float(values[-max(1, int(len(values) * _END)) :].mean())


def _gain(at_end: Mapping[str, npt.NDArray[np.float64]], name: str) -> Figure | None:
    base = at_end.get(NO_LEARNING)
    if base is None or name == NO_LEARNING or (base <= 0).any():
        return None
    return Figure.of(at_end[name] / base - 1)


def _gap_closed(at_end: Mapping[str, npt.NDArray[np.float64]], name: str) -> Figure | None:
    base, best = at_end.get(NO_LEARNING), at_end.get(ORACLE)
    if base is None or best is None or name == NO_LEARNING or (best <= base).any():
        return None
    return Figure.of((at_end[name] - base) / (best - base))


def _sums(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.cumsum(values)[np.array(period_ends(len(values))) - 1]


def _by_period(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sizes = np.diff(period_ends(len(values)), prepend=0)
    return np.diff(_sums(values), prepend=0.0) / sizes
