"""The reward that an action would earn in a context, estimated from logged rounds: ridge regression in two steps.

First a line that all actions share, over the context and the positions; then for each action its own line over the context,
fitted to what the first leaves over. Both are shrunk (Hoerl and Kennard, "Ridge regression", Technometrics 12(1), 1970), the
shared intercept aside: an action that was rarely taken earns what the others earn. How strongly is chosen by the squared
error on a fifth of the rounds that is held back for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.ope.rounds import Rounds

PENALTIES = (1.0, 10.0, 100.0, 1_000.0)
FOLDS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RewardModel:
    """A fitted model.

    Parameters
    ----------
    mean, scale : float64[d], what contexts are standardised with
    shared : float64[1 + d + n_positions], intercept, context, positions
    own : float64[n_actions, 1 + d], intercept and context of each action
    lowest, highest : the range of the rewards that were fitted; no estimate leaves it
    """

    mean: Floats
    scale: Floats
    shared: Floats
    own: Floats
    lowest: float
    highest: float

    def predict(self, rounds: Rounds) -> Floats:
        """Estimated rewards of all actions in the context and at the position of each round: float64[n, n_actions]."""
        context = _standardised(rounds, self.mean, self.scale)
        n_positions = len(self.shared) - context.shape[1]
        shared = _with_positions(context, rounds.position, n_positions) @ self.shared
        return np.clip(shared[:, None] + context @ self.own.T, self.lowest, self.highest)


def fit(rounds: Rounds, rng: np.random.Generator) -> RewardModel:
    """Fit a model to rounds.

    Parameters
    ----------
    rounds : what was logged; propensities are not used
    rng : draws the rounds that the penalty is chosen on
    """
    held_back = _folds(rounds, rng) == 0
    if held_back.all() or not held_back.any():
        return _fit(rounds, PENALTIES[-1])
    seen, unseen = rounds.take(~held_back), rounds.take(held_back)
    rows = np.arange(len(unseen))

    def error(penalty: float) -> float:
        missed = unseen.reward - _fit(seen, penalty).predict(unseen)[rows, unseen.action]
        return float((missed * missed).sum())

    return _fit(rounds, min(PENALTIES, key=error))


def cross_fitted(rounds: Rounds, rng: np.random.Generator) -> Floats:
    """Estimated rewards of all actions in each round, by a model that saw neither it nor another round of its unit.

    Without this a model that fits the noise of a reward takes it out of the estimate as well, and intervals are too narrow
    (Chernozhukov et al., "Double/debiased machine learning", Econometrics Journal 21(1), 2018).

    Parameters
    ----------
    rounds : of at least two units
    rng : draws the five folds of units

    Returns
    -------
    float64[n, n_actions]

    Raises
    ------
    ValueError
        When there is one unit only.
    """
    fold = _folds(rounds, rng)
    if fold.max() == 0:
        raise ValueError("expected at least two independent rounds to estimate rewards, got one")
    estimated = np.empty((len(rounds), rounds.n_actions))
    for number in range(int(fold.max()) + 1):
        out = fold == number
        estimated[out] = fit(rounds.take(~out), rng).predict(rounds.take(out))
    return estimated


def _folds(rounds: Rounds, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    units, unit = np.unique(rounds.unit, return_inverse=True)
    return (rng.permutation(len(units)) % FOLDS)[unit]


def _fit(rounds: Rounds, penalty: float) -> RewardModel:
    mean, spread = rounds.context.mean(axis=0), rounds.context.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    context = _standardised(rounds, mean, scale)
    design = _with_positions(context, rounds.position, rounds.n_positions)
    unshrunk = np.r_[0.0, np.full(design.shape[1] - 1, penalty)]
    shared = _ridge(design, rounds.reward, unshrunk)
    left_over = rounds.reward - design @ shared
    own = np.zeros((rounds.n_actions, context.shape[1]))
    order = np.argsort(rounds.action, kind="stable")
    actions, starts = np.unique(rounds.action[order], return_index=True)
    for action, rows in zip(actions, np.split(order, starts[1:]), strict=True):
        own[action] = _ridge(context[rows], left_over[rows], np.full(context.shape[1], penalty))
    return RewardModel(mean, scale, shared, own, float(rounds.reward.min()), float(rounds.reward.max()))


def _ridge(design: Floats, reward: Floats, penalties: Floats) -> Floats:
    return np.linalg.solve(design.T @ design + np.diag(penalties), design.T @ reward)


def _standardised(rounds: Rounds, mean: Floats, scale: Floats) -> Floats:
    """Intercept and context: float64[n, 1 + d]."""
    return np.column_stack((np.ones(len(rounds)), (rounds.context - mean) / scale))


def _with_positions(context: Floats, position: npt.NDArray[np.int64], n_positions: int) -> Floats:
    """Context and one column a position; a position that was never fitted has none."""
    return np.column_stack((context, position[:, None] == np.arange(n_positions)))
