"""What every scorer keeps to, found by discovery: a scorer without an entry in `MAKERS` fails the audit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import models.scorers
from models.features import WIDTH
from models.scorers.mlp import MLP
from models.versions import decode_tensors, encode_tensors
from tests.contract.discovery import implementations

MAKERS = {"mlp": lambda: MLP((16, 8))}

of_every_scorer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def disturbed(scorer, seed=3):
    """The same scorer with every weight away from where it started."""
    draw = torch.Generator().manual_seed(seed)
    scorer.load({
        name: tensor + 0.1 * torch.rand(tensor.shape, generator=draw) for name, tensor in scorer.state_dict().items()
    })
    return scorer


def matrix(n, seed=4, scale=1.0):
    return np.clip(scale * np.random.default_rng(seed).normal(size=(n, WIDTH)), -65_504, 65_504).astype(np.float16)


def test_no_scorer_escapes_the_contract():
    assert set(implementations(models.scorers, "score", "load")) == set(MAKERS)


@of_every_scorer
@pytest.mark.parametrize("n", [1, 2, 64, 200])
@pytest.mark.parametrize("scale", [0.0, 1.0, 60_000.0])
def test_scores_are_finite_and_probabilities_between_0_and_1(make, n, scale):
    rank, probability = disturbed(make()).score(matrix(n, scale=scale))
    assert rank.shape == probability.shape == (n,)
    assert rank.dtype == probability.dtype == np.float32
    assert np.isfinite(rank).all()
    assert ((probability >= 0) & (probability <= 1)).all()


@of_every_scorer
def test_scores_follow_their_candidates_when_the_list_is_shuffled(make):
    scorer, features = disturbed(make()), matrix(30)
    order = np.random.default_rng(5).permutation(30)
    for straight, shuffled in zip(scorer.score(features), scorer.score(features[order]), strict=True):
        assert shuffled == pytest.approx(straight[order], rel=1e-3, abs=1e-4)


@of_every_scorer
def test_published_weights_score_the_same_in_another_process(make):
    trained, other, features = disturbed(make()), make(), matrix(20)
    before = [scores.copy() for scores in other.score(features)]
    other.load(decode_tensors(encode_tensors(trained.state_dict())))
    for ours, theirs, untrained in zip(trained.score(features), other.score(features), before, strict=True):
        assert ours.tobytes() == theirs.tobytes()
        assert ours.tobytes() != untrained.tobytes()
