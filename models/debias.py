"""Weights of training examples against the biases of what was shown: where it stood, and whether it could stand there.

A click on place p of a slate says that its item was looked at and attracted. With the position-based model, looked at with probability
1 / p ** eta, a click is weighted by the inverse of that (Joachims, Swaminathan and Schnabel, "Unbiased learning-to-rank with biased
feedback", WSDM 2017); with the propensity of the item at its place, by the inverse of that, as in off-policy evaluation. Both are
clipped together: a few heavy examples cost more in variance than they mend.
"""

from __future__ import annotations

from models.config import Learner


def example_weight(learner: Learner, *, place: int, propensity: float) -> float:
    """Weight of an example in the loss of the order.

    Parameters
    ----------
    learner : section of the configuration
    place : from 1, of the item on the slate that was shown; 0 where the user found it without one
    propensity : probability with which the item stood there

    Examples
    --------
    >>> example_weight(Learner(debias="both", max_weight=50.0), place=4, propensity=0.1)
    40.0
    >>> example_weight(Learner(debias="both", max_weight=10.0), place=4, propensity=0.1)
    10.0
    """
    if place == 0:
        return 1.0
    weight = 1.0
    if learner.debias in {"position", "both"}:
        weight *= place**learner.position_eta
    if learner.debias in {"ips", "both"}:
        weight /= propensity
    return min(weight, learner.max_weight)
