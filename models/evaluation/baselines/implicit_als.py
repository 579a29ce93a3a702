"""Matrix factorisation of implicit feedback by alternating least squares, by the package implicit."""

from __future__ import annotations

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from models.evaluation.interactions import Interactions
from models.evaluation.refits import Refits


class ImplicitALS:
    """implicit's `AlternatingLeastSquares`, fitted anew now and then; the user's vector is fitted at each question.

    Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. The vector of a user is
    the least-squares solution for the user's last items under the items' vectors as they are: nobody is recommended
    anything by a vector from before the last event.

    Parameters
    ----------
    repeats : see `Baseline`
    factors : length of a vector
    last_items : of how many of the user's last items the user's vector is made. Of all of them, as in the paper, it
        hits much less often on films: 0.129 instead of 0.167 of the events
    refit_every : see `Refits`
    history : of each user so many last items teach, which bounds the time of a fit
    seed : of the vectors that a fit starts with
    """

    title = "implicit ALS"

    def __init__(
        self,
        *,
        repeats: bool,
        factors: int = 32,
        last_items: int = 20,
        refit_every: int = 5_000,
        history: int = 1_000,
        seed: int = 7,
    ) -> None:
        self._so_far = Interactions(repeats=repeats)
        self._factors, self._last_items, self._history, self._seed = factors, last_items, history, seed
        self._refits = Refits(refit_every)
        self._model: AlternatingLeastSquares | None = None
        self._items = range(0)

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        self._so_far.learn_one(user_id, item_id)
        if self._refits.due(self._so_far.events):
            self._fit()

    def _fit(self) -> None:
        taken = self._so_far.matrix(last=self._history)
        self._items = range(taken.shape[1])
        self._model = AlternatingLeastSquares(factors=self._factors, num_threads=1, random_state=self._seed)
        self._model.fit(taken, show_progress=False)

    def recommend(self, user_id: str, k: int) -> list[str]:
        last = self._so_far.last(user_id, self._last_items, among=self._items)
        if self._model is None or not last:
            return self._so_far.slate(user_id, (), k)
        shape = (1, len(self._items))
        profile = csr_matrix((np.ones(len(last), np.float32), last, [0, len(last)]), shape=shape)
        scores = self._model.item_factors @ self._model.recalculate_user(0, profile)
        return self._so_far.slate_of_scores(user_id, scores, k, above=-np.inf)

    def settings(self) -> str:
        return f"{self._factors} factors, last {self._last_items} items, {self._refits}"
