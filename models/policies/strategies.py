"""Ranking strategies, the actions of the policies: how the candidates of one slate become a list.

    relevance = scorer_weight * scorer + (1 - scorer_weight) * sources        each scaled to 0 .. 1 over the candidates
    next item = argmax (1 - diversity) * relevance - diversity * largest similarity to an item that is on the list already

The second line is maximal marginal relevance (Carbonell and Goldstein, "The use of MMR, diversity-based reranking", SIGIR 1998);
two items are as similar as their categories overlap (Jaccard; 0 where an item has none). The sources' part is their scores by
the weights of `sources`, which also say how many candidates each brings.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from models.config import Strategy


def relevance(strategy: Strategy, scorer: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """What the candidates are ranked by.

    Parameters
    ----------
    scorer, sources : float32[n], scores of the candidates

    Returns
    -------
    float32[n]; the scores themselves where only one of the two counts
    """
    weight = strategy.scorer_weight
    if weight in (0.0, 1.0):
        return scorer if weight else sources
    return np.float32(weight) * _scaled(scorer) + np.float32(1 - weight) * _scaled(sources)


@njit(cache=True)
def _ranked(scores):  # type: ignore[no-untyped-def]
    """Places of some scores, the highest first and of equal ones the first, int64[n]; what is no number comes last."""
    return np.argsort(-scores, kind="mergesort")


def order(strategy: Strategy, scores: np.ndarray, categories: np.ndarray, items: np.ndarray, *, k: int) -> np.ndarray:
    """Rows of the candidates, the best first; the first `k` are the list.

    Parameters
    ----------
    scores : float32[n], relevance
    categories : uint64[items], bit set of the categories of each item
    items : int32[n], dense indices of the candidates

    Returns
    -------
    int64[n]
    """
    by_relevance = _ranked(scores)
    if strategy.diversity == 0 or len(scores) == 0:
        return by_relevance
    gain = (1 - strategy.diversity) * _scaled(scores)[by_relevance].astype(np.float64)
    bits = categories[items[by_relevance]]
    similar = np.zeros(len(gain))
    listed = []
    for _ in range(min(k, len(gain))):
        place = int(np.argmax(gain - strategy.diversity * similar))
        listed.append(place)
        gain[place] = -np.inf
        union = np.maximum(1, np.bitwise_count(bits | bits[place]))
        np.maximum(similar, np.bitwise_count(bits & bits[place]) / union, out=similar)
    return by_relevance[listed + np.flatnonzero(np.isfinite(gain)).tolist()]


def _scaled(scores: np.ndarray) -> np.ndarray:
    lowest, highest = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return (scores - lowest) / (highest - lowest) if highest > lowest else np.zeros_like(scores)
