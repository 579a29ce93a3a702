"""`flinkrec status`: what runs, where, since when, and what is wrong with it."""

from __future__ import annotations

import time

import typer
from rich.console import Console
from rich.table import Table

from cli.stack import Home, Stack, health
from cli.stack.state import Child, read_state

UNHEALTHY = 1
NOTHING_UP = 3


def status() -> None:
    """Show what runs on this machine and which jobs Flink has.

    Exit code 0: everything is healthy. 1: something is wrong, and is named. 3: nothing is up.
    """
    console = Console(highlight=False)
    home = Home.from_environment()
    stack = Stack.find(home)
    if stack is None:
        state = read_state(home)
        if state is not None and state.alive():
            console.print(
                f"The supervisor in {home.root} has died, {len(state.alive())} of its processes still run: "
                "flinkrec up starts afresh, flinkrec down ends them.",
                soft_wrap=True,
            )
            raise typer.Exit(UNHEALTHY)
        console.print(f"Nothing is up in {home.root}. Start it with: flinkrec up", soft_wrap=True)
        raise typer.Exit(NOTHING_UP)
    if not print_status(console, stack):
        raise typer.Exit(UNHEALTHY)


def print_status(console: Console, stack: Stack) -> bool:
    """Print processes, jobs and problems; return whether the stack is healthy."""
    console.print(_processes(stack))
    console.print(f"Each writes its log to {stack.home.logs}/PROCESS.log", soft_wrap=True)
    cluster = health.cluster(stack.ports)
    if cluster is not None:
        _print_jobs(console, cluster)
    problems = stack.problems()
    for problem in problems:
        console.print(f"[bold red]problem:[/] {problem}", soft_wrap=True)
    if not problems:
        _print_split(console, stack)
    return not problems


def _print_split(console: Console, stack: Stack) -> None:
    """Warn where the experiment of the job that was submitted last to this stack has a split that cannot be chance."""
    from cli.configuration import submitted_configuration, target_configuration
    from cli.split import split_problem

    path = submitted_configuration()
    if path is None:
        return
    kafka = target_configuration(path).kafka
    warning = split_problem(kafka) if kafka.bootstrap_servers == stack.bootstrap_servers else None
    if warning is not None:
        console.print(f"[bold yellow]experiment:[/] {warning}", soft_wrap=True)


def _processes(stack: Stack) -> Table:
    table = Table(title=f"flinkrec stack in {stack.home.root}", title_justify="left")
    table.add_column("process", no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("address", no_wrap=True)
    table.add_column("up for", justify="right", no_wrap=True)
    table.add_column("restarts", justify="right", no_wrap=True)
    addresses = {"kafka": stack.bootstrap_servers, "jobmanager": f"http://{stack.jobmanager}"}
    state = stack.state
    table.add_row("supervisor", str(state.supervisor.pid), "", "", "")
    for name, child in state.children.items():
        table.add_row(
            name,
            str(child.process.pid) if child.process.is_alive() else "[red]dead[/]",
            addresses.get(name, ""),
            _age(child),
            str(child.restarts),
        )
    return table


def _age(child: Child) -> str:
    seconds = max(0, int(time.time() - child.since))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _print_jobs(console: Console, cluster: health.Cluster) -> None:
    console.print(f"Flink: {cluster.slots_free} of {cluster.slots_total} slots free, {len(cluster.jobs)} jobs")
    for job in sorted(cluster.jobs, key=lambda job: -job["start-time"]):
        console.print(f"  {job['state']:<10} {job['name']}  ({job['jid']})", soft_wrap=True)
