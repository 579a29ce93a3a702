"""The worlds of the simulator: items, people whose tastes drift, and what an item is worth to a person now.

What is here is hidden from a recommender, except for the catalogue entries. Every draw is a function of the seed and of what it is
for. docs/simulator.md is the specification, and says where the numbers of this file come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.topics import CatalogueItem

if TYPE_CHECKING:
    from models.simulation.behaviour import Session

Floats = npt.NDArray[np.float64]

DAY_MS = 86_400_000
START_MS = 1_704_067_200_000
"""The first day of a world, unless it is told another: 1 January 2024, so that its days lie behind any clock."""

DIMENSIONS, GENRES, THEMES, TAGS = 6, 12, 24, 3
_OWN_FACTORS = 0.5
_OFFSET = -5.0
_TASTE_DAYS = 60.0
_DOUBLING_DAYS = 100
_JOINING_DAYS = 40
_FIRST_SHARE = 0.25

# What a stream of draws is for; sessions have theirs in models.simulation.behaviour.
_ITEMS, _JOINING, _TASTE = range(3)


@dataclass(frozen=True, slots=True)
class Appeal:
    """What a person goes by: the weight of their own taste, and that of an item's fame."""

    taste: float
    fame: float


@dataclass(frozen=True, slots=True)
class Nature:
    """What kind of world it is: the appeal of items to a person, and to one who left the last slate of the session unclicked."""

    content: Appeal
    bored: Appeal


NATURES = {
    "steady": Nature(Appeal(2.0, 0.7), Appeal(2.0, 0.7)),
    "moods": Nature(Appeal(2.0, 0.0), Appeal(0.2, 2.0)),
}


@dataclass(slots=True, eq=False)
class Person:
    """One user, as the world knows them.

    Attributes
    ----------
    index : from 0
    joins_ms : when the first session begins
    had : bool[items], items that the person clicked or found
    events, sessions : so far
    bored : the last slate of this session was not clicked
    taste, day : float64[DIMENSIONS], and the day that it is of
    """

    index: int
    joins_ms: int
    had: npt.NDArray[np.bool_]
    taste: Floats
    day: int = 0
    events: int = 0
    sessions: int = 0
    bored: bool = False

    @property
    def user_id(self) -> str:
        """How events name the person."""
        return f"u{self.index}"


class World:
    """Items and people, and their attraction.

    Parameters
    ----------
    nature : what kind of world it is, one of `NATURES`
    seed : of every draw
    users : how many people join over time
    items : how many there are at the start; as many come later
    start_ms : event time at which it begins

    Attributes
    ----------
    people : by index
    factors : float64[2 * items, DIMENSIONS], unit vectors
    fame : float64[2 * items]
    """

    def __init__(self, nature: Nature, *, seed: int, users: int, items: int, start_ms: int = START_MS) -> None:
        self.seed, self.start_ms = seed, start_ms
        self._nature = nature
        self._first_items = items
        total = 2 * items
        rng = np.random.default_rng((seed, _ITEMS))
        genres = unit(rng.normal(size=(GENRES, DIMENSIONS)))
        self._genre = rng.integers(GENRES, size=total)
        self.factors = unit(genres[self._genre] + _OWN_FACTORS * unit(rng.normal(size=(total, DIMENSIONS))))
        self.fame = rng.normal(size=total)
        themes = unit(rng.normal(size=(THEMES, DIMENSIONS)))
        self._tags = np.argsort(-self.factors @ themes.T, axis=1)[:, :TAGS]
        rng = np.random.default_rng((seed, _JOINING))
        days = np.where(rng.random(users) < _FIRST_SHARE, 1, _JOINING_DAYS) * rng.random(users)
        self.people = [
            Person(index, start_ms + int(day * DAY_MS), np.zeros(total, np.bool_), self._drawn(index, 0))
            for index, day in enumerate(days.tolist())
        ]

    def available(self, time_ms: int) -> int:
        """How many items there are; the first so many of all are available."""
        later = self._first_items * (time_ms - self.start_ms) // (_DOUBLING_DAYS * DAY_MS)
        return self._first_items + min(later, self._first_items)

    def catalogue_entry(self, index: int) -> tuple[str, CatalogueItem]:
        """What a shop knows of an item: its id and its record of the topic `items`."""
        tags = [f"theme {theme}" for theme in self._tags[index]]
        return item_id(index), CatalogueItem(title=f"Item {index}", categories=[f"genre {self._genre[index]}"], tags=tags)

    def session(self, person: Person, *, k: int, reports: bool) -> Session:
        """The next session of a person."""
        from models.simulation.behaviour import Session  # which reads this module

        return Session(self, person, k=k, reports=reports)

    def taste(self, person: Person, time_ms: int) -> Floats:
        """float64[DIMENSIONS], the taste of a person on the day of a time, which does not lie before the last one asked for."""
        day = (time_ms - self.start_ms) // DAY_MS
        kept = exp(-1 / _TASTE_DAYS)
        while person.day < day:
            person.day += 1
            person.taste = kept * person.taste + sqrt(1 - kept * kept) * self._drawn(person.index, person.day)
        return person.taste

    def utilities(self, person: Person, time_ms: int, *, at_least: int = 0) -> Floats:
        """What the available items are worth to a person now.

        Parameters
        ----------
        at_least : so many items, where some were announced already to people who are ahead in time

        Returns
        -------
        float64[available]; minus infinity for what the person has had
        """
        appeal = self._nature.bored if person.bored else self._nature.content
        available = max(at_least, self.available(time_ms))
        by_taste = self.factors[:available] @ self.taste(person, time_ms)
        worth: Floats = appeal.taste * by_taste + appeal.fame * self.fame[:available] + _OFFSET
        worth[person.had[:available]] = -np.inf
        return worth

    def _drawn(self, person: int, day: int) -> Floats:
        return np.random.default_rng((self.seed, _TASTE, person, day)).normal(size=DIMENSIONS)


def item_id(index: int) -> str:
    """How events name an item."""
    return f"i{index}"


def item_index(named: str) -> int:
    """Index of an item by its id."""
    return int(named[1:])


def attraction(utilities: Floats) -> Floats:
    """Probability that an item attracts a person who looks at it."""
    return 1.0 / (1.0 + np.exp(-utilities))


def unit(vectors: Floats) -> Floats:
    """The same directions at length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
