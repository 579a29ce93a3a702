"""Thompson sampling: each action with the probability that it is the best one, by what is known of its mean reward.

    preferred(a) = P(theta_a = max_b theta_b) = integral of f_a(x) prod_{b != a} F_b(x) dx

posterior beta:       theta_a ~ Beta(prior_successes + sum_a, prior_failures + n_a - sum_a), negative rewards count as 0
posterior gaussian:   theta_a ~ N(sum_a / (n_a + 1), reward_sd**2 / (n_a + 1)), the prior is N(0, reward_sd**2)

Chapelle and Li, "An empirical evaluation of Thompson sampling", NIPS 2011, algorithm 2; Agrawal and Goyal, "Further optimal
regret bounds for Thompson sampling", AISTATS 2013, for the Gaussian. Deviations: a reward between 0 and 1 is part success, part
failure, instead of a draw; and no theta is drawn: the integral is computed and the action drawn from it, so that the logged
probability is that of the draw by construction. The integral is right to 1e-9.

Beta is integrated over the log-odds of theta: there its density is smooth and vanishes at both ends whatever the parameters.
"""

from __future__ import annotations

import numpy as np

from models.config import Policy as Settings
from models.policies.arms import ArmPolicy
from models.policies.base import Step
from models.policies.state import FEATURES, STATES, Context

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_POWERS = np.arange(len(_NODES))
# Row j integrates, from -1 to node j, the polynomial through the values at the nodes.
_PARTIAL = (_NODES[:, None] ** (_POWERS + 1) - (-1.0) ** (_POWERS + 1)) / (_POWERS + 1) @ np.linalg.inv(_NODES[:, None] ** _POWERS)
_CORE = np.linspace(-9.0, 9.0, 25)
_TAIL = np.linspace(0.0, 1.0, 14)[1:]


class Thompson(ArmPolicy):
    """Parameters: posterior, prior_successes, prior_failures, reward_sd, by_state."""

    name = "thompson"

    def __init__(self, settings: Settings, *, states: int = STATES, features: int = FEATURES) -> None:
        super().__init__(settings, states=states, features=features)
        self._known: dict[int, tuple[bytes, np.ndarray]] = {}

    def _learn(self, step: Step, reward: float) -> None:
        super()._learn(step, max(0.0, reward) if self._settings.posterior == "beta" else reward)

    def _preferred(self, context: Context) -> np.ndarray:
        """Computed once for what is known of a row: it costs a quarter of a millisecond with 2 actions, some with 16."""
        row = self._row(context)
        evidence = self._counts[:, row].tobytes() + self._sums[:, row].tobytes()
        known = self._known.get(row)
        if known is None or known[0] != evidence:
            known = self._known[row] = evidence, self._probability_of_being_best(*self._arms(context))
        return known[1]

    def _probability_of_being_best(self, counts: np.ndarray, sums: np.ndarray) -> np.ndarray:
        settings = self._settings
        if settings.posterior == "beta":
            # also of what was learned under another posterior, whose rewards may be below 0
            sums = np.clip(sums, 0, counts)
            return beta_probabilities(settings.prior_successes + sums, settings.prior_failures + counts - sums)
        return gaussian_probabilities(sums / (counts + 1), settings.reward_sd / np.sqrt(counts + 1))


def beta_probabilities(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Probability of each of some Beta variables that it is the largest.

    Parameters
    ----------
    a, b : float64[n], their parameters

    Returns
    -------
    float64[n]
    """
    mode = np.log(a / b)
    spread = np.sqrt(1 / a + 1 / b)
    peak = a * _log_sigmoid(mode) + b * _log_sigmoid(-mode)

    def density(y: np.ndarray) -> np.ndarray:
        exponent = a[:, None] * _log_sigmoid(y) + b[:, None] * _log_sigmoid(-y) - peak[:, None]
        return np.exp(exponent)

    # The tails of the log-odds fall as exp(a * y) and exp(-b * y): 40 such lengths leave 4e-18.
    return _largest(density, mode, spread, below=40 / a, above=40 / b)


def gaussian_probabilities(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Probability of each of some normal variables that it is the largest, float64[n] as the parameters."""

    def density(y: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * np.square((y - mean[:, None]) / deviation[:, None]))

    none = np.zeros_like(mean)
    return _largest(density, mean, deviation, below=none, above=none)


def _largest(density, centre, spread, *, below, above) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Integrate f_a * prod F_b, cell by cell of a grid that is fine where any of the densities is, by 8-point Gauss-Legendre.

    Parameters
    ----------
    density : of float64[m] to float64[n, m], up to a factor for each of the n variables
    centre, spread : float64[n], most of each density lies within 9 spreads of its centre
    below, above : float64[n], how far it reaches on each side at least
    """
    core = centre[:, None] + spread[:, None] * _CORE
    left = centre[:, None] - 9 * spread[:, None] - np.maximum(0, below - 9 * spread)[:, None] * _TAIL
    right = centre[:, None] + 9 * spread[:, None] + np.maximum(0, above - 9 * spread)[:, None] * _TAIL
    edges = np.unique(np.concatenate((core, left, right), axis=None))
    half = np.diff(edges) / 2
    nodes = (edges[:-1] + half)[:, None] + half[:, None] * _NODES
    f = density(nodes.ravel()).reshape(len(centre), *nodes.shape) * half[:, None]
    masses = f @ _WEIGHTS
    before = np.cumsum(masses, axis=1) - masses
    total = masses.sum(axis=1)[:, None, None]
    cumulative = (before[:, :, None] + f @ _PARTIAL.T) / total
    others = _product_of_others(cumulative)
    probabilities = np.maximum(0.0, ((f / total * others) @ _WEIGHTS).sum(axis=1))
    return probabilities / probabilities.sum()


def _product_of_others(factors: np.ndarray) -> np.ndarray:
    """For each place along the first axis the product over all other places, without a division by what may be 0."""
    out = np.ones_like(factors)
    np.cumprod(factors[:-1], axis=0, out=out[1:])
    out[:-1] *= np.cumprod(factors[:0:-1], axis=0)[::-1]
    return out


def _log_sigmoid(y: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -y)
