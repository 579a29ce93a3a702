"""The `flinkrec` command: one file a command, each with one function of the command's name.

The modules of the commands import what they need when they run, so that `--help` answers at once.
"""

from __future__ import annotations

import importlib
import signal
import sys
from types import FrameType

import typer
from rich.console import Console

from cli.errors import UserError
from models.config import ConfigurationError

# In the order in which a newcomer meets them.
COMMANDS = (
    *("setup", "up", "status", "demo", "submit", "replay", "watch", "alerts", "serve", "models"),
    *("evaluate", "tune", "train", "ope", "simulate", "export", "schemas", "down"),
)

app = typer.Typer(
    name="flinkrec",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help=(
        "Recommendations that react to what a user did a moment ago.\n\n"
        "[bold]flinkrec up[/] starts a Kafka broker and a Flink cluster on this machine, [bold]flinkrec demo[/] shows "
        "the recommender at work on them, [bold]flinkrec down[/] ends them. Everything they write lies in one "
        "directory: FLINKREC_HOME, by default ~/.flinkrec."
    ),
)


def _register(name: str) -> None:
    app.command(name)(getattr(importlib.import_module(f"cli.{name}"), name))


for _name in COMMANDS:
    _register(_name)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End what runs, as Python's own handler does, whose exception has no value before Python 3.12.

    confluent-kafka then loses it in a callback: `SystemError: ... returned NULL without setting an exception`.
    """
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; what a person can mend is said in one sentence, without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except (UserError, ConfigurationError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"flinkrec: {error}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
