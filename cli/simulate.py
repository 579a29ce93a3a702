"""`flinkrec simulate`: a closed loop with made-up users, and what is gained by learning in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cli.errors import UserError
from cli.report.preflight import require_page

if TYPE_CHECKING:
    from models.config import Configuration
    from models.simulation.competitors import Recommenders
    from models.simulation.figures import Course, Figure, SimulationFigures
    from models.simulation.loop import Competitor, Crowd
    from models.simulation.world import World

FEWEST_SLATES = 40
AHEAD_MS = 600_000
"""How far one who acts may be ahead of one who waits: less than the windows of any configuration in which slates are credited."""


class WorldName(StrEnum):
    """Where the best way to rank depends on the user's state, or does not."""

    STEADY = "steady"
    MOODS = "moods"


class EngineName(StrEnum):
    """Where the recommender runs."""

    LOCAL = "local"
    FLINK = "flink"


def simulate(
    *,
    engine: Annotated[EngineName, typer.Option(help="local: in this process. flink: through Kafka and the whole job on the local stack, "
        "one job after the other.")] = EngineName.LOCAL,
    world: Annotated[WorldName, typer.Option(help="steady: the same ranking is best for all. moods: who has just left a "
        "slate unclicked is tired of what suits them, and wants what is famous.")] = WorldName.STEADY,
    users: Annotated[int, typer.Option(min=1, help="How many people join over time.")] = 400,
    items: Annotated[int, typer.Option(min=20, help="How many items there are at the start; as many come later.")] = 1000,
    slates: Annotated[int, typer.Option(min=FEWEST_SLATES, help="Length of a run: slates that somebody saw.")] = 20_000,
    seeds: Annotated[str, typer.Option(help="One run of each competitor for each of these numbers, split by commas.")] = "1,2,3",
    policy: Annotated[list[str] | None, typer.Option(help="Also run this policy over the strategies of the configuration; constant: "
        "each strategy by itself. May be given several times.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the configuration; without it conf/simulation.yaml.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, help="With --engine flink: how many people may wait for a slate at a time.")] = 32,
    domain: Annotated[str | None, typer.Option(help="Compare the preset of this domain with the products preset in its world "
        "instead, in this process, over --seeds and --slates; help lists them.")] = None,
    impressions: Annotated[bool, typer.Option("--impressions", help="Users' devices report the slates that were seen.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write a page with plots into this directory: index.html.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file, as JSON.")] = None,
) -> None:
    """Let made-up users react to slates, and the recommender learn from what they do.

    They have tastes that nobody knows and that drift; they look at the first places most; new items come. The recommender runs
    in this process or as the job, beside the same without learning, one that stops to learn (in this process only), popular items,
    random ones, and an oracle that knows the tastes. Regret is what a slate falls short of the oracle's. docs/simulator.md
    describes the worlds. With --domain it is about a preset and its domain (docs/domains); of the other options only --seeds and --slates
    count then.
    """
    if domain is not None:
        _compare_presets(domain, seeds=_seeds(seeds), slates=slates)
        return
    configuration = _configuration(config)
    numbers = _seeds(seeds)
    policies = _policies(policy or [])
    if out is not None:
        require_page(out, option="--out")
    import msgspec
    import torch

    from models.simulation.competitors import competitors
    from models.simulation.figures import SimulationFigures, competitor_figures, period_ends
    from models.simulation.world import NATURES, World

    torch.set_num_threads(1)
    with _recommenders(engine, in_flight=in_flight) as (recommender, crowd):
        courses = _run(
            competitors(configuration, slates=slates, policies=policies, recommender=recommender),
            lambda seed: World(NATURES[world], seed=seed, users=users, items=items),
            numbers,
            slates=slates,
            k=configuration.slate.k,
            crowd=crowd,
            reports=impressions,
        )
    figures = SimulationFigures(
        engine=engine,
        world=world,
        seeds=numbers,
        users=users,
        items=items,
        slates=slates,
        periods_end=period_ends(slates),
        competitors=competitor_figures(courses),
        config=msgspec.to_builtins(configuration),
    )
    _print(figures)
    if json is not None:
        try:
            json.write_bytes(figures.encode())
        except OSError as error:
            raise UserError(f"--json {json}: cannot be written: {error.strerror}") from None
    if out is not None:
        from cli.report.simulation import render_simulation
        from cli.report.writing import write_page

        page = write_page(out, render_simulation(figures), option="--out ")
        Console(highlight=False, stderr=True).print(f"The page is {page}.", soft_wrap=True)


def _compare_presets(name: str, *, seeds: list[int], slates: int) -> None:
    """Print the measures of a domain with its preset and with another."""
    import torch
    from rich.table import Table

    from cli.configuration import load_configuration
    from cli.domains.people import yardstick
    from cli.domains.registry import find_domain
    from models.domains.comparison import compare

    domain = find_domain(name)
    if domain.world is None:
        raise UserError(f"--domain {name}: it has no people who react to slates; `flinkrec demo --domain {name}` shows it")
    torch.set_num_threads(1)
    said = Console(highlight=False, stderr=True)
    compared = compare(
        domain.world,
        load_configuration(domain.preset),
        yardstick(name),
        seeds=seeds,
        slates=slates,
        tell=lambda seed: said.print(f"seed {seed} is done"),
    )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("a slate's", "preset", "other", "difference"):
        table.add_column(heading, no_wrap=True)
    for one in compared:
        table.add_row(one.name.replace("_", " "), *map(_shown, (one.preset, one.other, one.difference)))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"Domain {name}, {slates:,} slates for each of the seeds {', '.join(map(str, seeds))}; ± is one standard error of the mean over "
        "them, the difference is paired.",
        soft_wrap=True,
    )


def _configuration(path: Path | None) -> Configuration:
    import conf
    from cli.configuration import load_configuration

    return load_configuration(path or Path(conf.__file__).parent / "simulation.yaml")


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds: expected whole numbers split by commas, got {text!r}") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds: expected different numbers of at least 0, got {text!r}")
    return seeds


