"""The learner: a function of the examples in their order, whatever happens in between."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from models.config import Learner as LearnerConfig
from models.config import Scorer
from models.examples import encode_pending, example_bytes, label_pending, missed
from models.feature_table import FEATURES, WIDTH
from models.learner import Learner
from models.versions import decode_tensors, decode_version

SCORER = Scorer(name="mlp", hidden=(8,), candidates=16)
CONFIG = LearnerConfig(batch_examples=8, replay_batches=2, publish_every_steps=2, learning_rate=0.01)
# of 8 examples, each behind its length
BATCH_BYTES = 8 * (4 + example_bytes(width=WIDTH, candidates=16, history=0))
LIKED = list(FEATURES).index("liked")


def example_of(matrix, label):
    raw = label_pending(encode_pending(matrix, np.arange(1, len(matrix) + 1)), label + 1)
    assert raw is not None
    return raw


def examples(n, seed=1):
    """Lists of 3 to 16 candidates; the one with the largest `liked` comes next."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        matrix = draw.normal(size=(draw.integers(3, 17), WIDTH)).astype(np.float16)
        made.append(example_of(matrix, int(matrix[:, LIKED].argmax())))
    return made


def learner(config=CONFIG, stream=()):
    made = Learner(config, SCORER)
    for raw in stream:
        made.learn_one(raw)
    return made


def weights(made):
    return {name: tensor.numpy().tobytes() for name, tensor in made.network.state_dict().items()}


def test_the_same_examples_make_the_same_weights_to_the_last_bit():
    stream = examples(100)
    torch.manual_seed(1)
    one = learner(stream=stream)
    torch.manual_seed(2)
    assert weights(learner(stream=stream)) == weights(one)
    assert weights(one) != weights(learner())


def test_hits_that_are_worth_nothing_leave_the_rest_of_their_batch():
    draw, raws = np.random.default_rng(1), []
    for _ in range(2 * CONFIG.batch_examples):
        pending = encode_pending(draw.normal(size=(5, WIDTH)).astype(np.float16), np.arange(1, 6), propensities=np.ones(5, np.float32))
        raws.append(label_pending(pending, 3, 0.0))
    made = learner(msgspec.structs.replace(CONFIG, weigh_by_reward=True, replay_batches=0), raws)
    assert (made.steps, made.skipped_steps) == (2, 0)


def test_another_order_of_the_examples_makes_other_weights():
    stream = examples(32)
    assert weights(learner(stream=stream[::-1])) != weights(learner(stream=stream))


def test_making_a_learner_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    learner()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("cut", [37, 64, 3], ids=["within a batch", "between batches", "before the first batch"])
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(cut):
    stream = examples(130)
    saved = dict(learner(stream=stream[:cut]).take_snapshot())
    second = learner()
    second.load_snapshot(saved.items())
    for raw in stream[cut:]:
        second.learn_one(raw)
    whole = learner(stream=stream)
    assert weights(second) == weights(whole)
    assert (second.examples, second.steps) == (whole.examples, whole.steps) == (130, 16 + 2 * 15)


def test_snapshots_hold_only_new_batches_and_together_the_whole_state():
    stream = examples(120)
    config = LearnerConfig(batch_examples=8, replay_batches=2, learning_rate=0.01, replay_bytes=5 * BATCH_BYTES)
    first, saved = learner(config), {}
    for start in range(0, 80, 20):
        for raw in stream[start : start + 20]:
            first.learn_one(raw)
        rows = first.take_snapshot()
        assert sum(key.startswith("batch:") for key, _ in rows) in (2, 3)
        saved.update(rows)
    assert sorted(key for key in saved if key.startswith("batch:")) == [f"batch:{slot}" for slot in range(5)]
    second = learner(config)
    second.load_snapshot(saved.items())
    for raw in stream[80:]:
        second.learn_one(raw)
    assert weights(second) == weights(learner(config, stream))


