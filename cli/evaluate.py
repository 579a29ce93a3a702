"""`flinkrec evaluate`: how good the recommendations are on a file of events, by the prequential protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.evaluation.run import Asked
from cli.modelfile import MODEL, read_model
from cli.report.preflight import require_file, require_page

if TYPE_CHECKING:
    from cli.evaluation.run import Run
    from cli.eventfiles import EventFile
    from models.config import Configuration
    from models.evaluation.ablation import Ablation
    from models.evaluation.comparison import Comparison
    from models.evaluation.figures import Figures
    from models.evaluation.report import EvaluationReport

MANY_EVENTS = 10**9


class Engine(StrEnum):
    """Where the evaluation runs."""

    LOCAL = "local"
    FLINK = "flink"


def evaluate(
    *,
    events: Annotated[Path, typer.Option(help="Events: CSV, TSV or Parquet, also .gz, with a header "
        "user_id,item_id,timestamp[,type][,value].")],
    items: Annotated[Path | None, typer.Option(help="Items: item_id[,title][,year][,categories][,tags][,brand][,price]"
        "[,text]; lists are split by a bar.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the configuration; without it the defaults.")] = None,
    engine: Annotated[Engine, typer.Option(help="local: one process. flink: the whole job on the local stack, in place "
        "of a job that runs there.")] = Engine.LOCAL,
    k: Annotated[int | None, typer.Option(min=1, help="Length of a slate, instead of slate.k.", show_default="10")] = None,
    every: Annotated[int, typer.Option(min=1, help="Score every N-th event only; all of them are learned.")] = 1,
    slate: Annotated[Asked | None, typer.Option(help="before: asked just before each event (default of local). served: "
        "the slate made after the user's previous event, as the user would have seen it (default of flink).")] = None,
    allow_repeats: Annotated[bool, typer.Option(help="Recommend items again that the user had before.")] = False,
    explore: Annotated[bool, typer.Option(help="Explore as configured; otherwise epsilon is 0.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page with plots into this directory: index.html, and its "
        "numbers as figures.json.")] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Run the file again without each source, without each "
        "group of features and with each other scorer: one whole run each.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Run the file again by each built-in baseline, and print "
        "them in a table beside flinkrec.")] = False,
    model: Annotated[Path | None, MODEL] = None,
    compare_json: Annotated[Path | None, typer.Option(help="Compare, and write the table to this file, as JSON.")] = None,
) -> None:
    """Test every event against the recommendations that were there before it, then learn from it.

    Events are taken in time order, ties in the order of the file. The first event of a user tests nothing.
    An event is a hit when its item is in the slate of k items.
    """
    from cli.eventfiles import read_events, read_items

    if engine is Engine.FLINK and slate is Asked.BEFORE:
        raise UserError("--slate before needs --engine local: a running job is never asked, it answers events")
    if engine is Engine.FLINK and ablation:
        raise UserError("--ablation needs --engine local")
    if ablation and model is not None:
        raise UserError("--ablation exchanges the scorer: it cannot begin with a --model")
    if report is not None:
        require_page(report, option="--report")
    for written, option in ((json, "--json"), (compare_json, "--compare-json")):
        if written is not None:
            require_file(written, option=option)
    compare = compare or compare_json is not None
    if compare:
        from cli.evaluation.compare import require_packages

        require_packages()
    console = Console(highlight=False, stderr=True)
    asked = slate or (Asked.BEFORE if engine is Engine.LOCAL else Asked.SERVED)
    configuration = configuration_of_a_file(config, k=k, allow_repeats=allow_repeats, explore=explore)
    begin_with = read_model(model, configuration)
    file = read_events(events)
    catalogue = {} if items is None else read_items(items)
    file = with_known_types(file, configuration)
    if report is not None or compare or ablation:
        _require_judged(file, configuration)
    console.print(
        f"{len(file):,} events of {len(set(file.user_ids)):,} users and {len(set(file.item_ids)):,} items; "
        f"timestamps are in {file.time_unit}.",
        soft_wrap=True,
    )

    def run(configuration: Configuration, title: str) -> Run:
        record = report is not None or ablation or compare
        if engine is Engine.FLINK:
            from cli.evaluation.flink import run_flink

            return run_flink(
                file, catalogue, configuration, every=every, console=console, record=record, model=model
            )
        from cli.evaluation.local import run_local

        return run_local(
            file,
            catalogue,
            configuration,
            every=every,
            asked=asked,
            console=console,
            record=record,
            title=title,
            start=begin_with,
        )

    whole = run(configuration, "evaluating")
    _print_report(whole.report, configuration.slate.k)
    if json is not None:
        json.write_bytes(whole.report.encode())
    comparison = None
    if compare:
        comparison = _compare(whole, file, configuration, every=every, asked=asked, console=console, json=compare_json)
    ablations = _ablate(whole, configuration, run) if ablation else []
    if report is not None:
        from cli.evaluation.run import figures_of_run
        from cli.report.page import Protocol, write_page

        figures = figures_of_run(whole, configuration)
        _print_cold_start(figures)
        protocol = Protocol(events_file=events.name, engine=engine, asked=asked, every=every)
        page = write_page(report, figures, whole.report, protocol, ablations=ablations, comparison=comparison)
        console.print(f"The report is in {page}.", soft_wrap=True)


def configuration_of_a_file(
    path: Path | None, *, k: int | None = None, allow_repeats: bool = False, explore: bool = False
) -> Configuration:
    """The configuration of a run over a file of events: no limit on their rate; None leaves slate.k as configured."""
    from cli.configuration import load_configuration

    overrides: dict[str, dict[str, object]] = {
        "slate": {"k": k, "recommend_seen": True if allow_repeats else None},
        # a file is replayed faster than its users acted
        "events": {"max_events_per_minute": MANY_EVENTS},
    }
    if not explore:
        overrides["policy"] = {"epsilon": 0.0, "epsilon_min": 0.0}
    return load_configuration(path, overrides)


def with_known_types(file: EventFile, configuration: Configuration) -> EventFile:
    """The file with its types of events as the configuration names them, in whatever case; before a long run each has to have a weight."""
    names = {"": ""} | {name.lower(): name for name in configuration.events.types}
    unknown = sorted({given for given in set(file.types or ()) if given.lower() not in names})
    if unknown:
        raise UserError(
            f"{file.path}: type {unknown[0]!r} is not among events.types of the configuration "
            f"({', '.join(configuration.events.types)}): add it there, with its weight"
        )
    return file if file.types is None else replace(file, types=[names[given.lower()] for given in file.types])


def _require_judged(file: EventFile, configuration: Configuration) -> None:
    """Find out before a long run whether any event of a file can be judged."""
    types = set(file.types or ("",))
    if not any(configuration.events.types[name or configuration.events.default_type].weight > 0 for name in types):
        raise UserError(f"{file.path}: expected an event whose type has a weight above 0: of the others no slate is judged")


def _ablate(whole: Run, configuration: Configuration, run: Callable[[Configuration, str], Run]) -> list[Ablation]:
    """Run all ablations, printing each as it is known."""
    from cli.evaluation.ablation import ablate

    console = Console(highlight=False)
    console.print("\nablation: HR, NDCG, and their changes with the standard error of the paired difference", soft_wrap=True)
    found = []
    for one in ablate(whole, configuration, run):
        hit, ndcg = one.hit_rate_change, one.ndcg_change
        console.print(
            f"{one.part} {one.name}: {one.hit_rate.value:.4f}, {one.ndcg.value:.4f}; "
            f"{hit.value:+.4f} ± {hit.standard_error:.4f}, {ndcg.value:+.4f} ± {ndcg.standard_error:.4f}",
            soft_wrap=True,
        )
        found.append(one)
    return found


def _compare(
    whole: Run,
    file: EventFile,
    configuration: Configuration,
    *,
    every: int,
    asked: Asked,
    console: Console,
    json: Path | None,
) -> Comparison:
    """Run all baselines and show them beside the run."""
    from cli.evaluation.compare import compare, print_comparison

    comparison = compare(whole, file, configuration, every=every, asked=asked, console=console)
    print_comparison(comparison, Console(highlight=False))
    if json is not None:
        json.write_bytes(comparison.encode())
    return comparison


def _print_report(report: EvaluationReport, k: int) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in (
        ("events", f"{report.events:,}"),
        ("evaluated", f"{report.evaluated:,}"),
        (f"HR@{k}", f"{report.hr_at_k:.4f}"),
        (f"NDCG@{k}", f"{report.ndcg_at_k:.4f}"),
        (f"precision@{k}", f"{report.precision_at_k:.4f}"),
        (f"recall@{k}", f"{report.recall_at_k:.4f}"),
        (f"F1@{k}", f"{report.f1_at_k:.4f}"),
        ("coverage", f"{report.coverage:.4f}"),
        ("average number of recommendations", f"{report.avg_recommendations:.2f}"),
        ("events/s", f"{report.events_per_s:,.0f}"),
        ("latency p50 / p99", f"{report.latency_ms.p50:.1f} / {report.latency_ms.p99:.1f} ms"),
    ):
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _print_cold_start(figures: Figures) -> None:
    console = Console(highlight=False)
    for one in figures.cold_start:
        popular = one.best_baseline
        console.print(
            f"{one.name}: HR@{figures.k} {one.hit_rate.value:.4f} ± {one.hit_rate.standard_error:.4f} of {one.hit_rate.n:,}, "
            f"popular items {popular.hit_rate.value:.4f}, gain {popular.gain.value:+.4f} ± {popular.gain.standard_error:.4f}",
            soft_wrap=True,
        )
