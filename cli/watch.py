"""`flinkrec watch`: the slates of one user, as they change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import UserError
from cli.submit import BOOTSTRAP, CONFIG

if TYPE_CHECKING:
    from rich.table import Table

    from cli.loop import Answer
    from models.config import Kafka

_FIRST_CHUNK = 1_000
_POLL_MS = 200
_POLL_RECORDS = 5_000


def watch(
    *,
    user: Annotated[str, typer.Option(help="Id of the user.")],
    once: Annotated[bool, typer.Option("--once", help="Show the newest slate and end.")] = False,
    config: Annotated[Path | None, CONFIG] = None,
    topic_prefix: Annotated[str | None, typer.Option(help="Topics to look at, instead of the configuration's.")] = None,
    bootstrap_servers: Annotated[str | None, BOOTSTRAP] = None,
) -> None:
    """Show the newest recommendations of a user with titles and reasons, and every change of them.

    Without --config it looks at the topics of the job that was submitted last. With --once the exit code is 1 when
    there is no slate.
    """
    from cli.configuration import running_configuration

    console = Console(highlight=False, markup=False)
    kafka = running_configuration(config, bootstrap_servers=bootstrap_servers, topic_prefix=topic_prefix).kafka
    reader = SlateReader(kafka, user)
    try:
        newest = reader.newest()
        if once:
            if newest is None:
                raise UserError(f"there is no slate for user {user!r} in {reader.topic}")
            console.print(_slate(console, newest, item_titles(kafka)))
        else:
            _follow(console, reader, newest, item_titles(kafka))
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()


class SlateReader:
    """Finds the newest slate of one user, and follows those that come.

    Slates are keyed by the user's id, so only one partition can hold them. It is searched from its end in growing
    steps: whoever did something lately is found at once, however long the topic is.

    Parameters
    ----------
    kafka : section of the configuration
    user_id : whose slates

    Raises
    ------
    UserError
        When the broker does not answer or has no such topic.
    """

    def __init__(self, kafka: Kafka, user_id: str) -> None:
        from kafka import KafkaConsumer, TopicPartition
        from kafka.partitioner.default import murmur2

        from cli.topics import connecting
        from models.topics import RECOMMENDATIONS, topic_name

        self.topic = topic_name(kafka.topic_prefix, RECOMMENDATIONS)
        self._key = user_id.encode()
        self._newest: Answer | None = None
        self._erased = False
        with connecting(kafka):
            self._consumer = KafkaConsumer(
                bootstrap_servers=kafka.bootstrap_servers.split(","),
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                **kafka.client_properties,
            )
        partitions = sorted(self._consumer.partitions_for_topic(self.topic) or ())
        if not partitions:
            self._consumer.close()
            raise UserError(f"there is no topic {self.topic} at {kafka.bootstrap_servers}: was the job ever submitted?")
        # as the Java client, with which the job writes, chooses it
        self._partition = TopicPartition(self.topic, partitions[(murmur2(self._key) & 0x7FFFFFFF) % len(partitions)])
        self._consumer.assign([self._partition])

    def newest(self) -> Answer | None:
        """The newest slate in the topic, None when there is none; `follow` carries on behind it."""
        [begin] = self._consumer.beginning_offsets([self._partition]).values()
        [end] = self._consumer.end_offsets([self._partition]).values()
        stop, chunk = end, _FIRST_CHUNK
        while self._newest is None and not self._erased and stop > begin:
            start = max(begin, stop - chunk)
            self._consumer.seek(self._partition, start)
            # the position also moves over what is no record: the marks of transactions
            while self._consumer.position(self._partition) < stop:
                self._take(before=stop)
            stop, chunk = start, chunk * 4
        self._consumer.seek(self._partition, end)
        return self._newest

    def follow(self) -> Answer | None:
        """A newer slate than the last one, None when none came for a moment."""
        return self._newest if self._take() else None

    def _take(self, *, before: int | None = None) -> bool:
        from cli.loop import decode_answer

        changed = False
        for records in self._consumer.poll(_POLL_MS, max_records=_POLL_RECORDS).values():
            for record in records:
                if record.key != self._key or (before is not None and record.offset >= before):
                    continue
                answer = decode_answer(record.value)
                if answer.erased:
                    # what comes after it begins anew
                    self._newest, self._erased = None, True
                    continue
                # a slate that is answered again after a restore has the seq it had before, and replaces it
                if self._newest is None or answer.seq >= self._newest.seq:
                    self._newest, changed = answer, True
        return changed

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def item_titles(kafka: Kafka) -> dict[str, str]:
    """Titles by item id, from `items`: a slate holds those of its own items, not of those that its reasons name."""
    import msgspec

    from models.topics import ITEMS, CatalogueItem, topic_name
    from operators.bootstrap import read_to_end

    decode = msgspec.json.Decoder(CatalogueItem).decode
    titles = {}
    topic = topic_name(kafka.topic_prefix, ITEMS)
    for _, key, value in read_to_end((topic,), kafka.bootstrap_servers, kafka.client_properties):
        try:
            item = decode(value or b"{}")
        except (msgspec.MsgspecError, ValueError):
            continue  # the job has made a dead letter of it: such an item has no title
        if item.title is not None:
            titles[str(item.item_id) if key is None else key.decode("utf-8", "replace")] = item.title
    return titles


def _follow(console: Console, reader: SlateReader, newest: Answer | None, titles: dict[str, str]) -> None:
    from rich.live import Live

    if not console.is_terminal:
        if newest is not None:
            console.print(_slate(console, newest, titles))
        while True:
            newest = reader.follow()
            if newest is not None:
                console.print(_slate(console, newest, titles))
    shown = "no slate yet; waiting for one (Ctrl-C ends)" if newest is None else _slate(console, newest, titles)
    with Live(shown, console=console, auto_refresh=False) as live:
        live.refresh()
        while True:
            newest = reader.follow()
            if newest is not None:
                live.update(_slate(console, newest, titles), refresh=True)


def _slate(console: Console, answer: Answer, titles: dict[str, str]) -> Table:
    from cli.panel import slate_table

    return slate_table(answer, titles, width=min(console.width, 120))
