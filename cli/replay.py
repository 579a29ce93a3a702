"""`flinkrec replay`: send the events of a file to a running job, as their producers would have."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG

if TYPE_CHECKING:
    from cli.eventfiles import EventFile

SPEED = typer.Option(help="Events a second, or max: as fast as the job answers.")


def replay(
    *,
    events: Annotated[Path, typer.Option(help="Events: CSV, TSV or Parquet, also .gz, with a header "
        "user_id,item_id,timestamp[,type][,value].")],
    items: Annotated[Path | None, typer.Option(help="Items to send to the catalogue first.")] = None,
    speed: Annotated[str, SPEED] = "max",
    original_time: Annotated[bool, typer.Option(help="Keep the event times; otherwise they are shifted so that the last "
        "event happens now.")] = False,
    in_flight: Annotated[int, typer.Option(min=1, help="How many events may wait for their answer at a time.")] = 128,
    config: Annotated[Path | None, CONFIG] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """Send the events of a file, in time order, and follow the job's answers.

    Without --config it uses the topics of the job that was submitted last.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from cli.clients import EventSender
    from cli.configuration import running_configuration
    from cli.eventfiles import read_events, read_items
    from cli.loop import Loop

    console = Console(highlight=False)
    configuration = running_configuration(config, bootstrap_servers=bootstrap_servers)
    pace = parse_speed(speed)
    file = read_events(events)
    if items is not None:
        sender = EventSender(configuration.kafka)
        sender.send_items(read_items(items))
        sender.close()
    loop = Loop(
        configuration,
        in_flight=in_flight,
        shift_ms=0 if original_time else shift_to_now_ms(file),
        events_per_s=pace,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("replaying", total=len(file), said="")
        for progress in loop.run(file.events(configuration.events.default_type)):
            said = f"{progress.events_per_s:,.0f} events/s, {progress.dead_letters} dead letters"
            bar.update(task, completed=progress.answered + progress.dead_letters, said=said)
    loop.close()
    done, quality = loop.progress, loop.quality
    console.print(
        f"{done.sent:,} events sent, {done.answered:,} answered at {done.events_per_s:,.0f} events/s, "
        f"{done.dead_letters:,} dead letters; latency p50 {done.latency_ms(0.5):.0f} ms, "
        f"p99 {done.latency_ms(0.99):.0f} ms; HR@{configuration.slate.k} {quality.hr_at_k:.4f}.",
        soft_wrap=True,
    )


def parse_speed(speed: str) -> float | None:
    """Events a second; None for as fast as the job answers."""
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise UserError(f"--speed: expected a number of events a second, or max, got {speed!r}")
    return pace


def shift_to_now_ms(file: EventFile) -> int:
    """What to add to the event times so that the last event of a file happens now."""
    return time.time_ns() // 1_000_000 - int(file.event_time_ms[-1])
