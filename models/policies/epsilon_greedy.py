"""Epsilon-greedy exploration of the slots of a slate, with exact propensities.

The ranked list is final first. Then each slot is, with probability epsilon and independently of the others, given to an
item drawn uniformly without replacement from a pool that is disjoint from the list. The drawn items are exchangeable,
so the marginal probability of an item at a slot is exact whatever happened at the other slots:

    P(list's item at its slot) = 1 - epsilon          P(pool item at a slot) = epsilon / len(pool)

When the pool is smaller than the slate, only the last ``len(pool)`` slots can explore, so that no draw finds it empty; the
others show the list's item with propensity 1.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from models.config import Policy
from models.identity import uniform


class Slot(Struct, frozen=True, gc=False):
    """One place of a slate.

    Parameters
    ----------
    item : dense index of the item shown
    explored : drawn from the pool
    propensity : probability with which the policy shows this item at this place
    """

    item: int
    explored: bool
    propensity: float


class EpsilonGreedy:
    """Explores with a probability that decays with the number of slates a user has had.

    Parameters
    ----------
    policy : section of the configuration: ``epsilon * epsilon_decay ** slates``, never below epsilon_min
    """

    name = "epsilon_greedy"
    action = "exploit"

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def epsilon(self, slates: int) -> float:
        """Exploration probability of a slot for a user who has had `slates` slates."""
        start = self._policy.epsilon
        return min(start, max(self._policy.epsilon_min, start * self._policy.epsilon_decay**slates))

    def select(self, ranked: np.ndarray, pool: np.ndarray, *, slates: int, key: int) -> list[Slot]:
        """Fill the slots of one slate.

        Parameters
        ----------
        ranked : int32[k], the final list
        pool : int32[m], items that may be explored, none of them in the list
        slates : how many slates the user had before
        key : what the draws belong to (the slate's id); the same key gives the same draws

        Returns
        -------
        list of k `Slot`
        """
        epsilon = self.epsilon(slates)
        fixed = max(0, len(ranked) - len(pool))
        slots = [Slot(item, False, 1.0) for item in ranked[:fixed].tolist()]
        left = pool.tolist() if epsilon > 0 else []
        for place, item in enumerate(ranked[fixed:].tolist()):
            if epsilon > 0 and uniform(key, self._policy.seed, 2 * place) < epsilon:
                drawn = int(uniform(key, self._policy.seed, 2 * place + 1) * len(left))
                slots.append(Slot(left.pop(drawn), True, epsilon / len(pool)))
            else:
                slots.append(Slot(item, False, 1.0 - epsilon))
        return slots
