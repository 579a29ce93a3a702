"""`flinkrec status`: on one screen and in words, what runs, how it does, and what is wrong with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.stack import Home, Stack
from cli.stack.state import read_state
from cli.submit import BOOTSTRAP, CONFIG, JOBMANAGER

if TYPE_CHECKING:
    from cli.standing import Answers, FlinkCluster, Job, Overview
    from models.config import Kafka

DOWN = 1
UNWELL = 2
_EXIT_CODES = {"well": 0, "unwell": UNWELL, "down": DOWN}


def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    config: Annotated[Path | None, CONFIG] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Topics to look at, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
    jobmanager: Annotated[str | None, JOBMANAGER] = None,
) -> None:
    """Say what runs, how the job does, and what is wrong.

    Exit code 0: all is well. 1: the job does not run. 2: it runs, and something is wrong, which is named. Without --config it looks at
    the job that was submitted last. The figures of the job are as old as Flink's REST interface keeps them: ten seconds.
    """
    console = Console(highlight=False)
    home = Home.from_environment()
    stack = Stack.find(home)
    if stack is None and config is None and bootstrap_servers is None and jobmanager is None:
        _say_nothing_is_up(console, home, json=json)
        raise typer.Exit(DOWN)
    from cli.configuration import running_configuration
    from cli.standing import overview

    configuration = running_configuration(
        config, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix, jobmanager=jobmanager
    )
    own = stack if stack is not None and configuration.flink.jobmanager == stack.jobmanager else None
    found = overview(
        configuration,
        problems=[] if own is None else own.problems(),
        serving_port=None if own is None else _serving_port(own),
    )
    if json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    else:
        _print(console, found)
        if own is not None:
            _print_stack(console, own)
        _print_split(console, configuration.kafka)
    raise typer.Exit(_EXIT_CODES[found.standing])


def _say_nothing_is_up(console: Console, home: Home, *, json: bool) -> None:
    state = read_state(home)
    left = [] if state is None else state.alive()
    if left:
        said = (
            f"The supervisor in {home.root} has died, {len(left)} of its processes still run: "
            "flinkrec up starts afresh, flinkrec down ends them."
        )
    else:
        said = f"Nothing is up in {home.root}. Start it with: flinkrec up"
    if json:
        import msgspec

        sys.stdout.buffer.write(msgspec.json.encode({"standing": "down", "problems": [said]}) + b"\n")
    else:
        console.print(said, soft_wrap=True)


# ------------------------------------------------------------------------------------------------ in words


def _print(console: Console, found: Overview) -> None:
    headline = {
        "well": "[bold green]All is well.[/]",
        "unwell": "[bold yellow]The job runs, but not all is well.[/]",
        "down": "[bold red]The job does not run.[/]",
    }
    console.print(headline[found.standing])
    for problem in found.problems:
        console.print(f"[bold red]problem:[/] {_plain(problem)}", soft_wrap=True)
    lines = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column(overflow="fold")
    for name, said in (
        ("broker", found.kafka),
        ("cluster", _cluster(found.flink)),
        *([("job", "unknown")] if found.flink.taskmanagers is None else _job(found.job)),
        *_answers(found.answers),
        *_model(found),
        ("console", f"{found.serving}/console/" if found.serving else "not up: flinkrec serve"),
        ("API", f"{found.serving}/docs" if found.serving else "likewise"),
    ):
        lines.add_row(name, _plain(said))
    console.print(lines)


def _plain(text: str) -> str:
    """What somebody else wrote, without what rich would take for markup."""
    from rich.markup import escape

    return escape(text)


def _cluster(flink: FlinkCluster) -> str:
    if flink.taskmanagers is None:
        return f"{flink.address} does not answer"
    return f"{flink.address}, {_many(flink.taskmanagers, 'TaskManager')}, {flink.slots_free} of {flink.slots} slots free"


def _job(job: Job | None) -> list[tuple[str, str]]:
    if job is None:
        return [("job", "none of this name was submitted: flinkrec submit")]
    said = f"{job.name} ({job.id}) is {job.state}"
    if job.state != "RUNNING":
        return [("job", said)]
    lately = "" if job.restarted_s is None or not job.restarts else f", the last {_ago(job.restarted_s)}"
    lines = [("job", f"{said} for {_span(job.up_s)}, {_many(job.restarts, 'restart')}{lately}")]
    checkpoint = job.checkpoint
    if checkpoint is None:
        lines.append(("checkpoint", "none yet"))
    else:
        size = f"{checkpoint.size_bytes / 1e6:,.1f} MB"
        lines.append(("checkpoint", f"{_ago(checkpoint.age_s)}, took {checkpoint.took_ms:,} ms, {size}"))
    waiting = "unknown how many" if job.waiting is None else f"{job.waiting:,}"
    pace = "" if job.events_per_s is None else f", {job.events_per_s:,.1f} a second are read (mean of a minute)"
    lines.append(("events", f"{waiting} wait{pace}"))
    refused = ", ".join(f"{count:,} {reason}" for reason, count in job.refused.items()) or "none"
    lines.append(("refused", f"{refused}, beside {job.answered:,} that were not, since the tasks started"))
    return lines


def _answers(answers: Answers | None) -> list[tuple[str, str]]:
    if answers is None:
        return [("answers", "none yet")]
    latency = (
        "the producer does not say when events were sent"
        if answers.latency_p50_ms is None or answers.latency_p99_ms is None
        else f"p50 {answers.latency_p50_ms:,.0f} ms, p99 {answers.latency_p99_ms:,.0f} ms"
    )
    return [("answers", f"the last {_ago(answers.last_s)}; latency of the last {answers.looked_at:,}: {latency}")]


def _model(found: Overview) -> list[tuple[str, str]]:
    versions = {} if found.answers is None else found.answers.versions
    named = ", ".join(f"{part} {version}" for part, version in versions.items()) or "none that the last answer names"
    age = "" if found.job is None or found.job.model_age_s is None else f"; the network was published {_ago(found.job.model_age_s)}"
    return [("model", named + age)]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


# ------------------------------------------------------------------------------------------------ the local stack


def print_stack(console: Console, stack: Stack) -> None:
    """Print the processes of a local stack, and what is wrong with them."""
    _print_stack(console, stack)
    for problem in stack.problems():
        console.print(f"[bold red]problem:[/] {_plain(problem)}", soft_wrap=True)


def _print_stack(console: Console, stack: Stack) -> None:
    console.print(_processes(stack))
    console.print(f"Each writes its log to {stack.home.logs}/PROCESS.log, the job's own lines to PROCESS.jsonl.", soft_wrap=True)
    ports = stack.ports
    if ports.metrics:
        last = ports.metrics_of(stack.state.taskmanagers)
        console.print(
            f"For Prometheus: http://localhost:{ports.metrics}/metrics, the TaskManagers on the ports to {last}.", soft_wrap=True
        )


def _serving_port(stack: Stack) -> int | None:
    """The port of the server that the stack keeps beside the job (`flinkrec demo`)."""
    from cli.stack.supervisor import Plan

    command = Plan.read(stack.home).commands.get("serve", [])
    return int(command[command.index("--port") + 1]) if "--port" in command else None


def _print_split(console: Console, kafka: Kafka) -> None:
    """Warn where the experiment of the job has a split that cannot be chance."""
    from cli.errors import UserError
    from cli.split import split_problem

    try:
        warning = split_problem(kafka)
    except UserError:
        return
    if warning is not None:
        console.print(f"[bold yellow]experiment:[/] {warning}", soft_wrap=True)


def _processes(stack: Stack) -> Table:
    state = stack.state
    table = Table(title=f"local stack in {stack.home.root}", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading, justify in (("process", "left"), ("pid", "right"), ("address", "left"), ("up for", "right"), ("restarts", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    addresses = {"kafka": stack.bootstrap_servers, "jobmanager": f"http://{stack.jobmanager}"}
    table.add_row("supervisor", str(state.supervisor.pid), "", "", "")
    for name, child in state.children.items():
        table.add_row(
            name,
            str(child.process.pid) if child.process.is_alive() else "[red]dead[/]",
            addresses.get(name, ""),
            _span(time.time() - child.since),
            str(child.restarts),
        )
    return table
