"""The candidates of one slate: gathered from all sources, with their frozen features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from models.config import Configuration
from models.features import candidate_features, columns_of
from models.profile import SeenItems, UserState
from models.replica import Replica, lookup
from models.sources.item_cf import CF, CF_SHORT, FAST_FORWARD, best_by, contributions, gather, new_sums
from models.sources.popularity import fill_with_popular

# Of all candidates, the share that two other orders than the CF score may add: what it ranks too low.
_SHARE_OF_OTHER_ORDERS = 0.13
_FLOAT16_MAX = float(np.finfo(np.float16).max)


@njit(cache=True)
def _start_slate(keys, slots, hidden, marks):  # type: ignore[no-untyped-def]
    """Begin a new serial of `marks` (`models.sources.item_cf.gather`), with the hidden items barred."""
    marks[0] += 1
    for h in hidden:
        index = lookup(keys, slots, h)
        if index >= 0:
            marks[1 + index] = -marks[0]


@njit(cache=True)
def _profile_indices(keys, slots, hashes, size):  # type: ignore[no-untyped-def]
    """Dense indices of the last `size` known items, the latest first, and where in `hashes` they stand."""
    indices = np.empty(min(size, len(hashes)), np.int32)
    places = np.empty(len(indices), np.int32)
    n = 0
    for p in range(len(hashes) - 1, -1, -1):
        if n == len(indices):
            break
        index = lookup(keys, slots, hashes[p])
        if index >= 0:
            indices[n] = index
            places[n] = p
            n += 1
    return indices[:n], places[:n]


@njit(cache=True)
def _choose(popular, marks, taken, sums, touched, found, by_cf, by_others, size):  # type: ignore[no-untyped-def]
    out = np.empty(size, np.int32)
    taken[0] += 1
    serial = taken[0]
    n = best_by(sums, CF, touched, found, by_cf, taken, serial, out, 0)
    n = best_by(sums, FAST_FORWARD, touched, found, by_others, taken, serial, out, n)
    n = best_by(sums, CF_SHORT, touched, found, by_others, taken, serial, out, n)
    n = fill_with_popular(popular, marks, taken, serial, sums, size, out, n)
    return out[:n]


@njit(cache=True)
def _user_columns(events, times_ms, sittings, mean_value):  # type: ignore[no-untyped-def]
    """Events, length of the current sitting, gap between the last two events in ms, mean value."""
    out = np.zeros(4)
    out[0] = events
    n = len(sittings)
    for p in range(n - 1, -1, -1):
        if sittings[p] != sittings[n - 1]:
            break
        out[1] += 1
    if n > 1:
        out[2] = max(0, times_ms[n - 1] - times_ms[n - 2])
    out[3] = mean_value
    return out


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may be shown to one user now.

    Attributes
    ----------
    items : int32[n], dense indices, the best by CF score first
    features : float16[n, WIDTH], the frozen matrix
    cf_scores : float32[n], 0 for what item CF does not know of
    profile : int32[m], dense indices of the user's last items, the latest first
    places : int32[m], where in the user's items each of them stands
    """

    items: np.ndarray
    features: np.ndarray
    cf_scores: np.ndarray
    profile: np.ndarray
    places: np.ndarray


class CandidateGenerator:
    """Gathers candidates from a replica.

    Parameters
    ----------
    configuration : the whole configuration
    replica : the model they come from
    """

    def __init__(self, configuration: Configuration, replica: Replica) -> None:
        self._replica = replica
        self._item_cf = configuration.item_cf
        self._seen_too = configuration.slate.recommend_seen
        self._size = configuration.scorer.candidates
        self._by_others = int(self._size * _SHARE_OF_OTHER_ORDERS)
        self._by_cf = self._size - 2 * self._by_others
        self._pool = max(configuration.popularity.pool, self._size)
        self._ignored = columns_of(configuration.scorer.ignored_groups)
        self._capacity = 0

    def _allocate(self) -> None:
        """Scratch arrays, one entry an item."""
        if self._capacity == self._replica.capacity:
            return
        self._capacity = self._replica.capacity
        self._sums = new_sums(self._capacity)
        self._touched = np.zeros(self._capacity, np.int32)
        self._places = np.zeros(self._capacity, np.int32)
        self._marks = np.zeros(self._capacity + 1, np.int64)
        self._taken = np.zeros(self._capacity + 1, np.int64)

    def generate(self, state: UserState, seen: SeenItems) -> Candidates:
        """The candidates of a user at the time of the latest event.

        Returns
        -------
        Candidates
            At most scorer.candidates; fewer only where the model knows fewer items that the user has not seen.
        """
        self._allocate()
        replica, item_cf = self._replica, self._item_cf
        keys, slots = replica.index_table
        hidden = seen.hashes[:0] if self._seen_too else seen.hashes
        _start_slate(keys, slots, hidden, self._marks)
        history = np.ascontiguousarray(state.items["item"])
        profile, places = _profile_indices(keys, slots, history, item_cf.score_items)
        mean_value = state.value_sum / state.value_count if state.value_count else np.nan
        liked = (state.items["value"][places] >= mean_value).astype(np.float64)
        found = gather(
            profile,
            liked,
            replica.lists,
            replica.neighbour,
            replica.weights,
            replica.stats[:, 0],
            replica.available,
            item_cf.score_decay,
            item_cf.reverse_weight,
            item_cf.shrinkage,
            self._sums,
            self._touched,
            self._marks,
        )
        # the popular items that this user has seen leave: ask for enough of them
        popular = replica.popular(self._pool + self._size)
        items = _choose(
            popular,
            self._marks,
            self._taken,
            self._sums,
            self._touched,
            found,
            self._by_cf,
            self._by_others,
            self._size,
        )
        features = candidate_features(
            items,
            self._sums,
            replica.stats,
            replica.categories,
            replica.year,
            profile,
            _user_columns(state.events, state.items["time_ms"], state.items["sitting"], mean_value),
            float(state.last_event_ms),
            replica.fast_half_life_ms,
            replica.slow_half_life_ms,
            item_cf.score_decay,
        )
        if self._ignored:
            features[:, self._ignored] = 0.0
        # a value (dwell time in ms, a price) beyond float16 would become infinite, and the running means NaN for ever
        frozen = np.clip(features, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16)
        return Candidates(items, frozen, self._sums[items, CF], profile, places)

    def contributions(self, candidates: Candidates, items: np.ndarray) -> np.ndarray:
        """What each item of `candidates.profile` adds to the CF scores of some candidates.

        Parameters
        ----------
        items : int32[k], dense indices

        Returns
        -------
        float64[k, m], each row sums to the CF score of its item
        """
        replica, item_cf = self._replica, self._item_cf
        return contributions(
            items,
            candidates.profile,
            replica.lists,
            replica.neighbour,
            replica.weights,
            replica.stats[:, 0],
            item_cf.score_decay,
            item_cf.reverse_weight,
            item_cf.shrinkage,
            self._places,
        )
