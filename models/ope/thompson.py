"""Probabilities with which Thompson sampling over Bernoulli rewards puts each action at each place of a slate.

The policy draws a number from the beta distribution of each action and shows the actions with the largest ones, the largest
first (Chapelle and Li, "An empirical evaluation of Thompson sampling", NeurIPS 2011; as `obp.policy.BernoulliTS`, which
simulates what is integrated here). With f and F the density and the distribution function of an action,

    P(action at place k) = integral of f(u) P(exactly k of the other actions draw more than u) du
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_NODES_A_DEVIATION = 20
_DEVIATIONS = 10.0


def slate_probabilities(alpha: Floats, beta: Floats, *, places: int) -> Floats:
    """Integrate over the log-odds of the draws, where the densities are bells, by the trapezoidal rule.

    Parameters
    ----------
    alpha, beta : float64[n_actions], at least 1, parameters of the beta distributions
    places : length of the slate, at most n_actions

    Returns
    -------
    float64[places, n_actions]
        Each row adds up to 1; exact to about 1e-5.
    """
    nodes = _nodes(alpha, beta)
    log_density = alpha[:, None] * nodes - (alpha + beta)[:, None] * np.logaddexp(0.0, nodes)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    below = np.cumsum(density, axis=1) - density / 2
    found = np.empty((places, len(alpha)))
    for action in range(len(alpha)):
        more = np.zeros((places, len(nodes)))  # P(exactly k others draw more than u), k < places
        more[0] = 1.0
        for other in range(len(alpha)):
            if other != action:
                more[1:] = more[1:] * below[other] + more[:-1] * (1 - below[other])
                more[0] *= below[other]
        found[:, action] = more @ density[action]
    return found / found.sum(axis=1, keepdims=True)


def _nodes(alpha: Floats, beta: Floats) -> Floats:
    middle = np.log(alpha / beta)
    deviation = np.sqrt(1 / alpha + 1 / beta)
    low, high = (middle - _DEVIATIONS * deviation).min(), (middle + _DEVIATIONS * deviation).max()
    return np.arange(low, high, deviation.min() / _NODES_A_DEVIATION)
