"""News: items that live for hours, some of them breaking, and readers who stay with what is worth it; docs/domains/news.md specifies it."""

from __future__ import annotations

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.world import START_MS, attraction
from models.topics import CatalogueItem

BREAKING = "breaking"
"""Category of an item for as long as it is breaking news."""
_TOPICS = ("politics", "economy", "science", "sports", "culture", "weather", "traffic", "health", "technology", "travel")
_AN_HOUR, _DAYS, _AT_FIRST_HOURS = 5, 7, 24
_BREAKING_EVERY, _BREAKING_MS = 40, 3 * HOUR_MS
_TASTE, _IMPORTANCE, _BREAKS, _BAIT, _OFFSET = 1.3, 0.6, 2.5, 0.8, -2.5
_HALF_LIFE_MS, _LIVES_MS = 5 * HOUR_MS, 48 * HOUR_MS
_SAME_TOPIC = 0.8
_STAYS_S, _LONGEST_S = 30.0, 600.0


class NewsWorld(TasteWorld):
    """A newspaper.

    Attributes
    ----------
    came_ms : int64[items], when each was published
    breaking : bool[items]
    """

    def __init__(self, seed: int, *, users: int = 40, start_ms: int = START_MS) -> None:
        items = _AN_HOUR * (_AT_FIRST_HOURS + 24 * _DAYS)
        super().__init__(seed=seed, users=users, items=items, genres=len(_TOPICS), joining_days=0.5, start_ms=start_ms)
        rng = self.rng
        self.came_ms: Ints = np.sort(
            start_ms - _AT_FIRST_HOURS * HOUR_MS + (rng.random(items) * (_AT_FIRST_HOURS + 24 * _DAYS) * HOUR_MS).astype(np.int64)
        )
        self.breaking = rng.permutation(items) % _BREAKING_EVERY == 0
        self._bait = rng.normal(size=items)
        self._worth = _IMPORTANCE * rng.normal(size=items) + _BREAKS * self.breaking
        self.schedule((max(start_ms, int(time_ms)), item) for item, time_ms in enumerate(self.came_ms.tolist()))
        self.schedule((int(self.came_ms[item]) + _BREAKING_MS, int(item)) for item in np.flatnonzero(self.breaking))

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        topic, came_ms = _TOPICS[self.genre[item]], int(self.came_ms[item])
        breaks = bool(self.breaking[item]) and time_ms < came_ms + _BREAKING_MS
        return CatalogueItem(
            title=f"{'Breaking: ' if breaks else ''}{topic.capitalize()} report {item}",
            categories=[topic, BREAKING] if breaks else [topic],
            available_from_ms=came_ms,
            available_until_ms=came_ms + _LIVES_MS,
        )

    def match(self, person: Member) -> Floats:
        """float64[items], how well each suits a person's taste."""
        return self.factors @ person.taste

    def utilities(self, person: Member, time_ms: int) -> Floats:
        age_ms = time_ms - self.came_ms
        worth: Floats = _TASTE * self.match(person) + self._worth + _BAIT * self._bait - np.log(2) * age_ms / _HALF_LIFE_MS + _OFFSET
        worth[(age_ms < 0) | (age_ms >= _LIVES_MS)] = -np.inf
        worth[list(person.had)] = -np.inf
        return worth

    def dwell_ms(self, person: Member, item: int, rng: np.random.Generator) -> float:
        """How long a person stays with an item that they opened: bait opens, and disappoints."""
        suits = float(self.factors[item] @ person.taste) - self._bait[item]
        return 1000 * min(_LONGEST_S, float(rng.exponential(_STAYS_S * np.exp(0.7 * suits))))

    def session(self, person: Member, *, k: int, reports: bool) -> Reading:
        return Reading(self, person, k=k, reports=reports)


class Reading(Visit):
    """One visit of a reader."""

    stays_after_click, stays_without = 0.85, 0.5
    look_ms, away_at_least_ms, returns_ms = 20_000, HOUR_MS, 4 * HOUR_MS

    def __init__(self, world: NewsWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world

    def attractions(self, shown: Ints, time_ms: int) -> Floats:
        """Another item of a topic that stands further up says less that is new."""
        topics = self._world.genre[shown]
        above = np.array([int((topics[:place] == topics[place]).sum()) for place in range(len(shown))], np.float64)
        return attraction(self._world.utilities(self.person, time_ms)[shown] - _SAME_TOPIC * above)

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        world = self._world
        found = {"dwell_s": 0.0, "topics": float(len(set(world.genre[shown].tolist())))}
        if len(shown):
            found["age_h"] = float((time_ms - world.came_ms[shown]).mean() / HOUR_MS)
        breaks = world.breaking & (world.came_ms <= time_ms) & (time_ms < world.came_ms + _BREAKING_MS)
        unread = [item for item in np.flatnonzero(breaks).tolist() if item not in self.person.had]
        if unread:
            found["breaking_shown"] = float(np.isin(unread, shown).mean())
        return found

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        self.person.had[item] = time_ms
        dwell_ms = self._world.dwell_ms(self.person, item, self.rng)
        return [self.event("read", item, time_ms, slate_id, place, value=dwell_ms)], {"dwell_s": dwell_ms / 1000}
