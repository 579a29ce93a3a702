"""RECOMMEND and LEDGER together, driven by hand: what is clicked is charged, and who has no money left is not shown."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from pyflink.common import Row

from models.auction.ledger import Sale, Slates, Terms, decode_message, micros
from models.config import Configuration
from models.controls import control_key
from models.events import Event
from models.frequency import Impressions
from models.topics import CONTROLS, ITEMS, MODEL_UPDATES, CatalogueItem
from models.validation import parse_configuration
from operators.ledger import CHARGED, Ledger
from operators.recommend import ACCOUNTS, REPLICAS, Recommend
from tests.operator.fakes import FakeBackend, Running

T0 = 1_700_000_000_000
BUDGETS = {"poor": 3.0, "rich": 1_000.0}


def configuration(**sections: Any) -> Configuration:
    mapping = {
        "scorer": {"name": "mlp", "hidden": [8], "candidates": 16},
        "learner": {"enabled": False},
        "policy": {"epsilon": 0.0, "epsilon_min": 0.0},
        "slate": {"k": 2, "recommend_seen": True},
        "auction": {"value": "bid", "pacing_interval_s": 60},
    }
    return parse_configuration(mapping | sections, "the test")


class Site:
    """Two operators and the topics between them."""

    def __init__(self, config: Configuration, *, recommend: FakeBackend | None = None, ledger: FakeBackend | None = None) -> None:
        self.config = config
        operator = Recommend(config, shard_keys=(1,), learner_key=0, bootstrap=False)
        self.recommend, self.ledger = Running(operator, recommend), Running(Ledger(config.auction), ledger)
        self.told: list[Any] = []
        self.charges: list[dict[str, Any]] = []
        self.replicated: list[bytes] = []
        for name in BUDGETS:
            for number in range(3):
                item = CatalogueItem(campaign=name, bid=2.0 if name == "poor" else 1.0)
                self._take(self.recommend.broadcast(Row(ITEMS, f"{name}-{number}", msgspec.json.encode(item), T0)))

    def control(self, name: str, value: Any) -> None:
        self._take(self.recommend.broadcast(Row(CONTROLS, name, msgspec.json.encode(value), T0)))

    def event(self, number: int, kind: str = "view", item: str = "page", **more: Any) -> dict[str, Any]:
        event = Event(f"e{number}", "u", item, kind, T0 + 1_000 * number, **more)
        [slate] = self._take(self.recommend.send("u", Row(msgspec.json.encode(event), 0, number)))
        return slate

    def _take(self, yielded: list[Any]) -> list[dict[str, Any]]:
        slates = []
        for one in yielded:
            if not isinstance(one, tuple) or isinstance(one, Row):
                slates.append(json.loads(one[1]))
            elif one[0] is ACCOUNTS:
                self.told.append(decode_message(one[1][1]))
                self._publish(self.ledger.send(one[1][0], one[1][1]))
            elif one[0] is REPLICAS:
                self.replicated.append(one[1][0])
        return slates

    def _publish(self, yielded: list[Any]) -> None:
        for one in yielded:
            if isinstance(one, tuple) and one[0] is CHARGED:
                self.charges.append(json.loads(one[1][1]))
            else:
                assert self.recommend.broadcast(Row(MODEL_UPDATES, one[0].decode(), one[1], T0)) == []


def test_what_is_clicked_is_charged_as_promised_until_the_money_is_gone_over_restores():
    site = Site(configuration())
    for name, budget in BUDGETS.items():
        site.control(f"campaign:{name}", {"budget": budget, "pacing": "fast"})
    assert site.replicated == [control_key(f"campaign:{name}").encode() for name in BUDGETS]
    assert site.told == [Terms(name, micros(budget), True, None, None, "fast") for name, budget in BUDGETS.items()]
    clicked: dict[str, int] = {}
    charges: list[dict[str, Any]] = []
    for number in range(0, 60, 2):
        slate = site.event(number)
        poor = next((item for item in slate["items"] if item["campaign"] == "poor"), None)
        if poor is None:
            break
        clicked[f"{slate['slate_id']}-{poor['position']}"] = poor["price_micros"]
        site.event(number + 1, "click", poor["item_id"], slate_id=slate["slate_id"])
        if number == 2:
            charges = site.charges
            restored = Site(site.config, recommend=site.recommend.backend.checkpoint(), ledger=site.ledger.backend.checkpoint())
            for name, budget in BUDGETS.items():
                restored.control(f"campaign:{name}", {"budget": budget, "pacing": "fast"})
            site = restored
    charges += site.charges
    assert {charge["charge_id"]: charge["price_micros"] for charge in charges} == clicked
    assert sum(charge["charged_micros"] for charge in charges) == micros(BUDGETS["poor"])
    assert len(clicked) >= 3
    assert {item["campaign"] for item in site.event(100)["items"]} == {"rich"}
    assert any(isinstance(message, Slates) for message in site.told)
    site.control("campaign:poor", {"budget": 50.0, "pacing": "fast"})
    assert {item["campaign"] for item in site.event(101)["items"]} == {"poor"}


def test_campaigns_of_the_configuration_are_told_before_anything_else():
    site = Site(configuration(rules={"campaign:rich": {"budget": 5}}))
    slate = site.event(0)
    assert {item["campaign"] for item in slate["items"]} == {"rich"}
    first, *others = site.told
    assert first == Terms("rich", micros(5), True, None, None, "traffic")
    assert not any(isinstance(message, Sale) for message in others)


def test_impressions_are_kept_in_state_and_go_when_the_user_is_erased():
    campaigns = {f"campaign:{name}": {"budget": budget} for name, budget in BUDGETS.items()}
    config = configuration(rules={"frequency_cap": {"most": 1, "window_s": 3600}} | campaigns)
    site = Site(config)
    shown = [item["item_id"] for number in range(2) for item in site.event(number)["items"]]
    restored = Site(config, recommend=site.recommend.backend.checkpoint())
    shown += [item["item_id"] for number in range(2, 5) for item in restored.event(number)["items"]]
    assert len(shown) == len(set(shown)) == 6
    backend = restored.recommend.backend
    assert len(Impressions.decode(backend.cells["impressions", "u"]).rows) == 6
    restored._take(restored.recommend.send("u", Row(b'{"event_id":"x","user_id":"u","type":"erase","event_time_ms":1700000009000}', 0, 9)))
    assert ("impressions", "u") not in backend.cells
