"""The MLP: starts as item CF, and serves what it was trained as."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.config import Scorer
from models.feature_table import FEATURES, WIDTH
from models.scorers import make_scorer
from models.scorers.base import Lists

CF = list(FEATURES).index("cf")


def features(n=12, seed=1):
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float16)


def trained(seed=2):
    """A network none of whose weights is at its starting value."""
    draw = torch.Generator().manual_seed(seed)
    scorer = make_scorer(Scorer(name="mlp", hidden=(16, 8)))
    tensors = {name: 0.3 * torch.randn(tensor.shape, generator=draw) for name, tensor in scorer.state_dict().items()}
    tensors["inverse_deviation"] = tensors["inverse_deviation"].abs() + 0.5
    scorer.load(tensors)
    return scorer


def test_an_untrained_network_ranks_by_the_cf_score_alone():
    matrix = features(30)
    rank, probability = make_scorer(Scorer(name="mlp", hidden=(16, 8))).score(matrix)
    assert np.argsort(-rank).tolist() == np.argsort(-matrix[:, CF].astype(np.float32)).tolist()
    assert probability == pytest.approx(np.full(30, 1 / (1 + np.exp(4.6))), rel=1e-4)


def test_served_scores_are_those_of_the_trained_network():
    scorer, matrix = trained(), features(40)
    rank, probability = scorer.score(matrix)
    with torch.no_grad():
        expected, logit = scorer(Lists.of([matrix]))
    assert rank == pytest.approx(expected[0].numpy(), rel=1e-4, abs=1e-5)
    assert probability == pytest.approx(logit[0].sigmoid().numpy(), rel=1e-4, abs=1e-6)
    assert len(set(rank.tolist())) == 40


def test_scoring_does_not_touch_the_frozen_matrix():
    matrix = features()
    before = matrix.tobytes()
    trained().score(matrix)
    assert matrix.tobytes() == before


def test_served_scores_change_only_when_weights_are_loaded():
    scorer, matrix = make_scorer(Scorer(name="mlp", hidden=(16, 8))), features()
    before = scorer.score(matrix)[0]
    other = trained()
    scorer.load(other.state_dict())
    assert not np.allclose(scorer.score(matrix)[0], before)
    assert np.array_equal(scorer.score(matrix)[0], other.score(matrix)[0])


def test_the_probability_head_does_not_train_the_body():
    scorer = trained()
    _, logit = scorer(Lists.of([features()]))
    logit.sum().backward()
    assert all(parameter.grad is None for parameter in scorer.body.parameters())
    assert scorer.probability.weight.grad is not None


def test_one_candidate_alone_is_scored():
    rank, probability = trained().score(features(1))
    assert np.isfinite(rank).all()
    assert 0 < probability[0] < 1


def test_weights_of_another_shape_are_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        make_scorer(Scorer(name="mlp", hidden=(8, 8))).load(make_scorer(Scorer(name="mlp", hidden=(16, 8))).state_dict())
