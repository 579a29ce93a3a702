"""The closed loop: people act in the order of time, each event is answered by a slate, and they react to it.

A `DomainWorld` is whom the loop is about: its people, its catalogue, and what comes of a slate that somebody sees.

A `Competitor` is whatever answers events with slates. What it is told is what a shop would know: the catalogue and the events.
One in this process answers `AtOnce`. One that takes its time, such as a job behind Kafka, has several people waiting: each of them
acts again only when their own slate is there, and nobody is further ahead of the one who has waited since the earliest time than
`Crowd` allows. What a person is lucky with does not depend on who waits with them.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.events import Event
from models.topics import CatalogueItem


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a person made of a slate.

    Attributes
    ----------
    report : that the slate was seen, where that is reported
    events : what they did then, in order
    leaves : the session is over: they do not look at another slate
    place : that was clicked, from 1; 0 for none
    probability : that the slate would be clicked
    best : the same of the best slate for this person now
    measures : what the domain counts of a slate, by name; one that says nothing of this slate is left out
    """

    report: Event | None
    events: list[Event]
    leaves: bool
    place: int
    probability: float = 0.0
    best: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)


class DomainPerson(Protocol):
    """Somebody who comes to a world."""

    @property
    def index(self) -> int:
        """From 0, the place among the people of the world."""

    @property
    def user_id(self) -> str:
        """How events name the person."""

    @property
    def joins_ms(self) -> int:
        """When the first session begins."""


class DomainSession(Protocol):
    """One visit of a person, who has one at a time."""

    def begin(self, time_ms: int) -> Event:
        """The event with which the session begins."""

    def react(self, slate_id: str, items: Sequence[str], time_ms: int) -> Reaction:
        """Look at the slate that answered the latest event, and act on it."""

    def looks_ms(self) -> int:
        """How long the person looks at a slate."""

    def away_ms(self) -> int:
        """How long the person stays away after the session."""


class DomainWorld(Protocol):
    """People, the catalogue, and what they make of slates. The same seed gives the same world, whoever answers in it."""

    @property
    def people(self) -> Sequence[Any]:
        """`DomainPerson` by index; what else a person is, is the world's own matter."""

    def available(self, time_ms: int) -> int:
        """How many catalogue records were written until a time; it does not fall.

        Usually one for each item that came. An item whose entry changes has one more each time, also when it is something that
        people did which changes it, such as the last piece that was sold.
        """

    def catalogue_entry(self, index: int) -> tuple[str, CatalogueItem]:
        """Item id and value of a catalogue record, by its place from 0."""

    def session(self, person: Any, *, k: int, reports: bool) -> DomainSession:
        """The next session of a person.

        Parameters
        ----------
        person : one of `people`
        k : places of a slate
        reports : whether the person's device reports each slate that is seen
        """


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
    """Answers events with slates, in its own time."""

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take up an item that is available from now on."""

    def report(self, event: Event) -> None:
        """Take an event that no slate answers."""

    def ask(self, events: Sequence[Event]) -> None:
        """Take what one user did; the slate that answers the last of these events is the next that the user may see."""

    def slates(self) -> Iterable[tuple[str, Slate]]:
        """The slates that came since the last call, by user, each once; called while at least one is due, and may wait for it."""

    def close(self) -> None:
        """The run is over."""


class Answerer(Protocol):
    """Answers an event with a slate while it is asked."""

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take up an item that is available from now on."""

    def report(self, event: Event) -> None:
        """Take an event that no slate answers."""

    def answer(self, event: Event) -> Slate:
        """Take an event, and make the slate that its user may see next."""


class AtOnce:
    """A competitor that answers while it is asked.

    Parameters
    ----------
    answerer : that makes the slates; an attribute as well
    """

    def __init__(self, answerer: Answerer) -> None:
        self.answerer = answerer
        self._made: list[tuple[str, Slate]] = []
        self.announce, self.report = answerer.announce, answerer.report

    def ask(self, events: Sequence[Event]) -> None:
        """Answer all, and keep the last answer."""
        slates = [self.answerer.answer(event) for event in events]
        self._made.append((events[-1].user_id, slates[-1]))

    def slates(self) -> list[tuple[str, Slate]]:
        """What was made since the last call."""
        made, self._made = self._made, []
        return made

    def close(self) -> None:
        """Nothing is left."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many people may wait for their slates at the same time.

    Attributes
    ----------
    size : at most
    ahead_ms : simulated time by which one who acts may be ahead of one who waits: by so much events are out of order
    """

    size: int = 1
    ahead_ms: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one slate that was seen.

    Attributes
    ----------
    user_id, time_ms : who saw it, and when
    clicked : the reward
    probability, best : that it would be clicked, and the same of the best slate for this person then
    measures : what the domain counts of a slate, by name
    """

    user_id: str
    time_ms: int
    clicked: bool
    probability: float
    best: float
    measures: Mapping[str, float] = field(default_factory=dict)


def closed_loop(
    world: DomainWorld, competitor: Competitor, *, k: int, crowd: Crowd = Crowd(), reports: bool = False
) -> Iterator[Seen]:
    """Every slate that somebody sees, without end; in the order of time where one person waits at a time.

    Parameters
    ----------
    k : places of a slate
    crowd : how many people wait at the same time
    reports : whether each slate that is seen is reported
    """
    due = [(person.joins_ms, person.index) for person in world.people]
    heapq.heapify(due)
    waiting: dict[str, _Waiting] = {}
    sessions: dict[int, DomainSession] = {}
    slates: dict[int, Slate] = {}
    announced = 0
    while True:
        while due and len(waiting) < crowd.size and due[0][0] <= _latest_ms(waiting.values(), crowd):
            time_ms, index = heapq.heappop(due)
            while announced < world.available(time_ms):
                competitor.announce(*world.catalogue_entry(announced))
                announced += 1
            person = world.people[index]
            session, slate = sessions.get(index), slates.get(index)
            if session is None:
                session = sessions[index] = world.session(person, k=k, reports=reports)
                events, leaves = [session.begin(time_ms)], False
            else:
                assert slate is not None
                reaction = session.react(slate.slate_id, slate.items, time_ms)
                events, leaves = reaction.events, reaction.leaves
                yield _seen(person.user_id, time_ms, reaction)
                if reaction.report is not None:
                    competitor.report(reaction.report)
            if leaves:
                del sessions[index]
            acts_ms = time_ms + (session.away_ms() if leaves else session.looks_ms())
            if events:
                competitor.ask(events)
                waiting[person.user_id] = _Waiting(index, time_ms, acts_ms)
            else:
                heapq.heappush(due, (acts_ms, index))
        for user_id, slate in competitor.slates() if waiting else ():
            answered = waiting.pop(user_id)
            slates[answered.index] = slate
            heapq.heappush(due, (answered.acts_ms, answered.index))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A person who waits for a slate since one simulated time, and will act on it at another."""

    index: int
    since_ms: int
    acts_ms: int


def _latest_ms(waiting: Iterable[_Waiting], crowd: Crowd) -> float:
    """Until when people may act now."""
    return min((one.since_ms for one in waiting), default=float("inf")) + crowd.ahead_ms


def _seen(user_id: str, time_ms: int, reaction: Reaction) -> Seen:
    return Seen(user_id, time_ms, reaction.place > 0, reaction.probability, reaction.best, reaction.measures)
