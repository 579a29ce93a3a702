"""The candidates of one slate: chosen among what all sources bring, with their frozen features."""

from __future__ import annotations

import msgspec
import numpy as np
from numba import njit

from models.board import CF, CONTENT, USER_CF, Board
from models.config import Configuration, Scorer, Sources
from models.feature_table import FEATURES, columns_of
from models.features import candidate_features
from models.fields import Reason
from models.halves import halves_of
from models.profile import SeenItems, UserState, sitting_length
from models.reasons import OFFER, REQUEST, RULE, SERIES, reasons_of_sources
from models.replica import Replica, lookup
from models.sources import Source, Visit
from models.sources.content import Content
from models.sources.item_cf import ItemCF, profile_steps
from models.sources.new_items import NewItems
from models.sources.popularity import Popularity
from models.sources.repeats import Repeats
from models.sources.trending import Trending
from models.sources.user_cf import UserCF

_NO_HASHES = np.zeros(0, np.int64)
_HAD = list(FEATURES).index("had")
_NEW_ITEMS_BIT = 16
# Each item that the user has had comes from this source, whichever chose it.
_REPEATS_BIT = 32
_RULE_BIT = 128
_REQUEST_BIT = 256
_SERIES_BIT = 512
_OFFER_BIT = 1024
# Sources that score their items, and where: such an item comes from all of them that do.
_SCORES = {"item_cf": CF, "user_cf": USER_CF, "content": CONTENT}


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
def _profile(  # type: ignore[no-untyped-def]
    keys, slots, size, hashes, items, mean_value, decay, gap_decay, liked_weight, disliked_weight
):
    """What `_profile_indices` returns, and `profile_steps` of it."""
    profile, places = _profile_indices(keys, slots, hashes, size)
    steps, liked = profile_steps(places, items, mean_value, decay, gap_decay, liked_weight, disliked_weight)
    return profile, places, steps, liked


@njit(cache=True)
def _user_columns(events, items, mean_value):  # type: ignore[no-untyped-def]
    """Events, length of the current sitting, gap between the last two events in ms, mean value."""
    out = np.zeros(4)
    out[0] = events
    out[1] = sitting_length(items)
    if len(items) > 1:
        out[2] = max(0, items[-1].time_ms - items[-2].time_ms)
    out[3] = mean_value
    return out


@njit(cache=True)
def _rows_with_origins(sums, items, origins, columns, bits):  # type: ignore[no-untyped-def]
    """Copies of some rows of the board; a source that scores an item, in its column, is an origin of it."""
    rows = np.empty((len(items), sums.shape[1]), np.float32)
    for k in range(len(items)):
        for c in range(sums.shape[1]):
            rows[k, c] = sums[items[k], c]
        for s in range(len(columns)):
            if rows[k, columns[s]] > 0:
                origins[k] |= bits[s]
    return rows


class Candidates(msgspec.Struct, frozen=True):
    """What may be shown to one user now.

    Attributes
    ----------
    items : int32[n], dense indices, the best by CF score first
    features : float16[n, WIDTH], the frozen matrix
    sums : float32[n, SUMS], what the sources know of each (`models.board`)
    origins : uint16[n], bits of the sources that brought each, see `CandidateGenerator.told_of`
    profile : int32[m], dense indices of the user's last items, the latest first
    parts : float64[n, m], what each of these adds to the CF score of each; a row sums to the score
    """

    items: np.ndarray
    features: np.ndarray
    sums: np.ndarray
    origins: np.ndarray
    profile: np.ndarray
    parts: np.ndarray

    @property
    def cf_scores(self) -> np.ndarray:
        """float32[n], 0 for what item CF does not know of."""
        return self.sums[:, CF]


