"""What people do: they find items by themselves, look at slates from the top, click, buy, and leave.

Places are examined by the position-based model with the propensities 1 / place (Joachims, Swaminathan and Schnabel, "Unbiased
learning-to-rank with biased feedback", WSDM 2017); of the items that attract, the first is clicked. docs/simulator.md is the specification.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.events import Event
from models.simulation.loop import Reaction
from models.simulation.world import Floats, Person, World, attraction, item_id, item_index

IMPRESSION = "impression"
"""Type of the event by which a person's device says that a slate was seen."""
_CART, _PURCHASE = 0.25, 0.4
_STAYS_AFTER_CLICK, _STAYS_WITHOUT = 0.9, 0.5
_LOOKS_MS, _ACTS_MS = 20_000, 5_000
_AWAY_MS, _RETURNS_MS = 2 * 3_600_000, 2 * 86_400_000
_SESSION = 3  # beside the streams of models.simulation.world


def examination(places: int) -> Floats:
    """float64[places], the probability that each place of a slate is looked at, from the first."""
    return 1.0 / np.arange(1, places + 1)


def click_probability(attractions: Floats) -> float:
    """Probability that a slate is clicked, from the attraction of its items by place."""
    return float(1 - np.prod(1 - examination(len(attractions)) * attractions))


def clicked_place(attractions: Floats, rng: np.random.Generator) -> int:
    """The place, from 1, that is clicked on a slate; 0 for none."""
    looked_at = rng.random(len(attractions)) < examination(len(attractions))
    attracted = looked_at & (rng.random(len(attractions)) < attractions)
    return int(attracted.argmax()) + 1 if attracted.any() else 0


def best_slate(utilities: Floats, k: int) -> np.ndarray:
    """int64[k], indices of the items that are worth most, the best first."""
    k = min(k, len(utilities))
    best = np.argpartition(-utilities, k - 1)[:k]
    return best[np.lexsort((best, -utilities[best]))]


class Session:
    """One visit of a person, who has one at a time.

    Parameters
    ----------
    world, person : of the session
    k : places of a slate, of which one that is shorter leaves some empty
    reports : whether the person's device reports each slate that is seen
    """

    def __init__(self, world: World, person: Person, *, k: int, reports: bool = False) -> None:
        self._world, self._person, self._k, self._reports = world, person, k, reports
        self._rng = np.random.default_rng((world.seed, _SESSION, person.index, person.sessions))
        self._name = f"{person.user_id}-{person.sessions}"
        person.sessions += 1
        person.bored = False

    def begin(self, time_ms: int) -> Event:
        """The event with which the session begins."""
        return self._found(time_ms)

    def react(self, slate_id: str, items: Sequence[str], time_ms: int) -> Reaction:
        """Look at the slate that answered the latest event, and act on it."""
        shown = [item_index(item) for item in items]
        utilities = self._world.utilities(self._person, time_ms, at_least=max(shown, default=-1) + 1)
        attractions = attraction(utilities[shown])
        best = attraction(utilities[best_slate(utilities, self._k)])
        place = clicked_place(attractions, self._rng)
        leaves = self._rng.random() >= (_STAYS_AFTER_CLICK if place else _STAYS_WITHOUT)
        self._person.bored = place == 0
        events: list[Event] = []
        if place:
            events = self._clicked(shown[place - 1], slate_id, place, time_ms)
        elif not leaves:
            events = [self._found(time_ms)]
        report = self._reported(slate_id, items, time_ms) if self._reports and items else None
        return Reaction(report, events, leaves, place, click_probability(attractions), click_probability(best))

    def looks_ms(self) -> int:
        """How long the person looks at a slate."""
        return _LOOKS_MS + int(self._rng.exponential(_LOOKS_MS))

    def away_ms(self) -> int:
        """How long the person stays away after the session."""
        return _AWAY_MS + int(self._rng.exponential(_RETURNS_MS))

    def _clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> list[Event]:
        types = ["click"]
        if self._rng.random() < _CART:
            types.append("cart")
            if self._rng.random() < _PURCHASE:
                types.append("purchase")
        return [
            self._event(event_type, item, time_ms + n * _ACTS_MS, slate_id=slate_id, position=place)
            for n, event_type in enumerate(types)
        ]

    def _found(self, time_ms: int) -> Event:
        """An item that the person finds without a slate (the Gumbel-max trick draws by a softmax)."""
        utilities = self._world.utilities(self._person, time_ms)
        return self._event("view", int(np.argmax(utilities + self._rng.gumbel(size=len(utilities)))), time_ms)

    def _event(
        self, event_type: str, item: int, time_ms: int, *, slate_id: str | None = None, position: int | None = None
    ) -> Event:
        person = self._person
        person.had[item] = True
        person.events += 1
        return Event(
            f"{person.user_id}-{person.events}",
            person.user_id,
            item_id(item),
            event_type,
            time_ms,
            session_id=self._name,
            slate_id=slate_id,
            position=position,
        )

    def _reported(self, slate_id: str, items: Sequence[str], time_ms: int) -> Event:
        """One event for the whole slate, which names the first of its items; the slate gives it its id."""
        return Event(
            f"{self._person.user_id}-saw-{slate_id}",
            self._person.user_id,
            items[0],
            IMPRESSION,
            time_ms,
            session_id=self._name,
            slate_id=slate_id,
            position=1,
        )
