"""Auctions: who is shown by what it is worth, what it costs, and who is held back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.auction.auction import NOT_SHOWN, Auction, Worth
from models.auction.ledger import MICROS, Account, Sale, Standing, account_key, micros
from models.auction.pricing import prices
from models.config import Configuration, ConfigurationError
from models.controls import decode_control
from models.events import Event, Rejected
from models.identity import slate_id
from models.offers import Offers
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem, Recommendation
from models.validation import parse_configuration

T0 = 1_700_000_000_000
CLICKS = {"view": {"weight": 1.0}, "click": {"weight": 1.0}}


def configuration(**auction: Any) -> Configuration:
    sections = {
        "events": {"types": CLICKS},
        "scorer": {"name": "mlp", "hidden": [8], "candidates": 30},
        "slate": {"k": 4, "recommend_seen": True},
        "policy": {"epsilon": 0.2},
        "auction": {"value": "bid"} | auction,
    }
    return parse_configuration(sections, "test.yaml")


class Site:
    """A recommender with three campaigns of four ads each, and two pages without one."""

    def __init__(self, *, budget: float = 100.0, campaigns: str = "abc", **auction: Any) -> None:
        self.charges: list[Any] = []
        self.pipeline = LocalPipeline(configuration(**auction), publish_every=1, on_charge=self.charges.append)
        self.recommender = self.pipeline.recommender
        for number in range(14):
            campaign = "abc"[number // 4] if number < 12 else None
            item = CatalogueItem(title=f"{number}", campaign=campaign, bid=None if campaign is None else 1.0 + number / 10)
            self.recommender.apply_catalogue(f"i{number}", msgspec.json.encode(item))
        for name in campaigns:
            self.rule(name, budget=budget, pacing="fast")
        self.events = 0

    def rule(self, name: str, **rule: Any) -> None:
        self.recommender.apply_control(f"campaign:{name}", json.dumps(rule).encode())

    def stands(self, name: str, **how: Any) -> None:
        told = {"campaign": name, "left_micros": MICROS, "spent_micros": 0, "beyond_micros": 0, "pace": 1.0, "time_ms": T0} | how
        self.recommender.apply_update(account_key(name), msgspec.json.encode(Standing(**told)))

    def event(self, kind: str = "view", item: str = "i12", *, user: str = "u", after_ms: int = 0, **more: Any) -> Recommendation:
        self.events += 1
        event = Event(f"e{self.events}", user, item, kind, T0 + 1000 * self.events + after_ms, **more)
        self.pipeline.learn(event)
        return self.pipeline.recommend(event)

    def campaigns(self) -> set[Any]:
        return {item.campaign for item in self.event().items} - {msgspec.UNSET}


# ------------------------------------------------------------------------------------------------ prices


def test_a_place_costs_the_least_that_keeps_it_ahead_of_another_campaign():
    values, bids = np.array([2.0, 1.5, 1.0, 0.5]), np.array([4.0, 3.0, 4.0, 1.0])
    campaigns = np.array([0, 0, 1, 2], np.int32)
    paid = prices(values, bids, campaigns, np.arange(4), kind="second", floor=0.25)
    assert paid.tolist() == [micros(4 * 1.0 / 2.0), micros(3 * 1.0 / 1.5), micros(4 * 0.5 / 1.0), micros(1 * 0.25 / 0.5)]
    assert prices(values, bids, campaigns, np.arange(4), kind="first", floor=0.25).tolist() == [micros(bid) for bid in bids]


@given(st.lists(st.tuples(st.floats(0.01, 9), st.floats(0.01, 1), st.integers(-1, 3)), min_size=1, max_size=12), st.floats(0, 0.5))
@settings(max_examples=200)
def test_nobody_pays_more_than_the_bid_nor_could_have_kept_the_place_for_less(offers, floor):
    bids = np.array([bid if campaign >= 0 else 0.0 for bid, _, campaign in offers])
    chances, campaigns = np.array([chance for _, chance, _ in offers]), np.array([campaign for *_, campaign in offers], np.int32)
    values = bids * chances
    ranked = np.argsort(-values, kind="stable")
    ranked = ranked[values[ranked] >= floor]
    paid = prices(values, bids, campaigns, ranked, kind="second", floor=floor)
    assert (paid <= np.floor(bids * MICROS)).all()
    for place, row in enumerate(ranked.tolist()):
        if campaigns[row] < 0 or values[row] == 0:
            assert paid[row] == 0
            continue
        rivals = [values[other] for other in ranked[place + 1 :].tolist() if campaigns[other] != campaigns[row]]
        assert paid[row] / MICROS * chances[row] == pytest.approx(max([floor, *rivals]), abs=3e-6)


# ------------------------------------------------------------------------------------------------ slates


def test_slates_show_by_expected_value_what_is_worth_showing_and_say_what_it_costs():
    site = Site()
    shown = site.event().items
    expected = [item.probability * (1.0 + int(item.item_id[1:]) / 10) for item in shown]
    assert [item.score for item in shown] == pytest.approx(expected, rel=1e-5)
    listed = [item.score for item in shown if not item.explored]
    assert listed == sorted(listed, reverse=True)
    assert all(0 < item.price_micros <= micros(1.0 + int(item.item_id[1:]) / 10) for item in shown)
    assert Site(floor=listed[0] + 1).event().items == []
    some = Site(floor=listed[1]).event().items
    assert 0 < len(some) <= 4
    assert all(item.score >= listed[1] for item in some)


def test_a_campaign_is_shown_while_it_has_a_rule_time_and_money():
    site = Site(campaigns="ab")
    assert site.campaigns() == {"a", "b"}
    site.stands("a", left_micros=0)
    assert site.campaigns() == {"b"}
    site.stands("a")
    assert site.campaigns() == {"a", "b"}
    site.rule("a", budget=5, pacing="fast", begins_ms=T0 + 60_000, ends_ms=T0 + 120_000)
    assert site.campaigns() == {"b"}
    assert "a" in {item.campaign for item in site.event(after_ms=60_000).items}
    assert "a" not in {item.campaign for item in site.event(after_ms=120_000).items}
    site.recommender.apply_control("campaign:b", None)
    assert site.campaigns() == set()


def test_a_click_is_charged_once_at_the_price_of_its_slate_and_a_campaign_without_money_leaves_the_slates():
    site = Site(budget=4.0)
    slate = site.event()
    first = slate.items[0]
    for _ in range(2):
        site.event("click", first.item_id, slate_id=slate.slate_id)
    site.event("view", slate.items[1].item_id, slate_id=slate.slate_id)
    [charge] = site.charges
    assert (charge.charge_id, charge.campaign) == (f"{slate.slate_id}-1", first.campaign)
    assert (charge.price_micros, charge.charged_micros) == (first.price_micros, first.price_micros)
    while site.pipeline.accounts[first.campaign].left_micros > 0:
        slate = site.event()
        for item in slate.items:
            if item.campaign == first.campaign:
                site.event("click", item.item_id, slate_id=slate.slate_id)
    assert first.campaign not in site.campaigns()
    assert sum(charge.charged_micros for charge in site.charges if charge.campaign == first.campaign) == micros(4.0)


def test_a_click_on_a_slate_that_is_not_there_yet_is_charged_when_it_comes():
    site, name = Site(), slate_id("late", "u")
    for number in range(12):
        site.pipeline.learn(Event(f"early {number}", "u", f"i{number}", "click", T0, slate_id=name))
    assert site.charges == []
    event = Event("late", "u", "i12", "view", T0)
    site.pipeline.learn(event)
    shown = {item.item_id for item in site.pipeline.recommend(event).items}
    waited = {f"i{number}" for number in range(4, 12)}
    site.event()
    assert {charge.item_id for charge in site.charges} == shown & waited


# ------------------------------------------------------------------------------------------------ pace


def worths(pacing: str, pace: float, *, slates: int) -> tuple[np.ndarray, np.ndarray]:
    offers = Offers()
    offers.grow_items(2)
    offers.put(0, campaign="a", bid=2.0, price=None)
    offers.put(1, campaign="b", bid=3.0, price=None)
    auction = Auction(configuration(pacing=pacing), offers)
    assert auction.campaigns is not None
    auction.campaigns.install({f"campaign:{name}": decode_control(f"campaign:{name}", b'{"budget": 9}') for name in "ab"})
    standing = Standing(campaign="a", left_micros=1, spent_micros=0, beyond_micros=0, pace=pace, time_ms=0)
    auction.campaigns.apply(account_key("a"), msgspec.json.encode(standing))
    found = [auction.worth(np.arange(2, dtype=np.int32), np.full(2, 0.5, np.float32), key=key) for key in range(slates)]
    return np.array([worth.values for worth in found]), np.array([worth.bids for worth in found])


def test_a_throttled_campaign_takes_part_in_so_many_slates_the_same_ones_each_time():
    values, bids = worths("throttle", 0.3, slates=2_000)
    takes_part = values[:, 0] != NOT_SHOWN
    assert takes_part.mean() == pytest.approx(0.3, abs=0.04)
    assert values[takes_part, 0] == pytest.approx(1.0)
    assert values[:, 1] == pytest.approx(1.5)
    assert (bids == [2.0, 3.0]).all()
    assert (worths("throttle", 0.3, slates=2_000)[0] == values).all()


def test_what_does_not_take_part_is_not_shown_however_small_a_factor_makes_it():
    auction, values = Auction(configuration(), Offers()), np.array([0.5, NOT_SHOWN])
    worth = Worth(values, np.zeros(2), np.zeros(2, np.int32))
    assert auction.shown(np.arange(2), worth, values * 1e-320).tolist() == [0]
    assert auction.shown(np.arange(2), worth, values * 0.0).tolist() == [0]


def test_a_shaded_campaign_bids_so_much_less_in_every_slate():
    values, bids = worths("shade", 0.3, slates=3)
    assert values == pytest.approx(np.tile([0.3, 1.5], (3, 1)))
    assert bids == pytest.approx(np.tile([0.6, 3.0], (3, 1)))


def test_prices_of_a_shop_rank_by_revenue_and_nobody_is_charged():
    # the page is known to nobody yet
    pipeline = LocalPipeline(configuration(value="price"), publish_every=2)
    for number in range(8):
        pipeline.recommender.apply_catalogue(f"i{number}", msgspec.json.encode(CatalogueItem(price=float(number), campaign="x")))
    event = Event("e", "u", "page", "view", T0)
    pipeline.learn(event)
    shown = [item for item in pipeline.recommend(event).items if not item.explored]
    assert [item.score for item in shown] == pytest.approx([item.probability * int(item.item_id[1:]) for item in shown], rel=1e-4)
    assert all(item.price_micros is msgspec.UNSET for item in shown)
    assert pipeline.accounts == {}


# ------------------------------------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"auction": {"value": "bid"}, "scorer": {"name": "none"}}, "auction.value"),
        ({"auction": {"value": "bid"}, "outcomes": {"enabled": False}}, "outcomes.enabled"),
        ({"auction": {"value": "bid", "charged": ["impression"]}}, "auction.charged"),
        ({"auction": {"value": "bid", "charged": ["tap"]}}, "auction.charged"),
    ],
)
def test_an_auction_that_cannot_be_held_is_refused(sections, key):
    with pytest.raises(ConfigurationError) as refused:
        parse_configuration(sections, "test.yaml")
    assert refused.value.key == key


@pytest.mark.parametrize(
    ("name", "rule"),
    [("campaign", b'{"budget": 1}'), ("campaign:a", b'{"budget": -1}'), ("campaign:a", b'{"budget": 1, "per": "total"}')],
)
def test_a_campaign_needs_a_name_a_budget_and_a_time_over_which_a_total_is_paced(name, rule):
    with pytest.raises(Rejected):
        decode_control(name, rule)


def test_a_sale_of_a_campaign_without_a_budget_is_free():
    charge, _ = Account(configuration().auction).take(Sale("nobody", "i", "u", "0" * 16, 1, 5, T0))
    assert (charge.price_micros, charge.charged_micros) == (5, 0)
