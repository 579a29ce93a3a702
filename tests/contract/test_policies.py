"""What every policy keeps to, found by discovery: one without an entry in `VARIANTS` fails the audit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import models.policies
from models.config import Policy as Settings
from models.config import PolicyName, Strategy
from models.identity import hash64, uniform
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import FEATURES, STATES, Context
from tests.contract.discovery import implementations

VARIANTS = {
    "epsilon_greedy": {"name": "epsilon_greedy"},
    "epsilon_greedy, decaying": {"name": "epsilon_greedy", "action_epsilon": 0.9, "action_epsilon_decay": 0.99},
    "epsilon_greedy, contextual": {"name": "epsilon_greedy", "by_state": True},
    "ucb1": {"name": "ucb1"},
    "ucb1, contextual": {"name": "ucb1", "by_state": True},
    "thompson, beta": {"name": "thompson"},
    "thompson, gaussian": {"name": "thompson", "posterior": "gaussian", "by_state": True},
    "linucb": {"name": "linucb"},
    "softmax": {"name": "softmax"},
    "q_learning, tabular": {"name": "q_learning"},
    "q_learning, linear": {"name": "q_learning", "values": "linear"},
    "sarsa, tabular": {"name": "sarsa"},
    "sarsa, linear": {"name": "sarsa", "values": "linear"},
}
# The others learn from one step what the steps before made of it.
ORDER_DOES_NOT_COUNT = [name for name, made in VARIANTS.items() if made["name"] not in ("q_learning", "sarsa")]

of_every_policy = pytest.mark.parametrize("variant", VARIANTS)


def policy_of(variant, actions=4, **changes):
    strategies = {f"strategy-{number}": Strategy() for number in range(actions)}
    return make_policy(Settings(**{"strategies": strategies} | VARIANTS[variant] | changes))


def some_context(number):
    """A context of its own for each number, of seven states."""
    draw = np.random.default_rng(number)
    return Context(int(draw.integers(7)) * 10, np.concatenate(([1.0], draw.uniform(-1, 1, FEATURES - 1))))


CONTEXTS = [some_context(number) for number in range(8)]


def some_steps(n, seed=3, actions=4):
    """Steps whose rewards depend on action and context; each third ends a session."""
    steps = []
    for number in range(n):
        action, after = (int(uniform(number, seed, draw) * actions) for draw in (0, 1))
        context = some_context(number)
        reward = float(uniform(number, seed, 2) < 0.2 + 0.15 * action * context.features[1])
        following = (None, None) if number % 3 == 2 else (some_context(number + 1), after)
        steps.append(Step(context, action, reward, *following))
    return steps


def learned(variant, steps=200, **changes):
    policy = policy_of(variant, **changes)
    for step in some_steps(steps, actions=len(policy.actions)):
        policy.learn(step)
    return policy


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes() for name in one
    )


def require_probabilities(policy, context):
    probabilities = policy.probabilities(context)
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (len(policy.actions),)
    assert (probabilities >= 0).all()
    assert abs(probabilities.sum() - 1) < 1e-12
    return probabilities


def test_no_policy_escapes_the_contract():
    found = implementations(
        models.policies, "probabilities", "choose", "learn", besides=frozenset({"slots", "state", "strategies"})
    )
    assert set(found) == {made["name"] for made in VARIANTS.values()} == set(get_args(PolicyName))
    for variant, made in VARIANTS.items():
        policy = policy_of(variant)
        assert type(policy) is found[made["name"]]
        assert policy.name == made["name"]


@of_every_policy
@pytest.mark.parametrize("actions", [1, 2, 16])
@pytest.mark.parametrize("steps", [0, 1, 300])
def test_probabilities_sum_to_1_and_none_is_below_the_share_of_epsilon(variant, actions, steps):
    policy = learned(variant, steps, actions=actions)
    for context in CONTEXTS:
        probabilities = require_probabilities(policy, context)
        if actions > 1:
            assert (probabilities >= policy.epsilon(context) / actions - 1e-15).all()


@of_every_policy
def test_the_only_action_is_certain_and_learns(variant):
    policy = learned(variant, 50, actions=1)
    assert [policy.choose(context, 9) for context in CONTEXTS] == [(0, 1.0)] * len(CONTEXTS)
    assert policy.tables()["counts"].sum() == 50


@of_every_policy
def test_draws_are_as_frequent_as_the_probabilities_say_and_log_them(variant):
    policy, draws = learned(variant), 50_000 // len(CONTEXTS)
    for place, context in enumerate(CONTEXTS):
        probabilities, counts = policy.probabilities(context), np.zeros(4)
        for number in range(draws):
            action, probability = policy.choose(context, hash64(f"{place}-{number}"))
            assert probability == probabilities[action] > 0
            counts[action] += 1
        assert stats.chisquare(counts, probabilities * draws).pvalue > 0.01 / (len(VARIANTS) * len(CONTEXTS))


@of_every_policy
def test_the_same_key_draws_the_same_and_another_key_or_seed_another(variant):
    policy, again = learned(variant, action_epsilon=1.0, action_epsilon_decay=1.0), learned(variant, action_epsilon=1.0, action_epsilon_decay=1.0)
    other = learned(variant, action_epsilon=1.0, action_epsilon_decay=1.0, seed=8)
    context = CONTEXTS[0]
    draws = [[made.choose(context, key)[0] for key in range(200)] for made in (policy, again, other)]
    assert draws[0] == draws[1]
    assert sum(a != b for a, b in zip(draws[0], draws[2], strict=True)) > 100
    assert set(draws[0]) == {0, 1, 2, 3}


@of_every_policy
@given(cut=st.integers(0, 120))
@settings(max_examples=8, deadline=None)
def test_a_restored_policy_goes_on_bit_for_bit(variant, cut):
    steps, whole, first, second = some_steps(120), policy_of(variant), policy_of(variant), policy_of(variant)
    for step in steps:
        whole.learn(step)
    for step in steps[:cut]:
        first.learn(step)
    [second.probabilities(context) for context in CONTEXTS]  # what it remembers of them must not survive the load
    second.load(first.tables())
    for step in steps[cut:]:
        second.learn(step)
    assert same(second.tables(), whole.tables())
    assert all(
        (second.probabilities(context) == whole.probabilities(context)).all() for context in CONTEXTS
    )


@of_every_policy
def test_tables_are_copies_and_both_sides_go_on_alone(variant):
    policy, replica = learned(variant), policy_of(variant)
    published = policy.tables()
    replica.load(published)
    for step in some_steps(50, seed=9):
        policy.learn(step)
    assert same(replica.tables(), published)
    assert not same(policy.tables(), published)


@of_every_policy
def test_strategies_are_found_by_name_when_the_configuration_changed(variant):
    policy = learned(variant)
    renamed = policy_of(variant, strategies={name: Strategy() for name in ("strategy-2", "new", "strategy-0")})
    renamed.load(policy.tables())
    before, after = policy.tables(), renamed.tables()
    for name in before.keys() - {"action"}:
        assert (after[name][[0, 2]] == before[name][[2, 0]]).all()
        assert (after[name][1] == 0).all()


@of_every_policy
def test_tables_that_do_not_fit_are_refused_and_change_nothing(variant):
    policy = learned(variant)
    before = policy.tables()
    for name in before.keys() - {"action"}:
        with pytest.raises(ValueError, match=r"^policy \w+: expected the tables action, counts"):
            policy.load({other: table for other, table in before.items() if other != name})
        for wrong in (before[name][:3], before[name].astype(np.float32), before[name][:, :0]):
            with pytest.raises(ValueError, match=rf"^policy \w+: {name}: expected \w+\[4, "):
                policy.load(before | {name: wrong})
    assert same(policy.tables(), before)


@pytest.mark.parametrize("variant", ORDER_DOES_NOT_COUNT)
def test_the_order_of_the_steps_does_not_count(variant):
    steps, one, other = some_steps(300), policy_of(variant), policy_of(variant)
    for step in steps:
        one.learn(step)
    for place in np.random.default_rng(1).permutation(300):
        other.learn(steps[place])
    assert same(one.tables(), other.tables())


@of_every_policy
@given(rewards=st.lists(st.floats(allow_nan=False), min_size=1, max_size=30), reward_max=st.floats(1e-3, 1e9))
@settings(max_examples=20, deadline=None)
def test_extreme_rewards_count_as_the_largest_and_leave_probabilities_probabilities(variant, rewards, reward_max):
    policy, clipped = policy_of(variant, reward_max=reward_max), policy_of(variant, reward_max=reward_max)
    for number, reward in enumerate(rewards):
        steps = some_steps(30)[number]
        for made, given in ((policy, reward), (clipped, min(reward_max, max(-reward_max, reward)))):
            made.learn(Step(steps.context, steps.action, given, steps.next_context, steps.next_action))
    assert same(policy.tables(), clipped.tables())
    for context in CONTEXTS:
        require_probabilities(policy, context)


@of_every_policy
@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1e-9, "ridge": 1e9, "prior_successes": 0.01, "prior_failures": 0.01, "reward_sd": 1e-9, "discount": 1.0},
        {"temperature": 1e9, "ridge": 1e-9, "prior_successes": 1e9, "prior_failures": 1e9, "reward_sd": 1e9, "ucb_width": 1e9},
        {"prior_successes": 0.01, "prior_failures": 1e9, "learning_rate": 1.0, "discount": 0.0, "ucb_width": 0.0},
    ],
)
def test_extreme_parameters_leave_probabilities_probabilities(variant, changes):
    policy = learned(variant, 100, **changes)
    for context in CONTEXTS:
        require_probabilities(policy, context)


@of_every_policy
def test_what_no_policy_can_learn_from_is_refused_and_changes_nothing(variant):
    policy, good = learned(variant), CONTEXTS[0]
    before = policy.tables()
    for context, action in [
        (good, 4),
        (good, -1),
        (Context(STATES, good.features), 0),
        (Context(0, good.features[:2]), 0),
    ]:
        with pytest.raises(ValueError, match=r"^policy \w+: "):
            policy.learn(Step(context, action, 1.0))
        with pytest.raises(ValueError, match=r"^policy \w+: "):
            policy.learn(Step(good, 0, 1.0, context, action))
    assert same(policy.tables(), before)


def test_a_step_is_whole():
    with pytest.raises(ValueError, match="nan"):
        Step(CONTEXTS[0], 0, float("nan"))
    with pytest.raises(ValueError, match="both a next context and a next action"):
        Step(CONTEXTS[0], 0, 1.0, CONTEXTS[1])


@of_every_policy
def test_epsilon_falls_with_the_steps_down_to_its_floor(variant):
    policy = policy_of(variant, action_epsilon=0.8, action_epsilon_decay=0.5, action_epsilon_min=0.15)
    found = []
    for _ in range(5):
        found.append(policy.epsilon(CONTEXTS[0]))
        policy.learn(Step(CONTEXTS[0], 1, 0.5))
    assert found == pytest.approx([0.8, 0.4, 0.2, 0.15, 0.15])


@of_every_policy
def test_what_pays_is_chosen_more(variant):
    policy = policy_of(variant, action_epsilon_decay=1.0, action_epsilon=0.1)
    for number in range(400):
        context = CONTEXTS[number % 2]
        action, _ = policy.choose(context, number)
        policy.learn(Step(context, action, float(action == 2)))
    assert all(policy.probabilities(context)[2] > 0.8 for context in CONTEXTS[:2])
