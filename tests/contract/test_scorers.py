"""What every scorer keeps to, found by discovery: a scorer without an entry in `MAKERS` fails the audit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import models.scorers
from models.config import BUILT_IN_SCORERS
from models.config import Learner as LearnerConfig
from models.config import Scorer as ScorerConfig
from models.examples import encode_pending, label_pending
from models.feature_table import FEATURES, WIDTH
from models.learner import Learner
from models.scorers import make_scorer, scorer_class
from models.scorers.base import Lists
from models.versions import decode_tensors, decode_version, encode_tensors
from tests.contract.discovery import implementations

SMALL = {"hidden": (16, 8), "embedding_rows": 64, "embedding_dim": 8, "history": 6}
MAKERS = {
    name: (lambda name=name: make_scorer(ScorerConfig(name=name, **SMALL)).eval())
    for name in BUILT_IN_SCORERS
    if name != "none"
}
CF = list(FEATURES).index("cf")

of_every_scorer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
of_every_name = pytest.mark.parametrize("name", MAKERS)


def disturbed(scorer, seed=3):
    """The same scorer with every weight away from where it started."""
    draw = torch.Generator().manual_seed(seed)
    scorer.load({
        name: tensor + 0.2 * torch.rand(tensor.shape, generator=draw) for name, tensor in scorer.state_dict().items()
    })
    return scorer


def features_of(n, seed=4, scale=1.0):
    return np.clip(scale * np.random.default_rng(seed).normal(size=(n, WIDTH)), -65_504, 65_504).astype(np.float16)


def hashes(n, seed=5):
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, size=n)


def slate(scorer, n, *, scale=1.0, seed=4, m=6):
    """A frozen matrix, its items and a history, as `score` takes them."""
    features, items, history = features_of(n, seed, scale), hashes(n, seed), hashes(m, seed + 100)
    return scorer.freeze(features, items, history), items, history


def padded(scorer, matrix, items, history, to):
    """The same list with candidates of nonsense behind it that the mask hides."""
    lists = Lists.of([matrix], [items], [history], history=scorer.history)
    n = to - len(matrix)
    return Lists(
        torch.cat((lists.features, torch.full((1, n, matrix.shape[1]), 5.0)), 1),
        torch.cat((lists.mask, torch.zeros(1, n)), 1),
        torch.cat((lists.items, torch.from_numpy(hashes(n, 9))[None]), 1),
        lists.history,
    )


def examples(scorer, n, seed=1):
    """Lists of different lengths and histories; the candidate with the largest cf comes next."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(n):
        matrix, items, history = slate(scorer, int(draw.integers(3, 17)), seed=1_000 * seed + number, m=int(draw.integers(0, 7)))
        history = history[: scorer.history]
        made.append(label_pending(encode_pending(matrix, items, history), int(items[matrix[:, CF].argmax()])))
    return made


def learner_of(name, stream=()):
    made = Learner(LearnerConfig(batch_examples=8, learning_rate=0.01), ScorerConfig(name=name, candidates=16, **SMALL))
    for raw in stream:
        made.learn_one(raw)
    return made


def bits(tensors):
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_no_scorer_escapes_the_contract():
    found = implementations(models.scorers, "score", "load")
    assert set(found) == set(MAKERS)
    assert all(scorer_class(name) is found[name] for name in MAKERS)


@of_every_scorer
@pytest.mark.parametrize("n", [1, 2, 64, 200])
@pytest.mark.parametrize("scale", [0.0, 1.0, 60_000.0])
@pytest.mark.parametrize("m", [0, 1, 6])
def test_scores_are_finite_and_probabilities_between_0_and_1(make, n, scale, m):
    scorer = disturbed(make())
    matrix, items, history = slate(scorer, n, scale=scale, m=m)
    assert matrix.dtype == np.float16
    assert matrix.shape == (n, WIDTH + scorer.columns)
    assert np.isfinite(matrix).all()
    rank, probability = scorer.score(matrix, items, history)
    assert rank.shape == probability.shape == (n,)
    assert rank.dtype == probability.dtype == np.float32
    assert np.isfinite(rank).all()
    assert ((probability >= 0) & (probability <= 1)).all()


@of_every_scorer
def test_extreme_weights_of_an_encoder_keep_the_matrix_finite(make):
    scorer = make()
    scorer.load({name: tensor + (1e4 if tensor.ndim else 0.0) for name, tensor in scorer.state_dict().items()})
    matrix, items, history = slate(scorer, 20)
    assert np.isfinite(matrix).all()
    assert np.isfinite(scorer.score(matrix, items, history)[1]).all()


@of_every_scorer
def test_freezing_leaves_the_features_as_they_are(make):
    scorer, features = disturbed(make()), features_of(12)
    before = features.tobytes()
    matrix = scorer.freeze(features, hashes(12), hashes(6))
    assert features.tobytes() == before == np.ascontiguousarray(matrix[:, :WIDTH]).tobytes()


@of_every_scorer
def test_an_untrained_scorer_ranks_by_the_cf_score_alone(make):
    scorer = make()
    matrix, items, history = slate(scorer, 30)
    rank, probability = scorer.score(matrix, items, history)
    assert np.argsort(-rank).tolist() == np.argsort(-matrix[:, CF].astype(np.float32)).tolist()
    assert np.ptp(probability) < 1e-6


