"""Vectors of items: made once for each text, exact to a hundredth of a cosine, and what the learner and the replica hold of them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.config import Configuration, ConfigurationError, Gate, Text
from models.config import Learner as LearnerConfig
from models.config import Scorer as ScorerConfig
from models.events import Event
from models.examples import encode_pending, label_pending
from models.feature_table import WIDTH
from models.identity import hash64
from models.learner import Learner
from models.pipeline import LocalPipeline, vector_maker
from models.scorers import make_scorer
from models.scorers.base import Lists
from models.text.vectors import ItemVectors, VectorMaker, VectorRecord, encode_vector, gone, texts_of, vector_key
from models.text.words import HashedWords
from models.topics import CatalogueItem
from models.validation import parse_configuration

SETTINGS = Text(encoder="words", words_dimension=32)
CUP = CatalogueItem(title="Tea cup", categories=["kitchen", "gifts"], brand=" ", year=1999, text="A red cup.")
SMALL = ScorerConfig(name="text", vector_dimension=32, embedding_rows=64, embedding_dim=8, history=6, hidden=(8,), candidates=16)


class Counting(HashedWords):
    """Hashed words that remember what they were asked for."""

    def __init__(self, dimension):
        super().__init__(dimension)
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        return super().encode(texts)


def vectors_of(n, dimension=32, seed=1):
    rows = np.random.default_rng(seed).normal(size=(n, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(n=40, dimension=32):
    """Vectors of items 1 to n."""
    table = ItemVectors()
    for item, vector in enumerate(vectors_of(n, dimension), 1):
        table.apply(VectorRecord.decode(encode_vector(item, 7, vector)))
    return table


def test_the_text_of_an_item_is_what_its_fields_say():
    assert texts_of(CUP, Text()) == ["Tea cup. kitchen, gifts. A red cup."]
    assert texts_of(CUP, Text(fields=("year", "title"))) == ["1999. Tea cup"]
    assert texts_of(CUP, Text(fields_apart=True)) == ["Tea cup", "kitchen, gifts", "A red cup."]
    assert texts_of(CatalogueItem(), Text()) == texts_of(CatalogueItem(), Text(fields_apart=True)) == []


def test_a_text_is_encoded_once():
    encoder = Counting(32)
    maker = VectorMaker(SETTINGS, encoder)
    digest, record = maker.make("cup", CUP)
    assert maker.make("cup", msgspec.structs.replace(CUP, price=3.0), known=digest) == (digest, None)
    assert encoder.asked == ["Tea cup. kitchen, gifts. A red cup."]
    other, changed = maker.make("cup", msgspec.structs.replace(CUP, title="Coffee cup"), known=digest)
    assert other != digest
    assert changed != record
    assert VectorMaker(SETTINGS, HashedWords(16)).make("cup", CUP)[0] != digest  # another encoder


def test_a_title_counts_as_much_as_the_text_below_it_where_fields_are_apart():
    encoder = HashedWords(256)
    item = CatalogueItem(title="tea", text="a very long description of what else there is in the kitchen")
    record = VectorRecord.decode(VectorMaker(Text(encoder="words", fields_apart=True), encoder).make("x", item)[1])
    title, text = encoder.encode(["tea", item.text]) @ record.values * record.scale
    assert title == pytest.approx(text, abs=0.01)
    together = VectorRecord.decode(VectorMaker(Text(encoder="words"), encoder).make("x", item)[1])
    assert encoder.encode(["tea"])[0] @ together.values * together.scale < 0.5 * title


def test_a_vector_comes_back_from_its_record_to_a_hundredth_of_a_cosine():
    vectors = vectors_of(20, 384)
    back = [VectorRecord.decode(encode_vector(n, 7, vector)) for n, vector in enumerate(vectors)]
    dequantised = np.stack([record.values * record.scale for record in back])
    np.testing.assert_allclose(dequantised @ dequantised.T, vectors @ vectors.T, atol=0.01)
    assert [record.item for record in back] == list(range(20))


def test_what_came_with_the_item_stands_behind_its_text():
    maker = VectorMaker(msgspec.structs.replace(SETTINGS, catalogue_dimension=3), HashedWords(32))
    assert maker.dimension == 35

    def vector(item):
        record = VectorRecord.decode(maker.make("x", item)[1])
        return record.values * record.scale

    image = vector(CatalogueItem(vector=[0.6, 0, 0.8]))
    both, text = vector(msgspec.structs.replace(CUP, vector=[3.0, 0.0, 4.0])), vector(CUP)
    np.testing.assert_allclose([np.linalg.norm(one) for one in (both, text, image)], 1.0, atol=0.01)
    np.testing.assert_allclose([both @ text, both @ image, text @ image], [0.5**0.5, 0.5**0.5, 0.0], atol=0.01)
    assert not vector(CatalogueItem()).any()
    with pytest.raises(ValueError, match="catalogue_dimension = 3 numbers, got 2"):
        maker.make("x", CatalogueItem(vector=[1.0, 2.0]))


def test_a_record_of_another_version_or_a_damaged_one_is_refused():
    record = encode_vector(1, 7, vectors_of(1)[0])
    for damaged in (record[:-1], b"V\x02" + record[2:], b"W" + record[1:]):
        with pytest.raises(ValueError, match="vector record"):
            VectorRecord.decode(damaged)


def test_the_table_grows_forgets_and_begins_anew_with_another_dimension():
    table = filled(3_000)
    np.testing.assert_allclose(table.of(np.array([3_000, 5, 9_999]))[2], 0.0)
    np.testing.assert_allclose(table.of(np.array([3_000]))[0], vectors_of(3_000)[-1], atol=0.01)
    table.apply(VectorRecord.decode(gone(5)))
    assert not table.of(np.array([5])).any()
    table.apply(VectorRecord.decode(encode_vector(7, 1, vectors_of(1, 16)[0])))
    assert (table.dimension, len(table)) == (16, 1)


def test_scoring_one_list_and_learning_many_see_the_same_columns():
    scorer = make_scorer(SMALL).eval()
    scorer.vectors = filled()
    draw = np.random.default_rng(2)
    scorer.load({name: tensor + 0.3 * tensor.new_tensor(draw.random(tensor.shape)) for name, tensor in scorer.state_dict().items()})
    items, history = np.array([3, 8, 99, 21, 40]), np.array([5, 77, 6])
    matrix = scorer.freeze(np.zeros((5, WIDTH), np.float16), items, history)
    lists = Lists.of([matrix], [items], [history], history=6)
    np.testing.assert_allclose(scorer.refrozen(lists).features[0].detach().numpy(), matrix, atol=2e-3)
    cosines = scorer.vectors.of(items) @ scorer.vectors.of(history[:1])[0]
    np.testing.assert_allclose(matrix[:, WIDTH], cosines, atol=1e-3)


def test_a_projection_is_made_anew_when_weights_or_vectors_change():
    scorer = make_scorer(SMALL).eval()
    scorer.vectors = filled()
    ask = (np.zeros((2, WIDTH), np.float16), np.array([3, 8]), np.array([5]))
    first = scorer.freeze(*ask)
    np.testing.assert_array_equal(scorer.freeze(*ask), first)
    scorer.vectors.apply(VectorRecord.decode(encode_vector(3, 9, -vectors_of(3)[2])))
    changed = scorer.freeze(*ask)
    assert (changed != first).any()
    scorer.load({name: -tensor if name == "projection" else tensor for name, tensor in scorer.state_dict().items()})
    assert (scorer.freeze(*ask) != changed).any()


def examples_of_a_taste(vectors, n, seed=3, new=()):
    """Users who had an item of a kind (the sign of its vector's first number) take the candidate of the same kind."""
    draw, made = np.random.default_rng(seed), []
    items = np.array([item for item in range(1, 201) if item not in new])
    kind = {item: vectors.of(np.array([item]))[0, 0] > 0 for item in items.tolist()}
    while len(made) < n:
        had, *candidates = draw.choice(items, 9, replace=False).tolist()
        fitting = [item for item in candidates if kind[item] == kind[had]]
        if fitting:
            matrix = np.zeros((8, WIDTH + 6), np.float16)
            made.append(label_pending(encode_pending(matrix, np.array(candidates), np.array([had])), fitting[0]))
    return made


def test_what_users_take_tunes_where_a_new_item_is_placed():
    """New items were in no example: what is known of them is what their vectors have in common with those of others."""
    vectors, new = filled(200), tuple(range(1, 21))
    settings = LearnerConfig(batch_examples=16, replay_batches=1, projection_learning_rate=0.02)
    learner = Learner(settings, SMALL, gate=Gate(enabled=False))
    for item, vector in enumerate(vectors_of(200), 1):
        learner.learn_one(encode_vector(item, 7, vector))
    for raw in examples_of_a_taste(vectors, 800, new=new):
        learner.learn_one(raw)
    scorer = learner.network.eval()
    scorer.prepare()
    kinds = vectors.of(np.array(new))[:, 0] > 0
    right = 0
    for had in range(100, 140):
        told = scorer.freeze(np.zeros((20, WIDTH), np.float16), np.array(new), np.array([had]))[:, WIDTH + 4]
        likes = vectors.of(np.array([had]))[0, 0] > 0
        right += (told[kinds == likes].mean() > told[kinds != likes].mean())
    assert right >= 36


def test_a_learner_that_was_restored_has_the_vectors_and_learns_on_as_if_nothing_had_happened():
    vectors = filled(200)
    stream = [encode_vector(item, 7, vector) for item, vector in enumerate(vectors_of(200), 1)]
    stream += examples_of_a_taste(vectors, 64)

    def learner(epoch=0):
        return Learner(LearnerConfig(batch_examples=16), SMALL, epoch=epoch)

    whole, before = learner(), learner()
    for raw in stream:
        whole.learn_one(raw)
    rows: dict[str, bytes] = {}
    for raw in stream[:230]:
        before.learn_one(raw)
    rows |= dict(before.take_snapshot())
    restored = learner()
    restored.load_snapshot(rows.items())
    for raw in stream[230:]:
        restored.learn_one(raw)
    assert len(restored.vectors) == 200
    assert restored.examples == whole.examples == 64
    for name, tensor in whole.network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), restored.network.state_dict()[name].numpy(), err_msg=name)


