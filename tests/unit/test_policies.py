"""Known answers of the policies: what they prefer after a few steps, worked out by hand or by another's integral."""

from __future__ import annotations

from math import e, log, sqrt

import numpy as np
import pytest
from scipy import integrate, stats

from models.config import Policy as Settings
from models.config import Strategy
from models.policies import make_policy
from models.policies.base import FIXED, Step
from models.policies.state import FEATURES, Context, Outcome, make_context
from models.policies.thompson import beta_probabilities, gaussian_probabilities

HERE, THERE = Context(0, np.array([1.0, 0.0])), Context(1, np.array([0.5, -0.5]))


def policy_of(name, actions=2, **settings):
    strategies = {f"strategy-{number}": Strategy() for number in range(actions)}
    made = Settings(**{"name": name, "strategies": strategies, "action_epsilon": 0.0, "action_epsilon_decay": 1.0} | settings)
    return make_policy(made, states=3, features=2)


def taught(name, rewards, *, context=HERE, **settings):
    """A policy whose actions had these rewards, a list each."""
    policy = policy_of(name, len(rewards), **settings)
    for action, given in enumerate(rewards):
        for reward in given:
            policy.learn(Step(context, action, reward))
    return policy


def probabilities(policy, context=HERE):
    return pytest.approx(policy.probabilities(context).tolist(), abs=1e-12)


@pytest.mark.parametrize(("name", "settings"), [("epsilon_greedy", {"by_state": True}), ("q_learning", {}), ("sarsa", {})])
def test_users_whose_states_differ_in_a_part_that_is_left_out_learn_from_one_another(name, settings):
    """Both have passed over a slate; one is new, the other has been here for long."""
    new, old, taker = (
        make_context(events=events, gap_ms=1_000, depth=2, outcome=outcome)
        for events, outcome in ((1, Outcome.NOTHING), (500, Outcome.NOTHING), (1, Outcome.SOMETHING))
    )
    strategies = {"worse": Strategy(), "better": Strategy()}
    apart, together = (
        make_policy(Settings(name=name, strategies=strategies, action_epsilon=0.0, **settings | parts))
        for parts in ({}, {"state_parts": ["outcome"]})
    )
    for policy in (apart, together):
        policy.learn(Step(new, 1, 1.0))
    assert probabilities(apart, new) == [0.0, 1.0]
    assert probabilities(together, new) == [0.0, 1.0]
    assert probabilities(apart, old) == [0.5, 0.5]
    assert probabilities(together, old) == [0.0, 1.0]
    assert probabilities(together, taker) == [0.5, 0.5], "the part that is not left out tells them apart"


def test_epsilon_greedy_prefers_the_best_mean_and_shares_the_rest():
    assert probabilities(taught("epsilon_greedy", [[1, 0, 0], [1, 0], [0]], action_epsilon=0.3)) == [0.1, 0.8, 0.1]


def test_epsilon_greedy_halves_a_tie():
    assert probabilities(taught("epsilon_greedy", [[1, 0], [0.5], [0]], action_epsilon=0.3)) == [0.45, 0.45, 0.1]


def test_epsilon_greedy_learns_each_state_by_itself_where_it_is_told_to():
    for by_state, there in ((True, [1.0, 0.0]), (False, [0.0, 1.0])):
        policy = taught("epsilon_greedy", [[0, 0, 0], [1]], by_state=by_state)
        policy.learn(Step(THERE, 0, 1.0))
        assert probabilities(policy, HERE) == [0.0, 1.0]
        assert probabilities(policy, THERE) == there


def test_ucb1_tries_what_it_has_not_tried():
    assert probabilities(taught("ucb1", [[1, 1], [], [1], []])) == [0, 0.5, 0, 0.5]


@pytest.mark.parametrize(("width", "preferred"), [(0.55, 1), (0.45, 0)])
def test_ucb1_credits_an_action_with_what_is_uncertain(width, preferred):
    rewards = [[1] * 9 + [0] * 3, [1, 0, 1, 0]]
    bounds = [mean + width * sqrt(2 * log(16) / n) for mean, n in ((0.75, 12), (0.5, 4))]
    assert preferred == np.argmax(bounds)
    policy = taught("ucb1", rewards, ucb_width=width, action_epsilon=0.2)
    assert policy.probabilities(HERE)[preferred] == pytest.approx(0.9)


