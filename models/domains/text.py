"""Stories that are published all the time and told by a few sentences and a cover; docs/domains/text.md specifies it."""

from __future__ import annotations

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.world import START_MS, unit
from models.topics import CatalogueItem

SUBJECTS = {
    "sea": ("sailors", "a lighthouse", "the harbour", "deep water", "a fishing boat", "an island", "storms", "the tide"),
    "space": ("astronauts", "a distant planet", "the orbit of Mars", "a starship", "comets", "a telescope", "gravity", "aliens"),
    "cooking": ("a chef", "the kitchen", "old recipes", "fresh bread", "a restaurant", "spices", "a family dinner", "pastry"),
    "crime": ("a detective", "the murder", "a missing witness", "the police", "stolen diamonds", "an alibi", "a trial", "the prison"),
    "history": ("a medieval king", "the Roman legions", "an old letter", "the revolution", "a castle", "knights", "the empire", "a queen"),
    "sport": ("a football team", "the final match", "a marathon", "the coach", "a boxing ring", "the stadium", "a cyclist", "the medal"),
    "music": ("a violinist", "the orchestra", "a rock band", "an old piano", "the concert", "a jazz club", "a singer", "the melody"),
    "nature": ("a forest", "wolves", "the mountain trail", "a river", "wild bees", "an oak tree", "winter snow", "the meadow"),
    "work": ("an office", "the startup", "a new boss", "a long meeting", "the factory", "an engineer", "the deadline", "a job interview"),
    "school": ("a teacher", "the classroom", "first exams", "a student", "the library", "homework", "the headmaster", "a science fair"),
}
MOODS = {
    "funny": ("You will laugh out loud.", "Full of jokes and silly mistakes.", "A comedy of errors.", "Witty and hilarious."),
    "dark": ("Grim, cruel and without hope.", "A bleak tale of despair.", "It will give you nightmares.", "Haunting and sinister."),
    "romantic": ("Two hearts find each other.", "A tender love affair.", "It ends with a kiss.", "Passion and longing."),
    "thrilling": ("A breathless chase.", "Danger at every turn.", "You cannot put it down.", "Explosive action and suspense."),
    "thoughtful": ("It asks what a good life is.", "Quiet and philosophical.", "A meditation on time.", "Wise and reflective."),
}
COVER_NUMBERS = 16
_AT_FIRST, _AN_HOUR, _DAYS, _LIVES_MS = 150, 2, 7, 72 * HOUR_MS
_SUBJECT_TASTE, _MOOD_TASTE, _OWN_WORTH, _OFFSET = 0.6, 1.6, 0.4, -2.0
_PAINTERS, _COVER_MOOD, _COVER_NOISE, _SAYS_MOOD = 8, 0.7, 0.4, 0.5
COLD_TAKES, _BEST = 10, 5
_TASTES = 7


class TextWorld(TasteWorld):
    """A shop of stories.

    Attributes
    ----------
    came_ms : int64[items], when each was published
    mood : int64[items], index in `MOODS`; `genre` is that in `SUBJECTS`
    takes : int64[items], how often each was taken so far
    """

    def __init__(self, seed: int, *, users: int = 60, start_ms: int = START_MS) -> None:
        items = _AT_FIRST + 24 * _AN_HOUR * _DAYS
        super().__init__(seed=seed, users=users, items=items, genres=len(SUBJECTS), joining_days=0.5, start_ms=start_ms)
        rng = self.rng
        later = start_ms + np.sort(rng.random(items - _AT_FIRST)) * _DAYS * 24 * HOUR_MS
        self.came_ms: Ints = np.concatenate((np.full(_AT_FIRST, start_ms), later.astype(np.int64)))
        self.mood: Ints = rng.integers(len(MOODS), size=items)
        self.takes: Ints = np.zeros(items, np.int64)
        self._worth: Floats = _OWN_WORTH * rng.normal(size=items)
        self._says_mood = rng.random(items) < _SAYS_MOOD
        moods, painters = (unit(rng.normal(size=(n, COVER_NUMBERS))) for n in (len(MOODS), _PAINTERS))
        painted = painters[rng.integers(_PAINTERS, size=items)] + _COVER_NOISE * unit(rng.normal(size=(items, COVER_NUMBERS)))
        self.covers = unit(painted + _COVER_MOOD * moods[self.mood])
        self._entries = [self._told(item, rng) for item in range(items)]
        tastes = [np.random.default_rng((seed, _TASTES, person.index)) for person in self.people]
        self._subject_tastes = np.stack([_SUBJECT_TASTE * one.normal(size=len(SUBJECTS)) for one in tastes])
        self._mood_tastes = np.stack([_MOOD_TASTE * one.normal(size=len(MOODS)) for one in tastes])
        self.schedule((int(time_ms), item) for item, time_ms in enumerate(self.came_ms.tolist()))

    def _told(self, item: int, rng: np.random.Generator) -> tuple[str, str]:
        """Title and description."""
        subject = tuple(SUBJECTS.values())[self.genre[item]]
        first, second, third = (subject[int(place)] for place in rng.permutation(len(subject))[:3])
        sentences = [f"A story about {first} and {second}."]
        if self._says_mood[item]:
            moods = tuple(MOODS.values())[self.mood[item]]
            sentences.append(moods[int(rng.integers(len(moods)))])
        return f"{third[0].upper()}{third[1:]}", " ".join(sentences)

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        title, text = self._entries[item]
        came_ms = int(self.came_ms[item])
        cover = [round(number, 4) for number in self.covers[item].tolist()]
        return CatalogueItem(
            title=title, text=text, vector=cover, available_from_ms=came_ms, available_until_ms=came_ms + _LIVES_MS
        )

    def utilities(self, person: Member, time_ms: int) -> Floats:
        taste = self._subject_tastes[person.index][self.genre] + self._mood_tastes[person.index][self.mood]
        worth: Floats = taste + self._worth + _OFFSET
        age_ms = time_ms - self.came_ms
        worth[(age_ms < 0) | (age_ms >= _LIVES_MS)] = -np.inf
        worth[list(person.had)] = -np.inf
        return worth

    def session(self, person: Member, *, k: int, reports: bool) -> Browsing:
        return Browsing(self, person, k=k, reports=reports)


class Browsing(Visit):
    """One visit of a reader."""

    def __init__(self, world: TextWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        world = self._world
        cold = world.takes < COLD_TAKES
        worth = np.where(cold, world.utilities(self.person, time_ms), -np.inf)
        best = np.argsort(-worth, kind="stable")[:_BEST]
        best = best[np.isfinite(worth[best])]
        found = {"cold_shown": float(cold[shown].mean()) if len(shown) else 0.0}
        if len(best):
            found["cold_hit"] = float(np.isin(best, shown).any())
        return found

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        was_cold = self._world.takes[item] < COLD_TAKES
        self._take(item, time_ms)
        return [self.event("click", item, time_ms, slate_id, place)], {"cold_clicked": float(was_cold)}

    def found(self, time_ms: int) -> Event:
        event = super().found(time_ms)
        self._world.takes[int(event.item_id[1:])] += 1
        return event

    def _take(self, item: int, time_ms: int) -> None:
        self.person.had[item] = time_ms
        self._world.takes[item] += 1