@of_every_scorer
def test_scores_follow_their_candidates_when_the_list_is_shuffled(make):
    scorer = disturbed(make())
    features, items, history = features_of(30), hashes(30), hashes(6, 8)
    order = np.random.default_rng(5).permutation(30)
    straight = scorer.freeze(features, items, history)
    shuffled = scorer.freeze(features[order], items[order], history)
    assert shuffled == pytest.approx(straight[order], rel=2e-3, abs=2e-3)
    for one, other in zip(
        scorer.score(straight, items, history), scorer.score(straight[order], items[order], history), strict=True
    ):
        assert other == pytest.approx(one[order], rel=1e-3, abs=1e-4)


@of_every_scorer
def test_scores_of_one_list_are_those_of_training_on_many(make):
    scorer = disturbed(make())
    slates = [slate(scorer, n, seed=n, m=m) for n, m in ((7, 6), (20, 2), (13, 0))]
    lists = Lists.of(*(list(parts) for parts in zip(*slates, strict=True)), history=scorer.history)
    with torch.no_grad():
        ranks, logits = scorer(lists)
    for row, (matrix, items, history) in enumerate(slates):
        rank, probability = scorer.score(matrix, items, history)
        assert rank == pytest.approx(ranks[row, : len(matrix)].numpy(), rel=1e-3, abs=1e-4)
        assert probability == pytest.approx(logits[row, : len(matrix)].sigmoid().numpy(), rel=1e-3, abs=1e-5)


@of_every_scorer
def test_padding_does_not_change_the_scores_of_a_list_or_its_loss(make):
    scorer = disturbed(make())
    matrix, items, history = slate(scorer, 7)
    alone = Lists.of([matrix], [items], [history], history=scorer.history)
    longer = padded(scorer, matrix, items, history, 20)
    label = torch.tensor([3])
    with torch.no_grad():
        outputs = [scorer(lists) for lists in (alone, longer)]
        losses = [
            scorer.encoder_loss(lists, label, rank) for lists, (rank, _) in zip((alone, longer), outputs, strict=True)
        ]
    for one, other in zip(*outputs, strict=True):
        assert torch.allclose(one[0], other[0, :7], atol=1e-4)
    assert (losses[0] is None) == (scorer.columns == 0)
    if losses[0] is not None:
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)


@of_every_scorer
def test_published_weights_score_the_same_in_another_process(make):
    trained, other = disturbed(make()), make()
    matrix, items, history = slate(other, 20)
    before = other.score(matrix, items, history)[0].tobytes()
    other.load(decode_tensors(encode_tensors(trained.published())))
    again = make()
    again.load(decode_tensors(encode_tensors(trained.published())))
    matrix, items, history = slate(other, 20)
    assert again.freeze(features_of(20), items, history).tobytes() == matrix.tobytes()
    for one, two, untouched in zip(
        other.score(matrix, items, history), again.score(matrix, items, history), trained.score(matrix, items, history), strict=True
    ):
        assert one.tobytes() == two.tobytes() == untouched.tobytes(), "only the encoder is rounded"
    assert other.score(matrix, items, history)[0].tobytes() != before


@of_every_scorer
def test_rounded_embeddings_move_the_columns_by_less_than_a_hundredth(make):
    trained, other = disturbed(make()), make()
    other.load(decode_tensors(encode_tensors(trained.published())))
    frozen = [slate(scorer, 40)[0].astype(np.float32) for scorer in (trained, other)]
    assert np.abs(frozen[0] - frozen[1]).max(initial=0.0) < 0.01


@of_every_name
def test_a_record_of_the_default_size_stays_below_what_kafka_takes(name):
    scorer = make_scorer(ScorerConfig(name=name))
    assert len(encode_tensors(scorer.published())) < 1_000_000


@of_every_name
@pytest.mark.parametrize("cut", [37, 64, 3])
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(name, cut):
    stream = examples(MAKERS[name](), 100)
    saved = dict(learner_of(name, stream[:cut]).take_snapshot())
    second = learner_of(name)
    second.load_snapshot(saved.items())
    for raw in stream[cut:]:
        second.learn_one(raw)
    whole = learner_of(name, stream)
    assert bits(second.network.state_dict()) == bits(whole.network.state_dict())
    assert bits(dict(whole.network.state_dict())) != bits(learner_of(name, stream[::-1]).network.state_dict())


@of_every_name
def test_every_weight_is_learned(name):
    before = bits(learner_of(name).network.state_dict())
    after = bits(learner_of(name, examples(MAKERS[name](), 200)).network.state_dict())
    assert [key for key in before if before[key] == after[key]] == []


@of_every_name
def test_what_is_published_is_what_was_learned(name):
    made = learner_of(name, examples(MAKERS[name](), 64))
    raw = dict(made.take_updates())["weights:ranker"]
    published = decode_tensors(decode_version(raw)[1])
    for key, tensor in made.network.state_dict().items():
        assert torch.allclose(published[key].float(), tensor, rtol=1e-3, atol=1e-4)