def test_thompson_knows_how_likely_each_action_is_the_best():
    # Beta(2, 1) against uniform variables: P(X > U) = E X = 2/3, P(X > U, V) = E X^2 = 1/2
    assert probabilities(taught("thompson", [[1], []])) == [2 / 3, 1 / 3]
    assert probabilities(taught("thompson", [[1], [], []])) == [1 / 2, 1 / 4, 1 / 4]
    # a reward of 0.5 is half a success, one below 0 none
    assert probabilities(taught("thompson", [[0.5, 0.5, -7], [1, 0, 0]])) == [1 / 2, 1 / 2]


def test_thompson_with_gaussian_posteriors_compares_normal_variables():
    policy = taught("thompson", [[0.5, 0.7, 0.6], [-0.2]], posterior="gaussian", reward_sd=0.4)
    mean, variance = 1.8 / 4 - -0.2 / 2, 0.4**2 / 4 + 0.4**2 / 2
    assert policy.probabilities(HERE)[0] == pytest.approx(stats.norm.cdf(mean / sqrt(variance)), abs=1e-8)


def by_quad(distributions):
    """P(each is the largest), integrated over the quantiles of each."""
    return [
        integrate.quad(
            lambda u, one=one: np.prod([other.cdf(one.ppf(u)) for other in distributions if other is not one]),
            0, 1, epsabs=1e-12, limit=300,
        )[0]
        for one in distributions
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 2, 1), (1, 1, 2)),
        ((0.5, 0.5), (0.5, 3.0)),
        ((1_000, 3, 1), (2_000, 8, 1)),
        ((0.3, 250, 4, 4), (0.2, 150, 2, 3)),
        ((1e5, 1e5 + 300), (9e5, 9e5)),
    ],
)
def test_the_integral_over_beta_variables_is_right_to_1e_9(a, b):
    found = beta_probabilities(np.array(a, float), np.array(b, float))
    assert found == pytest.approx(by_quad([stats.beta(*both) for both in zip(a, b, strict=True)]), abs=1e-9)


def test_the_integral_over_normal_variables_is_right_to_1e_9():
    mean, deviation = np.array([0.1, 0.2, 0.5, 0.45]), np.array([0.3, 0.2, 0.01, 0.1])
    expected = by_quad([stats.norm(*both) for both in zip(mean, deviation, strict=True)])
    assert gaussian_probabilities(mean, deviation) == pytest.approx(expected, abs=1e-9)


def test_softmax_weighs_by_the_exponential_of_the_mean():
    policy = taught("softmax", [[1, 0], [0, 0], []], temperature=0.5)
    assert probabilities(policy) == [e / (e + 2), 1 / (e + 2), 1 / (e + 2)]


def linear_bounds(rewards, context, *, ridge, width):
    """The upper bounds of Li et al., step by step."""
    bounds = []
    for given in rewards:
        a, b = ridge * np.eye(2), np.zeros(2)
        for reward, x in given:
            a, b = a + np.outer(x, x), b + reward * x
        x = context.features
        bounds.append(np.linalg.solve(a, b) @ x + width * sqrt(x @ np.linalg.solve(a, x)))
    return bounds


@pytest.mark.parametrize(("width", "context", "preferred"), [(1.0, HERE, 0), (1.0, THERE, 1), (3.0, HERE, 1)])
def test_linucb_prefers_the_largest_bound_in_the_context(width, context, preferred):
    one, two = np.array([1.0, 0.25]), np.array([0.5, -1.0])
    rewards = [[(1.0, one)] * 6 + [(0.25, two)] * 2, [(0.5, one), (0.5, two), (1.0, two)]]
    bounds = linear_bounds(rewards, context, ridge=2.0, width=width)
    assert np.argmax(bounds) == preferred
    assert abs(bounds[0] - bounds[1]) > 0.02
    policy = policy_of("linucb", ucb_width=width, ridge=2.0)
    for action, given in enumerate(rewards):
        for reward, x in given:
            policy.learn(Step(Context(0, x), action, reward))
    assert policy.probabilities(context)[preferred] == 1.0
    assert policy.tables()["gram"][0].tolist() == [[int(6.5 * FIXED), int(0.5 * FIXED)], [int(0.5 * FIXED), int(2.375 * FIXED)]]


