"""The formulas of memory against what is really allocated."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from models.cooccurrence import CooccurrenceTable, PairMessage, encode_pair_message
from models.examples import encode_pending
from models.feature_table import WIDTH
from models.identity import hash64
from models.pipeline import LocalPipeline, warm_up
from models.profile import encode_user_state
from models.recommender import Recommender
from models.sizing import learn_bytes, serve_bytes, user_bytes, vector_bytes
from models.text.vectors import ItemVectors, VectorRecord, encode_vector
from models.validation import parse_configuration
from tests.synthetic import events

CONFIG = parse_configuration({}, "test.yaml")


def table_of(items, neighbours, *, seed=3):
    """A table in which every item has this many neighbours."""
    table, draw = CooccurrenceTable(CONFIG.item_cf, CONFIG.popularity), np.random.default_rng(seed)
    hashes = np.array([hash64(f"item {n}") for n in range(items)])
    for n in range(items):
        others = draw.choice(items - 1, size=neighbours, replace=False)
        others[others >= n] += 1
        for part in np.array_split(hashes[others], -(-neighbours // 20)):
            message = PairMessage(int(hashes[n]), f"item {n}", 0, 1.0, 1.0, np.ascontiguousarray(part), 0)
            table.learn_one(encode_pair_message(message))
    return table


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """What the compiler allocates is not the model's."""
    warm_up(CONFIG)
    table_of(50, 20)


def allocated(make):
    tracemalloc.start()
    made = make()
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return made, current


@pytest.mark.parametrize(("items", "neighbours"), [(1_000, 30), (3_000, 30), (1_500, 100)])
def test_a_model_takes_the_memory_of_the_formulas(items, neighbours):
    table, learned = allocated(lambda: table_of(items, neighbours))
    assert learned == pytest.approx(learn_bytes(CONFIG, items=items, neighbours=neighbours), rel=0.25)
    updates = table.take_updates()

    def replica():
        recommender = Recommender(CONFIG)
        for key, value in updates:
            recommender.apply_update(key, value)
        return recommender

    recommender, served = allocated(replica)
    assert len(recommender.replica) == items
    # the board is made with the first slate
    served += 96 * recommender.replica.capacity
    assert served == pytest.approx(serve_bytes(CONFIG, items=items, neighbours=neighbours, users=1), rel=0.25)


@pytest.mark.parametrize("items", [1_000, 3_000])
def test_vectors_take_the_memory_of_the_formula(items):
    config = parse_configuration({"text": {"encoder": "words"}, "scorer": {"name": "text"}}, "t")
    records = [encode_vector(hash64(f"item {n}"), n, np.ones(384)) for n in range(items)]

    def vectors():
        made = ItemVectors()
        for raw in records:
            made.apply(VectorRecord.decode(raw))
        return made

    _, held = allocated(vectors)
    projected = (4 * config.scorer.embedding_dim + 12) * (1 << (items - 1).bit_length())
    assert held + projected == pytest.approx(vector_bytes(config, items=items, dimension=384), rel=0.25)


@pytest.mark.parametrize(("name", "columns", "history"), [("mlp", 0, 0), ("fism", 2, 20), ("gru", 4, 20)])
def test_the_state_of_a_user_with_a_full_profile_has_the_bytes_of_the_formula(name, columns, history):
    profile = {"items": 20, "seen_items": 40, "dedup_events": 16}
    config = parse_configuration({"profile": profile, "slate": {"k": 5}, "scorer": {"name": name}}, "t")
    pipeline = LocalPipeline(config, publish_every=1)
    for item in range(200):
        pipeline.apply_catalogue(f"item-{item}", b'{"title": "item", "categories": ["kind"]}')
    for event in events(300, users=3, items=200):
        pipeline.learn(event)
        pipeline.recommend(event)
    for user in pipeline.users.values():
        n = config.scorer.candidates
        pending = encode_pending(np.zeros((n, WIDTH + columns), np.float16), np.zeros(n, np.int64), np.zeros(history, np.int64))
        size = len(encode_user_state(user.state)) + len(user.seen.encode()) + len(pending)
        assert size == user_bytes(config, seen=100)
        assert len(user.pending) <= len(pending)
