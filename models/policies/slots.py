"""Exploration of the slots of a slate, with exact propensities; every policy's slates are explored so.

The ranked list is final first. Then each slot is, with probability epsilon and independently of the others, given to an
item drawn uniformly without replacement from a pool that is disjoint from the list. The drawn items are exchangeable,
so the marginal probability of an item at a slot is exact whatever happened at the other slots:

    P(list's item at its slot) = 1 - epsilon          P(pool item at a slot) = epsilon / len(pool)

A slot that a rule pins never explores. When the pool is smaller than the number of the others, only the last ``len(pool)`` of them
can explore, so that no draw finds it empty; what cannot explore shows the list's item with propensity 1. These are the probabilities
given the action of the policy, whose own probability is logged beside them.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from models.config import Policy, Strategy
from models.identity import uniform


class Slot(Struct, frozen=True, gc=False):
    """One place of a slate.

    Parameters
    ----------
    item : the item shown, as it was named in the list or the pool
    explored : drawn from the pool
    propensity : probability with which this item is shown at this place
    """

    item: int
    explored: bool
    propensity: float


def slot_epsilon(policy: Policy, strategy: Strategy, *, slates: int) -> float:
    """Exploration probability of a slot for a user who has had `slates` slates.

    The strategy's own epsilon, or the policy's: ``epsilon * epsilon_decay ** slates``, never below epsilon_min. A strategy's
    own epsilon is constant.
    """
    if strategy.epsilon is not None:
        return strategy.epsilon
    return min(policy.epsilon, max(policy.epsilon_min, policy.epsilon * policy.epsilon_decay**slates))


def explore_slots(
    ranked: np.ndarray, pool: np.ndarray, *, epsilon: float, key: int, seed: int, pinned: np.ndarray | None = None
) -> list[Slot]:
    """Fill the slots of one slate.

    Parameters
    ----------
    ranked : int64[k], the final list; items are named by any number, such as their row among the candidates
    pool : int64[m], items that may be explored, none of them in the list
    epsilon : probability with which a slot explores
    key : what the draws belong to (the slate's id); the same key and seed give the same draws
    pinned : bool[k], slots that show the list's item for certain; None for none

    Returns
    -------
    list of k `Slot`
    """
    if pinned is not None and pinned.any():
        rest = iter(explore_slots(ranked[~pinned], pool, epsilon=epsilon, key=key, seed=seed))
        return [
            Slot(item, False, 1.0) if is_pinned else next(rest)
            for item, is_pinned in zip(ranked.tolist(), pinned.tolist(), strict=True)
        ]
    fixed = max(0, len(ranked) - len(pool))
    slots = [Slot(item, False, 1.0) for item in ranked[:fixed].tolist()]
    left = pool.tolist() if epsilon > 0 else []
    for place, item in enumerate(ranked[fixed:].tolist()):
        if epsilon > 0 and uniform(key, seed, 2 * place) < epsilon:
            drawn = int(uniform(key, seed, 2 * place + 1) * len(left))
            slots.append(Slot(left.pop(drawn), True, epsilon / len(pool)))
        else:
            slots.append(Slot(item, False, 1.0 - epsilon))
    return slots
