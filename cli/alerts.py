"""`flinkrec alerts`: the surges that the monitor has raised, and those that it raises and clears while one looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.submit import BOOTSTRAP, CONFIG

if TYPE_CHECKING:
    from models.monitor.alerts import Alert

_POLL_MS = 500
_EXAMPLES = 3


def alerts(
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those that come, until Ctrl-C.")] = False,
    history: Annotated[bool, typer.Option("--all", help="Also those that were cleared.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One record a line, as in the topic.")] = False,
    config: Annotated[Path | None, CONFIG] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Topics to look at, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """Show what is surging: the alerts that the monitor raised and has not cleared, with the texts that caused them.

    Without --config it looks at the topics of the job that was submitted last.
    """
    import msgspec

    from cli.clients import TopicReader
    from cli.configuration import running_configuration
    from models.monitor.alerts import Alert
    from models.topics import ALERTS

    console = Console(highlight=False, markup=False, soft_wrap=True)
    kafka = running_configuration(config, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix).kafka
    decode = msgspec.json.Decoder(Alert).decode
    reader = TopicReader(kafka, (ALERTS,), from_beginning=True, at_once=follow)

    def show(alert: Alert) -> None:
        if as_json:
            typer.echo(msgspec.json.encode(alert).decode())
        else:
            console.print("\n".join(told(alert)))

    try:
        surges = Surges()
        while not reader.has_caught_up():
            for _, value, _ in reader.poll(_POLL_MS):
                surges.put(decode(value))
        for alert in surges.all if history else surges.open:
            show(alert)
        if not (follow or as_json or surges.open):
            console.print(f"Nothing surges; {len(surges.all) // 2} surges were raised and cleared before.")
        while follow:
            for _, value, _ in reader.poll(_POLL_MS):
                if surges.put(alert := decode(value)):
                    show(alert)
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()


class Surges:
    """The alerts of the topic, each state of a surge once: what a restore writes again is passed over."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], Alert] = {}

    def put(self, alert: Alert) -> bool:
        """Take one record; False where it was there before."""
        return self._first.setdefault((alert.alert_id, alert.state), alert) is alert

    @property
    def all(self) -> list[Alert]:
        """All of them, in the order in which they were emitted."""
        return sorted(self._first.values(), key=lambda alert: alert.emitted_at_ms)

    @property
    def open(self) -> list[Alert]:
        """Those that were raised and not cleared, the oldest first."""
        return [alert for alert in self.all if alert.state == "raised" and (alert.alert_id, "cleared") not in self._first]


def told(alert: Alert) -> Iterator[str]:
    """The lines that tell a person of an alert."""
    about = alert.topic if alert.entity is None else f"{alert.topic}, {alert.entity}"
    at = datetime.fromtimestamp(alert.window_end_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    said = f"{alert.texts} texts where {alert.expected_texts:.1f} are usual"
    if alert.negative_share is not None and alert.expected_negative_share is not None:
        said += f", {alert.negative_share:.0%} of them negative where {alert.expected_negative_share:.0%} are"
    if alert.state == "cleared":
        yield f"{at}  cleared  {about}: {said}{'; it is what is usual now' if alert.cleared_by == 'duration' else ''}"
        return
    named = f"; they name {', '.join(alert.entities)}" if alert.entities else ""
    yield f"{at}  raised   {about}: {said}{named}"
    for example in alert.examples[:_EXAMPLES]:
        yield f"    {example.sentiment}: {example.text}"
