"""What Q-learning and SARSA share: values of actions in contexts, moved towards a target by each step.

    Q(s, a) += learning_rate * (target - Q(s, a))        target = reward + discount * (value of what came next)

values tabular:   Q(s, a) is the number of user state s, or of what stands for it (`models.policies.state`)
values linear:    Q(s, a) = w_a . x(s), with w_a += learning_rate * (target - Q(s, a)) * x / (x . x)

The linear step is semi-gradient descent (Sutton and Barto, 2018, section 10.1), normalised so that it too moves the estimate by
the part learning_rate towards the target; with one-hot features it is the tabular one. Targets are kept within what
rewards in [-1, 1] can add up to, 1 / (1 - discount): off-policy learning with function approximation may otherwise diverge.
After the last slate of a session nothing comes: its target is the reward. The order of the steps counts: tables are float64, and equal only
for the same steps in the same order.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from models.config import Policy as Settings
from models.policies.base import Policy, Step, greedy
from models.policies.state import FEATURES, STATES, Context


class TemporalDifference(Policy):
    """Greedy by the values, with epsilon mixed in.

    Adds the table ``values`` (tabular) or ``weights`` (linear), float64[actions, states or features].
    """

    def __init__(self, settings: Settings, *, states: int = STATES, features: int = FEATURES) -> None:
        super().__init__(settings, states=states, features=features)
        self._linear = settings.values == "linear"
        self._weights = np.zeros((len(self.actions), features if self._linear else states))
        self._largest = np.inf if settings.discount == 1 else 1 / (1 - settings.discount)

    @property
    def _learns_by_state(self) -> bool:
        return self._settings.values == "tabular"

    @abstractmethod
    def _value_of_next(self, step: Step) -> float:
        """What the next context is worth, for a step that is not terminal."""

    def _own_tables(self) -> dict[str, np.ndarray]:
        return {"weights" if self._linear else "values": self._weights}

    def action_values(self, context: Context) -> np.ndarray:
        """The same as `values`."""
        return self.values(context)

    def values(self, context: Context) -> np.ndarray:
        """float64[actions], what is expected of each action from this context on, in units of reward_max."""
        return self._weights @ context.features if self._linear else self._weights[:, self._row(context)]

    def _preferred(self, context: Context) -> np.ndarray:
        return greedy(self.values(context))

    def _learn(self, step: Step, reward: float) -> None:
        ahead = 0.0 if step.terminal else self._settings.discount * self._value_of_next(step)
        target = min(self._largest, max(-self._largest, reward + ahead))
        change = self._settings.learning_rate * (target - self.values(step.context)[step.action])
        if self._linear:
            x = step.context.features
            self._weights[step.action] += change * x / max(x @ x, 1e-9)
        else:
            self._weights[step.action, self._row(step.context)] += change
