"""`--engine local`: the whole loop in this process."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from cli.evaluation.run import Asked, Run, versions
from cli.eventfiles import EventFile
from models.config import Configuration
from models.evaluation.prequential import PrequentialEvaluator, cause_before
from models.evaluation.recorder import Recorder, Shown, SlateItem
from models.evaluation.report import EvaluationReport, LatencyMs
from models.heap import settle
from models.model_file import ModelFile
from models.pipeline import LocalPipeline, warm_up
from models.topics import CatalogueItem


def pipeline_of(
    configuration: Configuration, catalogue: dict[str, CatalogueItem], *, start: ModelFile | None = None
) -> LocalPipeline:
    """The loop, with the catalogue in its memory and its kernels compiled; PyTorch keeps to one thread."""
    torch.set_num_threads(1)
    warm_up(configuration)
    pipeline = LocalPipeline(configuration, start=start)
    for item_id, item in catalogue.items():
        pipeline.apply_catalogue(item_id, msgspec.json.encode(item))
    settle()
    return pipeline


def run_local(
    file: EventFile,
    catalogue: dict[str, CatalogueItem],
    configuration: Configuration,
    *,
    every: int,
    asked: Asked,
    console: Console,
    record: bool,
    title: str = "evaluating",
    start: ModelFile | None = None,
) -> Run:
    """Run over a file, judging each `every`-th event that can be judged.

    Parameters
    ----------
    asked : which slate an event tests
    record : whether each judged event is kept
    title : of the progress bar
    start : a trained network to begin with
    """
    pipeline = pipeline_of(configuration, catalogue, start=start)
    evaluator = PrequentialEvaluator(configuration.slate.k, every=every)
    recorder = Recorder(configuration.slate.k, repeats=configuration.slate.recommend_seen) if record else None
    served: dict[str, Sequence[SlateItem]] = {}
    latencies_ms = array("d")
    started_s = time.perf_counter()
    stream = file.events(configuration.events.default_type)
    for event in track(stream, title, total=len(file), console=console, disable=not console.is_terminal):
        event_type = configuration.events.types[event.type]
        event_started_s = time.perf_counter()
        shown = served.pop(event.user_id, None)
        if asked is Asked.BEFORE and event_type.weight > 0 and event.user_id in pipeline.users:
            shown = pipeline.recommend(cause_before(event)).items
        if event_type.weight > 0:
            judgement = evaluator.judge(event.user_id, event.item_id, [item.item_id for item in shown or ()])
            if recorder is not None:
                recorder.record(event.user_id, event.item_id, event.event_time_ms, judgement, shown or ())
        pipeline.learn(event)
        if asked is Asked.SERVED and event_type.makes_slate:
            served[event.user_id] = [Shown.of(item) for item in pipeline.recommend(event).items]
        elif shown is not None and event_type.weight <= 0:
            served[event.user_id] = shown
        latencies_ms.append((time.perf_counter() - event_started_s) * 1000)
    elapsed_s = time.perf_counter() - started_s
    latencies = np.array(latencies_ms)
    p50, p99 = np.quantile(latencies, (0.5, 0.99)).tolist()
    report = EvaluationReport.of(
        evaluator.report(),
        events_per_s=len(file) / elapsed_s,
        latency_ms=LatencyMs(p50=p50, p99=p99),
        config=msgspec.to_builtins(configuration),
        versions=versions() | pipeline.recommender.versions,
    )
    return Run(report, None if recorder is None else recorder.recording(), latencies)
