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

from models.scorers.fism import FISM


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

    def _queries(self, embedded: np.ndarray) -> list[np.ndarray]:
        (query,) = super()._queries(embedded)
        return [query, query + self.refine_one(embedded[:, :-1])]
