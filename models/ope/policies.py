"""Policies to evaluate: the probabilities with which they would have acted in the rounds of a log.

What a policy is fitted on must not be what it is evaluated on: it would have learned the noise of the very rewards that judge
it. So `best_constant` and `epsilon_greedy` take the rounds of the past apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ope.reward_model import fit
from models.ope.rounds import Rounds

Floats = npt.NDArray[np.float64]
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """An evaluated policy in the rounds of a log.

    Parameters
    ----------
    taken : float64[n], its probability of the logged action, in the context and at the position of the round
    distribution : float64[n, n_actions], of every action there, or None where it is not known: IPS and SNIPS do without

    Raises
    ------
    ValueError
        When a probability is not in [0, 1], or those of a round do not add up to 1.
    """

    taken: Floats
    distribution: Floats | None = None

    def __post_init__(self) -> None:
        values = self.taken[:, None] if self.distribution is None else self.distribution
        bad = ~((values >= 0) & (values <= 1)).all(axis=1)
        if self.distribution is not None:
            bad |= ~(np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
        if bad.any():
            row = int(np.argmax(bad))
            expected = "in [0, 1]" if self.distribution is None else "in [0, 1] and to add up to 1"
            raise ValueError(f"row {row + 1}: expected the probabilities of the evaluated policy to be {expected}")

    @classmethod
    def of(cls, rounds: Rounds, distribution: Floats) -> Target:
        """A policy whose probability of every action is known: float64[n, n_actions], or anything that broadcasts to it."""
        distribution = np.broadcast_to(distribution, (len(rounds), rounds.n_actions))
        return cls(distribution[np.arange(len(rounds)), rounds.action], distribution)


def logged(rounds: Rounds) -> Target:
    """The policy that made the log: its value is the mean reward."""
    return Target(rounds.propensity)


def uniform(rounds: Rounds) -> Target:
    """Every action alike."""
    return Target.of(rounds, np.full(rounds.n_actions, 1 / rounds.n_actions))


def best_constant(past: Rounds, rounds: Rounds, rng: np.random.Generator) -> Target:
    """Always the action whose estimated reward, averaged over the contexts of the past, is highest.

    Parameters
    ----------
    past : rounds that the estimate is fitted on
    rounds : those that the policy is evaluated on, none of the past
    rng : for `models.ope.reward_model.fit`
    """
    best = int(np.argmax(fit(past, rng).predict(past).mean(axis=0)))
    return Target.of(rounds, np.eye(rounds.n_actions)[best])


def epsilon_greedy(past: Rounds, rounds: Rounds, rng: np.random.Generator, *, epsilon: float) -> Target:
    """The action of the highest estimated reward in each context; with probability epsilon any action, all alike.

    Parameters
    ----------
    past, rounds, rng : as `best_constant`
    epsilon : in [0, 1]
    """
    best = np.argmax(fit(past, rng).predict(rounds), axis=1)
    distribution = np.full((len(rounds), rounds.n_actions), epsilon / rounds.n_actions)
    distribution[np.arange(len(rounds)), best] += 1 - epsilon
    return Target.of(rounds, distribution)
