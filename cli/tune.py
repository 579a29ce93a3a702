"""`flinkrec tune`: searches for the configuration that recommends best on a file of events."""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import UserError
from cli.evaluation.run import Asked
from cli.report.preflight import require_file
from cli.tuning.metric import Metric

if TYPE_CHECKING:
    from cli.eventfiles import EventFile
    from cli.tuning.outcome import Outcome
    from cli.tuning.search import Trial
    from models.config import Configuration
    from models.evaluation.uncertainty import Mean
    from models.topics import CatalogueItem

MANY_EVENTS = 10**9
FEWEST_EVENTS = 100
FEWEST_FITTING_EVENTS = 1_000
_PROBE_EVENTS, _PROBE_CHUNK = 4_000, 100
_PROBE_SHARE = 0.04
# An event of the stream takes so much longer than one at the end of the probe: its rows are longer.
_GROWTH = 1.5


def tune(
    *,
    events: Annotated[Path, typer.Option(help="Events: CSV, TSV or Parquet, also .gz, with a header "
        "user_id,item_id,timestamp[,type][,value].")],
    items: Annotated[Path | None, typer.Option(help="Items: item_id[,title][,year][,categories][,tags][,brand][,price]"
        "[,text]; lists are split by a bar.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the configuration to improve; without it the "
        "defaults.")] = None,
    budget: Annotated[float, typer.Option(min=0.05, help="Minutes that it may take, all in all.")],
    out: Annotated[Path, typer.Option(help="Write the configuration to this file.")] = Path("tuned.yaml"),
    trials: Annotated[int | None, typer.Option(min=1, help="Try at most so many configurations.")] = None,
    last: Annotated[int | None, typer.Option(min=FEWEST_EVENTS, help="Use the last N events; without it as many as fit "
        "the budget.")] = None,
    metric: Annotated[Metric, typer.Option(help="What is tuned for, at the length of a slate.")] = Metric.HIT_RATE,
    slate: Annotated[Asked, typer.Option(help="before: asked just before each event. served: the slate made after the "
        "user's previous event, as the job does.")] = Asked.SERVED,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 7,
) -> None:
    """Search for the configuration that recommends best on a file of events.

    Configurations go through the first 70 % of the events and are judged on the last third of that, each event before it
    is learned. Then the best goes on through the rest, which no trial has seen, beside the base. It is written as a YAML
    file for `flinkrec submit`, with only what differs. Ctrl-C ends the search with the best so far.
    """
    started_s = time.monotonic()
    deadline_s = started_s + 60 * budget
    _require(out)
    from cli.evaluate import with_known_types
    from cli.eventfiles import read_events, read_items
    from cli.tuning.file import tuned_file
    from cli.tuning.outcome import outcome_of
    from cli.tuning.search import OutOfTime, Search
    from models.evaluation.space import STARTS, space_for

    console = Console(highlight=False, stderr=True)
    base = _base(config)
    with console.status("reading the events"):
        file = with_known_types(read_events(events), base)
        catalogue = {} if items is None else read_items(items)
    if len(file) < FEWEST_EVENTS:
        raise UserError(f"{events}: expected at least {FEWEST_EVENTS} events to tune on, got {len(file)}")
    with console.status("measuring how many events fit the budget"):
        _make_ready(base)
        if last is None:
            last = fitting_events(file, catalogue, base, asked=slate, trials=trials, deadline_s=deadline_s)
    used = file.last(last)
    share = f"all {len(file):,} events" if len(used) == len(file) else f"the last {len(used):,} of {len(file):,} events"
    console.print(f"Tuning on {share}.", soft_wrap=True)
    progress = _Progress(console, metric.named(base.slate.k), deadline_s)
    search = Search(
        base,
        list(used.events(base.events.default_type)),
        catalogue,
        space=space_for(values=file.values is not None, catalogue=bool(catalogue), repeats=base.slate.recommend_seen),
        starts=STARTS,
        metric=metric,
        asked=slate,
        seed=seed,
        clock=time.monotonic,
        deadline_s=deadline_s,
        on_step=progress.step,
        on_trial=progress.trial,
    )
    try:
        with progress.status:
            search.run(trials)
            for done in search.confirm():
                progress.confirming(done, len(used) - search.tuning_events)
    except OutOfTime:
        raise UserError(
            f"{budget:g} min ended before the base configuration had been through {search.tuning_events:,} events: "
            "give more, or fewer events with --last"
        ) from None
    except KeyboardInterrupt:
        if search.best is None:
            raise
        console.print("Interrupted; the best so far:")
    outcome = outcome_of(search, used.user_ids)
    _print_outcome(outcome, base.slate.k)
    tried = search.finished + search.given_up - 1
    story = [
        f"{tried} configurations tried on {share}, {search.given_up} of them given up early; the base is "
        f"{'the default configuration' if config is None else config.name}.",
        *_verdict(outcome, metric, base.slate.k),
    ]
    Console(highlight=False).print("\n".join(story), soft_wrap=True)
    minutes = (time.monotonic() - started_s) / 60
    command = f"flinkrec tune --events {events.name} --budget {budget:g} --metric {metric} --slate {slate} --seed {seed}"
    head = [f"Found by `{command}` in {minutes:.1f} min.", *story]
    text = tuned_file(_mapping(config), outcome.changes, head, adopted=outcome.is_adopted(metric))
    out.write_text(text, encoding="utf-8")
    console.print(f"The configuration is in {out}.", soft_wrap=True)


