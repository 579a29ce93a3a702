"""Logged rounds of a contextual bandit, as arrays: what every source of a log hands to off-policy evaluation.

A round is one action taken, or one item shown at one position, with its context, its reward, and the probability with which
the logging policy chose it there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """n rounds in the order in which they were logged.

    Parameters
    ----------
    context : float64[n, d], finite; d may be 0
    action : int64[n], in [0, n_actions)
    position : int64[n], from 0; 0 throughout where there are no positions
    reward : float64[n], finite
    propensity : float64[n], in (0, 1]: P(action | context, position) under the logging policy
    unit : int64[n], what rounds are independent between, such as users; all different where all are independent
    n_actions : how many actions could have been taken, at least one

    Raises
    ------
    ValueError
        When there are no rounds, lengths differ, or a value is out of range; it names the first such row, from 1.
    """

    context: npt.NDArray[np.float64]
    action: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    reward: npt.NDArray[np.float64]
    propensity: npt.NDArray[np.float64]
    unit: npt.NDArray[np.int64]
    n_actions: int

    def __post_init__(self) -> None:
        n = len(self.action)
        if n == 0:
            raise ValueError("expected at least one round, got none")
        for name in ("context", "position", "reward", "propensity", "unit"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"expected {n} values of {name}, one a round, got {len(getattr(self, name))}")
        _require(np.isfinite(self.context).all(axis=1), "context", "finite numbers", self.context)
        _require((self.action >= 0) & (self.action < self.n_actions), "action", f"0 to {self.n_actions - 1}", self.action)
        _require(self.position >= 0, "position", "a whole number from 0", self.position)
        _require(np.isfinite(self.reward), "reward", "a finite number", self.reward)
        _require((self.propensity > 0) & (self.propensity <= 1), "propensity", "above 0 and at most 1", self.propensity)

    def __len__(self) -> int:
        return len(self.action)

    @property
    def n_positions(self) -> int:
        """One more than the highest position."""
        return int(self.position.max()) + 1

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_] | slice) -> Rounds:
        """The rounds of these rows; rows is anything that indexes an array."""
        return Rounds(
            context=self.context[rows],
            action=self.action[rows],
            position=self.position[rows],
            reward=self.reward[rows],
            propensity=self.propensity[rows],
            unit=self.unit[rows],
            n_actions=self.n_actions,
        )

    def halves(self) -> tuple[Rounds, Rounds]:
        """The first half of the units, by their first round, and the other: to fit a policy on one and evaluate it on the other.

        Raises
        ------
        ValueError
            When there are fewer than two units.
        """
        early = self.early_units()
        return self.take(early), self.take(~early)

    def early_units(self) -> npt.NDArray[np.bool_]:
        """bool[n], which rounds belong to the first half of the units, by their first round.

        Raises
        ------
        ValueError
            When there are fewer than two units.
        """
        _, first, unit = np.unique(self.unit, return_index=True, return_inverse=True)
        if len(first) < 2:
            raise ValueError("expected at least two independent rounds to fit a policy on one half, got one")
        early: npt.NDArray[np.bool_] = first[unit] < np.sort(first)[len(first) // 2]
        return early


def gather(chunks: Iterable[Rounds]) -> Rounds:
    """One log of the chunks that a source yields, in their order.

    Actions and units must be numbered alike in all chunks; the largest `n_actions` holds.

    Raises
    ------
    ValueError
        When there is no chunk, or their contexts differ in length.
    """
    found = list(chunks)
    if not found:
        raise ValueError("expected at least one round, got none")
    return Rounds(
        context=np.concatenate([chunk.context for chunk in found]),
        action=np.concatenate([chunk.action for chunk in found]),
        position=np.concatenate([chunk.position for chunk in found]),
        reward=np.concatenate([chunk.reward for chunk in found]),
        propensity=np.concatenate([chunk.propensity for chunk in found]),
        unit=np.concatenate([chunk.unit for chunk in found]),
        n_actions=max(chunk.n_actions for chunk in found),
    )


def _require(good: npt.NDArray[np.bool_], name: str, expected: str, values: npt.NDArray) -> None:
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"row {row + 1}: expected {name} to be {expected}, got {values[row]}")
