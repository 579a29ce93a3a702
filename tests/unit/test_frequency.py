"""Frequency caps: nobody is shown anything more often than its cap, whatever explores, and old state is read."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.events import Event
from models.frequency import IMPRESSION_DTYPE, Impressions
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem
from models.validation import parse_configuration

T0, HOUR_MS = 1_700_000_000_000, 3_600_000
SECTIONS = {
    "scorer": {"name": "none"},
    "slate": {"k": 4, "recommend_seen": True},
    "policy": {"epsilon": 0.5},
    "new_items": {"events": 1000, "impressions": 100_000},
}
CAPS = {"frequency_cap:item": {"most": 2, "window_s": 7_200}, "frequency_cap:owner": {"most": 3, "window_s": 3_600, "of": "campaign"}}


def shown_to_one_user(slates: int, *, impressions: int = 512) -> list[tuple[int, str, str]]:
    """(time, item, campaign) of what a user was shown, one event every few minutes, its state packed in between."""
    pipeline = LocalPipeline(parse_configuration(SECTIONS | {"profile": {"impressions": impressions}}, "test.yaml"), publish_every=1)
    recommender, draw = pipeline.recommender, np.random.default_rng(2)
    for number in range(20):
        item = CatalogueItem(title="t", campaign=f"c{number % 4}" if number < 16 else None)
        recommender.apply_catalogue(f"i{number}", msgspec.json.encode(item))
    for name, rule in CAPS.items():
        recommender.apply_control(name, msgspec.json.encode(rule))
    shown, time_ms = [], T0
    for number in range(slates):
        time_ms += int(draw.integers(30_000, 600_000))
        event = Event(f"e{number}", "u", f"i{draw.integers(20)}", "view", time_ms - int(draw.integers(2)) * 20_000)
        pipeline.learn(event)
        for item in pipeline.recommend(event).items:
            campaign = f"c{int(item.item_id[1:]) % 4}" if int(item.item_id[1:]) < 16 else ""
            shown.append((event.event_time_ms, item.item_id, campaign))
        user = pipeline.user("u")
        user.impressions = Impressions.decode(user.impressions.encode())
    return shown


def most_within(times: list[int], window_ms: int) -> int:
    return max(sum(start <= time_ms < start + window_ms for time_ms in times) for start in times)


def test_no_item_and_no_campaign_is_shown_more_often_than_its_cap_within_any_window():
    shown = shown_to_one_user(150)
    items = {item: [time_ms for time_ms, other, _ in shown if other == item] for _, item, _ in shown}
    campaigns = {name: [time_ms for time_ms, _, other in shown if other == name] for _, _, name in shown if name}
    assert len(items) == 20
    assert max(most_within(times, 2 * HOUR_MS) for times in items.values()) == 2
    assert max(most_within(times, HOUR_MS) for times in campaigns.values()) == 3


def test_what_is_forgotten_is_the_oldest_and_what_no_window_reaches():
    impressions = Impressions()
    for hour in range(5):
        items = np.arange(3) + 10 * hour
        impressions.add(items, np.zeros(3, np.int64), time_ms=T0 + hour * HOUR_MS, window_ms=3 * HOUR_MS, capacity=7)
    assert impressions.rows["item"].tolist() == [22, 30, 31, 32, 40, 41, 42]
    impressions.add(np.array([1]), np.array([5]), time_ms=T0 + 7 * HOUR_MS, window_ms=3 * HOUR_MS, capacity=7)
    assert impressions.rows["item"].tolist() == [1]


def test_counts_are_of_the_window_and_of_what_has_a_campaign():
    rows = np.array([(1, 7, T0), (1, 7, T0 + 10), (2, 0, T0 + 10), (3, 7, T0 + 20)], IMPRESSION_DTYPE)
    impressions = Impressions(rows)
    items, counts = impressions.counts("item", time_ms=T0 + 15, window_ms=15)
    assert dict(zip(items.tolist(), counts.tolist(), strict=True)) == {1: 1, 2: 1, 3: 1}
    campaigns, counts = impressions.counts("campaign", time_ms=T0 + 15, window_ms=16)
    assert dict(zip(campaigns.tolist(), counts.tolist(), strict=True)) == {7: 3}


def test_without_a_cap_nothing_is_remembered_and_another_version_is_refused():
    pipeline = LocalPipeline(parse_configuration(SECTIONS, "test.yaml"))
    event = Event("e", "u", "i", "view", T0)
    pipeline.learn(event)
    pipeline.recommend(event)
    assert not pipeline.user("u").impressions.changed
    with pytest.raises(ValueError, match="version 9"):
        Impressions.decode(b"\x09")
