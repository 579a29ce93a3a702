"""What all policies have in common: a policy chooses, for the state of a user, one of at most 16 actions.

An action is a ranking strategy (`models.policies.strategies`). What is logged with a slate is the exact probability of its
action, and the action is drawn from just these probabilities, by a number that is a function of the slate's id:

    P(a | context) = (1 - epsilon_n) * preferred(a | context) + epsilon_n / actions
    epsilon_n = max(action_epsilon_min, action_epsilon * action_epsilon_decay**n)    (never above action_epsilon)

with n the steps learned, of this user state where the policy learns each by itself. For epsilon-greedy, Q-learning and SARSA
this is how they explore; under the others it is a floor, so that every action has overlap when policies are evaluated.

A policy is the same object on both sides: the learner calls `learn` and publishes `tables`, a replica of the serve path calls
`load` and `choose`. Rewards are divided by policy.reward_max and clipped to [-1, 1]; where a table is a sum of them, it is one
of integers (units of 2**-30), so that it does not depend on the order of the steps. Such a sum is exact for 8e9 steps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from models.config import Policy as Settings
from models.identity import hash64, uniform
from models.policies.state import FEATURES, PARTS, STATES, Context, stand_ins

FIXED = 1 << 30
"""1.0 in fixed point."""

# Apart from the draws of the slots, which count from 0.
_ACTION_DRAW = 1 << 32


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one closed slate teaches.

    Parameters
    ----------
    context : in which the action was chosen
    action : its index
    reward : of the slate, any number but NaN
    next_context, next_action : of the user's next slate; None where the session ended with this one

    Raises
    ------
    ValueError
        When the reward is NaN, or only one of next context and next action is given.
    """

    context: Context
    action: int
    reward: float
    next_context: Context | None = None
    next_action: int | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.reward):
            raise ValueError("a reward must be a number, got nan")
        if (self.next_context is None) != (self.next_action is None):
            raise ValueError("a step has both a next context and a next action, or neither")

    @property
    def terminal(self) -> bool:
        """Whether no slate followed in the session."""
        return self.next_context is None


