"""`flinkrec up`: start the local stack and say where everything is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from cli.stack.ports import Ports

DEFAULTS = Ports()


class LogLevel(StrEnum):
    """Of the lines that operators write."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"


def up(
    *,
    taskmanagers: Annotated[
        int, typer.Option(min=1, max=32, help="TaskManagers to run, of one slot each; one of them is the spare.")
    ] = 3,
    kafka_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the Kafka broker.")] = DEFAULTS.kafka,
    controller_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the broker's controller.")] = DEFAULTS.controller,
    rest_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Flink's REST interface and web page.")] = DEFAULTS.rest,
    rpc_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on which TaskManagers reach the JobManager.")] = DEFAULTS.rpc,
    zookeeper_port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of ZooKeeper, from which a new JobManager learns of its jobs.")
    ] = DEFAULTS.zookeeper,
    metrics_port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="Port of the JobManager's page for Prometheus, the TaskManagers' follow; 0: no such pages."),
    ] = DEFAULTS.metrics,
    log_level: Annotated[
        LogLevel, typer.Option(case_sensitive=False, help="Of the job's own lines in PROCESS.jsonl; DEBUG has one for each slate.")
    ] = LogLevel.INFO,
    taskmanager_heap: Annotated[int, typer.Option(min=128, help="Java heap of a TaskManager, in MiB.")] = 768,
    taskmanager_managed: Annotated[
        int, typer.Option(min=0, help="Managed memory of a TaskManager, in MiB; RocksDB takes its cache from it.")
    ] = 64,
    taskmanager_python: Annotated[
        int, typer.Option(min=256, help="Native memory reserved for Python in a TaskManager, in MiB.")
    ] = 1500,
) -> None:
    """Start Kafka and Flink on this machine.

    A supervisor in the background keeps them alive: a process that dies is started again. Everything listens on
    localhost only, save Flink's pages for Prometheus, which know no other way than every interface. Running it twice does no harm.
    """
    from cli.stack import Home, Memory, Stack
    from cli.stack.preflight import require_for_run
    from cli.status import print_stack

    console = Console(highlight=False)
    home = Home.from_environment()
    running = Stack.find(home)
    if running is not None:
        console.print(f"The stack in {home.root} is already up; nothing was started.", soft_wrap=True)
    else:
        require_for_run(str(home.root))
    ports = Ports(
        kafka=kafka_port,
        controller=controller_port,
        rest=rest_port,
        rpc=rpc_port,
        zookeeper=zookeeper_port,
        metrics=metrics_port,
    )
    memory = Memory(heap=taskmanager_heap, managed=taskmanager_managed, python=taskmanager_python)
    with console.status("starting") as spinner:
        # Without a terminal there is no spinner to watch: say each step on a line of its own.
        progress = spinner.update if console.is_terminal else console.print
        stack = Stack.start(
            home, ports=ports, taskmanagers=taskmanagers, memory=memory, log_level=log_level.value, progress=progress
        )
    print_stack(console, stack)