def test_rewards_are_summed_in_units_of_the_largest():
    policy = taught("softmax", [[5.0, -1.0], [30.0]], reward_max=10.0)
    assert policy.tables()["sums"][:, 0].tolist() == [round(0.5 * FIXED) - round(0.1 * FIXED), FIXED]


def test_q_learning_looks_at_the_best_next_action_and_sarsa_at_the_one_taken():
    for name, worth in (("q_learning", 0.4), ("sarsa", 0.1)):
        policy = policy_of(name, learning_rate=0.5, discount=0.5)
        policy.learn(Step(THERE, 0, 0.8))
        policy.learn(Step(THERE, 1, 0.2))
        assert policy.values(THERE).tolist() == [0.4, 0.1]
        policy.learn(Step(HERE, 1, 0.3, THERE, 1))
        assert policy.values(HERE) == pytest.approx([0.0, 0.5 * (0.3 + 0.5 * worth)])
        assert probabilities(policy, HERE) == [0, 1]
        assert probabilities(policy, THERE) == [1, 0]


def test_without_a_worth_of_what_comes_next_q_learning_and_sarsa_are_one():
    q_learning, sarsa = (policy_of(name, discount=0.0) for name in ("q_learning", "sarsa"))
    draw = np.random.default_rng(3)
    for _ in range(200):
        step = Step(HERE, int(draw.integers(2)), float(draw.random()), THERE, int(draw.integers(2)))
        q_learning.learn(step)
        sarsa.learn(step)
    assert q_learning.tables()["values"].tolist() == sarsa.tables()["values"].tolist()


@pytest.mark.parametrize("name", ["q_learning", "sarsa"])
def test_a_linear_step_moves_its_estimate_by_the_learning_rate_along_the_features(name):
    policy = policy_of(name, values="linear", learning_rate=0.5)
    policy.learn(Step(THERE, 1, 1.0))
    assert policy.tables()["weights"].tolist() == [[0, 0], [0.5, -0.5]]
    assert policy.values(THERE).tolist() == [0, 0.5]
    assert policy.values(HERE).tolist() == [0, 0.5]


@pytest.mark.parametrize("name", ["q_learning", "sarsa"])
def test_linear_values_of_one_hot_features_are_the_tabular_ones(name):
    contexts = [Context(state, row) for state, row in enumerate(np.eye(3))]
    strategies = {"one": Strategy(), "two": Strategy()}
    tabular, linear = (
        make_policy(Settings(name=name, values=values, strategies=strategies), states=3, features=3)
        for values in ("tabular", "linear")
    )
    draw = np.random.default_rng(2)
    for _ in range(200):
        here, there = draw.integers(3, size=2)
        step = Step(contexts[here], int(draw.integers(2)), float(draw.normal()), contexts[there], int(draw.integers(2)))
        tabular.learn(step)
        linear.learn(step)
    assert tabular.tables()["values"].tolist() == linear.tables()["weights"].tolist()
    assert tabular.tables()["values"].std() > 0.1


@pytest.mark.parametrize("values", ["tabular", "linear"])
def test_values_stay_within_what_rewards_can_add_up_to(values):
    """Off-policy, with a feature that doubles from here to there: the example of Tsitsiklis and Van Roy, which diverges."""
    here, there = Context(0, np.array([0.5, 0.0])), Context(1, np.array([1.0, 0.0]))
    policy = policy_of("q_learning", values=values, discount=0.99, learning_rate=0.5)
    for _ in range(2_000):
        policy.learn(Step(here, 0, 1.0, there, 0))
    assert np.abs(policy.values(there)).max() <= 2 * 100 + 1e-6


def test_a_policy_is_made_for_the_contexts_of_the_users():
    policy = make_policy(Settings(name="linucb"))
    assert policy.actions == ("exploit",)
    assert policy.tables()["moment"].shape == (1, FEATURES)


def test_rewards_below_0_that_another_posterior_has_kept_are_none_to_beta():
    gaussian = taught("thompson", [[-1.0, -1.0, -1.0], [1.0]], posterior="gaussian")
    beta = policy_of("thompson", 2, posterior="beta")
    beta.load(gaussian.tables())
    expected = taught("thompson", [[0.0, 0.0, 0.0], [1.0]], posterior="beta")
    assert beta.probabilities(HERE).tolist() == expected.probabilities(HERE).tolist()
