"""What the scorers with an encoder over the order of the history share: they correct the fit of `models.scorers.fism`.

The encoder reads the embeddings of the history and makes a correction of the query; the corrected fit is a second pair of
columns. Only the encoder's own weights learn from it: it is given the embeddings and their fit, and what the ranker thinks,
and explains what these leave. Let into the embeddings, an encoder of the order learns its replay by heart
(docs/experiments.md).
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch

from models.halves import with_columns
from models.scorers.fism import FISM, decayed_sum, embed, list_columns


class RefinedScorer(FISM):
    """A FISM whose query is corrected by an encoder of the order of the history.

    Parameters
    ----------
    config : section ``scorer``
    """

    columns = 4

    @abstractmethod
    def refine(self, embedded: torch.Tensor) -> torch.Tensor:
        """The correction of the query.

        Parameters
        ----------
        embedded : float32[lists, history, embedding_dim], the latest first, zeros where there is no item

        Returns
        -------
        float32[lists, embedding_dim], zeros at the start
        """

    @abstractmethod
    def refine_one(self, embedded: np.ndarray) -> np.ndarray:
        """`refine` of one history without padding, with the weights of the last `load`.

        Parameters
        ----------
        embedded : float32[m, embedding_dim], the latest first, m <= history

        Returns
        -------
        float32[embedding_dim]
        """

    def fits_of(self, embedded: torch.Tensor, before: torch.Tensor, known: torch.Tensor) -> list[torch.Tensor]:
        """The fit of the embeddings, and the corrected one, which trains the correction alone."""
        (fit,) = super().fits_of(embedded, before, known)
        given = embedded.detach()
        return [fit, fit.detach() + self.fit(given, self.refine(given[before][..., :-1]))]

    def freeze(self, features: np.ndarray, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The features, and the columns of the fit and of the corrected one, see `Scorer.freeze`."""
        embedded = embed(self._table, history[: self.history])
        query = decayed_sum(embedded, self._decay)
        corrected = query + self.refine_one(embedded[:, :-1])
        columns = np.hstack([list_columns(self._table, items, one) for one in (query, corrected)])
        return with_columns(features.view(np.uint16), columns).view(np.float16)
