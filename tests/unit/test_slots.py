"""Exploration of slots: the logged propensities are the probabilities with which items are really shown."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.config import Policy, Strategy
from models.identity import hash64
from models.policies.slots import explore_slots, slot_epsilon

SLATES = 200_000


def explored(ranked, pool, epsilon, *, key, seed=7):
    return explore_slots(ranked, pool, epsilon=epsilon, key=key, seed=seed)


def simulate(epsilon: float, ranked: np.ndarray, pool: np.ndarray) -> list[Counter[int]]:
    """How often each item stood at each position over many slates."""
    shown: list[Counter[int]] = [Counter() for _ in ranked]
    for number in range(SLATES):
        for place, slot in enumerate(explored(ranked, pool, epsilon, key=hash64(f"slate-{number}"))):
            shown[place][slot.item] += 1
    return shown


@pytest.mark.parametrize("pool_size", [5, 2], ids=["large pool", "pool smaller than the slate"])
def test_every_item_stands_at_every_position_as_often_as_its_exact_marginal_says(pool_size):
    epsilon, ranked, pool = 0.3, np.arange(4, dtype=np.int32), np.arange(100, 100 + pool_size, dtype=np.int32)
    shown = simulate(epsilon, ranked, pool)
    fixed = max(0, len(ranked) - pool_size)
    # The 0.1 % points of chi-square with `pool_size` degrees of freedom, divided among the four positions.
    critical = {5: 23.7, 2: 16.6}[pool_size]
    for place, item in enumerate(ranked.tolist()):
        if place < fixed:
            assert shown[place] == {item: SLATES}
            continue
        expected = {item: (1 - epsilon) * SLATES} | {x: epsilon / pool_size * SLATES for x in pool.tolist()}
        assert set(shown[place]) == set(expected)
        chi_square = sum((shown[place][x] - count) ** 2 / count for x, count in expected.items())
        assert chi_square < critical, (place, chi_square)


def test_each_slot_logs_the_probability_of_what_it_shows():
    ranked, pool = np.array([7, 8, 9], np.int32), np.array([20, 21, 22, 23], np.int32)
    kinds = set()
    for key in range(200):
        for place, slot in enumerate(explored(ranked, pool, 0.5, key=key)):
            kinds.add(slot.explored)
            assert slot.explored == (slot.item in pool)
            assert slot.propensity == (0.5 / 4 if slot.explored else 0.5)
            assert slot.explored or slot.item == ranked[place]
    assert kinds == {True, False}


def test_a_slot_that_no_pool_item_is_left_for_shows_the_list_for_certain():
    slots = explored(np.array([1, 2, 3], np.int32), np.array([9], np.int32), 1.0, key=5)
    assert [(slot.item, slot.explored, slot.propensity) for slot in slots] == [
        (1, False, 1.0),
        (2, False, 1.0),
        (9, True, 1.0),
    ]


def test_no_item_is_drawn_twice_into_one_slate():
    ranked, pool = np.arange(6, dtype=np.int32), np.arange(10, 16, dtype=np.int32)
    for key in range(300):
        assert sorted(slot.item for slot in explored(ranked, pool, 1.0, key=key)) == list(range(10, 16))


def test_without_a_pool_or_without_epsilon_the_list_is_shown_for_certain():
    ranked = np.array([3, 1, 2], np.int32)
    for epsilon, pool in [(1.0, []), (0.0, [7, 8, 9])]:
        slots = explored(ranked, np.array(pool, np.int32), epsilon, key=1)
        assert [(slot.item, slot.explored, slot.propensity) for slot in slots] == [(i, False, 1.0) for i in (3, 1, 2)]


def test_the_same_key_draws_the_same_slate_and_others_draw_others():
    ranked, pool = np.arange(10, dtype=np.int32), np.arange(10, 60, dtype=np.int32)

    def slates(seed: int) -> list[tuple]:
        return [tuple(explored(ranked, pool, 0.5, key=key, seed=seed)) for key in range(100)]

    assert slates(7) == slates(7)
    assert len(set(slates(7))) > 95
    assert sum(a != b for a, b in zip(slates(7), slates(8), strict=True)) > 90


def epsilons(policy, strategy, slates):
    return [slot_epsilon(policy, strategy, slates=number) for number in slates]


def test_epsilon_decays_with_the_slates_of_a_user_down_to_its_floor():
    policy = Policy(epsilon=0.4, epsilon_decay=0.5, epsilon_min=0.06)
    assert epsilons(policy, Strategy(), [0, 1, 2, 3, 4, 100_000]) == pytest.approx([0.4, 0.2, 0.1, 0.06, 0.06, 0.06])


def test_a_floor_above_epsilon_does_not_raise_it():
    assert epsilons(Policy(epsilon=0.0, epsilon_min=0.01), Strategy(), [0]) == [0.0]


def test_a_strategy_explores_at_its_own_rate_where_it_has_one():
    policy = Policy(epsilon=0.4, epsilon_decay=0.5, epsilon_min=0.06)
    assert epsilons(policy, Strategy(epsilon=0.7), [0, 10]) == [0.7, 0.7]
    assert epsilons(policy, Strategy(epsilon=0.0), [0]) == [0.0]
