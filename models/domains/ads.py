"""A site with ads: advertisers with bids and budgets, people who tire of what they see; docs/domains/ads.md specifies it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, pi

import numpy as np

from models.domains.base import HOUR_MS, Floats, Ints, Member, TasteWorld, Visit
from models.events import Event
from models.simulation.loop import Reaction
from models.simulation.world import DAY_MS, START_MS
from models.topics import CatalogueItem

CAMPAIGNS, ADS_EACH, PAGES = 6, 8, 120
PLACES = 4
"""Beside a page; more of a slate nobody sees."""
ADS = CAMPAIGNS * ADS_EACH
_FIRST_BUDGET, _BUDGET_STEP = 10.0, 6.0
_BID_SIGMA, _QUALITY = 0.6, 0.5
_TASTE, _AD_OFFSET, _PAGE_OFFSET = 1.2, -1.8, -3.0
_TIRES_OF_AD, _TIRES_OF_CAMPAIGN, _REMEMBERS_MS = 0.5, 0.15, DAY_MS
_PEAK_HOUR, _SWING = 20, 0.9
_PAGE_CATEGORY = "page"
_KINDS = ("travel", "cars", "gardens", "banking", "games", "fashion")


def campaign_name(number: int) -> str:
    """Of the campaign of a number from 0."""
    return _KINDS[number]


def budget_of(number: int) -> float:
    """Its budget a day."""
    return _FIRST_BUDGET + _BUDGET_STEP * number


def traffic(hour: float) -> float:
    """Part of its peak that the traffic of an hour of the day has."""
    return (1 + _SWING * cos(2 * pi * (hour - _PEAK_HOUR) / 24)) / (1 + _SWING)


@dataclass(slots=True, eq=False)
class Day:
    """What the world counts of one day.

    Attributes
    ----------
    spent : float64[24, CAMPAIGNS], by hour
    slates : float64[24]
    """

    spent: Floats = field(default_factory=lambda: np.zeros((24, CAMPAIGNS)))
    slates: Floats = field(default_factory=lambda: np.zeros(24))

    def share_spent(self) -> float:
        """Of all budgets."""
        return float(self.spent.sum() / sum(map(budget_of, range(CAMPAIGNS))))

    def distance(self) -> float:
        """Of spending from traffic (docs/domains/ads.md)."""
        spent = self.spent.cumsum(0) / np.array([budget_of(number) for number in range(CAMPAIGNS)])
        came = self.slates.cumsum() / max(1.0, self.slates.sum())
        return float(np.abs(spent - came[:, None]).max(0).mean())


class AdsWorld(TasteWorld):
    """The site: items 0 to ADS - 1 are ads, campaign by campaign, the others pages.

    Attributes
    ----------
    bids : float64[CAMPAIGNS], for a click
    days : what came of each day, by its number from 0
    """

    def __init__(self, seed: int, *, users: int = 80, start_ms: int = START_MS) -> None:
        super().__init__(seed=seed, users=users, items=ADS + PAGES, genres=CAMPAIGNS, joining_days=1.0, start_ms=start_ms)
        rng = self.rng
        directions = np.array([self.factors[self.genre == kind].mean(0) for kind in range(CAMPAIGNS)])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        of_ads = np.arange(ADS) // ADS_EACH
        moved = directions[of_ads] + (self.factors[:ADS] - directions[self.genre[:ADS]])
        self.factors[:ADS] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        self.genre[:ADS] = of_ads
        self._quality = rng.normal(0, _QUALITY, ADS)
        self.bids = np.round(np.exp(rng.normal(0, _BID_SIGMA, CAMPAIGNS)), 2)
        self._shown: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self.days: defaultdict[int, Day] = defaultdict(Day)
        self.schedule((start_ms, item) for item in range(ADS + PAGES))

    def entry(self, item: int, time_ms: int) -> CatalogueItem:
        kind = _KINDS[self.genre[item]]
        if item >= ADS:
            return CatalogueItem(title=f"Page {item - ADS} on {kind}", categories=[_PAGE_CATEGORY], tags=[kind])
        campaign = item // ADS_EACH
        return CatalogueItem(
            title=f"Ad {item % ADS_EACH} for {kind}",
            categories=[kind],
            tags=[kind],
            campaign=campaign_name(campaign),
            bid=float(self.bids[campaign]),
        )

    def utilities(self, person: Member, time_ms: int) -> Floats:
        worth: Floats = _TASTE * self.factors @ person.taste + _PAGE_OFFSET
        worth[:ADS] += self._quality + _AD_OFFSET - _PAGE_OFFSET
        shown = self._shown[person.index]
        while shown and shown[0][0] <= time_ms - _REMEMBERS_MS:
            shown.popleft()
        for _, ad in shown:
            campaign = ad // ADS_EACH * ADS_EACH
            worth[ad] -= _TIRES_OF_AD
            worth[campaign : campaign + ADS_EACH] -= _TIRES_OF_CAMPAIGN
        return worth

    def show(self, person: Member, ads: Ints, time_ms: int) -> None:
        """People remember what they were shown."""
        self._shown[person.index].extend((time_ms, ad) for ad in ads.tolist())
        day, hour = self._when(time_ms)
        self.days[day].slates[hour] += 1

    def pay(self, ad: int, time_ms: int) -> float:
        """What the click on an ad is worth, by the world's own count of budgets."""
        campaign = ad // ADS_EACH
        day, hour = self._when(time_ms)
        spent = self.days[day].spent
        paid = min(float(self.bids[campaign]), budget_of(campaign) - float(spent[:, campaign].sum()))
        spent[hour, campaign] += paid
        return paid

    def _when(self, time_ms: int) -> tuple[int, int]:
        return (time_ms - self.start_ms) // DAY_MS, time_ms % DAY_MS // HOUR_MS

    def session(self, person: Member, *, k: int, reports: bool) -> Reading:
        return Reading(self, person, k=k, reports=reports)


