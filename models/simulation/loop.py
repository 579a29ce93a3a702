"""The closed loop: people act in the order of time, each event is answered by a slate, and they react to it.

A `Competitor` is whatever answers events with slates. What it is told is what a shop would know: the catalogue and the events.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.events import Event
from models.simulation.behaviour import Session
from models.simulation.world import World
from models.topics import CatalogueItem


@dataclass(frozen=True, slots=True)
class Slate:
    """What a person sees.

    Attributes
    ----------
    slate_id : as events quote it
    items : ids by place
    """

    slate_id: str
    items: Sequence[str]


class Competitor(Protocol):
    """Answers events with slates."""

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take up an item that is available from now on."""

    def answer(self, event: Event) -> Slate:
        """Take an event, and make the slate that its user may see next."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one slate that was seen.

    Attributes
    ----------
    user_id, time_ms : who saw it, and when
    clicked : the reward
    probability, best : that it would be clicked, and the same of the best slate for this person then
    """

    user_id: str
    time_ms: int
    clicked: bool
    probability: float
    best: float


def closed_loop(world: World, competitor: Competitor, *, k: int) -> Iterator[Seen]:
    """Every slate that somebody sees, in the order of time, without end.

    Parameters
    ----------
    k : places of a slate
    """
    due: list[tuple[int, int]] = [(person.joins_ms, person.index) for person in world.people]
    heapq.heapify(due)
    sessions: dict[int, Session] = {}
    slates: dict[int, Slate] = {}
    announced = 0
    while True:
        time_ms, index = heapq.heappop(due)
        for announced_next in range(announced, world.available(time_ms)):
            competitor.announce(*world.catalogue_entry(announced_next))
        announced = world.available(time_ms)
        person = world.people[index]
        if index not in sessions:
            session = sessions[index] = Session(world, person, k=k)
            events, leaves = [session.begin(time_ms)], False
        else:
            session, slate = sessions[index], slates[index]
            reaction = session.react(slate.slate_id, slate.items, time_ms)
            events, leaves = reaction.events, reaction.leaves
            yield Seen(person.user_id, time_ms, reaction.place > 0, reaction.probability, reaction.best)
        for event in events:
            slates[index] = competitor.answer(event)
        if leaves:
            del sessions[index]
        heapq.heappush(due, (time_ms + (session.away_ms() if leaves else session.looks_ms()), index))
