"""What a user makes of labels and vectors: one step of a logistic regression with each event."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from models.content import LABELS, SIGNATURE_BITS
from models.events import Event
from models.feature_table import FEATURES
from models.identity import item_hash64
from models.pipeline import LocalPipeline
from models.taste import NO_TASTE, WEIGHTS, learned_taste, taste_of
from models.validation import parse_configuration

CATALOGUE = {"lamp": ["light"], "candle": ["light", "wax"], "crayon": ["wax"], "spoon": ["metal", "kitchen", "new"], "thing": []}
VECTORS = {"candle": [0.3, -1.0, 0.2], "vase": [1.0, 0.5, -0.3]}
BASE = math.log(0.2 / 0.8)


def pipeline(**sections):
    made = LocalPipeline(parse_configuration({"policy": {"epsilon": 0}} | sections, "t"), publish_every=1)
    for item in CATALOGUE | VECTORS:
        entry = {"title": item, "tags": CATALOGUE.get(item, []), "vector": VECTORS.get(item)}
        made.apply_catalogue(item, json.dumps(entry).encode())
    return made


def known_of(replica, item):
    """What the regression reads: labels and signs, each of length 1 or nothing, float64[WEIGHTS]."""
    index = replica.index_of(item_hash64(item))
    words, signature = replica.content.labels[index], int(replica.content.signatures[index])
    bits = np.array([int(words[bit // 64]) >> bit % 64 & 1 for bit in range(LABELS)], np.float64)
    signs = np.array([1.0 if signature >> bit & 1 else -1.0 for bit in range(SIGNATURE_BITS)]) * (signature != 0)
    return np.concatenate((bits / max(1.0, np.sqrt(bits.sum())), signs / np.sqrt(SIGNATURE_BITS)))


def learned(replica, taste, shown, item, *, taken=True, rate=0.5, eta=1.0):
    hashes = np.array([item_hash64(name) for name in shown], np.int64)
    return learned_taste(taste, hashes, item_hash64(item), taken=taken, replica=replica, rate=rate, base=BASE, eta=eta)


def liking(replica, taste, item):
    content = replica.content
    return taste_of(replica.index_of(item_hash64(item)), content.labels, content.signatures, taste.astype(np.float32))


@pytest.mark.parametrize("eta", [0.0, 1.0, 2.0])
def test_a_step_is_that_of_the_gradient_of_the_logistic_loss(eta):
    replica = pipeline().recommender.replica
    draw = np.random.default_rng(3)
    before = draw.normal(size=WEIGHTS).astype(np.float16)
    shown, item = ["candle", "spoon", "vase", "thing", "crayon"], "spoon"
    expected = before.astype(np.float64)
    for place, name in enumerate(shown, 1):
        x = known_of(replica, name)
        p = 1 / (1 + np.exp(-(x @ before.astype(np.float64) + BASE)))
        # what was taken was looked at; of the others that is not known
        share, answer = (1.0, 1.0) if name == item else (place**-eta, 0.0)
        expected += 0.5 * share * (answer - p) * x
    after = learned(replica, before, shown, item, eta=eta)
    assert after == pytest.approx(expected, abs=2e-3)
    assert (after == before)[expected == before].all()


def test_what_is_taken_is_liked_and_what_is_passed_over_is_not_the_first_place_most():
    replica = pipeline().recommender.replica
    taste = learned(replica, NO_TASTE, ["crayon", "spoon"], "lamp")
    assert liking(replica, taste, "lamp") > 0 > liking(replica, taste, "spoon") > liking(replica, taste, "crayon")
    assert liking(replica, taste, "lamp") > liking(replica, taste, "candle") > liking(replica, taste, "crayon")


def test_what_a_user_always_does_becomes_certain_and_no_more_than_that():
    replica = pipeline().recommender.replica
    taste = NO_TASTE
    for _ in range(400):
        taste = learned(replica, taste, ["spoon"], "lamp")
    assert 0.9 < 1 / (1 + math.exp(-liking(replica, taste, "lamp") - BASE)) < 1
    assert 0 < 1 / (1 + math.exp(-liking(replica, taste, "spoon") - BASE)) < 0.02


def test_items_without_labels_and_items_that_nobody_knows_teach_nothing():
    replica = pipeline().recommender.replica
    assert len(learned(replica, NO_TASTE, ["thing", "unknown"], "thing")) == 0
    assert learned(replica, NO_TASTE, ["unknown"], "lamp").tolist() == learned(replica, NO_TASTE, [], "lamp").tolist()


def act(made, item, *, at, event_type="click", slate_id=None, answered=True, trace=False):
    event = Event(f"e{at}", "ann", item, event_type, 1_700_000_000_000 + at, slate_id=slate_id, trace=trace)
    made.learn(event)
    return made.recommend(event) if answered else None


def test_the_next_slate_is_scored_with_what_the_event_taught():
    made = pipeline()
    act(made, "lamp", at=1, trace=True)
    user = made.user("ann")
    told = {one.item_id: one.features[list(FEATURES).index("taste")] for one in user.trace.candidates}
    expected = {item: liking(made.recommender.replica, user.state.taste, item) for item in told}
    assert told == pytest.approx(expected, abs=1e-3)
    assert told["candle"] > 0


def test_a_second_event_on_the_same_item_teaches_nothing_more():
    made = pipeline()
    act(made, "lamp", at=1)
    before = made.user("ann").state.taste.tolist()
    act(made, "lamp", at=2, event_type="cart")
    assert made.user("ann").state.taste.tolist() == before


def test_a_dislike_lowers_its_own_labels_alone():
    made = pipeline(events={"types": {"click": {"weight": 1.0}, "thumbs_down": {"weight": -1.0}}, "default_type": "click"})
    act(made, "lamp", at=1)
    before = made.user("ann").state.taste
    act(made, "spoon", at=2, event_type="thumbs_down")
    after = made.user("ann").state.taste
    replica = made.recommender.replica
    assert liking(replica, after, "spoon") < liking(replica, before, "spoon")
    assert liking(replica, after, "candle") == liking(replica, before, "candle")


def test_a_slate_that_was_not_reported_was_not_passed_over_where_that_is_asked():
    moved = []
    for reported in (False, True):
        made = pipeline(outcomes={"served_means_seen": False})
        slate = act(made, "lamp", at=1)
        replica, before = made.recommender.replica, made.user("ann").state.taste
        assert "candle" in [item.item_id for item in slate.items]
        if reported:
            act(made, "candle", at=2, event_type="impression", slate_id=slate.slate_id, answered=False)
        act(made, "found elsewhere", at=3)
        moved.append(liking(replica, made.user("ann").state.taste, "candle") - liking(replica, before, "candle"))
    assert moved[0] == 0
    assert moved[1] < 0


def test_nothing_is_learned_at_a_rate_of_nothing():
    made = pipeline(profile={"taste_rate": 0})
    act(made, "lamp", at=1)
    act(made, "spoon", at=2)
    assert len(made.user("ann").state.taste) == 0
