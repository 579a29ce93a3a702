"""LinUCB: the action whose reward, linear in the context, could be the largest.

    preferred = argmax_a theta_a . x + ucb_width * sqrt(x . A_a^-1 x)
    A_a = ridge * I + sum x x^T        theta_a = A_a^-1 sum r x        over the steps with action a

Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010, algorithm 1
(disjoint models). Deviations: context and reward are rounded to multiples of 2**-15, so that both sums are sums of integers and
do not depend on the order of the steps; epsilon is mixed in, so that no action has probability 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.config import Policy as Settings
from models.policies.base import FIXED, Policy, Step, greedy
from models.policies.state import FEATURES, STATES, Context

_ROOT = 1 << 15  # a product of two such numbers is one in fixed point


class LinUCB(Policy):
    """Parameters: ucb_width, ridge.

    Adds the tables ``gram``, int64[actions, features, features], and ``moment``, int64[actions, features], in fixed point.
    """

    name = "linucb"

    def __init__(self, settings: Settings, *, states: int = STATES, features: int = FEATURES) -> None:
        super().__init__(settings, states=states, features=features)
        self._gram = np.zeros((len(self.actions), features, features), np.int64)
        self._moment = np.zeros((len(self.actions), features), np.int64)
        self._solved: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def _learns_by_state(self) -> bool:
        return False

    def _own_tables(self) -> dict[str, np.ndarray]:
        return {"gram": self._gram, "moment": self._moment}

    def load(self, tables: Mapping[str, np.ndarray]) -> None:
        super().load(tables)
        self._solved = None

    def _learn(self, step: Step, reward: float) -> None:
        self._solved = None
        x = _rounded(step.context)
        self._gram[step.action] += np.outer(x, x)
        self._moment[step.action] += round(reward * _ROOT) * x

    def action_values(self, context: Context) -> np.ndarray:
        """Estimated reward of each action, without the width."""
        values: np.ndarray = self._models()[1] @ (_rounded(context) / _ROOT)
        return values

    def _models(self) -> tuple[np.ndarray, np.ndarray]:
        """float64[actions, features, features] and [actions, features], each A^-1 and theta."""
        if self._solved is None:
            inverse = np.linalg.inv(self._settings.ridge * np.eye(self._features) + self._gram / FIXED)
            self._solved = inverse, np.einsum("aij,aj->ai", inverse, self._moment / FIXED)
        return self._solved

    def _preferred(self, context: Context) -> np.ndarray:
        inverse, theta = self._models()
        x = _rounded(context) / _ROOT
        width = np.sqrt(np.maximum(0.0, (inverse @ x) @ x))
        return greedy(theta @ x + self._settings.ucb_width * width)


def _rounded(context: Context) -> np.ndarray:
    return np.rint(context.features * _ROOT).astype(np.int64)
