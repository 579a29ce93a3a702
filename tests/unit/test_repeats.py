"""Items that are recommended again: which of them are candidates, and that the scorer learns when they are due."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.config import Configuration
from models.events import Event
from models.pipeline import LocalPipeline
from models.replica import Replica
from models.sources.repeats import had_most
from models.topics import CatalogueItem
from models.validation import parse_configuration

HOUR_MS = 3_600_000


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1.0, 0.5, 1.0, 3.0])), max_size=40))
def test_what_was_had_most_stands_first_and_of_equal_ones_the_latest(events):
    replica = Replica(Configuration())
    for item in range(8):  # two of the ten are unknown
        replica.apply_catalogue_item(f"item-{item}", CatalogueItem())
    known = {int(replica.hashes[index]): index for index in range(replica.known_items)}
    hashes = sorted(known)
    profile = [(hashes[item] if item < 8 else item, weight) for item, weight in events]
    sums, latest = defaultdict(float), {}
    for place, (item, weight) in enumerate(profile):
        if item in known:
            sums[item] += weight
            latest[item] = place
    expected = sorted((item for item in sums if sums[item] > 0), key=lambda item: (-sums[item], -latest[item]))
    items = np.array([item for item, _ in profile], np.int64)
    weights = np.array([weight for _, weight in profile], np.float32)
    assert had_most(*replica.index_table, items, weights).tolist() == [known[item] for item in expected]


def hits(**scorer):
    """Share of events whose item was shown, of the last half, of users with five of 300 items each that they want again after a while."""
    settings = {
        "slate": {"k": 3, "recommend_seen": True},
        "policy": {"epsilon": 0.0, "epsilon_min": 0.0},
        "scorer": {"name": "mlp", "hidden": [16], **scorer},
        "learner": {"batch_examples": 16, "learning_rate": 0.01},
    }
    pipeline = LocalPipeline(parse_configuration(settings, "test.yaml"), publish_every=1)
    draw = np.random.default_rng(3)
    wanted = [list(draw.choice(300, 5, replace=False)) for _ in range(30)]
    found = []
    for turn in range(60):
        for user, items in enumerate(wanted):
            item = draw.integers(300)
            if draw.random() < 0.7:  # one of the two that were had longest ago
                item = items.pop(draw.integers(2))
                items.append(item)
            event = Event(f"{turn}-{user}", f"u{user}", f"i{item}", "view", turn * HOUR_MS)
            slate = pipeline.recommend(event)
            found.append(event.item_id in [one.item_id for one in slate.items])
            pipeline.learn(event)
    return np.mean(found[len(found) // 2 :])


def test_the_scorer_learns_what_is_due_again():
    with_them, without = hits(), hits(ignored_groups=["repeats"])
    assert with_them > 0.65
    assert without < with_them - 0.04
