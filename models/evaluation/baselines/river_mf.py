"""Incremental biased matrix factorisation, by the package river."""

from __future__ import annotations

import numpy as np
from river import optim, reco

from models.evaluation.interactions import Interactions


class RiverBiasedMF:
    """river's `reco.BiasedMF`, taught one event at a time, ranked over all items.

    river predicts a value for a user and an item: mean + user's bias + item's bias + <user's vector, item's vector>. It
    is taught 1 for the item of an event, and 0 for items drawn at random that the user has not had. Without the latter
    nothing tells items apart (0.005 of the events on films are hit).

    `reco.BiasedMF.rank` asks itself about one item at a time, in Python. The same order comes from one product of the
    items' vectors, kept beside the model, with the user's.

    Parameters
    ----------
    repeats : see `Baseline`
    factors : length of a vector
    learning_rate : of stochastic gradient descent, biases and vectors alike
    drawn_items : taught as 0 for each event
    seed : of the draws and of the vectors' first values
    """

    title = "river BiasedMF"

    def __init__(
        self,
        *,
        repeats: bool,
        factors: int = 10,
        learning_rate: float = 0.1,
        drawn_items: int = 4,
        seed: int = 7,
    ) -> None:
        self._so_far = Interactions(repeats=repeats)
        self._drawn_items, self._rate, self._factors = drawn_items, learning_rate, factors
        self._draws = np.random.default_rng(seed)
        self.model = reco.BiasedMF(
            n_factors=factors,
            bias_optimizer=optim.SGD(learning_rate),
            latent_optimizer=optim.SGD(learning_rate),
            latent_initializer=optim.initializers.Normal(sigma=0.1, seed=seed),
        )
        # By item index: the vector, and the bias behind it; grows by doubling.
        self._items = np.zeros((1_024, factors + 1))

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        user, item = self._so_far.learn_one(user_id, item_id)
        self._teach(user, item, 1.0)
        own = self._so_far.own(user)
        for other in self._draws.integers(len(self._so_far.item_ids), size=self._drawn_items).tolist():
            if other not in own:
                self._teach(user, other, 0.0)

    def _teach(self, user: int, item: int, target: float) -> None:
        self.model.learn_one(user, item, target)
        if item >= len(self._items):
            self._items = np.concatenate((self._items, np.zeros_like(self._items)))
        self._items[item, :-1] = self.model.i_latents[item]
        self._items[item, -1] = self.model.i_biases[item]

    def recommend(self, user_id: str, k: int) -> list[str]:
        user = self._so_far.user(user_id)
        if user is None:
            return self._so_far.slate(user_id, (), k)
        # The mean and the user's bias are the same for all items.
        weights = np.append(self.model.u_latents[user], 1.0)
        scores = self._items[: len(self._so_far.item_ids)] @ weights
        return self._so_far.slate_of_scores(user_id, scores, k, above=-np.inf)

    def settings(self) -> str:
        return f"{self._factors} factors, learning rate {self._rate:g}, {self._drawn_items} drawn items an event"
