"""`--compare`: the file once more for each baseline, judged on the same events by the same protocol.

The packages of the baselines are an optional extra: without it this module cannot be imported, and `require_packages` says
so before a long run.
"""

from __future__ import annotations

import time
from array import array
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cli.errors import UserError
from cli.evaluation.run import Asked, Run
from cli.eventfiles import EventFile
from models.config import Configuration
from models.evaluation.comparison import Comparison, Rival, comparison_of, rival_of
from models.evaluation.prequential import PrequentialEvaluator
from models.evaluation.recorder import MISS, UNJUDGED

if TYPE_CHECKING:
    from models.evaluation.baselines import Baseline
    from models.evaluation.uncertainty import Mean

PACKAGES = ("implicit", "river", "scipy", "threadpoolctl")


def require_packages() -> None:
    """Find out before a long run whether the baselines can be run.

    Raises
    ------
    UserError
        When packages are missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"--compare needs {' and '.join(missing)}: pip install 'flinkrec[evaluation]'")


def compare(
    whole: Run, file: EventFile, configuration: Configuration, *, every: int, asked: Asked, console: Console
) -> Comparison:
    """Run every baseline over the file of a run, one after the other, and compare it with the run.

    Parameters
    ----------
    whole : the run of flinkrec, with its recording
    every, asked : of that run
    console : shows how far each is
    """
    from models.evaluation.baselines import discover

    assert whole.recording is not None
    rivals: list[Rival] = []
    found = discover()
    for number, (name, make) in enumerate(found.items(), start=1):
        baseline = make(repeats=configuration.slate.recommend_seen)
        title = f"baseline {number} of {len(found)}: {baseline.title}"
        started_s = time.perf_counter()
        positions = positions_of(
            baseline, file, configuration, every=every, asked=asked, console=console, title=title
        )
        rivals.append(
            rival_of(
                whole.recording,
                positions,
                name=name,
                title=baseline.title,
                settings=baseline.settings(),
                events_per_s=len(file) / (time.perf_counter() - started_s),
            )
        )
        console.print(f"{title}: {rivals[-1].hit_rate.value:.4f}", soft_wrap=True)
    return comparison_of(
        whole.recording,
        rivals,
        every=every,
        slate=asked,
        events_per_s=whole.report.events_per_s,
        versions={package: version(package) for package in ("numpy", *PACKAGES)},
    )


def positions_of(
    baseline: Baseline,
    file: EventFile,
    configuration: Configuration,
    *,
    every: int,
    asked: Asked,
    console: Console,
    title: str,
) -> npt.NDArray[np.int16]:
    """Run a baseline over a file, as `run_local` does flinkrec; only what is judged is asked for.

    On one thread: what more of them bring is a matter of the machine, and of what else runs on it.

    Returns
    -------
    int16[n]
        Of each event that a recording holds, the position in the slate before it, `MISS` or `UNJUDGED`.
    """
    # Not before: a limit holds for the libraries that are loaded when it is set.
    from threadpoolctl import threadpool_limits

    k = configuration.slate.k
    evaluator = PrequentialEvaluator(k, every=every)
    served: dict[str, list[str]] = {}
    positions = array("h")
    stream = file.events(configuration.events.default_type)
    with threadpool_limits(1):
        for event in track(stream, title, total=len(file), console=console, disable=not console.is_terminal):
            event_type = configuration.events.types[event.type]
            if event_type.weight > 0:
                shown = served.pop(event.user_id, None)
                if asked is Asked.BEFORE and evaluator.needs_slate(event.user_id, event.item_id):
                    shown = baseline.recommend(event.user_id, k)
                judgement = evaluator.judge(event.user_id, event.item_id, shown)
                positions.append(UNJUDGED if judgement is None else judgement.position or MISS)
                baseline.learn_one(event.user_id, event.item_id, event.event_time_ms)
            if asked is Asked.SERVED and event_type.makes_slate:
                served[event.user_id] = baseline.recommend(event.user_id, k)
    return np.array(positions, np.int16)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """The table, what its figures mean, and how each baseline was run."""
    k = comparison.k
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in (f"HR@{k}", f"NDCG@{k}", f"gain in HR@{k}", "lift", "events/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    ours = comparison.hit_rate, comparison.ndcg
    table.add_row("flinkrec", *map(_with_error, ours), "", "", f"{comparison.events_per_s:,.0f}")
    for rival in comparison.rivals:
        lift = rival.hit_rate_lift_percent
        table.add_row(
            rival.title,
            _with_error(rival.hit_rate),
            _with_error(rival.ndcg),
            _with_error(rival.hit_rate_gain, sign="+"),
            "" if lift is None else f"{lift:+.0f}%",
            f"{rival.events_per_s:,.0f}",
        )
    console.print(table)
    asked = "each judged event" if comparison.slate == Asked.BEFORE else "the next event of a user"
    console.print(
        f"± is one standard error of the mean over the {comparison.hit_rate.n:,} evaluated events, taken as independent; "
        "of a gain, that of the mean paired difference: flinkrec's less the baseline's, event by event. Lift is flinkrec's "
        f"HR@{k} over the baseline's. events/s: learning from every event and recommending before {asked}; the baselines "
        "on one thread.",
        soft_wrap=True,
    )
    for rival in comparison.rivals:
        console.print(f"  {rival.title}: {rival.settings}", soft_wrap=True)


def _with_error(mean: Mean, *, sign: str = "") -> str:
    return f"{mean.value:{sign}.4f} ± {mean.standard_error:.4f}"