class CandidateGenerator:
    """Chooses candidates among what the sources bring, each its share of the places.

    Popular items fill what is left, and items that nobody has had what these leave, unless the source of new items is off.

    Parameters
    ----------
    configuration : the whole configuration
    replica : the model they come from

    Attributes
    ----------
    weights : of each source that is on, by its name
    """

    def __init__(self, configuration: Configuration, replica: Replica) -> None:
        self._replica = replica
        self._item_cf = configuration.item_cf
        self._slate = configuration.slate
        self._in_order = configuration.series.in_order
        self._board = Board()
        self._by_item_cf = ItemCF(configuration.item_cf, replica, bit=1)
        self._sources: tuple[Source, ...] = (
            self._by_item_cf,
            UserCF(configuration.user_cf, replica, bit=2),
            Content(replica, bit=4),
            Trending(replica, bit=8),
            NewItems(configuration.new_items, replica, bit=_NEW_ITEMS_BIT),
            Repeats(replica, bit=_REPEATS_BIT),
        )
        self._filler: Source = Popularity(replica, bit=64)
        everyone: tuple[Source, ...] = (*self._sources, self._filler)
        self._names = {1 << place: source.name for place, source in enumerate(everyone)} | {
            _RULE_BIT: RULE,
            _REQUEST_BIT: REQUEST,
            _SERIES_BIT: SERIES,
            _OFFER_BIT: OFFER,
        }
        self._by_origins: dict[int, tuple[list[str], list[Reason]]] = {}
        self._prepared: tuple[Sources, Scorer] | None = None
        self.prepare(configuration.sources, configuration.scorer)

    def prepare(self, weights: Sources, scorer: Scorer) -> None:
        """Give the sources these weights, and bring candidates for this scorer, from the next slate on."""
        if self._prepared == (weights, scorer):
            return
        self._prepared = (weights, scorer)
        self._size = scorer.candidates
        self._ignored = columns_of(scorer.ignored_groups)
        if not self._slate.recommend_seen:
            weights = msgspec.structs.replace(weights, repeats=0.0)
        weighed = [(1 << place, source, getattr(weights, source.name)) for place, source in enumerate(self._sources)]
        weighed = [(bit, source, weight) for bit, source, weight in weighed if weight > 0]
        self.weights = {source.name: weight for _, source, weight in weighed}
        total = sum(self.weights.values())
        # every share is rounded up: a source that is on has a place
        self._places = [(source, -int(-self._size * weight // total)) for _, source, weight in weighed]
        scoring = [(_SCORES[source.name], weight, bit) for bit, source, weight in weighed if source.name in _SCORES]
        self._weights = [(column, weight) for column, weight, _ in scoring]
        self._scoring = (
            np.array([column for column, _, _ in scoring], np.int64),
            np.array([bit for _, _, bit in scoring], np.uint16),
        )

    @property
    def source_names(self) -> tuple[str, ...]:
        """Of everything that a candidate can come from, as answers and traces name it."""
        return tuple(self._names.values())

    def told_of(self, origins: int) -> tuple[list[str], list[Reason]]:
        """Names of the sources of one candidate and the reasons that they are, the same lists for the same sources."""
        told = self._by_origins.get(origins)
        if told is None:
            names = [name for bit, name in self._names.items() if origins & bit]
            told = self._by_origins[origins] = (names, reasons_of_sources(names))
        return told

    def generate(
        self,
        user: int,
        state: UserState,
        seen: SeenItems,
        *,
        restrict: np.ndarray | None = None,
        exclude: np.ndarray | None = None,
        include: np.ndarray | None = None,
        offers: np.ndarray | None = None,
        answers: np.ndarray | None = None,
        now_ms: int = 0,
    ) -> Candidates:
        """The candidates of a user at the time of the latest event.

        Parameters
        ----------
        user : hash of the user's id, by which the panel knows it
        restrict : int64[n], hashes of the only items that may be candidates; those of them that no source brings come last,
            from the source `models.reasons.REQUEST`
        exclude : int64[n], hashes of items that are no candidates
        include : int64[n], hashes of items that are candidates before all others, if the user may be shown them
        offers : int32[n], dense indices of items that are candidates next, likewise
        answers : int64[n], hashes of items that answer the request's question, the best first: candidates before those of the sources
        now_ms : event time of the slate, by which items are aged for a user without events

        Returns
        -------
        Candidates
            At most scorer.candidates; fewer only where the model knows fewer items that the user may be shown, or new items are off.
        """
        replica, board = self._replica, self._board
        replica.look_at(now_ms)
        visit, mean_value = self._visit(user, state)
        hidden = self._not_again(state, now_ms) if self._slate.recommend_seen else seen.hashes
        if exclude is not None:
            hidden = np.concatenate((hidden, exclude))
        board.start(replica.index_table, replica.capacity, hidden, restrict, size=self._size)
        following = self._episodes_in_order(state) if self._in_order else None
        for source, _ in self._places:
            source.collect(visit, board)
        if following is not None:
            board.take_first(following, len(following), available=replica.available, bit=_SERIES_BIT)
        if include is not None:
            board.take_first(replica.indices_of(include), len(include), available=replica.available, bit=_RULE_BIT)
        if offers is not None:
            board.take_first(offers, len(offers), available=replica.available, bit=_OFFER_BIT)
        if answers is not None:
            board.take_first(replica.indices_of(answers), self._size, available=replica.available, bit=_REQUEST_BIT)
        for source, size in self._places:
            source.choose(visit, board, size)
        self._filler.choose(visit, board, self._size)
        if board.wants_more and "new_items" in self.weights:
            board.take_first(replica.without_events(), self._size, available=replica.available, bit=_NEW_ITEMS_BIT)
        if restrict is not None:
            board.take_first(replica.indices_of(restrict), self._size, available=replica.available, bit=_REQUEST_BIT)
        items, origins = board.chosen, board.origins
        parts = self._by_item_cf.fill(visit, board) if "item_cf" in self.weights else np.zeros((len(items), len(visit.profile)))
        had, had_ms = (visit.hashes, state.items["time_ms"].copy()) if self._slate.recommend_seen else (_NO_HASHES, _NO_HASHES)
        sums = _rows_with_origins(board.sums, items, origins, *self._scoring)
        features = candidate_features(
            items,
            board.sums,
            replica.stats,
            replica.categories,
            replica.year,
            replica.content.labels,
            replica.content.signatures,
            replica.content.log_prices,
            visit.profile,
            visit.steps,
            _user_columns(state.events, state.items, mean_value),
            state.taste.astype(np.float32),
            replica.hashes,
            had,
            had_ms,
            float(state.last_event_ms if state.events else now_ms),
            replica.fast_half_life_ms,
            replica.slow_half_life_ms,
            self._item_cf.score_decay,
        )
        if "repeats" in self.weights:
            origins[features[:, _HAD] > 0] |= _REPEATS_BIT
        if self._ignored:
            features[:, self._ignored] = 0.0
        frozen = halves_of(features).view(np.float16)
        return Candidates(items, frozen, sums, origins, visit.profile, parts)

    def _not_again(self, state: UserState, now_ms: int) -> np.ndarray:
        """int64[n], hashes of the items that the user has had too lately to have them again."""
        if self._slate.repeat_after_s == 0:
            return _NO_HASHES
        return state.items["item"][state.items["time_ms"] > now_ms - 1000 * self._slate.repeat_after_s]

    def _episodes_in_order(self, state: UserState) -> np.ndarray:
        """Bar what comes after the next episode of every series; returns the next ones of the user's, the latest series first."""
        replica = self._replica
        liked = np.ascontiguousarray(state.items["item"][state.items["weight"] > 0])
        allowed, following = replica.episodes.after(replica.indices_of(liked))
        self._board.bar(replica.episodes.later, allowed)
        return following

    def is_next_episode(self, candidates: Candidates) -> np.ndarray:
        """bool[n], which candidates are the next episode of a series of the user's."""
        return candidates.origins & _SERIES_BIT > 0

    def _visit(self, user: int, state: UserState) -> tuple[Visit, float]:
        settings = self._item_cf
        hashes = state.items["item"].copy()
        mean_value = state.value_sum / state.value_count if state.value_count else np.nan
        profile, places, steps, liked = _profile(
            *self._replica.index_table,
            settings.score_items,
            hashes,
            state.items,
            mean_value,
            settings.score_decay,
            settings.gap_decay,
            settings.liked_weight,
            settings.disliked_weight,
        )
        return Visit(user, state, hashes, profile, places, steps, liked), mean_value

    def given(self, candidates: Candidates) -> list[dict[str, float]]:
        """What each source gave each candidate that it brought; 0 where it chooses without scoring."""
        columns = [(bit, name, _SCORES.get(name)) for bit, name in self._names.items()]
        rows = zip(candidates.origins.tolist(), candidates.sums.tolist(), strict=True)
        return [
            {name: 0.0 if column is None else sums[column] for bit, name, column in columns if origins & bit}
            for origins, sums in rows
        ]

    def blend(self, candidates: Candidates) -> np.ndarray:
        """The ranking without a scorer: each source's score, as a share of its largest, by the source's weight.

        Returns
        -------
        float32[n]
        """
        total = np.zeros(len(candidates.items), np.float32)
        for column, weight in self._weights:
            scores = candidates.sums[:, column]
            largest = scores.max(initial=0.0)
            if largest > 0:
                total += np.float32(weight / largest) * scores
        return total
