"""Epsilon-greedy: the action with the best mean reward, and with probability epsilon any.

    preferred = argmax_a mean_a        mean_a = 0 before the first reward

Sutton and Barto, "Reinforcement Learning", 2nd edition, 2018, section 2.4. Constant with action_epsilon_decay 1, decaying below
it, contextual (a table of means for each user state) with by_state. Actions that are equally good share the probability.
"""

from __future__ import annotations

import numpy as np

from models.policies.arms import ArmPolicy, means
from models.policies.base import greedy
from models.policies.state import Context


class EpsilonGreedy(ArmPolicy):
    """Parameters: action_epsilon, action_epsilon_min, action_epsilon_decay, by_state."""

    name = "epsilon_greedy"

    def _preferred(self, context: Context) -> np.ndarray:
        return greedy(means(*self._arms(context)))
