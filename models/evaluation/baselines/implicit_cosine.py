"""Item-based collaborative filtering with cosine similarity, by the package implicit."""

from __future__ import annotations

import warnings

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from implicit.utils import ParameterWarning
from scipy.sparse import csr_matrix

from models.evaluation.interactions import Interactions
from models.evaluation.refits import Refits

SIMILARITIES = 10_000_000
FEWEST_NEIGHBOURS = 20


class ImplicitCosine:
    """implicit's `CosineRecommender`, asked about the user's last items and fitted anew now and then.

    implicit keeps all neighbours of an item while there are up to 10 million pairs of items (3,162 items, 280 MB while
    it fits); with more items, 10 million in all, but at least 20 an item.

    Parameters
    ----------
    repeats : see `Baseline`
    last_items : how many of the user's last items make the profile
    profile_decay : weight of an item of the profile, of that of the item after it
    refit_every : see `Refits`
    history : of each user so many last items teach, which bounds the time of a fit
    """

    title = "implicit cosine"

    def __init__(
        self,
        *,
        repeats: bool,
        last_items: int = 10,
        profile_decay: float = 0.9,
        refit_every: int = 1_000,
        history: int = 1_000,
    ) -> None:
        self._so_far = Interactions(repeats=repeats)
        self._last_items, self._profile_decay, self._history = last_items, profile_decay, history
        self._refits = Refits(refit_every)
        self._model: CosineRecommender | None = None
        self._items = range(0)

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        self._so_far.learn_one(user_id, item_id)
        if self._refits.due(self._so_far.events):
            self._fit()

    def _fit(self) -> None:
        taken = self._so_far.matrix(last=self._history)
        taken.data[:] = 1.0
        self._items = range(taken.shape[1])
        self._model = CosineRecommender(K=_neighbours(len(self._items)), num_threads=1)
        with warnings.catch_warnings():
            # implicit's own normalisation gives implicit's fit another format than it likes best
            warnings.simplefilter("ignore", ParameterWarning)
            self._model.fit(taken, show_progress=False)

    def recommend(self, user_id: str, k: int) -> list[str]:
        last = self._so_far.last(user_id, self._last_items, among=self._items)
        if self._model is None or not last:
            return self._so_far.slate(user_id, (), k)
        weights = self._profile_decay ** np.arange(len(last))
        profile = csr_matrix((weights, last, [0, len(last)]), shape=(1, len(self._items)))
        wanted = k + len(self._so_far.barred(user_id))
        ranked, _ = self._model.recommend(0, profile, N=wanted, filter_already_liked_items=False)
        return self._so_far.slate(user_id, ranked.tolist(), k)

    def settings(self) -> str:
        items = len(self._items)
        kept = "all" if _neighbours(items) >= items else f"the best {_neighbours(items):,} of {items:,}"
        return f"last {self._last_items} items weighted {self._profile_decay:g}^age, {kept} neighbours, {self._refits}"


def _neighbours(items: int) -> int:
    return min(items, max(FEWEST_NEIGHBOURS, SIMILARITIES // max(items, 1)))
