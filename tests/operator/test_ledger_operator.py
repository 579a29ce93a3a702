"""LEDGER: whatever is restored when, charges are exact, and every replica hears who has no money left."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from models.auction.ledger import Message, Sale, Slates, Terms, encode_message, micros
from models.auction.pacing import DAY_MS
from models.config import Auction
from models.identity import hash64
from operators.ledger import CHARGED, Ledger
from tests.operator.fakes import FakeBackend, Running

T0 = 20_000 * DAY_MS
CAMPAIGNS = {"cars": 20.0, "pets": 3.5}


def traffic(n: int) -> list[Message]:
    """Sales of two days in mixed order, of campaigns that could spend several times what they have."""
    draw = np.random.default_rng(3)
    sent: list[Message] = [Terms(name, micros(budget), True, None, None, "traffic") for name, budget in CAMPAIGNS.items()]
    for number in range(n):
        name = list(CAMPAIGNS)[int(draw.integers(2))]
        time_ms = T0 + int(2 * DAY_MS * number / n + draw.integers(-60_000, 60_000))
        if draw.random() < 0.2:
            sent.append(Slates(name, 5, time_ms))
        else:
            sent.append(Sale(name, "ad", "u", f"{number:016x}", 1, micros(draw.uniform(0.05, 0.6)), time_ms))
    return sent


def process(sent: list[Message], *, restore_every: int | None = None) -> tuple[list[dict[str, Any]], dict[bytes, dict[str, Any]]]:
    """The committed charges, and the newest record of each account: every so many messages the operator is killed in mid-stream."""
    running = Running(Ledger(Auction(value="bid")))
    committed: list[dict[str, Any]] = []
    published: dict[bytes, dict[str, Any]] = {}
    at, checkpoint, pending, kills = 0, (0, running.backend.checkpoint()), list[dict[str, Any]](), set[int]()
    while at < len(sent):
        for one in running.send(hash64(sent[at].campaign), encode_message(sent[at])):
            if isinstance(one, tuple) and one[0] is CHARGED:
                pending.append(json.loads(one[1][1]))
                assert one[1][0] == sent[at].campaign.encode()
            else:
                published[one[0]] = json.loads(one[1])
        at += 1
        if restore_every and at % restore_every == 0 and at not in kills:
            kills.add(at)
            at, state = checkpoint
            running, pending = Running(Ledger(Auction(value="bid")), state.checkpoint()), []
        elif at % 7 == 0:
            checkpoint = (at, running.backend.checkpoint())
            committed += pending
            pending = []
    return committed + pending, published


def test_charges_after_restores_are_those_of_a_run_without_and_never_more_than_a_budget():
    sent = traffic(600)
    charges, published = process(sent)
    restored_charges, restored_published = process(sent, restore_every=40)
    assert restored_charges == charges
    for name, told in published.items():
        assert all(restored_published[name][field] == told[field] for field in ("left_micros", "spent_micros", "pace"))
    of_day: Counter[tuple[str, int]] = Counter()
    for charge in charges:
        of_day[charge["campaign"], charge["day"]] += charge["charged_micros"]
    assert all(spent <= micros(CAMPAIGNS[name]) for (name, _), spent in of_day.items())
    assert sum(spent == micros(CAMPAIGNS[name]) for (name, _), spent in of_day.items()) >= 2
    assert len({charge["charge_id"] for charge in charges}) == len(charges) == sum(isinstance(one, Sale) for one in sent)
    for name, budget in CAMPAIGNS.items():
        of_campaign = [charge for charge in charges if charge["campaign"] == name]
        beyond = sum(charge["price_micros"] - charge["charged_micros"] for charge in of_campaign)
        assert beyond > 0
        told = published[f"account:{name}".encode()]
        assert told["spent_micros"] + told["left_micros"] == micros(budget)


def test_the_first_message_after_a_start_tells_how_the_account_stands():
    running = Running(Ledger(Auction(value="bid")))
    first, sale = Terms("cars", micros(5), True, None, None, "fast"), Sale("cars", "ad", "u", "0" * 16, 1, micros(1), T0)
    assert len(running.send(1, encode_message(first))) == 1
    assert [one[0] for one in running.send(1, encode_message(sale))] == [CHARGED]
    restored = Running(Ledger(Auction(value="bid")), running.backend.checkpoint())
    charge, told = restored.send(1, encode_message(sale))
    assert json.loads(charge[1][1])["left_micros"] == micros(3)
    assert json.loads(told[1])["left_micros"] == micros(3)


def test_metrics_count_charges_and_what_was_delivered_for_nothing():
    backend = FakeBackend()
    running = Running(Ledger(Auction(value="bid")), backend)
    running.send(1, encode_message(Terms("cars", micros(1), True, None, None, "fast")))
    for number in range(3):
        running.send(1, encode_message(Sale("cars", "ad", "u", f"{number:016x}", 1, micros(0.6), T0)))
    assert backend.counts == {"charges": 3, "charges_short": 2, "charged_micros": 1_000_000, "beyond_micros": 800_000}
