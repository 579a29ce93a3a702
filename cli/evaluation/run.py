"""One run over an event file: how it is asked, and what it leaves."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from models.config import Configuration
    from models.evaluation.figures import Figures
    from models.evaluation.recorder import Recording
    from models.evaluation.report import EvaluationReport

_HOUR_MS = 3_600_000.0


class Asked(StrEnum):
    """Which slate an event tests."""

    BEFORE = "before"
    SERVED = "served"


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What one run leaves.

    Attributes
    ----------
    report : quality and speed
    recording : every judged event, None unless it was asked for
    latencies_ms : float[n], of each event
    """

    report: EvaluationReport
    recording: Recording | None
    latencies_ms: npt.NDArray[np.float64]


def figures_of_run(run: Run, configuration: Configuration) -> Figures:
    """Everything that a report shows of a recorded run."""
    from models.evaluation.figures import figures_of

    assert run.recording is not None
    return figures_of(
        run.recording,
        run.latencies_ms,
        recent_half_life_ms=configuration.popularity.slow_half_life_hours * _HOUR_MS,
    )


def versions() -> dict[str, str]:
    """Of what every run depends on."""
    packages = ("flinkrec", "apache-flink", "torch", "numpy", "numba")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}
