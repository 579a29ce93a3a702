"""`--engine flink`: the recommender of a simulation is the whole job on the local stack, with topics of its own.

A simulated day passes in seconds: the job sees event times of its own pace, and its clock (processing time, in which it publishes
what it learned) runs beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from cli.clients import EventSender, TopicReader
from cli.errors import UserError
from cli.own_job import OwnJob
from cli.stack import Stack
from models.config import Configuration
from models.events import Event
from models.simulation.loop import Slate
from models.topics import DEAD_LETTER, RECOMMENDATIONS, CatalogueItem, Recommendation

_POLL_MS = 5
_PATIENCE_S = 120.0


class _Item(msgspec.Struct):
    item_id: str


class _Answer(msgspec.Struct):
    """What people see of a recommendation, and which event it answers."""

    slate_id: str
    user_id: str
    event_id: str
    items: list[_Item]


class _Letter(msgspec.Struct):
    reason: str
    detail: str


class JobCompetitor:
    """Events go to `events`, items to `items`, and slates come from `recommendations`. The job starts with the first event.

    Parameters
    ----------
    configuration : of the job
    stack : that it runs on, in place of a job of the same name
    name : of the competitor, part of the names of its topics
    say : told what is going on until the job runs

    Attributes
    ----------
    kafka : section of the configuration, with the topics' prefix
    answered : slates so far, seen or not
    """

    def __init__(self, configuration: Configuration, stack: Stack, *, name: str, say: Callable[[str], None]) -> None:
        self._job = OwnJob(configuration, stack, name=f"simulate-{name.replace(' ', '-')}")
        self._say = say
        self.kafka = self._job.configuration.kafka
        self.answered = 0
        self._sender = EventSender(self.kafka)
        self._reader: TopicReader | None = None
        self._due: dict[str, str] = {}  # the event that a user's next slate answers
        self._heard_s = 0.0
        self._latest: bytes | None = None

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Write an item to the catalogue."""
        self._sender.send_item(item_id, item)

    def report(self, event: Event) -> None:
        """Write an event that no slate answers."""
        self._sender.send(event)

    def ask(self, events: Sequence[Event]) -> None:
        """Write what one user did."""
        if self._reader is None:
            self._start()
        if not self._due:
            self._heard_s = time.monotonic()
        for event in events:
            self._sender.send(event)
        self._due[events[-1].user_id] = events[-1].event_id

    def _start(self) -> None:
        self._sender.flush()  # the job begins with the items that are there
        self._job.start(say=self._say)
        # not before: topics that were created a moment ago are not known to every broker at once
        self._reader = TopicReader(self.kafka, (RECOMMENDATIONS, DEAD_LETTER), at_once=True)

    def slates(self) -> Iterator[tuple[str, Slate]]:
        """What came within a few milliseconds.

        Raises
        ------
        UserError
            When the job refuses an event, or nothing comes for two minutes.
        """
        assert self._reader is not None
        for topic, value, _ in self._reader.poll(_POLL_MS):
            if topic == DEAD_LETTER:
                letter = msgspec.json.decode(value, type=_Letter)
                raise UserError(f"the job refused an event of the simulation: {letter.reason}: {letter.detail}")
            self._heard_s = time.monotonic()
            self.answered += 1
            self._latest = value
            answer = _decode_answer(value)
            if self._due.get(answer.user_id) == answer.event_id:
                del self._due[answer.user_id]
                yield answer.user_id, Slate(answer.slate_id, [item.item_id for item in answer.items])
        if self._due and time.monotonic() - self._heard_s > _PATIENCE_S:
            raise UserError(
                f"{len(self._due)} people wait for a slate and none came for {_PATIENCE_S:.0f} s: does the job run? "
                "`flinkrec status` tells"
            )

    def latest(self) -> Recommendation | None:
        """The slate that came last, whole; None before the first."""
        return None if self._latest is None else msgspec.json.decode(self._latest, type=Recommendation)

    def close(self) -> None:
        """End the job and delete its topics."""
        self._sender.close()
        if self._reader is not None:
            self._reader.close()
        self._job.close()


_decode_answer: Callable[[bytes], Any] = msgspec.json.Decoder(_Answer).decode
