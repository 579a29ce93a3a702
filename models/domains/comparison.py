"""Presets compared in the world of a domain: the same people and luck, seed by seed, the recommender in this process.

What is compared are the measures of the slates that were seen. A measure of a run is the mean over those of its slates that say something
of it; differences between presets are paired, seed by seed, and their standard errors are those of the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
import numpy.typing as npt

from models.config import Configuration, EventType
from models.simulation.competitors import in_process
from models.simulation.figures import Figure
from models.simulation.loop import DomainWorld, Seen, closed_loop

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DomainCourse:
    """One run of one preset.

    Attributes
    ----------
    slates : how many were seen
    measures : float64[slates] of each measure, NaN where the slate says nothing of it
    """

    slates: int
    measures: dict[str, Floats]

    @classmethod
    def of(cls, seen: Iterable[Seen]) -> DomainCourse:
        """Collect a run."""
        rows = [one.measures for one in seen]
        names = dict.fromkeys(name for row in rows for name in row)
        return cls(len(rows), {name: np.array([row.get(name, np.nan) for row in rows], np.float64) for name in names})

    def mean(self, name: str) -> float:
        """Of one measure over the run, 0 where no slate says anything of it."""
        values = self.measures.get(name)
        return 0.0 if values is None or np.isnan(values).all() else float(np.nanmean(values))


@dataclass(frozen=True, slots=True)
class Compared:
    """One measure of two presets.

    Attributes
    ----------
    name : of the measure
    preset, other : means over the seeds
    difference : preset less other, paired
    """

    name: str
    preset: Figure
    other: Figure
    difference: Figure


def run_locally(world: DomainWorld, configuration: Configuration, *, slates: int, reports: bool = False) -> DomainCourse:
    """So many slates of the recommender, learning, in this process."""
    loop = closed_loop(world, in_process("", configuration), k=configuration.slate.k, reports=reports)
    return DomainCourse.of(islice(loop, slates))


def compare(
    world_of: Callable[[int], DomainWorld],
    preset: Configuration,
    other: Configuration,
    *,
    seeds: Sequence[int],
    slates: int,
    tell: Callable[[int], None] = lambda seed: None,
) -> list[Compared]:
    """Two presets, seed by seed.

    Parameters
    ----------
    world_of : makes the world of a seed, anew each time
    tell : is told of each seed that both have run
    """
    other = knowing_types_of(other, preset)
    runs: list[tuple[DomainCourse, DomainCourse]] = []
    for seed in seeds:
        both = (
            run_locally(world_of(seed), preset, slates=slates),
            run_locally(world_of(seed), other, slates=slates),
        )
        runs.append(both)
        tell(seed)
    names = dict.fromkeys(name for pair in runs for course in pair for name in course.measures)
    return [_compared(name, runs) for name in names]


def knowing_types_of(configuration: Configuration, preset: Configuration) -> Configuration:
    """The same configuration, which takes the event types of another that it does not know, and learns nothing from them.

    In the job such events are dead letters.
    """
    unknown = {name: EventType(weight=0.0) for name in preset.events.types if name not in configuration.events.types}
    events = msgspec.structs.replace(configuration.events, types=configuration.events.types | unknown)
    return msgspec.structs.replace(configuration, events=events)


def _compared(name: str, runs: Sequence[tuple[DomainCourse, DomainCourse]]) -> Compared:
    ours = np.array([course.mean(name) for course, _ in runs])
    theirs = np.array([course.mean(name) for _, course in runs])
    return Compared(name, Figure.of(ours), Figure.of(theirs), Figure.of(ours - theirs))