def _require(out: Path) -> None:
    """Find out before a long run whether it can be searched, and its result be written."""
    if find_spec("optuna") is None:
        raise UserError("flinkrec tune needs optuna: pip install 'flinkrec[evaluation]'")
    require_file(out, option="--out")


def _base(path: Path | None) -> Configuration:
    """The configuration to improve, as it is judged: it explores nothing, and takes events as fast as they are read."""
    from cli.configuration import load_configuration

    exploit = {"epsilon": 0.0, "epsilon_min": 0.0}
    return load_configuration(path, {"policy": exploit, "events": {"max_events_per_minute": MANY_EVENTS}})


def _mapping(path: Path | None) -> dict[str, Any]:
    """What the base's own file says."""
    import yaml

    return {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _make_ready(base: Configuration) -> None:
    """Compile what is compiled once, so that it is not measured, and keep to one thread."""
    import torch

    from models.pipeline import warm_up

    torch.set_num_threads(1)
    warm_up(base)


def fitting_events(
    file: EventFile,
    catalogue: dict[str, CatalogueItem],
    base: Configuration,
    *,
    asked: Asked,
    trials: int | None,
    deadline_s: float,
) -> int:
    """How many of the last events fit what is left of the budget, by the pace at the end of a short walk."""
    from cli.tuning.search import seconds_of
    from cli.tuning.walk import Walk

    probe = list(file.last(_PROBE_EVENTS).events(base.events.default_type))
    walk = Walk(base, catalogue, asked=asked)
    until_s = time.monotonic() + _PROBE_SHARE * (deadline_s - time.monotonic())
    paces_s: list[float] = []
    while not paces_s or (len(walk) < len(probe) and time.monotonic() < until_s):
        started_s = time.monotonic()
        chunk = probe[len(walk) : len(walk) + _PROBE_CHUNK]
        walk.take(chunk)
        paces_s.append((time.monotonic() - started_s) / len(chunk))
    pace_s = _GROWTH * statistics.median(paces_s[len(paces_s) // 2 :])
    event_s = seconds_of(1, pace_s, trials=trials)
    left_s = deadline_s - time.monotonic()
    fewest = min(len(file), FEWEST_FITTING_EVENTS)
    if left_s < fewest * event_s:
        raise UserError(
            f"the budget is too short to say anything: {fewest:,} events take {fewest * event_s / 60:.1f} min here, and "
            f"{max(0.0, left_s) / 60:.1f} are left after reading and measuring"
        )
    return int(left_s / event_s)


class _Progress:
    """What is shown while it searches: a line of what runs, and a line a trial.

    Parameters
    ----------
    console : to show it on
    metric : name of what is tuned for
    deadline_s : when it will end
    """

    def __init__(self, console: Console, metric: str, deadline_s: float) -> None:
        self._console, self._metric, self._deadline_s = console, metric, deadline_s
        self._best: Trial | None = None
        self.status = console.status("trying the base")

    def step(self, trial: Trial) -> None:
        """A trial reached a place."""
        self._show(f"trial {trial.number} at {self._percent(trial)}, {self._metric} {trial.score:.4f}")

    def trial(self, trial: Trial) -> None:
        """A trial ended."""
        if self._best is None:
            self._best = trial
            self._console.print(f"base: {self._metric} {trial.score:.4f}")
            return
        said = f"{self._metric} {trial.score:.4f}" if trial.finished else f"given up at {self._percent(trial)}"
        if trial.finished and trial.score > self._best.score:
            said += ", the best so far"
        changed = [f"{key} {value}" for key, value in trial.values.items() if value != self._best.values[key]]
        self._console.print(f"trial {trial.number}: {said}, with {', '.join(changed)}", soft_wrap=True)
        if trial.finished and trial.score > self._best.score:
            self._best = trial

    def confirming(self, done: int, of: int) -> None:
        """Base and best went on."""
        self._show(f"comparing the best with the base on the rest, {done:,} of {of:,} events")

    def _percent(self, trial: Trial) -> str:
        from cli.tuning.search import STEPS

        return f"{100 * len(trial.scores) // STEPS} %"

    def _show(self, what: str) -> None:
        best = "" if self._best is None else f"; best so far {self._best.score:.4f}"
        left_s = max(0, round(self._deadline_s - time.monotonic()))
        self.status.update(f"{what}{best}; {left_s // 60} min {left_s % 60} s left")


def _print_outcome(outcome: Outcome, k: int) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("judged", "base", "best", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, stretch in (("tuned on", outcome.tuning), ("rest", outcome.rest)):
        for metric, means in stretch.metrics.items():
            errors = map(_with_error, means.means, ("", "", "+"))
            table.add_row(f"{metric.named(k)}, {name}", f"{means.base.n:,}", *errors)
    Console(highlight=False).print(table)


def _with_error(mean: Mean, sign: str = "") -> str:
    return f"{mean.value:{sign}.4f} ± {mean.standard_error:.4f}"


def _verdict(outcome: Outcome, metric: Metric, k: int) -> list[str]:
    """What is to be thought of what was found, in sentences."""
    if not outcome.changes:
        return ["Nothing better than the base was found."]
    rest = outcome.rest.metrics[metric]
    if not rest.base.n:
        return ["It was not compared with the base on events that no trial has seen."]
    found = (
        f"On the {rest.base.n:,} judged events that no trial has seen, {metric.named(k)} is {_with_error(rest.best)}, with "
        f"the base {_with_error(rest.base)}; difference {_with_error(rest.gain, '+')}."
    )
    return [found] if outcome.is_adopted(metric) else [found, "So the base is kept. What was found is:"]
