"""`flinkrec down`: end exactly what `flinkrec up` has started."""

from __future__ import annotations

from rich.console import Console


def down() -> None:
    """End Kafka and Flink, and only the processes that `flinkrec up` started.

    Data stay: topics, checkpoints and savepoints are there again at the next `flinkrec up`. Jobs do not start again by
    themselves.
    """
    from cli.stack import Home, Stack
    from cli.stack.local import clear_leftovers

    console = Console(highlight=False, soft_wrap=True)
    home = Home.from_environment()
    stack = Stack.find(home)
    if stack is None:
        left = clear_leftovers(home)
        console.print(
            f"Ended {left} processes that a crashed supervisor had left behind."
            if left
            else f"Nothing was running in {home.root}."
        )
        return
    names = [*stack.processes(), "supervisor"]
    with console.status("ending Flink, then Kafka"):
        stack.stop()
    console.print(f"Ended {', '.join(names)}. Topics, checkpoints and logs stay in {home.root}.")
