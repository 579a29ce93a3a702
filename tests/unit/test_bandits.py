"""The bandits beside MABWiser: the same choice, or the same frequency of choices, after the same rewards."""

from __future__ import annotations

import numpy as np
import pytest
from mabwiser.mab import MAB
from scipy import stats

from benchmarks.bandits import BERNOULLI, CASES, compare, environment
from models.config import Policy as Settings
from models.config import Strategy
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import Context

ACTIONS, DRAWS = len(BERNOULLI), 4_000


def both_taught(name, *, steps=60):
    """A policy of ours and MABWiser's after the same random actions."""
    _, settings, learning = CASES[name]
    world = environment("bernoulli-1", steps=steps, seed=4)
    actions = np.random.default_rng(4).integers(ACTIONS, size=steps)
    rewards = world.rewards[np.arange(steps), actions]
    strategies = {str(action): Strategy() for action in range(ACTIONS)}
    ours = make_policy(Settings(name=name, strategies=strategies, **settings), states=1, features=1)
    for action, reward in zip(actions.tolist(), rewards.tolist(), strict=True):
        ours.learn(Step(Context(0, np.ones(1)), action, reward))
    theirs = MAB(list(range(ACTIONS)), learning, seed=4)
    theirs.fit(actions, rewards)
    return ours.probabilities(Context(0, np.ones(1))), theirs


@pytest.mark.parametrize("name", ["epsilon_greedy", "thompson"])
def test_mabwiser_chooses_as_often_as_our_probabilities_say(name):
    probabilities, theirs = both_taught(name)
    counts = np.bincount([theirs.predict() for _ in range(DRAWS)], minlength=ACTIONS)
    assert stats.chisquare(counts, probabilities * DRAWS).pvalue > 0.01
    assert stats.chisquare(counts, np.roll(probabilities, 1) * DRAWS).pvalue < 1e-9


def test_ucb1_prefers_what_mabwiser_prefers():
    preferred = set()
    for steps in range(20, 120):
        probabilities, theirs = both_taught("ucb1", steps=steps)
        preferred.add(theirs.predict())
        assert probabilities[theirs.predict()] > 0
        assert np.count_nonzero(probabilities) <= 2
    assert len(preferred) > 1


def test_softmax_weighs_as_mabwiser_does():
    probabilities, theirs = both_taught("softmax")
    assert probabilities == pytest.approx(list(theirs._imp.arm_to_expectation.values()), abs=1e-9)


def test_linucb_and_mabwiser_make_the_same_choices_on_one_stream():
    regrets = compare("linucb", steps=300, seeds=3)
    assert regrets[:, 0] == pytest.approx(regrets[:, 1], rel=0.01)
    assert (regrets[:, :2] > 5).all()
