"""Softmax (Boltzmann) exploration: the better the mean reward of an action, the likelier it is.

    preferred(a) = exp(mean_a / temperature) / sum_b exp(mean_b / temperature)        mean_a = 0 before the first reward

Sutton and Barto, "Reinforcement Learning", 1st edition, 1998, section 2.3. A temperature near 0 is greedy, a high one uniform.
"""

from __future__ import annotations

import numpy as np

from models.policies.arms import ArmPolicy, means
from models.policies.state import Context


class Softmax(ArmPolicy):
    """Parameters: temperature (in units of reward_max), by_state."""

    name = "softmax"

    def _preferred(self, context: Context) -> np.ndarray:
        values = means(*self._arms(context))
        weights = np.exp((values - values.max()) / self._settings.temperature)
        return weights / weights.sum()
