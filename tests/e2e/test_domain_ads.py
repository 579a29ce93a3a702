"""Campaigns on a real broker and cluster, the learn TaskManager killed in mid-stream: a budget runs out, is never overspent, and takes its
ads out of the slates."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
from kafka import KafkaProducer

from cli.clients import EventSender, TopicReader
from cli.cluster import submit_job
from cli.stack import Stack
from cli.topics import create_topics
from models.auction.ledger import micros
from models.events import Event
from models.topics import CHARGES, CONTROLS, DEAD_LETTER, RECOMMENDATIONS, CatalogueItem, topic_name
from tests.e2e import running

USERS = 8
BUDGETS = {"poor": 12.0, "rich": 1e6}
KILL_AFTER_CHARGES = 16
MOST_ROUNDS = 400
PATIENCE_MS = 120_000
T0 = 1_700_000_000_000


class Site:
    """Pages with ads beside them; people click the first ad of the poor campaign that they see."""

    def __init__(self, stack: Stack) -> None:
        self.config = running.configuration(
            stack,
            events={"types": {"view": {}, "click": {"makes_slate": False}}},
            scorer={"name": "mlp", "hidden": [8], "candidates": 16},
            learner={"enabled": False},
            slate={"k": 2, "recommend_seen": True},
            auction={"value": "bid", "pacing_interval_s": 60},
        )
        create_topics(self.config.kafka)
        self.sender = EventSender(self.config.kafka)
        ads = {f"{name}-{n}": CatalogueItem(campaign=name, bid=2.0 if name == "poor" else 1.0) for name in BUDGETS for n in range(3)}
        self.sender.send_items(ads)
        producer = KafkaProducer(bootstrap_servers=self.config.kafka.bootstrap_servers)
        for name, budget in BUDGETS.items():
            rule = msgspec.json.encode({"budget": budget, "pacing": "fast"})
            producer.send(topic_name(self.config.kafka.topic_prefix, CONTROLS), key=f"campaign:{name}".encode(), value=rule)
        producer.close()
        self.job_id = submit_job(self.config, progress=lambda _: None)
        self.reader = TopicReader(self.config.kafka, (RECOMMENDATIONS,), at_once=True)
        self.clicked: dict[str, int] = {}
        self._events = count()

    def rounds(self) -> Iterator[list[dict[str, Any]]]:
        """Everybody views a page; their slates."""
        for number in range(MOST_ROUNDS):
            asked = {self._send(user, "view", "page") for user in range(USERS)}
            slates: dict[str, dict[str, Any]] = {}
            waited_ms = 0
            while len(slates) < USERS:
                for _, value, _ in self.reader.poll(50):
                    slate = msgspec.json.decode(value)
                    if slate["event_id"] in asked:
                        slates.setdefault(slate["event_id"], slate)
                waited_ms += 50
                assert waited_ms < PATIENCE_MS, f"round {number}: nobody answers"
            yield list(slates.values())

    def click(self, slate: dict[str, Any]) -> None:
        """Click the first place of the poor campaign, where there is one."""
        for item in slate["items"]:
            if item.get("campaign") == "poor":
                self.clicked[f"{slate['slate_id']}-{item['position']}"] = item["price_micros"]
                self._send(int(slate["user_id"][1:]), "click", item["item_id"], slate_id=slate["slate_id"])
                return

    def _send(self, user: int, kind: str, item: str, **more: Any) -> str:
        number = next(self._events)
        event = Event(f"e{number}", f"u{user}", item, kind, T0 + 1_000 * number, **more)
        self.sender.send(event)
        return event.event_id

    def charges(self) -> list[dict[str, Any]]:
        """All that were committed."""
        return running.values(self.config, CHARGES)

    def due(self) -> dict[str, int]:
        """The clicks, with their prices, on places that the last revision of their slate has.

        A restore makes slates anew, and one that knows by then that a campaign has no money shows its ads no more: a click on what is
        superseded is free.
        """
        latest = {slate["slate_id"]: slate for slate in running.values(self.config, RECOMMENDATIONS)}
        places = {
            f"{slate_id}-{item['position']}": item["price_micros"]
            for slate_id, slate in latest.items()
            for item in slate["items"]
            if item.get("campaign") == "poor"
        }
        return {place: places[place] for place in self.clicked if place in places}


def test_a_budget_that_runs_out_takes_its_ads_out_and_is_never_overspent_though_the_ledger_is_killed(stack: Stack) -> None:
    site = Site(stack)
    killed, without = False, 0
    for slates in site.rounds():
        poor = [slate for slate in slates if any(item.get("campaign") == "poor" for item in slate["items"])]
        without = 0 if poor else without + 1
        if killed and without == 3:
            break
        for slate in poor:
            site.click(slate)
        # what no checkpoint holds yet is made anew, by a recommender that knows that the money is gone
        if not killed and len(site.charges()) >= KILL_AFTER_CHARGES:
            killed, without = True, 0
            name = running.taskmanager_of(site.config, site.job_id, "LEDGER").split(".")[0]
            os.kill(stack.processes()[name], signal.SIGKILL)
    site.sender.close()
    site.reader.close()
    assert killed
    assert without == 3, "the ads of a campaign without money are still shown"
    assert all(item["campaign"] == "rich" for slate in slates for item in slate["items"])
    running.await_true(lambda: running.restarts(site.config, site.job_id) >= 1, "nothing was restored")
    running.await_true(lambda: len(site.charges()) >= len(site.due()), "not every click is charged")

    charges, due = site.charges(), site.due()
    assert {charge["charge_id"]: charge["price_micros"] for charge in charges} == due
    assert len(charges) == len(due) >= KILL_AFTER_CHARGES
    assert sum(charge["charged_micros"] for charge in charges) == micros(BUDGETS["poor"])
    assert min(charge["left_micros"] for charge in charges) == 0
    beyond = [charge for charge in charges if charge["charged_micros"] < charge["price_micros"]]
    print(f"{len(charges)} clicks, {len(beyond)} of them after the money was spent")
    assert running.values(site.config, DEAD_LETTER) == []
