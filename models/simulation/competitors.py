"""Who makes the slates of a simulation: the recommender, learning or not, and what it is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from models.config import Configuration
from models.events import Event
from models.identity import slate_id
from models.pipeline import LocalPipeline
from models.simulation.behaviour import best_slate
from models.simulation.figures import NO_LEARNING, ORACLE
from models.simulation.loop import Answerer, AtOnce, Competitor, Slate
from models.simulation.world import World, item_id, item_index
from models.topics import CatalogueItem

CONSTANT = "constant"
"""Stands for each strategy by itself where a policy is named."""
_STATIC_SHARE = 0.25


class Flinkrec:
    """The recommender with everything that it learns, in one process.

    Parameters
    ----------
    configuration : the whole configuration
    learns_until : number of events after which nothing more is learned, None for never; users keep their profiles

    Attributes
    ----------
    pipeline : that recommends and learns
    """

    def __init__(self, configuration: Configuration, *, learns_until: int | None = None) -> None:
        self.pipeline = LocalPipeline(configuration)
        self._left = learns_until

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take an item into the catalogue."""
        self.pipeline.apply_catalogue(item_id, msgspec.json.encode(item))

    def report(self, event: Event) -> None:
        """Learn from an event that is not answered."""
        self._observe(event)

    def answer(self, event: Event) -> Slate:
        """Learn from an event, and recommend."""
        self._observe(event)
        answer = self.pipeline.recommend(event)
        return Slate(answer.slate_id, [item.item_id for item in answer.items])

    def _observe(self, event: Event) -> None:
        if self._left is None or self._left > 0:
            self.pipeline.learn(event)
        else:
            recommender, user = self.pipeline.recommender, self.pipeline.user(event.user_id)
            recommender.admit(user, event, now_ms=event.event_time_ms)
            recommender.observe(user, event)
        if self._left:
            self._left -= 1


class _Ranking(ABC):
    """Shows the available items that score highest among those that the user has not had."""

    def __init__(self, world: World, *, k: int) -> None:
        self._world, self._k = world, k
        self._items = 0
        self._had: defaultdict[str, list[int]] = defaultdict(list)

    @abstractmethod
    def _scores(self, event: Event) -> np.ndarray:
        """float64[items], a copy."""

    def announce(self, item_id: str, item: CatalogueItem) -> None:
        """Take up an item."""
        self._items += 1

    def report(self, event: Event) -> None:
        """Pass over what was seen: it changes no ranking."""
        del event

    def answer(self, event: Event) -> Slate:
        """Rank for the user of an event."""
        had = self._had[event.user_id]
        had.append(item_index(event.item_id))
        scores = self._scores(event)
        scores[had] = -np.inf
        ranked = best_slate(scores, self._k).tolist()
        return Slate(slate_id(event.event_id, event.user_id), [item_id(index) for index in ranked])


class Random(_Ranking):
    """Any items."""

    def __init__(self, world: World, *, k: int) -> None:
        super().__init__(world, k=k)
        self._rng = np.random.default_rng(world.seed)

    def _scores(self, event: Event) -> np.ndarray:
        return self._rng.random(self._items)


class Popularity(_Ranking):
    """The items with the most events."""

    def __init__(self, world: World, *, k: int) -> None:
        super().__init__(world, k=k)
        self._events = np.zeros(len(world.fame))

    def _scores(self, event: Event) -> np.ndarray:
        self._events[item_index(event.item_id)] += 1
        return self._events[: self._items].copy()


class Oracle(_Ranking):
    """The items that the user wants most: it knows the world."""

    def _scores(self, event: Event) -> np.ndarray:
        person = self._world.people[int(event.user_id[1:])]
        return self._world.utilities(person, event.event_time_ms)


Recommenders = Callable[[str, Configuration], Competitor]
"""Makes the competitor of a name that is the whole recommender with some configuration."""


def in_process(name: str, configuration: Configuration) -> Competitor:
    """The recommender in this process; see `Recommenders`."""
    return AtOnce(Flinkrec(configuration))


def competitors(
    configuration: Configuration, *, slates: int, policies: Sequence[str] = (), recommender: Recommenders = in_process
) -> dict[str, Callable[[World], Competitor]]:
    """How each competitor is made for a world, by its name.

    Parameters
    ----------
    configuration : its first strategy is that of `flinkrec`; those that learn which one is best choose among all
    slates : length of a run
    policies : names of policies, or `CONSTANT` for each strategy by itself
    recommender : makes those that are the recommender; the one that stops to learn is left out where they do not run in this process
    """
    k, (first, *others) = configuration.slate.k, configuration.policy.strategies
    base = always(configuration, first)
    recommending = {"flinkrec": base, NO_LEARNING: without_learning(base)}
    for policy in policies:
        if policy == CONSTANT:
            recommending |= {f"always {name}": always(configuration, name) for name in others}
        else:
            recommending[policy] = _with_policy(configuration, name=policy)
    ranking: dict[str, Callable[[World], Answerer]] = {
        "popularity": lambda world: Popularity(world, k=k),
        "random": lambda world: Random(world, k=k),
        ORACLE: lambda world: Oracle(world, k=k),
    }
    if recommender is in_process:
        ranking = {"static": lambda _: Flinkrec(base, learns_until=int(slates * _STATIC_SHARE))} | ranking
    makers = {name: _maker(recommender, name, own) for name, own in recommending.items()}
    return {name: makers.pop(name) for name in ("flinkrec", NO_LEARNING)} | {
        name: _at_once(make) for name, make in ranking.items()
    } | makers


def without_learning(configuration: Configuration) -> Configuration:
    """The same with nothing that learns: neither items nor similar users, neither weights nor a policy."""
    replace = msgspec.structs.replace
    return replace(
        always(configuration, next(iter(configuration.policy.strategies))),
        item_cf=replace(configuration.item_cf, enabled=False),
        user_cf=replace(configuration.user_cf, panel_size=0),
        learner=replace(configuration.learner, enabled=False),
    )


def always(configuration: Configuration, strategy: str) -> Configuration:
    """The same with one strategy, so that there is nothing to choose."""
    return _with_policy(configuration, strategies={strategy: configuration.policy.strategies[strategy]})


def _maker(recommender: Recommenders, name: str, configuration: Configuration) -> Callable[[World], Competitor]:
    return lambda _: recommender(name, configuration)


def _at_once(make: Callable[[World], Answerer]) -> Callable[[World], Competitor]:
    return lambda world: AtOnce(make(world))


def _with_policy(configuration: Configuration, **changes: Any) -> Configuration:
    policy = msgspec.structs.replace(configuration.policy, **changes)
    return msgspec.structs.replace(configuration, policy=policy)
