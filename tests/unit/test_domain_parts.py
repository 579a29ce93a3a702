"""What presets switch on: stock and time, freshness, repeats, dislikes, series, caps of brands, rules from the start."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import msgspec
import numpy as np
import pytest
import torch

from models.config import ConfigurationError
from models.domains.comparison import knowing_types_of
from models.events import Event, Rejected
from models.identity import hash64
from models.pipeline import LocalPipeline
from models.scorers.base import Lists
from models.topics import CatalogueItem
from models.validation import parse_configuration

HOUR_MS = 3_600_000
NOW_MS = 1_700_000_000_000
QUIET = {
    "policy": {"epsilon": 0.0, "epsilon_min": 0.0},
    "scorer": {"name": "none", "candidates": 40},
    "sources": {"new_items": 10.0},
}
SKIPS = {"types": {"view": {"weight": 1.0}, "skip": {"weight": -1.0}}}


class Shop:
    """A recommender that is told of a catalogue and events, without a scorer unless a section says so."""

    def __init__(self, **sections):
        self.pipeline = LocalPipeline(parse_configuration(QUIET | sections, "test.yaml"), publish_every=1)
        self._numbers = count()

    def put(self, item_id, **entry):
        self.pipeline.recommender.apply_catalogue(item_id, msgspec.json.encode(CatalogueItem(**entry)))

    def does(self, user, item, *, kind="view", time_ms=NOW_MS, value=None):
        event = Event(f"e{next(self._numbers)}", user, item, kind, time_ms, value=value)
        self.pipeline.learn(event)
        return event

    def shown(self, user="ann", item="seen", *, kind="view", time_ms=NOW_MS):
        """Items of the slate that answers one more event, in order."""
        return [one.item_id for one in self.pipeline.recommend(self.does(user, item, kind=kind, time_ms=time_ms)).items]

    def control(self, name, rule):
        self.pipeline.recommender.apply_control(name, None if rule is None else json.dumps(rule).encode())


def test_what_is_out_of_stock_is_not_shown_whoever_asks_for_it_and_comes_back_with_new_pieces():
    shop = Shop(policy={"epsilon": 1.0, "strategies": {"all": {"epsilon": 1.0}}}, slate={"k": 3})
    for number in range(6):
        shop.put(f"i{number}", stock=3)
    for rule in ({"item": "i1", "position": 1}, {"item": "i2", "position": 2}):
        shop.control(f"pin:{rule['item']}", rule)
    shop.control("include", {"items": ["i1"]})
    assert "i1" in shop.shown()
    shop.put("i1", stock=0)
    for _ in range(30):
        assert "i1" not in shop.shown()
    shop.put("i1", stock=1)
    assert shop.shown()[0] == "i1"


def test_an_item_is_there_from_its_first_moment_until_its_last_also_when_events_come_out_of_order():
    shop = Shop()
    shop.put("always")
    shop.put("now", available_from_ms=NOW_MS, available_until_ms=NOW_MS + 10)
    shop.put("later", available_from_ms=NOW_MS + 5)
    both = {"now", "later"}
    for after_ms, wanted in ((-1, set()), (0, {"now"}), (9, both), (4, {"now"}), (10, {"later"}), (-1, set()), (5, both)):
        assert set(shop.shown(time_ms=NOW_MS + after_ms)) == {"always"} | wanted, after_ms
    shop.put("now", available_from_ms=NOW_MS + 20)
    assert "now" not in shop.shown(time_ms=NOW_MS + 5)
    shop.put("now")
    assert "now" in shop.shown(time_ms=NOW_MS + 5)


def test_an_excluded_item_stays_away_when_its_time_comes():
    shop = Shop(rules={"exclude": {"items": ["now"]}})
    shop.put("always")
    shop.put("now", available_from_ms=NOW_MS)
    assert shop.shown(time_ms=NOW_MS - 1) == shop.shown(time_ms=NOW_MS) == ["always"]


def test_relevance_halves_with_age_and_the_latest_items_are_candidates_first():
    old = {f"i{number}": NOW_MS - number * HOUR_MS for number in range(1, 60)}
    fresh = Shop(freshness={"half_life_hours": 1}, new_items={"order": "latest", "events": 100}, sources={"item_cf": 1, "new_items": 0.2})
    plain = Shop(sources={"item_cf": 1, "new_items": 0.2})
    for shop in (fresh, plain):
        for item, time_ms in old.items():
            shop.put(item, available_from_ms=time_ms)
        for user in range(8):
            for item in ("seen", "i50", "i2"):
                shop.does(f"u{user}", item)
        shop.does("w", "seen")
        shop.does("w", "i50")
    without, slate = plain.shown(), fresh.shown()
    assert without.index("i50") < without.index("i2")
    assert slate.index("i2") < slate.index("i50")
    fresh.put("just in", available_from_ms=NOW_MS)
    assert "just in" in fresh.shown("eve", time_ms=NOW_MS)


def test_a_track_comes_again_when_its_pause_is_over():
    shop = Shop(slate={"recommend_seen": True, "repeat_after_s": 3600})
    shop.put("a")
    shop.put("b")
    shop.does("ann", "a")
    shop.does("ann", "a")
    shop.does("ann", "b")
    assert shop.shown(item="c", time_ms=NOW_MS + HOUR_MS // 2) == []
    slate = shop.pipeline.recommend(shop.does("ann", "c", time_ms=NOW_MS + HOUR_MS))
    assert {one.item_id for one in slate.items} == {"a", "b"}
    assert all("repeats" in [reason.kind for reason in one.reasons] for one in slate.items)


def test_a_skip_lowers_what_is_near_it_for_this_user_and_teaches_nothing_of_others():
    shop = Shop(events=SKIPS | {"default_type": "view"}, sources={"item_cf": 1})
    for user in range(6):
        for item in ("rock", "loud") if user % 2 else ("jazz", "soft"):
            shop.does(f"u{user}", item)
    rows = {item: shop.pipeline.table.row(hash64(item)).events for item in ("rock", "jazz")}
    shop.does("ann", "jazz")
    shop.does("ann", "rock", kind="skip")
    slate = shop.shown(item="jazz", time_ms=NOW_MS + 1)
    assert slate.index("soft") < (slate.index("loud") if "loud" in slate else len(slate))
    assert shop.pipeline.table.row(hash64("rock")).events == rows["rock"]
    assert "rock" not in slate
    user = shop.pipeline.user("ann")
    assert user.state.items["weight"].tolist() == [1.0, -1.0, 1.0]


def test_who_has_just_skipped_is_like_nobody_where_the_latest_item_alone_counts():
    shop = Shop(user_cf={"decay": 0.0}, events=SKIPS)
    for number in range(8):
        shop.does("v", f"i{number % 4}")
        shop.does("w", f"i{number % 4}")
    shop.does("ann", "i0")
    assert shop.shown("ann", "i2", kind="skip") != []


def test_what_was_skipped_becomes_less_probable():
    lists = Lists.of([np.zeros((3, 2), np.float16)] * 2)
    scores = torch.zeros(2, 3, requires_grad=True)
    replace(lists, weights=torch.tensor([1.0, -0.5])).cross_entropy(scores, torch.tensor([0, 0])).backward()
    assert scores.grad is not None
    assert scores.grad[0, 0] < 0 < scores.grad[1, 0]
    assert scores.grad[1, 1] < 0


def test_the_next_episode_comes_first_and_none_after_it():
    shop = Shop(series={"in_order": True, "next_factor": 5}, sources={"item_cf": 1}, slate={"k": 4})
    for number in range(1, 5):
        shop.put(f"s{number}", series="s", episode=number)
        shop.put(f"t{number}", series="t", episode=number)
    for number in range(8):
        shop.put(f"film {number}")
        for item in ("s1", "s4", "t3", "film 1"):
            shop.does(f"u{number}", item)
    stranger = shop.shown("somebody", "film 2")
    assert not {"s2", "s3", "s4", "t2", "t3", "t4"} & set(stranger)
    slate = shop.pipeline.recommend(shop.does("ann", "s2"))
    assert {"s3"} == {"s1", "s3", "s4", "t2", "t3", "t4"} & {one.item_id for one in slate.items} - {"s1"}
    assert "series" in [reason.kind for one in slate.items if one.item_id == "s3" for reason in one.reasons]


def test_a_withdrawn_episode_is_passed_over_and_of_two_versions_of_one_either_is_there():
    shop = Shop(series={"in_order": True}, slate={"k": 8})
    for number in range(1, 4):
        shop.put(f"s{number}", series="s", episode=number)
    shop.put("s1 again", series="s", episode=1)
    episodes = {"s1", "s1 again", "s2", "s3"}
    assert episodes & set(shop.shown("stranger", "film")) == {"s1", "s1 again"}
    shop.pipeline.recommender.apply_catalogue("s1 again", None)
    assert episodes & set(shop.shown("another", "film")) == {"s1"}
    assert episodes & set(shop.shown("ann", "s1")) == {"s2"}
    shop.pipeline.recommender.apply_catalogue("s2", None)
    assert episodes & set(shop.shown("bob", "s1")) == {"s3"}


def test_what_a_slate_shows_of_an_entry_fits_a_record():
    shop = Shop()
    shop.put("i", title="t" * 600_000)
    assert [len(one.title) for one in shop.pipeline.recommend(shop.does("ann", "seen")).items] == [1_000]
    for bad in ({"vector": [1e39]}, {"vector": [float("-1e16"), 0.0]}):
        with pytest.raises(Rejected, match="vector"):
            shop.put("j", **bad)
    with pytest.raises(Rejected, match="at most 1024 bytes"):
        shop.put("j" * 1_025)


def test_a_slate_holds_no_more_of_a_brand_than_its_cap_also_where_it_explores():
    shop = Shop(rules={"brand_caps": {"most": 2, "brands": {"dear": 1}}}, policy={"epsilon": 0.5})
    for number in range(30):
        shop.put(f"i{number}", brand=("dear", "cheap", "middling")[number % 3], categories=["cheap"])
    for number in range(20):
        slate = shop.shown(f"u{number}")
        brands = [("dear", "cheap", "middling")[int(item[1:]) % 3] for item in slate if item.startswith("i")]
        assert sorted(brands) == ["cheap", "cheap", "dear", "middling", "middling"]


def test_a_rule_of_the_configuration_is_in_force_until_a_control_replaces_it_and_again_when_that_is_gone():
    shop = Shop(rules={"exclude:recall": {"items": ["a"]}, "sources": {"new_items": 1}})
    shop.put("a")
    shop.put("b")
    assert shop.shown() == ["b"]
    shop.control("exclude:recall", {"items": ["b"]})
    assert shop.shown() == ["a"]
    shop.control("exclude:recall", None)
    assert shop.shown() == ["b"]
    shop.control("exclude:recall", None)
    assert shop.shown() == ["b"]


def test_a_rule_that_is_none_is_refused_with_its_name():
    with pytest.raises(ConfigurationError, match=r"rules\.boost:sale"):
        parse_configuration({"rules": {"boost:sale": {"factor": -1}}}, "test.yaml")


def test_a_type_that_a_preset_does_not_know_teaches_it_nothing():
    one, other = parse_configuration({}, "a"), parse_configuration({"events": SKIPS}, "b")
    assert knowing_types_of(one, other).events.types["skip"].weight == 0
    assert knowing_types_of(one, one) == one
