"""Business rules: what include, exclude, boost, pin, category caps and brand caps do to a slate.

Excluded items are no candidates at all: the replica does not offer them. The rest happens to one slate, in this order: included
items join the candidates, boosts change what they are ranked by, the strategy ranks, then the list is laid out and its exploration
pool is chosen, so that propensities stay exact (design of `models.policies.slots`):

1. Pins take their positions, the first position first; one that would break a cap is passed over.
2. The other positions are filled from the ranking; an item that would push a category or a brand above its cap is passed over. The list is
   shorter where too few items are left; what is pinned further down moves up.
3. The pool E gets the remaining items in their order, each only if no draw can break a cap, whatever else is drawn. With n_c items
   of category c in the list, u_c positions that are not pinned and show none of c, and E_c items of c in the pool, the slate can come
   to hold n_c + min(E_c, u_c) of c, and no more: replacing an item of c by one of c adds nothing. An item is let in while that
   stays within the cap of each of its categories.

Frequency caps (`models.frequency`) come before all: what the user may not be shown again yet is no candidate, and of a campaign that may be
shown n times more the slate holds at most n items, by the same arithmetic as a category.

Exploration then draws from E alike for each position that is not pinned, so the marginal probability of every item at every position
is what it is without rules. Rules of one kind are taken in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from msgspec import Struct
from numba import njit

from models.auction.campaigns import Campaigns
from models.controls import Boost, BrandCaps, CategoryCaps, Exclude, FrequencyCap, Include, Pin
from models.events import Event
from models.frequency import NO_CAMPAIGN, Impressions
from models.identity import hash64, item_hash64
from models.labels import Labels, LabelSet
from models.replica import Replica
from models.requests import Request

_NO_CAP = 1 << 30
_NO_ITEMS = np.zeros(0, np.int64)


@njit(cache=True)
def _fits(row, sets, offsets, members, caps, counts):  # type: ignore[no-untyped-def]
    for m in range(offsets[sets[row]], offsets[sets[row] + 1]):  # noqa: SIM110 (numba compiles no generator)
        if counts[members[m]] >= caps[members[m]]:
            return False
    return True


@njit(cache=True)
def lay_out(ranked, sets, offsets, members, caps, pins, k):  # type: ignore[no-untyped-def]
    """The list, its exploration pool, and which positions are pinned (module docstring).

    Parameters
    ----------
    ranked : int64[n], rows of candidates that may be shown, the best first
    sets : int32[m], label set of each candidate, by row
    offsets, members : of `models.labels.Labels.table`
    caps : int64[categories and brands], how many items of each may be in the slate
    pins : int64[m], row that is wanted at each position, -1 where none is
    k : length of the list, at most

    Returns
    -------
    int64[l], rows of the list; int64[e], rows of the pool; bool[l], whether the position is pinned
    """
    length = min(k, len(ranked))
    listed = np.full(length, -1, np.int64)
    pinned = np.zeros(length, np.bool_)
    used = np.zeros(len(sets), np.bool_)
    counts = np.zeros(len(caps), np.int64)
    for p in range(min(length, len(pins))):
        row = pins[p]
        if row >= 0 and not used[row] and _fits(row, sets, offsets, members, caps, counts):
            listed[p] = row
            pinned[p] = True
            used[row] = True
            for m in range(offsets[sets[row]], offsets[sets[row] + 1]):
                counts[members[m]] += 1
    movable = np.zeros(len(caps), np.int64)
    place = 0
    unpinned = 0
    for row in ranked:
        while place < length and listed[place] >= 0:
            place += 1
        if place == length:
            break
        if not used[row] and _fits(row, sets, offsets, members, caps, counts):
            listed[place] = row
            used[row] = True
            unpinned += 1
            for m in range(offsets[sets[row]], offsets[sets[row] + 1]):
                counts[members[m]] += 1
                movable[members[m]] += 1
    filled = np.flatnonzero(listed >= 0)
    pool = np.empty(len(ranked), np.int64)
    size = 0
    drawn = np.zeros(len(caps), np.int64)
    for row in ranked:
        if used[row]:
            continue
        safe = True
        for m in range(offsets[sets[row]], offsets[sets[row] + 1]):
            c = members[m]
            if counts[c] + min(drawn[c] + 1, unpinned - movable[c]) > caps[c]:
                safe = False
        if safe:
            pool[size] = row
            size += 1
            for m in range(offsets[sets[row]], offsets[sets[row] + 1]):
                drawn[members[m]] += 1
    return listed[filled], pool[:size], pinned[filled]


class _Match:
    """Which items a rule is about: some by id, some by category or brand."""

    def __init__(self, rules: Iterable[Exclude | Boost]) -> None:
        together = list(rules)
        self.items = frozenset(hash64(item) for rule in together for item in rule.items)
        self._hashes = np.array(sorted(self.items), np.int64)
        self._categories = frozenset(name for rule in together for name in rule.categories)
        self._brands = frozenset(name for rule in together for name in rule.brands)
        self._of_sets = np.zeros(0, np.bool_)

    def has(self, labels: LabelSet) -> bool:
        """Whether an item with these labels is meant."""
        return labels.brand in self._brands or not self._categories.isdisjoint(labels.categories)

    def mask(self, hashes: np.ndarray, sets: np.ndarray, labels: Labels) -> np.ndarray:
        """bool[n], which of some items are meant, by their hashes and label sets."""
        known = len(self._of_sets)
        if known < len(labels.sets):
            new = np.array([self.has(found) for found in labels.sets[known:]], np.bool_)
            self._of_sets = np.concatenate((self._of_sets, new))
        meant = self._of_sets[sets]
        if len(self._hashes):
            places = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
            meant = meant | (self._hashes[places] == hashes)
        return meant


@dataclass(frozen=True, slots=True)
class SlateRules:
    """What the rules ask of the slate that answers one event.

    Attributes
    ----------
    joining : int64[n], hashes of the items that join the candidates, those that are pinned first
    pins : hash of the item at each pinned position, by position from 0; where several rules name one, the first that can be shown
    """

    joining: np.ndarray
    pins: dict[int, list[int]]


@dataclass(frozen=True, slots=True)
class Tired:
    """What a user was shown often enough.

    Attributes
    ----------
    items : int64[n], hashes of items that must not be shown now
    left : how often a campaign may be shown yet, by its number among the labels, of those that were shown
    """

    items: np.ndarray
    left: dict[int, int]


class Rules:
    """The rules in force.

    Parameters
    ----------
    replica : whose items they are about; what is excluded is told to it
    candidates : for a slate, of which included items may be half
    campaigns : whose items are excluded while they do not run; None where campaigns have no say
    impressions : profile.impressions

    Attributes
    ----------
    window_ms : the longest of the frequency caps; 0 where there are none, and nobody's impressions are needed
    active : whether a rule has something to do with a slate that is made; excluded items cost it nothing
    """

    def __init__(self, replica: Replica, *, candidates: int, campaigns: Campaigns | None = None, impressions: int = 512) -> None:
        self._replica = replica
        self._campaigns = campaigns
        self._most_impressions = impressions
        self._frequency: list[FrequencyCap] = []
        self.window_ms = 0
        if campaigns is not None:
            replica.excludes = self._is_excluded
        self._most_included = candidates // 2
        self.active = False
        self._excluded: _Match | None = None
        self._include = _NO_ITEMS
        self._pins: list[Pin] = []
        self._boosts: list[tuple[float, _Match]] = []
        self._caps: list[CategoryCaps | BrandCaps] = []
        self._caps_of = np.zeros(0, np.int64)
        self._campaign_numbers: dict[int, int] = {}
        self._number_of_campaign = np.full(1, -1, np.int64)
        self._named: dict[str, Struct] = {}

    def install(self, rules: Mapping[str, Struct]) -> None:
        """Let these rules be in force instead of those before.

        Parameters
        ----------
        rules : by name; those of kinds that are no business of a slate are passed over
        """
        self._named = {name: rules[name] for name in sorted(rules)}
        in_order = list(self._named.values())
        included = dict.fromkeys(hash64(item) for rule in in_order if isinstance(rule, Include) for item in rule.items)
        self._include = np.array(list(included)[: self._most_included], np.int64)
        self._pins = [rule for rule in in_order if isinstance(rule, Pin)]
        self._boosts = [(rule.factor, _Match([rule])) for rule in in_order if isinstance(rule, Boost)]
        self._caps = [rule for rule in in_order if isinstance(rule, CategoryCaps | BrandCaps)]
        self._caps_of = np.zeros(0, np.int64)
        self._frequency = [rule for rule in in_order if isinstance(rule, FrequencyCap)]
        self.window_ms = 1000 * max((rule.window_s for rule in self._frequency), default=0)
        self.active = bool(included or self._pins or self._boosts or self._caps or self._frequency)
        self._exclude([rule for rule in in_order if isinstance(rule, Exclude)])

    def _exclude(self, rules: list[Exclude]) -> None:
        if not rules and self._excluded is None:
            return
        self._excluded = _Match(rules) if rules else None
        self._replica.excludes = None if self._excluded is None and self._campaigns is None else self._is_excluded
        self.reconsider()

    def reconsider(self) -> None:
        """Exclude what is to be excluded now: other rules, or other campaigns run than before."""
        replica, excluded = self._replica, self._excluded
        mask = np.zeros(len(replica), np.bool_)
        if excluded is not None:
            sets, hashes = replica.labels.of_item[: len(replica)], replica.hashes[: len(replica)]
            mask |= excluded.mask(hashes, sets, replica.labels)
        if self._campaigns is not None:
            mask |= self._campaigns.barred(len(replica))
        replica.reconsider(mask)

    def _is_excluded(self, index: int) -> bool:
        if self._campaigns is not None and self._campaigns.bars(index):
            return True
        excluded, replica = self._excluded, self._replica
        return excluded is not None and (int(replica.hashes[index]) in excluded.items or excluded.has(replica.labels.of(index)))

    def tired_of(self, impressions: Impressions, *, time_ms: int) -> Tired:
        """What a user may not be shown again at this event time."""
        self._number_caps()
        items: list[np.ndarray] = [_NO_ITEMS]
        left: dict[int, int] = {}
        for rule in self._frequency:
            keys, counts = impressions.counts(rule.of, time_ms=time_ms, window_ms=1000 * rule.window_s)
            if rule.of == "item":
                items.append(keys[counts >= rule.most])
                continue
            for campaign, count in zip(keys.tolist(), counts.tolist(), strict=True):
                number = self._campaign_numbers.get(campaign)
                if number is not None:
                    left[number] = min(left.get(number, rule.most), max(0, rule.most - count))
        spent = [number for number, more in left.items() if more == 0]
        if spent:
            replica = self._replica
            of_campaigns = np.isin(self._number_of_campaign[replica.offers.of_item[: len(replica)]], spent)
            items.append(replica.hashes[: len(replica)][of_campaigns])
        return Tired(np.concatenate(items), left)

    def remember(self, impressions: Impressions, shown: np.ndarray, *, time_ms: int) -> None:
        """Count what a slate shows: dense indices of its items, int32[k]."""
        offers = self._replica.offers
        numbers = offers.of_item[shown].tolist()
        campaigns = np.array([NO_CAMPAIGN if number < 0 else hash64(offers.names[number]) for number in numbers], np.int64)
        hashes = self._replica.hashes[shown]
        impressions.add(hashes, campaigns, time_ms=time_ms, window_ms=self.window_ms, capacity=self._most_impressions)

    def asked_of(self, cause: Event | Request) -> SlateRules:
        """What is asked of the slate that answers an event or a request."""
        pins: dict[int, list[int]] = {}
        for pin in self._pins:
            if self._applies(pin, cause):
                pins.setdefault(pin.position - 1, []).append(item_hash64(pin.item))
        if not pins:
            return SlateRules(self._include, pins)
        pinned = [item for place in sorted(pins) for item in pins[place]]
        return SlateRules(np.concatenate((np.array(pinned, np.int64), self._include)), pins)

    def _applies(self, pin: Pin, cause: Event | Request) -> bool:
        if pin.context:
            context = cause.context or {}
            if any(name not in context or context[name] != value for name, value in pin.context.items()):
                return False
        if pin.category is None:
            return True
        if isinstance(cause, Request):
            return False
        index = self._replica.index_of(item_hash64(cause.item_id))
        return index >= 0 and pin.category in self._replica.labels.of(index).categories

    def boosted(self, scores: np.ndarray, items: np.ndarray, *, odds: bool) -> np.ndarray:
        """Scores of candidates with all factors.

        Parameters
        ----------
        scores : float32[n], what they are ranked by
        items : int32[n], dense indices
        odds : the scores are logarithms of odds, to which the logarithm of a factor is added; otherwise they are multiplied

        Returns
        -------
        float32[n]
        """
        if not self._boosts:
            return scores
        replica = self._replica
        hashes, sets = replica.hashes[items], replica.labels.of_item[items]
        factors = np.ones(len(items), np.float32)
        for factor, match in self._boosts:
            factors[match.mask(hashes, sets, replica.labels)] *= np.float32(factor)
        boosted: np.ndarray = scores + np.log(factors) if odds else scores * factors
        return boosted

    def lay_out(
        self, asked: SlateRules, ranked: np.ndarray, items: np.ndarray, *, k: int, tired: Tired | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The list, the pool and the pinned positions of a slate; see the function of this name.

        Parameters
        ----------
        asked : of this event
        ranked : int64[n], rows of the candidates, the best first
        items : int32[n], their dense indices, by row
        tired : of the user, where there are frequency caps
        """
        labels = self._replica.labels
        self._number_caps()
        caps = self._caps_of
        if tired is not None and tired.left:
            caps = caps.copy()
            for number, left in tired.left.items():
                caps[number] = min(caps[number], left)
        pins = np.full(1 + max(asked.pins, default=-1), -1, np.int64)
        if asked.pins:
            row_of = {item: row for row, item in enumerate(self._replica.hashes[items].tolist())}
            for place, wanted in asked.pins.items():
                pins[place] = next((row_of[item] for item in wanted if item in row_of), -1)
        return lay_out(ranked, labels.of_item[items], *labels.table(), caps, pins, k)

    def _number_caps(self) -> None:
        """Work the caps out anew, where a category, a brand or a campaign was met for the first time."""
        labels = self._replica.labels
        if len(self._caps_of) == labels.numbers:
            return
        caps = np.full(labels.numbers, _NO_CAP, np.int64)
        self._campaign_numbers = {hash64(name): number for name, number in labels.campaigns.items()}
        # by the offers' number, under which no campaign is the last
        self._number_of_campaign = np.array([*(labels.campaigns.get(name, -1) for name in self._replica.offers.names), -1], np.int64)
        of_campaigns = list(labels.campaigns.values())
        for frequency in self._frequency:
            if frequency.of == "campaign":
                caps[of_campaigns] = np.minimum(caps[of_campaigns], frequency.most)
        for rule in self._caps:
            numbers, own = (labels.brands, rule.brands) if isinstance(rule, BrandCaps) else (labels.categories, rule.categories)
            if rule.most is not None:
                of_all = list(numbers.values())
                caps[of_all] = np.minimum(caps[of_all], rule.most)
            for name, most in own.items():
                number = numbers.get(name)
                if number is not None:
                    caps[number] = min(caps[number], most)
        self._caps_of = caps

    # ------------------------------------------------------------------------------------------------ traces

    @property
    def excluding(self) -> list[str]:
        """Names of the rules that exclude items; they act on every slate, by what is not in it."""
        return [name for name, rule in self._named.items() if isinstance(rule, Exclude)]

    def acting(
        self, asked: SlateRules, items: np.ndarray, *, pinned_at: Mapping[int, int], passed_over: list[int]
    ) -> list[list[str]]:
        """Names of the rules that acted on each candidate of a slate, for a trace of it.

        Parameters
        ----------
        asked : of this slate
        items : int32[n], dense indices of the candidates
        pinned_at : position, from 0, of the rows that a pin placed
        passed_over : rows that ranked above the end of the list and are not in it
        """
        names: list[list[str]] = [[] for _ in range(len(items))]
        for name, rule in self._named.items():
            for row in self._acted_on(rule, asked, items, pinned_at, passed_over):
                names[row].append(name)
        return names

    def _acted_on(
        self, rule: Struct, asked: SlateRules, items: np.ndarray, pinned_at: Mapping[int, int], passed_over: list[int]
    ) -> list[int]:
        labels, hashes = self._replica.labels, self._replica.hashes[items]
        rows: list[int] = []
        if isinstance(rule, Include):
            included = [item for item in map(hash64, rule.items) if item in self._include]
            rows = np.flatnonzero(np.isin(hashes, included)).tolist()
        elif isinstance(rule, Boost):
            rows = np.flatnonzero(_Match([rule]).mask(hashes, labels.of_item[items], labels)).tolist()
        elif isinstance(rule, Pin):
            item, place = item_hash64(rule.item), rule.position - 1
            if item in asked.pins.get(place, ()):
                rows = [row for row, at in pinned_at.items() if at == place and int(hashes[row]) == item]
        elif isinstance(rule, CategoryCaps):
            capped = [set(labels.of(int(items[row])).categories) for row in passed_over]
            rows = [
                row
                for row, categories in zip(passed_over, capped, strict=True)
                if (rule.most is not None and categories) or not categories.isdisjoint(rule.categories)
            ]
        elif isinstance(rule, BrandCaps):
            brands = [labels.of(int(items[row])).brand for row in passed_over]
            rows = [
                row
                for row, brand in zip(passed_over, brands, strict=True)
                if brand is not None and (rule.most is not None or brand in rule.brands)
            ]
        return rows
