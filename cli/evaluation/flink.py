"""`--engine flink`: the whole job on the local stack, with a file's events as its input."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress

from cli.clients import EventSender
from cli.cluster import Cluster, submit_job
from cli.configuration import on_own_topics
from cli.evaluation.run import Run, versions
from cli.eventfiles import EventFile
from cli.loop import Loop
from cli.stack import Home, Stack
from cli.topics import create_topics, delete_topics
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
        job_id = submit_job(configuration, progress=say, model=model)
    recorder = Recorder(configuration.slate.k, repeats=configuration.slate.recommend_seen) if record else None
    loop = Loop(configuration, every=every, recorder=recorder)
    job_versions: dict[str, str] = {}
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(file))
        for progress in loop.run(file.events(configuration.events.default_type)):
            bar.update(task, completed=progress.answered)
            job_versions = progress.last.versions if progress.last else job_versions
    loop.close()
    Cluster(configuration.flink.jobmanager).cancel(job_id)
    delete_topics(configuration.kafka)
    if started_here:
        stack.stop()
    report = EvaluationReport.of(
        loop.quality,
        events_per_s=loop.progress.events_per_s,
        latency_ms=LatencyMs(p50=loop.progress.latency_ms(0.5), p99=loop.progress.latency_ms(0.99)),
        config=msgspec.to_builtins(configuration),
        versions=versions() | job_versions,
    )
    latencies = np.array(loop.progress.latencies_ms, np.float64)
    return Run(report, None if recorder is None else recorder.recording(), latencies)