def test_the_replay_ring_keeps_to_its_bytes():
    bound = 3 * BATCH_BYTES
    made = learner(LearnerConfig(batch_examples=8, replay_bytes=bound), examples(200))
    batches = [raw for key, raw in made.take_snapshot() if key.startswith("batch:")]
    assert len(batches) == 3
    assert sum(map(len, batches)) <= bound


def test_a_feature_that_decides_what_comes_next_is_learned():
    made = learner(stream=examples(1_200))
    record = made.take_updates()[0][1]
    network = Learner(CONFIG, SCORER).network
    fresh = np.random.default_rng(9)
    lists = [fresh.normal(size=(16, WIDTH)).astype(np.float16) for _ in range(200)]

    def right():
        return np.mean([network.score(matrix)[0].argmax() == matrix[:, LIKED].argmax() for matrix in lists])

    assert right() < 0.2
    network.load(decode_tensors(decode_version(record)[1]))
    assert right() > 0.6


def test_predicted_probabilities_follow_the_share_of_candidates_that_come_next():
    draw = np.random.default_rng(3)
    stream = [
        example_of(draw.normal(size=(10, WIDTH)).astype(np.float16), int(draw.integers(10))) for _ in range(1_600)
    ]
    network = learner(stream=stream).network
    network.load(network.state_dict())
    mean = np.mean([network.score(draw.normal(size=(10, WIDTH)).astype(np.float16))[1].mean() for _ in range(100)])
    assert 0.07 < mean < 0.14


def test_a_version_is_published_after_so_many_batches_and_taken_once():
    made, stream = learner(), examples(16)
    for raw in stream[:15]:
        made.learn_one(raw)
    assert not made.has_updates()
    made.learn_one(stream[15])
    assert made.has_updates()
    records = dict(made.take_updates())
    raw = records["weights:ranker"]
    assert records["weights:ranker@0.1"] == raw
    assert set(records) == {"weights:ranker", "weights:ranker@0.1", "gate:ranker"}
    version, tensors = decode_version(raw)
    assert (version.epoch, version.number) == (0, 1)
    assert {name: tensor.numpy().tobytes() for name, tensor in decode_tensors(tensors).items()} == weights(made)
    assert not made.has_updates()
    assert made.take_updates() == []


def test_every_life_of_a_learner_publishes_newer_versions_than_the_one_before():
    stream = examples(64)
    first = learner(stream=stream[:32])
    saved = first.take_snapshot()
    for raw in stream[32:]:
        first.learn_one(raw)
    lost = decode_version(first.take_updates()[0][1])[0]
    second = learner()
    second.load_snapshot(saved)
    assert not second.has_updates()
    for raw in stream[32:]:
        second.learn_one(raw)
    again = decode_version(second.take_updates()[0][1])[0]
    assert again > lost
    assert again.content == lost.content


@pytest.mark.parametrize("restored", [True, False], ids=["from its snapshot", "from nothing"])
def test_a_life_that_starts_later_publishes_newer_versions(restored):
    stream = examples(64)
    config = LearnerConfig(publish_every_steps=1)
    first = Learner(config, Scorer(name="mlp"), epoch=1_000)
    for raw in stream:
        first.learn_one(raw)
    old = decode_version(first.take_updates()[0][1])[0]
    second = Learner(config, Scorer(name="mlp"), epoch=1_005)
    if restored:
        second.load_snapshot(first.take_snapshot())
    for raw in stream:
        second.learn_one(raw)
    new = decode_version(second.take_updates()[0][1])[0]
    assert (old.epoch, new.epoch) == (1_000, 1_005)
    assert new > old


def test_a_batch_whose_loss_is_not_finite_is_skipped():
    poison = np.full((5, WIDTH), np.nan, np.float16)
    made = learner(LearnerConfig(batch_examples=1, replay_batches=0), [example_of(poison, 0)])
    assert made.steps == 0


