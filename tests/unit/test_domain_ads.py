"""The domain of ads: what its preset says of budgets is the world's, and it earns more there than the preset of a shop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import conf
from cli.configuration import load_configuration
from models.domains.ads import CAMPAIGNS, AdsWorld, budget_of, campaign_name, traffic
from models.domains.comparison import compare
from models.simulation.world import START_MS

PRESETS = Path(conf.__file__).parent / "domains"
HOUR_MS = 3_600_000


def test_the_budgets_of_the_preset_are_those_of_the_world():
    rules = load_configuration(PRESETS / "ads.yaml").rules
    budgets = {name.removeprefix("campaign:"): rule["budget"] for name, rule in rules.items() if name.startswith("campaign:")}
    assert budgets == {campaign_name(number): budget_of(number) for number in range(CAMPAIGNS)}


def test_an_ad_that_was_shown_attracts_less_for_a_day_and_so_do_its_siblings():
    world = AdsWorld(1)
    person = world.people[0]
    before = world.utilities(person, START_MS).copy()
    world.show(person, np.array([0, 0]), START_MS)
    lower = before - world.utilities(person, START_MS + HOUR_MS)
    assert lower[:9] == pytest.approx([1.3, *[0.3] * 7, 0.0])
    assert world.utilities(person, START_MS + 24 * HOUR_MS) == pytest.approx(before)


def test_a_click_is_worth_its_bid_until_the_budget_of_the_day_is_spent():
    world = AdsWorld(1)
    bid, budget = float(world.bids[0]), budget_of(0)
    paid = [world.pay(0, START_MS + number) for number in range(int(budget / bid) + 3)]
    assert sum(paid) == pytest.approx(budget)
    assert paid[-1] == 0
    assert world.pay(0, START_MS + 24 * HOUR_MS) == pytest.approx(bid)
    assert world.days[0].spent[0, 0] == pytest.approx(budget)


def test_visits_come_when_the_traffic_does():
    assert traffic(20) == 1.0
    assert traffic(8) == pytest.approx(0.1 / 1.9)
    world = AdsWorld(1)
    hours = np.zeros(24)
    for person in world.people[:40]:
        session = world.session(person, k=4, reports=False)
        session.begin(START_MS)
        for _ in range(20):
            hours[(START_MS + session.away_ms()) // HOUR_MS % 24] += 1
    assert hours[18:23].sum() > 2 * hours[6:11].sum()


def test_the_preset_earns_more_than_that_of_a_shop():
    products = load_configuration(PRESETS / "products.yaml")
    figures = {one.name: one for one in compare(AdsWorld, load_configuration(PRESETS / "ads.yaml"), products, seeds=(1, 2), slates=200)}
    revenue = figures["revenue"]
    assert revenue.preset.value > 1.2 * revenue.other.value
    assert revenue.difference.value > 0
