"""`flinkrec evaluate`: how good the recommendations are on a file of events, by the prequential protocol."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import UserError

if TYPE_CHECKING:
    from cli.eventfiles import EventFile
    from models.config import Configuration
    from models.evaluation.report import EvaluationReport
    from models.topics import CatalogueItem

MANY_EVENTS = 10**9


class Engine(StrEnum):
    """Where the evaluation runs."""

    LOCAL = "local"
    FLINK = "flink"


class Asked(StrEnum):
    """Which slate an event tests."""

    BEFORE = "before"
    SERVED = "served"


def evaluate(
    *,
    events: Annotated[Path, typer.Option(help="Events: CSV, TSV or Parquet, also .gz, with a header "
        "user_id,item_id,timestamp[,type][,value].")],
    items: Annotated[Path | None, typer.Option(help="Items: item_id[,title][,year][,categories][,tags][,brand][,price]"
        "[,text]; lists are split by a bar.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the configuration; without it the defaults.")] = None,
    engine: Annotated[Engine, typer.Option(help="local: one process. flink: the whole job on the local stack, in place "
        "of a job that runs there.")] = Engine.LOCAL,
    k: Annotated[int, typer.Option(min=1, help="Length of a slate.")] = 10,
    every: Annotated[int, typer.Option(min=1, help="Score every N-th event only; all of them are learned.")] = 1,
    slate: Annotated[Asked | None, typer.Option(help="before: asked just before each event (default of local). served: "
        "the slate made after the user's previous event, as the user would have seen it (default of flink).")] = None,
    allow_repeats: Annotated[bool, typer.Option(help="Recommend items again that the user had before.")] = False,
    explore: Annotated[bool, typer.Option(help="Explore as configured; otherwise epsilon is 0.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.")] = None,
) -> None:
    """Test every event against the recommendations that were there before it, then learn from it.

    Events are taken in time order, ties in the order of the file. The first event of a user tests nothing.
    An event is a hit when its item is in the slate of k items.
    """
    from cli.eventfiles import read_events, read_items

    if engine is Engine.FLINK and slate is Asked.BEFORE:
        raise UserError("--slate before needs --engine local: a running job is never asked, it answers events")
    console = Console(highlight=False, stderr=True)
    asked = slate or (Asked.BEFORE if engine is Engine.LOCAL else Asked.SERVED)
    configuration = _configuration(config, k=k, allow_repeats=allow_repeats, explore=explore)
    file = read_events(events)
    catalogue = {} if items is None else read_items(items)
    _require_known_types(file, configuration)
    console.print(
        f"{len(file):,} events of {len(set(file.user_ids)):,} users and {len(set(file.item_ids)):,} items; "
        f"timestamps are in {file.time_unit}.",
        soft_wrap=True,
    )
    run = _run_local if engine is Engine.LOCAL else _run_flink
    report = run(file, catalogue, configuration, every=every, asked=asked, console=console)
    _print_report(report, k)
    if json is not None:
        json.write_bytes(report.encode())


def _configuration(path: Path | None, *, k: int, allow_repeats: bool, explore: bool) -> Configuration:
    from cli.configuration import load_configuration

    overrides: dict[str, dict[str, object]] = {
        "slate": {"k": k, "recommend_seen": True if allow_repeats else None},
        # a file is replayed faster than its users acted
        "events": {"max_events_per_minute": MANY_EVENTS},
    }
    if not explore:
        overrides["policy"] = {"epsilon": 0.0, "epsilon_min": 0.0}
    return load_configuration(path, overrides)


def _require_known_types(file: EventFile, configuration: Configuration) -> None:
    unknown = set(file.types or ()) - set(configuration.events.types)
    if unknown:
        raise UserError(
            f"{file.path}: type {sorted(unknown)[0]!r} is not among events.types of the configuration "
            f"({', '.join(configuration.events.types)}): add it there, with its weight"
        )


def _run_local(
    file: EventFile,
    catalogue: dict[str, CatalogueItem],
    configuration: Configuration,
    *,
    every: int,
    asked: Asked,
    console: Console,
) -> EvaluationReport:
    import msgspec
    import numpy as np
    import torch
    from rich.progress import track

    from models.evaluation.prequential import PrequentialEvaluator
    from models.evaluation.report import EvaluationReport, LatencyMs
    from models.pipeline import LocalPipeline

    torch.set_num_threads(1)
    pipeline = LocalPipeline(configuration)
    for item_id, item in catalogue.items():
        pipeline.recommender.apply_catalogue(item_id, msgspec.json.encode(item))
    evaluator = PrequentialEvaluator(configuration.slate.k, every=every)
    served: dict[str, list[str]] = {}
    latencies_ms = []
    started_s = time.perf_counter()
    stream = file.events(configuration.events.default_type)
    for event in track(stream, "evaluating", total=len(file), console=console, disable=not console.is_terminal):
        event_type = configuration.events.types[event.type]
        event_started_s = time.perf_counter()
        shown = served.pop(event.user_id, None)
        if asked is Asked.BEFORE and event_type.weight > 0 and event.user_id in pipeline.users:
            shown = [item.item_id for item in pipeline.recommend(event).items]
        if event_type.weight > 0:
            evaluator.judge(event.user_id, event.item_id, shown)
        pipeline.learn(event)
        if asked is Asked.SERVED and event_type.makes_slate:
            served[event.user_id] = [item.item_id for item in pipeline.recommend(event).items]
        elif shown is not None and event_type.weight == 0:
            served[event.user_id] = shown
        latencies_ms.append((time.perf_counter() - event_started_s) * 1000)
    elapsed_s = time.perf_counter() - started_s
    p50, p99 = np.quantile(latencies_ms, (0.5, 0.99))
    return EvaluationReport.of(
        evaluator.report(),
        events_per_s=len(file) / elapsed_s,
        latency_ms=LatencyMs(p50=float(p50), p99=float(p99)),
        config=msgspec.to_builtins(configuration),
        versions=_versions() | pipeline.recommender.versions,
    )


def _run_flink(
    file: EventFile,
    catalogue: dict[str, CatalogueItem],
    configuration: Configuration,
    *,
    every: int,
    asked: Asked,
    console: Console,
) -> EvaluationReport:
    import msgspec
    from rich.progress import Progress as Bar

    from cli.clients import EventSender
    from cli.cluster import Cluster, submit_job
    from cli.configuration import on_own_topics
    from cli.loop import Loop
    from cli.stack import Home, Stack
    from cli.topics import create_topics, delete_topics
    from models.evaluation.report import EvaluationReport, LatencyMs

    home = Home.from_environment()
    started_here = Stack.find(home) is None
    with console.status("starting the local stack") as spinner:
        say = spinner.update if console.is_terminal else console.print
        stack = Stack.start(home, progress=say)
        configuration = on_own_topics(configuration, stack, prefix=f"evaluate-{time.time_ns() // 1_000_000}-")
        create_topics(configuration.kafka)
        sender = EventSender(configuration.kafka)
        sender.send_items(catalogue)
        sender.close()
        job_id = submit_job(configuration, progress=say)
    loop = Loop(configuration, every=every)
    versions: dict[str, str] = {}
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(file))
        for progress in loop.run(file.events(configuration.events.default_type)):
            bar.update(task, completed=progress.answered)
            versions = progress.last.versions if progress.last else versions
    loop.close()
    Cluster(configuration.flink.jobmanager).cancel(job_id)
    delete_topics(configuration.kafka)
    if started_here:
        stack.stop()
    return EvaluationReport.of(
        loop.quality,
        events_per_s=loop.progress.events_per_s,
        latency_ms=LatencyMs(p50=loop.progress.latency_ms(0.5), p99=loop.progress.latency_ms(0.99)),
        config=msgspec.to_builtins(configuration),
        versions=_versions() | versions,
    )


def _versions() -> dict[str, str]:
    packages = ("flinkrec", "apache-flink", "torch", "numpy", "numba")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}


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
