"""Music: tracks that are heard again and again, moods that last a session, and skips; docs/domains/music.md specifies it."""

from __future__ import annotations

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.world import DIMENSIONS, START_MS, attraction, unit
from models.topics import CatalogueItem

_GENRES = ("jazz", "rock", "folk", "techno", "classical", "soul", "hip hop", "ambient")
_ARTISTS = 50
_TASTE, _MOOD, _FAME, _OFFSET = 1.0, 1.5, 0.4, -2.6
_LOVED, _REFUSED, _TOO_SOON = 1.5, -1.5, -3.0
_AGAIN_MS = 3 * HOUR_MS
_SAME_ARTIST = 1.5
_TRACK_MS = 200_000


class MusicWorld(TasteWorld):
    """A streaming service.

    Attributes
    ----------
    artist : int64[items]
    """

    def __init__(self, seed: int, *, users: int = 80, items: int = 300, start_ms: int = START_MS) -> None:
        super().__init__(seed=seed, users=users, items=items, genres=len(_GENRES), joining_days=2.0, start_ms=start_ms)
        rng = self.rng
        self.directions = unit(rng.normal(size=(len(_GENRES), DIMENSIONS)))
        genre_of = rng.integers(len(_GENRES), size=_ARTISTS)
        artists = unit(self.directions[genre_of] + 0.4 * unit(rng.normal(size=(_ARTISTS, DIMENSIONS))))
        self.artist: Ints = rng.integers(_ARTISTS, size=items)
        self.genre = genre_of[self.artist]
        self.factors = unit(artists[self.artist] + 0.3 * unit(rng.normal(size=(items, DIMENSIONS))))
        self._fame = rng.normal(size=items)
        self._quality = rng.normal(size=items)
        self.loved: list[dict[int, bool]] = [{} for _ in range(users)]
        self.schedule((start_ms, item) for item in range(items))

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        return CatalogueItem(
            title=f"Track {item} by Artist {self.artist[item]}",
            categories=[_GENRES[self.genre[item]]],
            brand=f"Artist {self.artist[item]}",
        )

    def utilities(self, person: Member, time_ms: int) -> Floats:
        worth: Floats = _TASTE * self.factors @ person.taste + _FAME * self._fame + _OFFSET
        for item, loved in self.loved[person.index].items():
            worth[item] += _LOVED if loved else _REFUSED
        for item, had_ms in person.had.items():
            if time_ms - had_ms < _AGAIN_MS:
                worth[item] += _TOO_SOON
        return worth

    def is_heard_out(self, person: Member, item: int, rng: np.random.Generator) -> bool:
        """Whether a track that was begun is heard to its end: by its quality, which nobody sees before, and the person's taste."""
        fits = 0.8 + 1.3 * self._quality[item] + 0.7 * float(self.factors[item] @ person.taste)
        return bool(rng.random() < 1 / (1 + np.exp(-fits)))

    def playlist(self, person: Member, mood: int, *, tracks: int, rng: np.random.Generator) -> Ints:
        """int64[tracks], what a listener puts into a list for one mood (its genre), in an order that says nothing."""
        worth = _TASTE * self.factors @ person.taste + _MOOD * self.factors @ self.directions[mood]
        return np.argsort(-(2 * worth + rng.gumbel(size=len(worth))))[:tracks][rng.permutation(tracks)]

    def session(self, person: Member, *, k: int, reports: bool) -> Listening:
        return Listening(self, person, k=k, reports=reports)


class Listening(Visit):
    """One session of a listener, in one mood."""

    stays_after_click, stays_without = 0.92, 0.5
    look_ms, away_at_least_ms, returns_ms = _TRACK_MS, 2 * HOUR_MS, 10 * HOUR_MS

    def __init__(self, world: MusicWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world
        fits = world.directions @ person.taste
        self._mood = world.directions[int(np.argmax(fits + self.rng.gumbel(size=len(fits))))]

    def wanted(self, time_ms: int) -> Floats:
        """float64[items], what each is worth in this mood."""
        worth: Floats = self._world.utilities(self.person, time_ms) + _MOOD * self._world.factors @ self._mood
        return worth

    def attractions(self, shown: Ints, time_ms: int) -> Floats:
        """The third track of an artist and those after it are too many."""
        artists = self._world.artist[shown]
        above = np.array([int((artists[:place] == artists[place]).sum()) for place in range(len(shown))])
        return attraction(self.wanted(time_ms)[shown] - _SAME_ARTIST * (above >= 2))

    def found(self, time_ms: int) -> Event:
        """A track of their own choice, by mood too."""
        wanted = self.wanted(time_ms)
        item = int(np.argmax(wanted + self.rng.gumbel(size=len(wanted))))
        return self._heard(item, time_ms)

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        had = self.person.had
        return {
            "listened": 0.0,
            "skipped": 0.0,
            "repeats": float(sum(item in had for item in shown.tolist())),
            "artists": float(len(set(self._world.artist[shown].tolist()))),
        }

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        event = self._heard(item, time_ms, slate_id, place)
        return [event], {"listened": event.value or 0.0, "skipped": float(event.type == "skip")}

    def _heard(self, item: int, time_ms: int, slate_id: str | None = None, place: int | None = None) -> Event:
        """A track is begun, and heard out or skipped."""
        person = self.person
        heard_out = self._world.is_heard_out(person, item, self.rng)
        person.had[item] = time_ms
        self._world.loved[person.index][item] = heard_out
        value = 1.0 if heard_out else float(self.rng.uniform(0.02, 0.3))
        return self.event("play" if heard_out else "skip", item, time_ms, slate_id, place, value=value)
