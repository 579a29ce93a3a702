"""`flinkrec train`: a network from a file of events, for the job to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.report.preflight import require_file


def train(
    *,
    events: Annotated[Path, typer.Option(help="Events: CSV, TSV or Parquet, also .gz, with a header "
        "user_id,item_id,timestamp[,type][,value].")],
    out: Annotated[Path, typer.Option(help="File to write: safetensors.")],
    items: Annotated[Path | None, typer.Option(help="Items: item_id[,title][,year][,categories][,tags][,brand][,price]"
        "[,text]; lists are split by a bar.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of the configuration; without it the defaults.")] = None,
) -> None:
    """Learn the ranking network from events of the past.

    Runs the whole loop over the file in this process, as `evaluate` does, and writes the network with the normalisation of its
    features. `submit`, `demo` and `evaluate` take the file with --model. It holds no events, no items and no users.
    """
    from rich.progress import track

    from cli.evaluate import configuration_of_a_file, with_known_types
    from cli.evaluation.local import pipeline_of
    from cli.eventfiles import read_events, read_items

    configuration = configuration_of_a_file(config)
    settings = configuration.learner
    if configuration.scorer.name == "none" or not settings.enabled or settings.mode == "logging":
        raise UserError("train: scorer.name is 'none', learner.enabled is false or learner.mode is logging: there is nothing to train")
    file = with_known_types(read_events(events), configuration)
    require_file(out, option="--out")
    pipeline = pipeline_of(configuration, {} if items is None else read_items(items))
    console = Console(highlight=False, stderr=True)
    stream = file.events(configuration.events.default_type)
    for event in track(stream, "training", total=len(file), console=console, disable=not console.is_terminal):
        pipeline.learn(event)
        if configuration.events.types[event.type].makes_slate:
            pipeline.recommend(event)
    learner = pipeline.learner
    if learner.steps == 0:
        raise UserError(
            f"{events}: its {len(file):,} events make {learner.examples} examples, fewer than a batch of "
            f"{configuration.learner.batch_examples}: nothing was learned"
        )
    raw = learner.model()
    out.write_bytes(raw)
    Console(highlight=False).print(
        f"{out}: {configuration.scorer.name}, {len(raw):,} bytes, after {learner.steps:,} steps over {learner.examples:,} "
        f"examples of {len(file):,} events.",
        soft_wrap=True,
    )
