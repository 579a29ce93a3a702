"""`flinkrec watch`: the slates of one user, as they change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG


def watch(
    *,
    user: Annotated[str, typer.Option(help="Id of the user.")],
    once: Annotated[bool, typer.Option("--once", help="Show the newest slate and end.")] = False,
    config: Annotated[Path | None, CONFIG] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """Show the newest recommendations of a user with titles and reasons, and every change of them.

    Without --config it looks at the topics of the job that was submitted last.
    """
    from cli.configuration import load_configuration, submitted_configuration
    from cli.loop import Answer, TopicReader, decode_answer
    from cli.panel import slate_table
    from models.topics import RECOMMENDATIONS

    console = Console(highlight=False)
    configuration = load_configuration(
        config or submitted_configuration(), {"kafka": {"bootstrap_servers": bootstrap_servers}}
    )
    reader = TopicReader(configuration.kafka, (RECOMMENDATIONS,), from_beginning=True)
    newest: Answer | None = None
    titles: dict[str, str] = {}
    try:
        while True:
            changed = False
            for _, value, _ in reader.poll(200):
                answer = decode_answer(value)
                titles |= {item.item_id: item.title for item in answer.items if item.title}
                # a slate that was answered again after a restore has the seq it had before
                if answer.user_id == user and (newest is None or answer.seq >= newest.seq):
                    newest, changed = answer, True
            if not reader.is_at_end():
                continue
            if changed and newest is not None:
                console.print(slate_table(newest, titles, places=len(newest.items)))
            if once:
                break
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()
    if once and newest is None:
        raise UserError(f"there is no slate for user {user!r} yet")