def _policies(names: Sequence[str]) -> list[str]:
    from typing import get_args

    from models.config import PolicyName
    from models.simulation.competitors import CONSTANT

    known = (*get_args(PolicyName), CONSTANT)
    for name in names:
        if name not in known:
            raise UserError(f"--policy: expected one of {', '.join(known)}, got {name!r}")
    return list(dict.fromkeys(names))


@contextmanager
def _recommenders(engine: EngineName, *, in_flight: int) -> Iterator[tuple[Recommenders, Crowd]]:
    """What makes the recommenders of an engine, and how many people wait for one; a stack that had to be started is stopped again."""
    from models.simulation.competitors import in_process
    from models.simulation.loop import Crowd

    if engine == EngineName.LOCAL:
        yield in_process, Crowd()
        return
    from cli.own_job import stack_for_now
    from cli.simulation.job import JobCompetitor

    console = Console(highlight=False, stderr=True)
    with stack_for_now(console.print) as stack:
        yield (
            lambda name, configuration: JobCompetitor(configuration, stack, name=name, say=console.print),
            Crowd(in_flight, AHEAD_MS),
        )


def _run(
    make: dict[str, Callable[[World], Competitor]],
    world_of: Callable[[int], World],
    seeds: Sequence[int],
    *,
    slates: int,
    k: int,
    crowd: Crowd,
    reports: bool,
) -> dict[str, list[Course]]:
    """Every competitor in the world of every seed."""
    from models.simulation.figures import Course
    from models.simulation.loop import AtOnce, Crowd, closed_loop

    courses: dict[str, list[Course]] = {name: [] for name in make}
    console = Console(highlight=False, stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(seeds) * len(make) * slates)
        for seed in seeds:
            for name, competitor in make.items():
                bar.update(task, description=f"seed {seed}: {name}")
                world = world_of(seed)
                with closing(competitor(world)) as answering:
                    waits = Crowd() if isinstance(answering, AtOnce) else crowd
                    seen = islice(closed_loop(world, answering, k=k, crowd=waits, reports=reports), slates)
                    course = Course.of(bar.track(seen, task_id=task, update_period=0.5))
                courses[name].append(course)
                console.print(f"seed {seed}: {name}: CTR {course.clicked.mean():.3f}", soft_wrap=True)
    return courses


def _print(figures: SimulationFigures) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in ("CTR", "CTR\nat the end", "regret", "over\nno-learning", "gap\nclosed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in figures.competitors:
        shares = [_shown(share, percent=True) for share in (one.gain, one.gap_closed)]
        table.add_row(one.name, *map(_shown, (one.ctr, one.ctr_at_end, one.regret)), *shares)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"World {figures.world}, engine {figures.engine}, {figures.slates:,} slates for each of the seeds "
        f"{', '.join(map(str, figures.seeds))}; ± is one standard error of the mean over them. At the end is the last quarter. Regret: "
        "how much less likely a slate is to be clicked than the oracle's would have been. The gap is that between no-learning and the "
        "oracle, at the end.",
        soft_wrap=True,
    )


def _shown(figure: Figure | None, *, percent: bool = False) -> str:
    if figure is None:
        return ""
    form = "{:.0%}" if percent else "{:.3f}"
    error = "" if figure.standard_error is None else f" ± {form.format(figure.standard_error)}"
    return form.format(figure.value) + error
