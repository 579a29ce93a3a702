"""Estimators of the value of a policy from the log of another: IPS, SNIPS, DR and switch-DR.

Each is a ratio of two sums over rounds, and is returned as the terms of these sums, so that one piece of code finds the
errors of all of them. With the importance weight w = pi_e(a | x) / pi_b(a | x), the estimated reward q(x, a) and its mean under
the evaluated policy q(x, pi_e):

    IPS        w r                                            over 1
    SNIPS      w r                                            over w
    DR         q(x, pi_e) + w (r - q(x, a))                   over 1
    switch-DR  q(x, pi_e) + w (r - q(x, a)) [w <= tau]        over 1

Sources: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47, 1952 (IPS);
Swaminathan and Joachims, "The self-normalized estimator for counterfactual learning", NeurIPS 2015 (SNIPS); Dudik, Langford
and Li, "Doubly robust policy evaluation and learning", ICML 2011 (DR); Wang, Agarwal and Dudik, "Optimal and adaptive
off-policy evaluation in contextual bandits", ICML 2017 (switch-DR).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Terms of an estimator, one a round or one a unit of rounds.

    Parameters
    ----------
    numerator, denominator : float64[n]; the estimate is the one sum over the other
    """

    numerator: Floats
    denominator: Floats

    @property
    def value(self) -> float:
        """The estimate; NaN where the denominators sum to 0: no weight, nothing known."""
        total = float(self.denominator.sum())
        return float(self.numerator.sum()) / total if total else float("nan")

    def by_unit(self, unit: npt.NDArray[np.int64]) -> Terms:
        """Sums over the rounds of each unit: the estimate stays, and the terms are independent where units are."""
        _, index = np.unique(unit, return_inverse=True)
        numerator, denominator = (np.bincount(index, terms) for terms in (self.numerator, self.denominator))
        return Terms(numerator.astype(np.float64), denominator.astype(np.float64))


def ips(weight: Floats, reward: Floats) -> Terms:
    """Inverse propensity scoring: unbiased, and as noisy as its weights are uneven.

    Parameters
    ----------
    weight, reward : float64[n]
    """
    return Terms(weight * reward, np.ones(len(reward)))


def snips(weight: Floats, reward: Floats) -> Terms:
    """Self-normalised IPS: a bias that falls as 1/n for less noise; never outside the range of the rewards."""
    return Terms(weight * reward, weight)


def dr(weight: Floats, reward: Floats, *, taken: Floats, target: Floats) -> Terms:
    """Doubly robust: unbiased when the propensities are right, with the less noise the better the estimated rewards.

    Parameters
    ----------
    weight, reward : float64[n]
    taken : float64[n], q(x, a), the estimated reward of the logged action
    target : float64[n], q(x, pi_e), the mean of the estimated rewards under the evaluated policy
    """
    return Terms(target + weight * (reward - taken), np.ones(len(reward)))


def switch_dr(weight: Floats, reward: Floats, *, taken: Floats, target: Floats, tau: float) -> Terms:
    """DR where the weight is at most `tau`, and the estimated reward alone elsewhere: less noise, and the model's bias."""
    kept = np.where(weight <= tau, weight, 0.0)
    return dr(kept, reward, taken=taken, target=target)
