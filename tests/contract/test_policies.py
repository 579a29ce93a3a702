"""What every policy keeps to, found by discovery: a policy without an entry in `MAKERS` fails the audit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import models.policies
from models.config import Policy
from models.policies.epsilon_greedy import EpsilonGreedy
from tests.contract.discovery import implementations

MAKERS = {"epsilon_greedy": lambda: EpsilonGreedy(Policy(epsilon=0.4, epsilon_min=0.0, epsilon_decay=0.9))}

of_every_policy = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def test_no_policy_escapes_the_contract():
    assert set(implementations(models.policies, "select")) == set(MAKERS)


@of_every_policy
@given(
    k=st.integers(0, 12), pool=st.integers(0, 30), slates=st.integers(0, 100), key=st.integers(0, 2**64 - 1)
)
def test_a_slate_is_full_without_repeats_from_list_and_pool_and_its_propensities_are_probabilities(
    make, k, pool, slates, key
):
    policy = make()
    ranked, others = np.arange(k, dtype=np.int32), np.arange(100, 100 + pool, dtype=np.int32)
    slots = policy.select(ranked, others, slates=slates, key=key)
    items = [slot.item for slot in slots]
    assert len(items) == len(set(items)) == k
    assert set(items) <= {*ranked.tolist(), *others.tolist()}
    assert all(0 < slot.propensity <= 1 for slot in slots)
    assert all(slot.explored == (slot.item >= 100) for slot in slots)
    assert policy.select(ranked, others, slates=slates, key=key) == slots, "the same key, the same draws"


@of_every_policy
def test_different_slates_explore_differently(make):
    policy, ranked, pool = make(), np.arange(10, dtype=np.int32), np.arange(100, 150, dtype=np.int32)
    drawn = {tuple(slot.item for slot in policy.select(ranked, pool, slates=0, key=key)) for key in range(50)}
    assert len(drawn) > 25


@of_every_policy
def test_a_policy_names_itself_and_its_action(make):
    policy = make()
    assert policy.name
    assert policy.action
