"""`flinkrec setup`: fetch what the local stack needs beyond Python packages."""

from __future__ import annotations

from rich.console import Console


def setup() -> None:
    """Fetch the jars of Kafka and of Flink's Kafka connector (about 60 MB).

    `make setup` runs it. Repeating it costs nothing while pom.xml has not changed.
    """
    from cli.errors import UserError
    from cli.stack import Home, Stack, jars

    console = Console(highlight=False, soft_wrap=True)
    home = Home.from_environment()
    if jars.are_current(home):
        console.print(f"Jars are up to date in {home.jars}.")
        return
    if Stack.find(home) is not None:
        raise UserError("the jars have to be fetched anew, and the running stack uses them: run `flinkrec down` first")
    console.print("Fetching Kafka and the Flink connector with Maven (about 60 MB) ...")
    jars.fetch(home)
    console.print(f"Jars are in {home.jars}.")
