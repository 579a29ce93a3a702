"""The ledger: whatever comes in whatever order, no budget is overspent, and a paced one lasts until its end."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.auction.ledger import Account, Sale, Slates, Terms, decode_message, decode_standing, encode_message, micros
from models.auction.pacing import DAY_MS, HOUR_MS, Traffic
from models.config import Auction

SETTINGS = Auction(value="bid")
DAY = 20_000
T0 = DAY * DAY_MS


def terms(budget: float, *, per_day: bool = True, pacing: str = "traffic", **bounds: int) -> Terms:
    return Terms("c", micros(budget), per_day, bounds.get("begins_ms"), bounds.get("ends_ms"), pacing)


def sale(number: int, price: float, time_ms: int) -> Sale:
    return Sale("c", f"ad-{number}", "u", f"{number:016x}", 1, micros(price), time_ms)


messages = st.lists(
    st.one_of(
        st.builds(sale, st.integers(0, 999), st.floats(0, 9), st.integers(T0, T0 + 3 * DAY_MS)),
        st.builds(lambda n, time_ms: Slates("c", n, time_ms), st.integers(1, 50), st.integers(T0, T0 + 3 * DAY_MS)),
    ),
    max_size=60,
)


@given(messages, st.floats(0, 30), st.booleans(), st.sets(st.integers(0, 60)))
@settings(max_examples=150)
def test_no_period_is_charged_more_than_its_budget_whatever_comes_and_whenever_it_is_restored(sent, budget, per_day, restores):
    account, without = Account(SETTINGS), Account(SETTINGS)
    charged: Counter[int] = Counter()
    for number, message in enumerate([terms(budget, per_day=per_day, begins_ms=T0, ends_ms=T0 + 3 * DAY_MS), *sent]):
        if number in restores:
            account = Account(SETTINGS, account.encode())
        before = account.left_micros
        charge, _ = account.take(decode_message(encode_message(message)))
        assert without.take(message)[0] == charge
        if charge is not None:
            charged[charge.day if per_day else 0] += charge.charged_micros
            assert 0 <= charge.charged_micros <= charge.price_micros
            assert charge.charged_micros == charge.price_micros or charge.left_micros == 0
            assert charge.day > DAY or not per_day or charge.charged_micros <= before
    assert all(sum_micros <= micros(budget) for sum_micros in charged.values())
    assert account.encode() == without.encode()


def test_what_is_delivered_beyond_the_budget_is_free_and_counted():
    account = Account(SETTINGS)
    account.take(terms(1.0))
    charges = [account.take(sale(number, 0.4, T0 + number))[0] for number in range(4)]
    assert [charge.charged_micros for charge in charges] == [400_000, 400_000, 200_000, 0]
    standing = decode_standing(account.record("c")[1])
    assert (standing.left_micros, standing.spent_micros, standing.beyond_micros) == (0, 1_000_000, 600_000)


def test_only_what_takes_a_campaign_out_or_lets_it_in_is_told_at_once():
    account = Account(SETTINGS)
    assert account.take(terms(1.0))[1]
    assert not account.take(sale(1, 0.4, T0))[1]
    assert account.take(sale(2, 0.7, T0))[1]
    assert not account.take(sale(3, 0.7, T0))[1]
    assert account.take(Slates("c", 1, T0 + DAY_MS))[1]
    assert account.left_micros == 1_000_000


def test_a_late_sale_is_booked_on_the_day_that_has_begun():
    account = Account(SETTINGS)
    account.take(terms(1.0))
    account.take(Slates("c", 1, T0 + DAY_MS))
    charge, _ = account.take(sale(1, 0.4, T0 + DAY_MS - 1))
    assert (charge.day, charge.left_micros) == (DAY + 1, 600_000)


def test_a_lower_budget_leaves_nothing_and_a_higher_one_something():
    account = Account(SETTINGS)
    account.take(terms(1.0))
    account.take(sale(1, 0.8, T0))
    account.take(terms(0.5))
    assert account.left_micros == 0
    account.take(terms(2.0))
    assert account.left_micros == 1_200_000


def day_of(account: Account, day: int, demand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What an account has spent after each hour of a day in which a campaign could sell so many clicks of 0.1 an hour."""
    spent = []
    for hour in range(24):
        for part in range(12):
            time_ms = (DAY + day) * DAY_MS + hour * HOUR_MS + part * HOUR_MS // 12
            account.take(Slates("c", int(demand[hour]), time_ms))
            pace = decode_standing(account.record("c")[1]).pace
            for number in range(rng.poisson(pace * demand[hour] / 12)):
                account.take(sale(number, 0.1, time_ms))
        spent.append(decode_standing(account.record("c")[1]).spent_micros)
    return np.array(spent) / 1e6


@pytest.mark.parametrize("pacing", ["traffic", "even"])
def test_a_paced_budget_follows_its_plan_and_a_fast_one_is_gone_by_noon(pacing):
    demand = 30 * (1 + 0.8 * np.cos(2 * np.pi * (np.arange(24) - 15) / 24))
    plan = demand.cumsum() / demand.sum() if pacing == "traffic" else np.arange(1, 25) / 24
    account, rng = Account(SETTINGS), np.random.default_rng(5)
    account.take(terms(20.0, pacing=pacing))
    day_of(account, 0, demand, rng)
    paced = day_of(account, 1, demand, rng) / 20.0
    assert np.abs(paced - plan).max() < 0.12
    assert paced[-1] > 0.95
    fast = Account(SETTINGS)
    fast.take(terms(20.0, pacing="fast"))
    assert day_of(fast, 0, demand, rng)[12] == 20.0


def test_the_next_day_begins_with_the_pace_at_which_the_money_of_this_one_ended():
    account = Account(SETTINGS)
    account.take(terms(1.0))
    account.take(Slates("c", 1, T0))
    account.take(sale(1, 1.0, T0 + 1))
    for minute in range(0, 24 * 60, 5):
        account.take(Slates("c", 1, T0 + minute * 60_000))
    assert decode_standing(account.record("c")[1]).pace == 1.0


def test_a_total_is_spread_over_its_days():
    account, rng = Account(SETTINGS), np.random.default_rng(5)
    account.take(terms(40.0, per_day=False, pacing="even", begins_ms=T0, ends_ms=T0 + 4 * DAY_MS))
    spent = [day_of(account, day, np.full(24, 20.0), rng)[-1] for day in range(4)]
    assert spent == pytest.approx([10 / 0.95, 20 / 0.95, 30 / 0.95, 40], abs=1.0)


def test_a_curve_of_traffic_is_learned_from_the_days_before_and_even_until_then():
    traffic = Traffic()
    assert traffic.share_until(T0 + 6 * HOUR_MS) == 0.25
    for day in range(3):
        for hour in range(24):
            traffic.count(9 if hour == 20 else 1, time_ms=T0 + day * DAY_MS + hour * HOUR_MS)
    assert traffic.share_until(T0 + 20 * HOUR_MS) == pytest.approx(20 / 32)
    assert traffic.share_until(T0 + 20 * HOUR_MS + HOUR_MS // 2) == pytest.approx(24.5 / 32)
    assert traffic.share_until(T0 + 24 * HOUR_MS - 1) == pytest.approx(1, abs=1e-6)


def test_bytes_of_another_version_are_refused():
    for read in (lambda raw: Account(SETTINGS, raw), decode_message):
        with pytest.raises(ValueError, match="of version 9"):
            read(b"\x09")
