"""`--engine flink`: the whole job on the local stack, with a file's events as its input."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress

from cli.clients import EventSender
from cli.evaluation.run import Run, versions
from cli.eventfiles import EventFile
from cli.loop import Loop
from cli.own_job import OwnJob, stack_for_now
from models.config import Configuration
from models.evaluation.recorder import Recorder
from models.evaluation.report import EvaluationReport, LatencyMs
from models.topics import CatalogueItem


def run_flink(
    file: EventFile,
    catalogue: dict[str, CatalogueItem],
    configuration: Configuration,
    *,
    every: int,
    console: Console,
    record: bool,
    model: Path | None = None,
) -> Run:
    """Run over a file in place of the job that runs on the local stack; a stack that it had to start it stops again.

    Parameters
    ----------
    every : judge each N-th of the events that can be judged
    record : whether each judged event is kept
    model : file of `flinkrec train` to begin with
    """
    recorder = Recorder(configuration.slate.k, repeats=configuration.slate.recommend_seen) if record else None
    job_versions: dict[str, str] = {}
    with ExitStack() as until_done:
        with console.status("starting the local stack") as spinner:
            say = spinner.update if console.is_terminal else console.print
            stack = until_done.enter_context(stack_for_now(say))
            job = until_done.enter_context(closing(OwnJob(configuration, stack, name="evaluate")))
            configuration = job.configuration
            with closing(EventSender(configuration.kafka)) as sender:
                sender.send_items(catalogue)
            job.start(say=say, model=model)
        loop = until_done.enter_context(closing(Loop(configuration, every=every, recorder=recorder)))
        bar = until_done.enter_context(Progress(console=console, disable=not console.is_terminal))
        task = bar.add_task("evaluating", total=len(file))
        for progress in loop.run(file.events(configuration.events.default_type)):
            bar.update(task, completed=progress.answered)
            job_versions = progress.last.versions if progress.last else job_versions
    report = EvaluationReport.of(
        loop.quality,
        events_per_s=loop.progress.events_per_s,
        latency_ms=LatencyMs(p50=loop.progress.latency_ms(0.5), p99=loop.progress.latency_ms(0.99)),
        config=msgspec.to_builtins(configuration),
        versions=versions() | job_versions,
    )
    latencies = np.array(loop.progress.latencies_ms, np.float64)
    return Run(report, None if recorder is None else recorder.recording(), latencies)
