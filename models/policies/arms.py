"""Bandits that keep a count and a sum of rewards of each action, by themselves for each user state where by_state is set.

The tables are sums of integers: the same steps in another order give the same tables.
"""

from __future__ import annotations

import numpy as np

from models.config import Policy as Settings
from models.policies.base import FIXED, Policy, Step, fixed
from models.policies.state import FEATURES, STATES, Context


class ArmPolicy(Policy):
    """Adds the table ``sums``, int64[actions, rows], of the rewards in fixed point."""

    def __init__(self, settings: Settings, *, states: int = STATES, features: int = FEATURES) -> None:
        super().__init__(settings, states=states, features=features)
        self._sums = np.zeros_like(self._counts)

    def _own_tables(self) -> dict[str, np.ndarray]:
        return {"sums": self._sums}

    def action_values(self, context: Context) -> np.ndarray:
        """Mean reward of each action."""
        return means(*self._arms(context))

    def _learn(self, step: Step, reward: float) -> None:
        self._sums[step.action, self._row(step.context)] += fixed(reward)

    def _arms(self, context: Context) -> tuple[np.ndarray, np.ndarray]:
        """Steps and sum of rewards of each action, float64[actions] each."""
        row = self._row(context)
        return self._counts[:, row].astype(np.float64), self._sums[:, row] / FIXED


def means(counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Mean reward of each action, 0 where there is none yet."""
    return sums / np.maximum(counts, 1)
