"""`flinkrec export`: a topic as a file for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG

if TYPE_CHECKING:
    import pyarrow as pa

    from models.config import Kafka
    from models.topics import Outcome

_ROWS_A_GROUP = 50_000


class Exported(StrEnum):
    """Topics that can be exported."""

    OUTCOMES = "outcomes"


class Format(StrEnum):
    """What they can be written as."""

    PARQUET = "parquet"


def export(
    file: Annotated[Path, typer.Argument(help="To write; one that is there is replaced.")],
    *,
    topic: Annotated[Exported, typer.Option(help="What to export.")] = Exported.OUTCOMES,
    to: Annotated[Format, typer.Option(help="As what.")] = Format.PARQUET,
    config: Annotated[Path | None, CONFIG] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Topics to look at, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """Write all outcomes to a Parquet file, a row for each item of each slate, with the columns of docs/outcomes.md.

    Without --config it looks at the topics of the job that was submitted last.
    """
    from cli.configuration import running_configuration

    kafka = running_configuration(config, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix).kafka
    try:
        slates, rows = write_parquet(file, outcomes_of(kafka))
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from None
    Console(highlight=False, stderr=True).print(f"{slates:,} outcomes, {rows:,} rows in {file}.", soft_wrap=True)


def outcomes_of(kafka: Kafka) -> Iterator[Outcome]:
    """All outcomes that the topic holds now, of ended transactions."""
    import msgspec

    from cli.clients import read_topic
    from models.topics import OUTCOMES, Outcome

    decode = msgspec.json.Decoder(Outcome).decode
    for _, value in read_topic(kafka, OUTCOMES, committed=True):
        yield decode(value or b"")


def write_parquet(file: Path, outcomes: Iterator[Outcome]) -> tuple[int, int]:
    """Write outcomes to a file, which stays what it was where they cannot all be read.

    Returns
    -------
    number of slates, and of rows: one an item, and one for a slate without items
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    slates, rows, written = 0, [], 0
    part = file.with_name(f"{file.name}.part")
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for outcome in outcomes:
                slates += 1
                rows += flat_rows(outcome)
                if len(rows) >= _ROWS_A_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    written, rows = written + len(rows), []
            writer.write_table(pa.Table.from_pylist(rows, schema))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return slates, written + len(rows)


def flat_rows(outcome: Outcome) -> list[dict[str, Any]]:
    """The rows of one slate; what is the slate's stands in each of them."""
    import numpy as np

    following = outcome.next
    slate = {
        name: getattr(outcome, name)
        for name in outcome.__struct_fields__
        if name not in ("items", "context", "next", "versions", "reward", "delay_ms")
    } | {
        "versions": list(outcome.versions.items()),
        "slate_reward": outcome.reward,
        "slate_delay_ms": outcome.delay_ms,
        "state": outcome.context.state,
        "context": outcome.context.features,
        "next_state": None if following is None else following.state,
        "next_context": None if following is None else following.features,
        "next_action": None if following is None else following.action,
    }
    items = [
        {name: getattr(item, name) for name in item.__struct_fields__}
        | {"features": None if item.features is None else np.frombuffer(item.features, "<f2").astype(np.float32)}
        for item in outcome.items
    ]
    return [slate | item for item in items or [{}]]


def _schema() -> pa.Schema:
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    return pa.schema([
        ("slate_id", pa.string()),
        ("revision", pa.string()),
        ("seq", pa.int64()),
        ("user_id", pa.string()),
        ("event_id", pa.string()),
        ("request_id", pa.string()),
        ("slate_time_ms", pa.int64()),
        ("closed_time_ms", pa.int64()),
        ("closed_by", pa.string()),
        ("activated", pa.bool_()),
        ("superseded", pa.bool_()),
        ("policy", pa.string()),
        ("action", pa.string()),
        ("action_probability", pa.float64()),
        ("arm", pa.string()),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("state", pa.int32()),
        ("context", numbers),
        ("slate_reward", pa.float64()),
        ("outcomes", pa.int32()),
        ("slate_delay_ms", pa.int64()),
        ("next_state", pa.int32()),
        ("next_context", numbers),
        ("next_action", pa.string()),
        ("terminal", pa.bool_()),
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("propensity", pa.float64()),
        ("probability", pa.float64()),
        ("explored", pa.bool_()),
        ("reward", pa.float64()),
        ("events", pa.int32()),
        ("delay_ms", pa.int64()),
        ("features", pa.list_(pa.float32())),
    ])