def test_a_batch_with_features_that_are_not_finite_leaves_nothing_behind():
    poison = np.full((5, WIDTH), 1.0, np.float16)
    poison[2, LIKED] = np.inf
    stream = examples(40)
    made = learner(stream=[example_of(poison, 0)] * 8 + stream)
    assert made.steps == 5 + 2 * 4
    assert all(torch.isfinite(tensor).all() for tensor in made.network.state_dict().values())
    saved = dict(made.take_snapshot())
    assert sorted(key for key in saved if key.startswith("batch:")) == [f"batch:{slot}" for slot in range(5)]


@pytest.mark.parametrize(("before", "after"), [(3, 50), (20, 3)], ids=["larger", "smaller"])
def test_the_replay_ring_may_change_its_size_at_a_restore(before, after):
    def sized(batches):
        return LearnerConfig(batch_examples=8, replay_bytes=batches * BATCH_BYTES)

    saved = learner(sized(before), examples(8 * 25)).take_snapshot()
    made = learner(sized(after))
    made.load_snapshot(saved)
    for raw in examples(8 * 30, seed=5):
        made.learn_one(raw)
    slots = [int(key[6:]) for key, _ in made.take_snapshot() if key.startswith("batch:")]
    # slot = number of the batch modulo the size: 25 to 54
    assert sorted(slots) == sorted({batch % after for batch in range(25, 55)})
    assert max(made._ring) < after


def test_a_snapshot_of_another_network_is_refused():
    saved = learner(stream=examples(16)).take_snapshot()
    with pytest.raises(ValueError, match="does not fit the configured one"):
        Learner(CONFIG, Scorer(name="mlp", hidden=(9,), candidates=16)).load_snapshot(saved)


def test_an_empty_snapshot_is_a_fresh_learner():
    made = learner()
    made.load_snapshot([])
    assert weights(made) == weights(learner())


def separable(n, seed):
    """Ten candidates; each comes next with the softmax of 1.5 times its `liked`: a probability that is known."""
    draw = np.random.default_rng(seed)
    for _ in range(n):
        matrix = draw.normal(size=(10, WIDTH)).astype(np.float16)
        chances = np.exp(1.5 * matrix[:, LIKED].astype(np.float64))
        yield matrix, int(draw.choice(10, p=chances / chances.sum()))


def test_predicted_probabilities_are_reliable_in_every_bin():
    config = LearnerConfig(batch_examples=16)
    network = learner(config, [example_of(*one) for one in separable(8_000, 3)]).network
    network.load(network.state_dict())
    predicted, came = [], []
    for matrix, label in separable(3_000, 4):
        predicted.append(network.score(matrix)[1])
        came.append(np.arange(10) == label)
    predicted, came = np.concatenate(predicted), np.concatenate(came)
    edges = np.quantile(predicted, np.linspace(0, 1, 11))
    bins = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, 9)
    means = np.array([[predicted[bins == each].mean(), came[bins == each].mean()] for each in range(10)])
    assert means[-1, 1] > 8 * means[0, 1], "the bins differ"
    assert np.abs(means[:, 0] - means[:, 1]).max() < 0.05
    assert np.abs(means[:, 0] - means[:, 1]).mean() < 0.015


def test_slates_without_a_hit_lower_the_probability_by_their_true_number():
    config = LearnerConfig(batch_examples=16, miss_rate=0.25)
    predicted = []
    # the last steps of one stream move the probability by a tenth: three streams, the same tenth allowed
    for seed in (5, 15, 25):
        draw = np.random.default_rng(seed)
        stream = []
        for matrix, label in separable(12_000, seed + 1):
            # two slates of three have no hit, of those every fourth is sampled
            if draw.random() < 1 / 3:
                stream.append(example_of(matrix, label))
            elif draw.random() < 0.25:
                stream.append(missed(encode_pending(matrix, np.arange(1, len(matrix) + 1))))
        network = learner(config, stream).network
        network.load(network.state_dict())
        predicted += [network.score(matrix)[1] for matrix, _ in separable(1_000, 7)]
    assert np.concatenate(predicted).mean() == pytest.approx(1 / 30, rel=0.1)


