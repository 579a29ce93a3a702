"""`flinkrec setup`: fetch and compile what the local stack needs beyond Python packages."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

import models


def setup() -> None:
    """Fetch the jars of Kafka and of Flink's Kafka connector (about 60 MB), and compile the kernels (half a minute).

    `make setup` runs it. Repeating it costs nothing while pom.xml and the kernels have not changed.
    """
    console = Console(highlight=False, soft_wrap=True)
    _fetch_jars(console)
    compile_kernels(console, Path(next(iter(models.__path__))))


def _fetch_jars(console: Console) -> None:
    from cli.errors import UserError
    from cli.stack import Home, Stack, jars

    home = Home.from_environment()
    if jars.are_current(home):
        console.print(f"Jars are up to date in {home.jars}.")
        return
    if Stack.find(home) is not None:
        raise UserError("the jars have to be fetched anew, and the running stack uses them: run `flinkrec down` first")
    console.print("Fetching Kafka and the Flink connector with Maven (about 60 MB) ...")
    jars.fetch(home)
    console.print(f"Jars are in {home.jars}.")


def compile_kernels(console: Console, package: Path) -> None:
    """Compile the kernels of a package once, here: TaskManagers, server and tests begin at the same time, each would do it for itself."""
    sources = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        state = file.stat()  # by what numba tells whether a kernel is that of its source
        sources.update(f"{file.relative_to(package)} {state.st_size} {state.st_mtime_ns}\n".encode())
    compiled = package / "__pycache__" / "kernels"
    if compiled.is_file() and compiled.read_text() == sources.hexdigest():
        return
    console.print("Compiling the kernels (half a minute) ...")
    from models.config import Configuration
    from models.pipeline import warm_up

    warm_up(Configuration())
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_text(sources.hexdigest())