class Reading(Visit):
    """One visit: a page, the ads beside it, a click or the next page."""

    stays_after_click = stays_without = 0.85
    look_ms = 20_000
    _AWAY_MS = 11 * HOUR_MS

    def __init__(self, world: AdsWorld, person: Member, *, k: int, reports: bool) -> None:
        super().__init__(world, person, k=k, reports=reports)
        self._world = world
        self._time_ms = 0

    def react(self, slate_id: str, items: Sequence[str], time_ms: int) -> Reaction:
        """Look at the places that there are beside a page."""
        return super().react(slate_id, items[:PLACES], time_ms)

    def found(self, time_ms: int) -> Event:
        """A page that the person views, by what it is worth to them."""
        self._time_ms = time_ms
        utilities = self._world.utilities(self.person, time_ms)[ADS:]
        page = ADS + int(np.argmax(utilities + self.rng.gumbel(size=PAGES)))
        return self.event("view", page, time_ms)

    def measures(self, shown: Ints, time_ms: int) -> dict[str, float]:
        self._time_ms = time_ms
        ads = shown[shown < ADS]
        self._world.show(self.person, ads, time_ms)
        return {"revenue": 0.0, "clicks": 0.0, "unpaid": 0.0, "shown": float(len(ads))}

    def clicked(self, item: int, slate_id: str, place: int, time_ms: int) -> tuple[list[Event], dict[str, float]]:
        if item >= ADS:
            return [self.event("view", item, time_ms, slate_id, place)], {}
        paid = self._world.pay(item, time_ms)
        bid = float(self._world.bids[item // ADS_EACH])
        return [self.event("click", item, time_ms, slate_id, place)], {"clicks": 1.0, "revenue": paid, "unpaid": bid - paid}

    def away_ms(self) -> int:
        """Until the next visit: its time is drawn again until the traffic of its hour takes it."""
        away_ms = HOUR_MS / 2
        while True:
            away_ms += self.rng.exponential(self._AWAY_MS / 2)
            if self.rng.random() < traffic((self._time_ms + away_ms) % DAY_MS / HOUR_MS):
                return int(away_ms)
