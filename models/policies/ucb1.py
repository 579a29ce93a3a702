"""UCB1: the action whose mean reward could be the largest.

    preferred = argmax_a mean_a + ucb_width * sqrt(2 ln N / n_a)        N = sum_a n_a, infinite where n_a = 0

Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem", Machine Learning 47, 2002, figure 1
(ucb_width = 1, rewards in [0, 1]). Deviation: epsilon is mixed in, so that no action has probability 0.
"""

from __future__ import annotations

import numpy as np

from models.policies.arms import ArmPolicy, means
from models.policies.base import greedy
from models.policies.state import Context


class UCB1(ArmPolicy):
    """Parameters: ucb_width, by_state."""

    name = "ucb1"

    def _preferred(self, context: Context) -> np.ndarray:
        counts, sums = self._arms(context)
        if (counts == 0).any():
            return greedy((counts == 0).astype(np.float64))
        return greedy(means(counts, sums) + self._settings.ucb_width * np.sqrt(2 * np.log(counts.sum()) / counts))
