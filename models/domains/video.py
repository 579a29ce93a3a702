"""Video: films and series whose episodes follow each other, watched to the end or not; docs/domains/video.md specifies it."""

from __future__ import annotations

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.world import START_MS
from models.topics import CatalogueItem

_GENRES = ("crime", "comedy", "drama", "science fiction", "documentary", "romance", "animation", "thriller")
_SERIES, _EPISODES, _FILMS = 50, 6, 100
_TASTE, _FAME, _BAIT, _OFFSET = 1.5, 0.5, 0.7, -3.2
_HOOKED, _DROPPED, _TOO_EARLY = 2.5, -1.5, -0.7
_EPISODE_MINUTES, _FILM_MINUTES = 40.0, 100.0


class VideoWorld(TasteWorld):
    """A streaming service.

    Attributes
    ----------
    series : int64[items], number of the series, -1 for a film
    episode : int64[items], from 1; 0 for a film
    minutes : float64[items]
    reached : of each person, the last episode of each series that was begun, and whether they liked it
    """

    def __init__(self, seed: int, *, users: int = 80, start_ms: int = START_MS) -> None:
        items = _SERIES * _EPISODES + _FILMS
        super().__init__(seed=seed, users=users, items=items, genres=len(_GENRES), joining_days=2.0, start_ms=start_ms)
        rng, of_series = self.rng, _SERIES * _EPISODES
        self.series: Ints = np.full(items, -1)
        self.series[:of_series] = np.arange(of_series) // _EPISODES
        self.episode: Ints = np.zeros(items, np.int64)
        self.episode[:of_series] = np.arange(of_series) % _EPISODES + 1
        # the episodes of a series are alike
        first = np.where(self.series >= 0, self.series * _EPISODES, np.arange(items))
        self.factors, self.genre = self.factors[first], self.genre[first]
        self.minutes: Floats = np.where(self.series >= 0, _EPISODE_MINUTES, _FILM_MINUTES)
        self._fame = rng.normal(size=items)[first]
        self._bait = rng.normal(size=items)[first]
        self.reached: list[dict[int, tuple[int, bool]]] = [{} for _ in range(users)]
        self.schedule((start_ms, item) for item in range(items))

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        series = int(self.series[item])
        if series < 0:
            return CatalogueItem(title=f"Film {item}", categories=[_GENRES[self.genre[item]]])
        episode = int(self.episode[item])
        return CatalogueItem(
            title=f"Series {series}, episode {episode}",
            categories=[_GENRES[self.genre[item]]],
            series=f"series {series}",
            episode=episode,
        )

    def is_too_early(self, person: Member) -> np.ndarray:
        """bool[items], episodes before which a person has to watch others."""
        reached = np.zeros(_SERIES + 1, np.int64)
        for series, (episode, _) in self.reached[person.index].items():
            reached[series] = episode
        early: np.ndarray = self.episode > reached[self.series] + 1
        return early & (self.series >= 0)

    def utilities(self, person: Member, time_ms: int) -> Floats:
        worth: Floats = _TASTE * self.factors @ person.taste + _FAME * self._fame + _BAIT * self._bait + _OFFSET
        for series, (episode, liked) in self.reached[person.index].items():
            worth[(self.series == series) & (self.episode == episode + 1)] += _HOOKED if liked else _DROPPED
        worth[self.is_too_early(person)] += _TOO_EARLY
        worth[list(person.had)] = -np.inf
        return worth

    def watch(self, person: Member, item: int, rng: np.random.Generator) -> float:
        """Share of an item that a person watches: bait is begun and left, and so is an episode that comes too early."""
        fits = 0.5 + 1.0 * float(self.factors[item] @ person.taste) - 1.3 * self._bait[item]
        share = 1 / (1 + np.exp(-fits))
        if self.is_too_early(person)[item]:
            share *= 0.2
        share = float(np.clip(share + rng.normal(0, 0.15), 0.02, 1.0))
        series, episode = int(self.series[item]), int(self.episode[item])
        if series >= 0 and not self.is_too_early(person)[item]:
            self.reached[person.index][series] = (episode, share > 0.5)
        return share

    def session(self, person: Member, *, k: int, reports: bool) -> Watching:
        return Watching(self, person, k=k, reports=reports)


class Watching(Visit):
    """One evening of a viewer."""

    stays_after_click, stays_without = 0.75, 0.6
    look_ms, away_at_least_ms, returns_ms = 15 * 60_000, 12 * HOUR_MS, 12 * HOUR_MS

    def __init__(self, world: VideoWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world

    def found(self, time_ms: int) -> Event:
        """A title that they find by themselves, in order."""
        world, person = self._world, self.person
        worth = world.utilities(person, time_ms)
        worth[world.is_too_early(person)] = -np.inf
        item = int(np.argmax(worth + self.rng.gumbel(size=len(worth))))
        share = world.watch(person, item, self.rng)
        person.had[item] = time_ms
        return self.event("play", item, time_ms, value=share)

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        return {"minutes": 0.0, "too_early": float(self._world.is_too_early(self.person)[shown].sum())}

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        share = self._world.watch(self.person, item, self.rng)
        self.person.had[item] = time_ms
        minutes = share * float(self._world.minutes[item])
        return [self.event("play", item, time_ms, slate_id, place, value=share)], {"minutes": minutes, "completion": share}
