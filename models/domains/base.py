"""What the worlds of domains have in common: people with tastes, a catalogue that is written over time, a visit that looks from the top.

Items and people are described by vectors of `DIMENSIONS` numbers as in docs/simulator.md: an item's is near that of its genre, a person's
taste is drawn once and stays. Every draw is a function of the seed and of what it is for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.events import Event
from models.simulation.behaviour import IMPRESSION, click_probability, clicked_place
from models.simulation.loop import Reaction
from models.simulation.world import DAY_MS, DIMENSIONS, START_MS, attraction, item_id, unit
from models.topics import CatalogueItem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

HOUR_MS = 3_600_000
_OWN_FACTORS = 0.5
_ITEMS, _JOINING, _TASTE, _SESSION = range(4)


@dataclass(slots=True, eq=False)
class Member:
    """Somebody who comes to a world.

    Attributes
    ----------
    index : from 0
    joins_ms : when the first session begins
    taste : float64[DIMENSIONS]
    had : event time at which each item was last taken, by index of the item
    events, sessions : so far
    """

    index: int
    joins_ms: int
    taste: Floats
    had: dict[int, int] = field(default_factory=dict)
    events: int = 0
    sessions: int = 0

    @property
    def user_id(self) -> str:
        """How events name the person."""
        return f"u{self.index}"


class TasteWorld(ABC):
    """Items in genres, people with tastes, and the records of the catalogue in the order in which they are written.

    Parameters
    ----------
    seed : of every draw
    users : how many people join
    items : how many there are in all
    genres : how many kinds of items
    joining_days : the last person joins within so many days
    start_ms : event time at which the world begins

    Attributes
    ----------
    people : by index
    factors : float64[items, DIMENSIONS], unit vectors
    genre : int64[items]
    rng : for what else an item is, to be drawn when the world is made
    """

    def __init__(
        self, *, seed: int, users: int, items: int, genres: int, joining_days: float, start_ms: int = START_MS
    ) -> None:
        self.seed, self.start_ms = seed, start_ms
        self.rng = rng = np.random.default_rng((seed, _ITEMS))
        directions = unit(rng.normal(size=(genres, DIMENSIONS)))
        self.genre: Ints = rng.integers(genres, size=items)
        self.factors = unit(directions[self.genre] + _OWN_FACTORS * unit(rng.normal(size=(items, DIMENSIONS))))
        days = np.random.default_rng((seed, _JOINING)).random(users) * joining_days
        self.people = [
            Member(index, start_ms + int(day * DAY_MS), np.random.default_rng((seed, _TASTE, index)).normal(size=DIMENSIONS))
            for index, day in enumerate(days.tolist())
        ]
        self._written: list[tuple[str, CatalogueItem]] = []
        self._coming: list[tuple[int, int]] = []

    def schedule(self, comings: Iterable[tuple[int, int]]) -> None:
        """Let the entries of items be written at some times: pairs of (time in ms, item)."""
        self._coming = sorted((*self._coming, *comings), reverse=True)

    def write(self, item: int, time_ms: int) -> None:
        """Write the entry of an item, as it is at a time."""
        self._written.append((item_id(item), self.entry(item, time_ms)))

    def available(self, time_ms: int) -> int:
        """How many catalogue records are written at a time."""
        while self._coming and self._coming[-1][0] <= time_ms:
            due_ms, item = self._coming.pop()
            self.turn(item, due_ms)
            self.write(item, due_ms)
        return len(self._written)

    def catalogue_entry(self, index: int) -> tuple[str, CatalogueItem]:
        """A catalogue record by its place from 0."""
        return self._written[index]

    def turn(self, item: int, time_ms: int) -> None:  # noqa: B027 (most domains need none)
        """What happens to an item when its entry is written as scheduled; nothing, unless a domain says otherwise."""

    @abstractmethod
    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        """What the catalogue says of an item at a time."""

    @abstractmethod
    def utilities(self, person: Member, time_ms: int) -> Floats:
        """float64[items], what each is worth to a person now; minus infinity for one that is not there, or not wanted."""

    @abstractmethod
    def session(self, person: Member, *, k: int, reports: bool) -> Visit:
        """The next session of a person."""


class Visit(ABC):
    """One session of a person. A domain says what becomes of a click, and how long people look and stay away.

    Parameters
    ----------
    world, person : of the session
    k : places of a slate
    reports : whether the person's device reports each slate that is seen
    """

    stays_after_click, stays_without = 0.9, 0.5
    look_ms, away_at_least_ms, returns_ms = 20_000, 2 * HOUR_MS, 2 * DAY_MS

    def __init__(self, world: TasteWorld, person: Member, *, k: int, reports: bool) -> None:
        self._of, self.person, self.k, self._reports = world, person, k, reports
        self.rng = np.random.default_rng((world.seed, _SESSION, person.index, person.sessions))
        self._name = f"{person.user_id}-{person.sessions}"
        person.sessions += 1

    def begin(self, time_ms: int) -> Event:
        """An item that the person finds without a slate."""
        return self.found(time_ms)

    def react(self, slate_id: str, items: Sequence[str], time_ms: int) -> Reaction:
        """Look at the places from the top, take the first that attracts, and do with it what people of the domain do."""
        shown = np.array([int(item[1:]) for item in items], np.int64)
        attractions = self.attractions(shown, time_ms)
        place = clicked_place(attractions, self.rng)
        leaves = bool(self.rng.random() >= (self.stays_after_click if place else self.stays_without))
        measures = {"clicked": float(place > 0)} | self.measures(shown, time_ms)
        events: list[Event] = []
        if place:
            events, came = self.clicked(int(shown[place - 1]), slate_id, place, time_ms)
            measures |= came
        elif not leaves:
            events = [self.found(time_ms)]
        report = self.event(IMPRESSION, int(shown[0]), time_ms, slate_id, 1) if self._reports and len(shown) else None
        return Reaction(report, events, leaves, place, click_probability(attractions), measures=measures)

    def attractions(self, shown: Ints, time_ms: int) -> Floats:
        """float64[places], the probability that each shown item attracts who looks at it."""
        return attraction(self._of.utilities(self.person, time_ms)[shown])

    @abstractmethod
    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        """What a person does with an item that attracted them, and what the domain counts of it."""

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        """What the domain counts of a slate, whatever comes of it."""
        return {}

    def looks_ms(self) -> int:
        """How long the person looks at a slate, and at what they took from it."""
        return self.look_ms + int(self.rng.exponential(self.look_ms))

    def away_ms(self) -> int:
        """How long the person stays away after the session."""
        return self.away_at_least_ms + int(self.rng.exponential(self.returns_ms))

    def found(self, time_ms: int) -> Event:
        """An item that the person finds without a slate, by what it is worth to them (the Gumbel-max trick draws by a softmax)."""
        utilities = self._of.utilities(self.person, time_ms)
        item = int(np.argmax(utilities + self.rng.gumbel(size=len(utilities))))
        self.person.had[item] = time_ms
        return self.event("view", item, time_ms)

    def event(
        self,
        event_type: str,
        item: int,
        time_ms: int,
        slate_id: str | None = None,
        position: int | None = None,
        *,
        value: float | None = None,
    ) -> Event:
        """The next event of the person."""
        person = self.person
        person.events += 1
        return Event(
            f"{person.user_id}-{person.events}",
            person.user_id,
            item_id(item),
            event_type,
            time_ms,
            value=value,
            session_id=self._name,
            slate_id=slate_id,
            position=position,
        )
