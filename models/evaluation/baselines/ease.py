"""EASE: the linear item-item model with a closed form."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from models.evaluation.interactions import Interactions
from models.evaluation.refits import Refits


class EASE:
    """An autoencoder without a hidden layer, fitted anew now and then, asked about the user's last items.

    Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019: B minimises |X - XB|^2 + lambda |B|^2 with a
    diagonal of 0, X being who took what,

        P = (X'X + lambda I)^-1,  B[i, j] = -P[i, j] / P[j, j] for i != j,  score(j) = sum of B[i, j] over the profile i.

    The inverse takes the third power of the number of items. With more than `most_items` of them only those with the
    most events are in X when it is fitted, at most 36 MB a matrix and about 1 s a fit; the others are never recommended but by
    popularity, where nothing else is left.

    Parameters
    ----------
    repeats : see `Baseline`
    penalty : lambda
    last_items : how many of the user's last items make the profile
    profile_decay : weight of an item of the profile, of that of the item after it; 1 as in the paper
    refit_every : see `Refits`
    history : of each user so many last items teach, which bounds the time of a fit
    most_items : how many items can be in X
    """

    title = "EASE"

    def __init__(
        self,
        *,
        repeats: bool,
        penalty: float = 500.0,
        last_items: int = 20,
        profile_decay: float = 1.0,
        refit_every: int = 5_000,
        history: int = 1_000,
        most_items: int = 3_000,
    ) -> None:
        self._so_far = Interactions(repeats=repeats)
        self._penalty, self._last_items, self._profile_decay = penalty, last_items, profile_decay
        self._history, self._most_items = history, most_items
        self._refits = Refits(refit_every)
        self._items = np.zeros(0, np.int64)
        self._column: dict[int, int] = {}
        self._weights = np.zeros((0, 0), np.float32)

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        self._so_far.learn_one(user_id, item_id)
        if self._refits.due(self._so_far.events):
            self._fit()

    def _fit(self) -> None:
        self._items = np.sort(self._so_far.popularity.best[: self._most_items])
        self._column = {item: column for column, item in enumerate(self._items.tolist())}
        taken = self._so_far.matrix(last=self._history)[:, self._items]
        taken.data[:] = 1.0
        self._weights = ease_weights((taken.T @ taken).toarray(), self._penalty)

    def recommend(self, user_id: str, k: int) -> list[str]:
        last = self._so_far.last(user_id, self._last_items, among=self._column)
        profile = self._profile_decay ** np.arange(len(last), dtype=np.float32)
        scores = np.zeros(len(self._so_far.item_ids), np.float32)
        scores[self._items] = profile @ self._weights[[self._column[item] for item in last]]
        return self._so_far.slate_of_scores(user_id, scores, k)

    def settings(self) -> str:
        items = len(self._so_far.item_ids)
        kept = "all items" if items <= self._most_items else f"only the {self._most_items:,} most popular of {items:,} items"
        weighted = "" if self._profile_decay == 1 else f" weighted {self._profile_decay:g}^age"
        return f"last {self._last_items} items{weighted}, lambda {self._penalty:g}, {kept}, {self._refits}"


def ease_weights(gram: np.ndarray, penalty: float) -> np.ndarray:
    """The weights B of EASE.

    Parameters
    ----------
    gram : float32[n, n], X'X
    penalty : lambda, more than 0

    Returns
    -------
    float32[n, n]
        B[i, j] is what item i of a profile adds to the score of item j; B[j, j] is 0.

    Raises
    ------
    ValueError
        When the penalised matrix is not positive definite.
    """
    penalised = gram.astype(np.float32)
    penalised[np.diag_indices_from(penalised)] += penalty
    # By Cholesky's factors: a fifth of the time of numpy's inverse.
    factor, failed = lapack.spotrf(penalised)
    if failed:
        raise ValueError(f"expected X'X + {penalty:g} I to be positive definite")
    upper, _ = lapack.spotri(factor)
    inverse: np.ndarray = np.triu(upper) + np.triu(upper, 1).T
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0.0
    return weights