def test_a_batch_of_misses_alone_leaves_the_ranking_as_it_is():
    config = LearnerConfig(batch_examples=8, replay_batches=0)
    network = learner(config, [missed(encode_pending(matrix, np.arange(1, 11))) for matrix, _ in separable(64, 8)]).network
    before = learner(config).network.state_dict()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"mean", "inverse_deviation", "slope", "probability.weight", "probability.bias"}


@pytest.mark.parametrize("loss", ["both", "listwise", "bce"])
def test_every_loss_learns_the_ranking(loss):
    network = learner(LearnerConfig(batch_examples=8, loss=loss, learning_rate=0.01), examples(1_200)).network
    network.load(network.state_dict())
    draw = np.random.default_rng(9)
    lists = [draw.normal(size=(16, WIDTH)).astype(np.float16) for _ in range(200)]
    assert np.mean([network.score(matrix)[0].argmax() == matrix[:, LIKED].argmax() for matrix in lists]) > 0.5


def test_listwise_alone_leaves_the_probability_where_it_started():
    network = learner(LearnerConfig(batch_examples=8, loss="listwise"), examples(100)).network
    untrained = learner().network
    assert torch.equal(network.probability.weight, untrained.probability.weight)
    assert torch.equal(network.probability.bias, untrained.probability.bias)
    assert not torch.equal(network.rank.weight, untrained.rank.weight)


def test_weight_decay_shrinks_and_a_clipped_step_is_another():
    plain = learner(LearnerConfig(batch_examples=8, replay_batches=0), examples(400)).network
    decayed = learner(LearnerConfig(batch_examples=8, replay_batches=0, weight_decay=5.0), examples(400)).network
    clipped = learner(LearnerConfig(batch_examples=8, replay_batches=0, clip_norm=0.01), examples(400)).network
    assert decayed.body[0].weight.norm() < 0.8 * plain.body[0].weight.norm()
    assert not torch.equal(clipped.body[0].weight, plain.body[0].weight)


def test_an_example_of_another_width_stops_the_learner_with_both_widths():
    raw = label_pending(encode_pending(np.zeros((4, 3), np.float16), np.arange(1, 5)), 2)
    with pytest.raises(ValueError, match=f"example of 3 columns for a scorer of {WIDTH}"):
        learner(LearnerConfig(batch_examples=1), [raw])


def weighted(n, *, heavy):
    """Two wishes in equal shares, the largest `liked` and the smallest; the second weighs so much more."""
    draw = np.random.default_rng(11)
    for number in range(n):
        matrix = draw.normal(size=(10, WIDTH)).astype(np.float16)
        place = int(matrix[:, LIKED].argmax() if number % 2 else matrix[:, LIKED].argmin())
        pending = encode_pending(matrix, np.arange(1, 11), propensities=np.ones(5, np.float32))
        yield label_pending(pending, place + 1, 1.0 if number % 2 else heavy)


def prefers_largest(config, stream):
    network = learner(config, stream).network
    network.load(network.state_dict())
    draw = np.random.default_rng(9)
    lists = [draw.normal(size=(16, WIDTH)).astype(np.float16) for _ in range(100)]
    return np.mean([network.score(one)[0].argmax() == one[:, LIKED].argmax() for one in lists])


@pytest.mark.parametrize("loss", ["both", "bce"])
def test_a_heavy_example_teaches_more_and_the_switch_decides_whether_weights_count(loss):
    config = LearnerConfig(batch_examples=8, learning_rate=0.01, loss=loss, debias="position")
    assert prefers_largest(config, weighted(600, heavy=0.1)) > 0.5
    assert prefers_largest(config, weighted(600, heavy=10.0)) < 0.1
    plain = LearnerConfig(batch_examples=8, loss=loss)
    assert weights(learner(plain, weighted(64, heavy=10.0))) == weights(learner(plain, weighted(64, heavy=0.1)))
