"""What one user makes of labels and vectors: a logistic regression of their own, from what they took and what they passed over.

Everybody's ranker learns what holds for all; this is what is different about one user, as in GLMix (Zhang et al., "GLMix: generalized
linear mixed models for large-scale response prediction", KDD 2016), whose random effects of a user are such a regression. Deviations: a
step is taken with each event, nothing is refitted; the regression is not added to the ranker's score, but is one of the features
that it weighs (``taste`` in `models.feature_table`).

The regression reads what `models.content` keeps of an item: the labels (categories, tags, brand, price band) as a vector of length 1, and
the signature of its vector as another, 64 signs. That an item was taken says 1. That it was shown on the slate before and was not taken
says 0, as far as it was looked at: its place p counts 1 / p ** learner.position_eta (the position-based model, `models.debias`).

State: float16[WEIGHTS] in the profile of the user, which is empty until an item with labels or a vector was met.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.content import LABELS, SIGNATURE_BITS, add_labels, label_sum
from models.halves import halves_of, singles
from models.replica import Replica, lookup

WEIGHTS = LABELS + SIGNATURE_BITS
NO_TASTE = np.zeros(0, np.float16)
"""Of a user who has met neither a label nor a vector yet."""
_OF_SIGN = 1.0 / np.sqrt(SIGNATURE_BITS)


@njit(cache=True)
def taste_of(x, labels, signatures, weights):  # type: ignore[no-untyped-def]
    """Log-odds of an item by a user's weights, without their base rate: float32[WEIGHTS], or none of them: then 0."""
    if len(weights) == 0:
        return 0.0
    of_labels, bits = label_sum(x, labels, weights)
    if bits > 0:
        of_labels /= np.sqrt(bits)
    of_signs = 0.0
    if signatures[x] != 0:
        for b in range(SIGNATURE_BITS):
            positive = (signatures[x] >> np.uint64(b)) & np.uint64(1)
            of_signs += weights[LABELS + b] if positive else -weights[LABELS + b]
    return of_labels + of_signs * _OF_SIGN


@njit(cache=True)
def _probability(x, labels, signatures, weights, base):  # type: ignore[no-untyped-def]
    return 1.0 / (1.0 + np.exp(-(taste_of(x, labels, signatures, weights) + base)))


@njit(cache=True)
def _move(x, labels, signatures, weights, step):  # type: ignore[no-untyped-def]
    """Move the weights by a step along what is known of an item."""
    add_labels(x, labels, step, weights)
    if signatures[x] != 0:
        for b in range(SIGNATURE_BITS):
            positive = (signatures[x] >> np.uint64(b)) & np.uint64(1)
            weights[LABELS + b] += step * _OF_SIGN if positive else -step * _OF_SIGN


@njit(cache=True)
def _learn(taste, shown, item, answer, keys, slots, labels, signatures, rate, base, eta):  # type: ignore[no-untyped-def]
    """One step of gradient descent on the logistic loss of all that one event says; taste : uint16[WEIGHTS] or none, bits of float16."""
    weights = singles(taste.reshape(1, -1))[0] if len(taste) else np.zeros(WEIGHTS, np.float32)
    n = len(shown)
    items = np.full(n + 1, -1, np.int32)
    steps = np.zeros(n + 1)
    for k in range(n):
        if shown[k] != item:
            items[k] = lookup(keys, slots, shown[k])
        if items[k] >= 0:
            steps[k] = -rate * (k + 1.0) ** -eta * _probability(items[k], labels, signatures, weights, base)
    items[n] = lookup(keys, slots, item)
    if items[n] >= 0:
        steps[n] = rate * (answer - _probability(items[n], labels, signatures, weights, base))
    for k in range(n + 1):
        if items[k] >= 0:
            _move(items[k], labels, signatures, weights, steps[k])
    if len(taste) == 0 and not weights.any():
        return taste
    return halves_of(weights.reshape(1, -1))[0]


def learned_taste(
    taste: np.ndarray, shown: np.ndarray, item: int, *, taken: bool, replica: Replica, rate: float, base: float, eta: float
) -> np.ndarray:
    """The taste of a user after one event.

    Parameters
    ----------
    taste : float16[WEIGHTS], or none before the first
    shown : int64[n], hashes of the items that the user was shown before, by place; all but `item` were passed over
    item : hash of the event's item
    taken : whether they wanted it
    rate : size of a step
    base : log-odds with which an item is taken of which nothing is known
    eta : see the module's docstring

    Returns
    -------
    float16[WEIGHTS]; none as long as nothing was met that has labels or a vector
    """
    content = replica.content
    # copies of what may be views of packed bytes: one that is read-only is another type to the compiler
    bits, shown = taste.view(np.uint16).copy(), shown.copy()
    learned = _learn(
        bits, shown, item, float(taken), *replica.index_table, content.labels, content.signatures, rate, base, eta
    )
    return learned.view(np.float16)
