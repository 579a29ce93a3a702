"""What every policy keeps to, found by discovery: one without an entry in `VARIANTS` fails the audit."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.policies
from benchmarks.propensities import VARIANTS, p_value, some_context
from models.config import Policy as Settings
from models.config import PolicyName, Strategy
from models.identity import uniform
from models.policies import make_policy
from models.policies.base import Step
from models.policies.state import STATES, Context
from tests.contract.discovery import implementations

CONTEXTS = [some_context(number) for number in range(8)]
# The others learn from one step what the steps before made of it.
ORDER_DOES_NOT_COUNT = [name for name, made in VARIANTS.items() if made["name"] not in ("q_learning", "sarsa")]
ONE_OF_EACH = {made["name"]: variant for variant, made in reversed(VARIANTS.items())}.values()

of_every_policy = pytest.mark.parametrize("variant", VARIANTS)


def policy_of(variant, actions=4, **changes):
    strategies = {f"strategy-{number}": Strategy() for number in range(actions)}
    return make_policy(Settings(**{"strategies": strategies} | VARIANTS[variant] | changes))


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


def chances(policy):
    return [policy.probabilities(context).tolist() for context in CONTEXTS]


def require_probabilities(policy, context):
    probabilities = policy.probabilities(context)
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (len(policy.actions),)
    assert (probabilities >= 0).all()
    assert abs(probabilities.sum() - 1) < 1e-12
    return probabilities


def test_no_policy_escapes_the_contract():
    found = implementations(
        models.policies, "probabilities", "choose", "learn", besides=frozenset({"learner", "slots", "state", "steps", "strategies"})
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
def test_what_is_drawn_is_what_is_logged(variant):
    policy = learned(variant)
    for context in CONTEXTS:
        probabilities = policy.probabilities(context)
        for key in range(50):
            action, probability = policy.choose(context, key)
            assert probability == probabilities[action] > 0


@pytest.mark.parametrize("variant", ONE_OF_EACH)
def test_what_50_000_slates_show_is_as_frequent_as_their_propensities_say(variant):
    assert p_value(variant, slates=50_000) > 0.01 / len(ONE_OF_EACH)


@of_every_policy
def test_the_same_key_draws_the_same_and_another_key_or_seed_another(variant):
    uniformly = {"action_epsilon": 1.0, "action_epsilon_decay": 1.0}
    policies = [learned(variant, seed=seed, **uniformly) for seed in (7, 7, 8)]
    draws = [[policy.choose(CONTEXTS[0], key)[0] for key in range(200)] for policy in policies]
    assert draws[0] == draws[1]
    assert sum(a != b for a, b in zip(draws[0], draws[2], strict=True)) > 100
    assert set(draws[0]) == {0, 1, 2, 3}


@of_every_policy
@given(cut=st.integers(0, 120))
@settings(max_examples=8)
def test_a_restored_policy_goes_on_bit_for_bit(variant, cut):
    steps, whole, first, second = some_steps(120), policy_of(variant), policy_of(variant), policy_of(variant)
    for step in steps:
        whole.learn(step)
    for step in steps[:cut]:
        first.learn(step)
    [second.probabilities(context) for context in CONTEXTS]  # what it remembers of them must not survive the load
    second.load(first.tables())
    assert chances(second) == chances(first)
    for step in steps[cut:]:
        second.learn(step)
    assert same(second.tables(), whole.tables())
    assert chances(second) == chances(whole)


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
@settings(max_examples=20)
def test_extreme_rewards_count_as_the_largest_and_leave_probabilities_probabilities(variant, rewards, reward_max):
    policy, clipped = policy_of(variant, reward_max=reward_max), policy_of(variant, reward_max=reward_max)
    for step, reward in zip(some_steps(len(rewards)), rewards, strict=True):
        policy.learn(replace(step, reward=reward))
        clipped.learn(replace(step, reward=min(reward_max, max(-reward_max, reward))))
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
