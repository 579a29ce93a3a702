"""Content: likeness of catalogue entries, and new items found by nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from models.content import BUCKET, Content, label_sum, lowest_bit, signature_cosine
from models.events import Event
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem
from models.validation import parse_configuration

PLAIN = {"scorer": {"name": "none"}, "learner": {"enabled": False}, "policy": {"epsilon": 0.0, "epsilon_min": 0.0}}


def catalogued(entries, **sections):
    pipeline = LocalPipeline(parse_configuration(PLAIN | sections, "test.yaml"), publish_every=1)
    for item_id, entry in entries.items():
        pipeline.recommender.replica.apply_catalogue_item(item_id, entry)
    return pipeline


def shown(pipeline, user, *items):
    for number, item in enumerate(items):
        event = Event(f"{user}-{item}", user, item, "view", 60_000 * (number + 1))
        pipeline.learn(event)
    return {item.item_id: item for item in pipeline.recommend(event).items}


def test_the_lowest_bit_is_found_whatever_stands_above_it():
    for place in range(64):
        assert lowest_bit(np.uint64(1 << place)) == place
        assert lowest_bit(np.uint64(2**64 - (1 << place))) == place


def test_the_weights_of_labels_are_added_up_over_all_words():
    labels = np.array([[1 << 63 | 1, 0, 1 << 5, 1 << 63]], np.uint64)
    weights = np.arange(256, dtype=np.float32)
    assert label_sum(0, labels, weights) == (0 + 63 + 133 + 255, 4)


def test_an_item_that_nobody_had_is_recommended_from_its_entry_alone():
    entries = {
        "seen": CatalogueItem(categories=["jazz"], brand="blue"),
        "alike": CatalogueItem(categories=["jazz"], brand="blue"),
        "half": CatalogueItem(categories=["jazz"], brand="red"),
        "other": CatalogueItem(categories=["rock"], brand="green"),
    }
    slate = shown(catalogued(entries, sources={"new_items": 0, "trending": 0}), "ann", "seen")
    assert [(item.item_id, item.sources) for item in slate.values()] == [("alike", ["content"]), ("half", ["content"])]
    assert slate["alike"].score == pytest.approx(2 * slate["half"].score)


def test_an_item_with_a_like_vector_is_recommended_and_one_with_an_opposite_vector_is_not():
    draw = np.random.default_rng(3)
    base = draw.normal(size=16)
    entries = {
        "seen": CatalogueItem(vector=base.tolist()),
        "near": CatalogueItem(vector=(base + 0.1 * draw.normal(size=16)).tolist()),
        "far": CatalogueItem(vector=(-base).tolist()),
    }
    slate = shown(catalogued(entries, sources={"new_items": 0, "trending": 0}), "ann", "seen")
    assert list(slate) == ["near"]


def test_the_signature_estimates_the_cosine():
    content = Content()
    content.grow_items(200)
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(200, 24)) + 0.5
    for index, vector in enumerate(vectors):
        content.apply(index, categories=(), tags=(), brand=None, price=None, vector=tuple(vector))
    true = (vectors[:100] * vectors[100:]).sum(1) / np.linalg.norm(vectors[:100], axis=1) / np.linalg.norm(vectors[100:], axis=1)
    estimated = [signature_cosine(content.signatures[n], content.signatures[100 + n]) for n in range(100)]
    assert np.corrcoef(true, estimated)[0, 1] > 0.7
    assert np.abs(true - estimated).mean() < 0.2


def test_a_vector_of_another_length_is_refused():
    pipeline = catalogued({"a": CatalogueItem(vector=[1.0, 2.0])})
    with pytest.raises(ValueError, match="expected 2 numbers as in other items, got 3"):
        pipeline.recommender.replica.apply_catalogue_item("b", CatalogueItem(vector=[1.0, 2.0, 3.0]))


def test_an_entry_that_comes_again_takes_one_place_and_the_latest_entries_stay():
    content = Content()
    content.grow_items(BUCKET + 10)
    for index in [0, 0, 0, *range(1, BUCKET + 10)]:
        content.apply(index, categories=("only",), tags=(), brand=None, price=None, vector=None)
    [bucket] = np.flatnonzero(content.bucket_sizes)
    assert content.bucket_sizes[bucket] == BUCKET + 10
    assert set(content.buckets[bucket].tolist()) == set(range(10, BUCKET + 10))


def test_an_item_that_goes_on_sale_again_and_again_leaves_the_others_in_the_bucket():
    content = Content()
    content.grow_items(BUCKET)
    for index in [*range(10), *[0] * 2 * BUCKET]:
        for categories in ((), ("sale",)):
            content.apply(index, categories=categories, tags=(), brand=None, price=None, vector=None)
    [bucket] = np.flatnonzero(content.bucket_sizes)
    assert content.buckets[bucket, : content.bucket_sizes[bucket]].tolist() == list(range(10))


def test_prices_a_factor_of_two_apart_are_of_different_bands():
    content = Content()
    content.grow_items(3)
    for index, price in enumerate((10.0, 11.0, 40.0)):
        content.apply(index, categories=(), tags=(), brand=None, price=price, vector=None)
    assert content.labels[0].tolist() == content.labels[1].tolist() != content.labels[2].tolist()
    assert content.log_prices.tolist() == pytest.approx(np.log1p([10.0, 11.0, 40.0]).tolist())