class Policy(ABC):
    """Chooses actions, and learns from what came of them.

    Parameters
    ----------
    settings : section policy of the configuration; its strategies are the actions, in their order
    states, features : of the contexts

    Attributes
    ----------
    actions : names of the actions
    action_hashes : of these names, by which tables and steps know them
    """

    name: ClassVar[str]

    def __init__(self, settings: Settings, *, states: int = STATES, features: int = FEATURES) -> None:
        self.actions = tuple(settings.strategies)
        self.action_hashes = tuple(map(hash64, self.actions))
        self._settings = settings
        self._states = states
        self._features = features
        self._rows = states if self._learns_by_state else 1
        tells_all = len(set(settings.state_parts)) == len(PARTS)
        self._stand_ins = range(states) if tells_all else stand_ins(settings.state_parts)
        self._counts = np.zeros((len(self.actions), self._rows), np.int64)

    @property
    def _learns_by_state(self) -> bool:
        """Whether each user state has a column of its own in the tables."""
        return self._settings.by_state

    @abstractmethod
    def _preferred(self, context: Context) -> np.ndarray:
        """float64[actions], the probabilities before epsilon is mixed in."""

    @abstractmethod
    def _learn(self, step: Step, reward: float) -> None:
        """Update the tables by a step whose reward was brought into [-1, 1]."""

    def action_values(self, context: Context) -> np.ndarray | None:
        """float64[actions], what is expected of each action in this context, in units of reward_max; None where nothing is held."""
        return None

    def _own_tables(self) -> dict[str, np.ndarray]:
        """The tables beside the counts, by name, as they are; the first axis of each is that of the actions."""
        return {}

    def epsilon(self, context: Context) -> float:
        """Probability with which the action of this context is drawn from all alike."""
        settings = self._settings
        steps = int(self._counts[:, self._row(context)].sum())
        lowered = settings.action_epsilon * settings.action_epsilon_decay**steps
        return min(settings.action_epsilon, max(settings.action_epsilon_min, lowered))

    def probabilities(self, context: Context) -> np.ndarray:
        """Exact probability of each action.

        Returns
        -------
        float64[actions], sums to 1
        """
        if len(self.actions) == 1:
            return np.ones(1)
        epsilon = self.epsilon(context)
        return (1 - epsilon) * self._preferred(context) + epsilon / len(self.actions)

    def choose(self, context: Context, key: int) -> tuple[int, float]:
        """Draw an action.

        Parameters
        ----------
        key : what the draw belongs to (the slate's id); the same key and tables give the same action

        Returns
        -------
        index of the action, and the probability that it had
        """
        probabilities = self.probabilities(context).tolist()
        drawn = uniform(key, self._settings.seed, _ACTION_DRAW)
        action = bisect_right(list(accumulate(probabilities)), drawn)
        if action == len(probabilities):  # the sum was rounded to below 1
            action = max(place for place, probability in enumerate(probabilities) if probability > 0)
        return action, probabilities[action]

    def learn(self, step: Step) -> None:
        """Take one step.

        Raises
        ------
        ValueError
            When its actions or contexts are not among those of this policy.
        """
        self._require_known(step.context, step.action)
        if step.next_context is not None and step.next_action is not None:
            self._require_known(step.next_context, step.next_action)
        self._learn(step, min(1.0, max(-1.0, step.reward / self._settings.reward_max)))
        self._counts[step.action, self._row(step.context)] += 1

    def tables(self) -> dict[str, np.ndarray]:
        """Copies of all that was learned, for a snapshot or a publication.

        Returns
        -------
        ``action`` int64[actions], hashes of the actions' names; ``counts`` int64[actions, rows], steps learned; and what the
        policy adds. The first axis of each is that of the actions.
        """
        names = np.array(self.action_hashes, np.int64)
        return {"action": names, "counts": self._counts.copy()} | {
            name: table.copy() for name, table in self._own_tables().items()
        }

    def load(self, tables: Mapping[str, np.ndarray]) -> None:
        """Replace all that was learned by the `tables` of a policy of the same kind.

        Actions are found by their names: one that the tables do not know starts anew, one that is gone is left out.

        Raises
        ------
        ValueError
            When a table is missing or has another shape; nothing is changed then.
        """
        mine = {"counts": self._counts} | self._own_tables()
        if tables.keys() != mine.keys() | {"action"}:
            raise ValueError(f"policy {self.name}: expected the tables action, {', '.join(mine)}, got {', '.join(tables)}")
        saved = {name: place for place, name in enumerate(tables["action"].tolist())}
        for name, table in mine.items():
            shape = (len(saved), *table.shape[1:])
            if tables[name].shape != shape or tables[name].dtype != table.dtype:
                got = f"{tables[name].dtype}{list(tables[name].shape)}"
                raise ValueError(f"policy {self.name}: {name}: expected {table.dtype}{list(shape)}, got {got}")
        for place, action in enumerate(self.action_hashes):
            at = saved.get(action)
            for name, table in mine.items():
                table[place] = 0 if at is None else tables[name][at]

    def _row(self, context: Context) -> int:
        return self._stand_ins[context.state] if self._rows > 1 else 0

    def _require_known(self, context: Context, action: int) -> None:
        if not (0 <= action < len(self.actions) and 0 <= context.state < self._states):
            raise ValueError(
                f"policy {self.name}: action {action} in state {context.state} is none of {len(self.actions)} actions "
                f"in {self._states} states"
            )
        if context.features.shape != (self._features,):
            raise ValueError(f"policy {self.name}: expected {self._features} features, got {context.features.shape}")


def fixed(value: float) -> int:
    """A number in fixed point."""
    return round(value * FIXED)


def greedy(values: np.ndarray) -> np.ndarray:
    """All probability to the largest of some values, in equal parts to those that are equal."""
    best = values == values.max()
    return best / best.sum()