def test_the_content_source_finds_a_new_item_by_its_text():
    """Among 300 items the buckets alone would miss some; the exact cosine puts the text that is most alike first."""
    pipeline = LocalPipeline(
        parse_configuration(
            {
                "text": {"encoder": "words", "words_dimension": 2048},
                "scorer": {"name": "none"},
                "policy": {"epsilon": 0, "epsilon_min": 0},
                "sources": {"item_cf": 0, "user_cf": 0, "content": 1, "trending": 0, "new_items": 0},
            },
            "x",
        )
    )
    for n in range(300):
        pipeline.apply_catalogue(f"i{n}", msgspec.json.encode({"title": f"word{n % 60} other{n} more{n}"}))
    pipeline.learn(Event("1", "u", "i17", "click", 1_000))
    slate = pipeline.recommend(Event("2", "u", "i17", "click", 2_000))
    assert {item.item_id for item in slate.items[:4]} == {"i77", "i137", "i197", "i257"}
    assert slate.items[0].sources == ["content"]
    replica = pipeline.recommender.replica
    assert replica.content.rows[replica.index_of(hash64("i77"))] >= 0


def test_an_item_that_is_gone_has_no_vector_and_comes_back_with_one():
    pipeline = LocalPipeline(parse_configuration({"text": {"encoder": "words"}}, "x"))
    pipeline.apply_catalogue("cup", msgspec.json.encode(CUP))
    cup = np.array([hash64("cup")])
    assert pipeline.learner.vectors.of(cup).any()
    pipeline.apply_catalogue("cup", None)
    assert not pipeline.learner.vectors.of(cup).any()
    assert not pipeline.recommender.replica.vectors.of(cup).any()
    pipeline.apply_catalogue("cup", msgspec.json.encode(CUP))
    assert pipeline.recommender.replica.vectors.of(cup).any()


def test_a_tombstone_of_a_vector_takes_it_from_the_replica():
    pipeline = LocalPipeline(parse_configuration({"text": {"encoder": "words"}}, "x"))
    pipeline.apply_catalogue("cup", msgspec.json.encode(CUP))
    pipeline.recommender.apply_update(vector_key("cup"), b"")
    replica = pipeline.recommender.replica
    assert replica.content.rows[replica.index_of(hash64("cup"))] == -1


def test_without_an_encoder_the_vectors_of_the_catalogue_are_compared_as_before():
    pipeline = LocalPipeline(Configuration())
    pipeline.apply_catalogue("cup", b'{"vector": [1, 2, 3]}')
    replica = pipeline.recommender.replica
    assert replica.content.signatures[replica.index_of(hash64("cup"))] != 0
    assert len(replica.vectors) == 0


def test_a_scorer_for_other_vectors_is_refused_with_the_dimension_to_say():
    wrong = parse_configuration({"text": {"encoder": "words", "words_dimension": 64}, "scorer": {"name": "text"}}, "x")
    with pytest.raises(ConfigurationError, match=r"scorer\.vector_dimension: expected 64"):
        vector_maker(wrong)


