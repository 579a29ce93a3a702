"""Convolutions over the user's latest items, beside the MLP over the features.

Tang and Wang, "Personalized top-N sequential recommendation via convolutional sequence embedding" (Caser), 2018: horizontal
filters see several successive items at once and are pooled over time; vertical ones are weighted sums over all steps.
Deviations: no user embedding (the features know the user), the result corrects a decayed sum of the item embeddings,
and the filters are trained apart from these and from the ranker (`models.scorers.refined`).
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import nn

from models.config import Scorer as ScorerConfig
from models.scorers.refined import RefinedScorer

_HEIGHTS = (2, 3, 4)
_HORIZONTAL = 16
_VERTICAL = 4


@njit(cache=True)
def pooled(steps, height, filters, bias):  # type: ignore[no-untyped-def]
    """Largest response of each horizontal filter over all places of one history, at least 0.

    Parameters
    ----------
    steps : float32[history * dim], the embeddings one behind the other, the latest first
    height : steps that a filter sees
    filters : float32[height * dim, n], transposed
    bias : float32[n]

    Returns
    -------
    float32[n]
    """
    size, n = filters.shape
    dim = size // height
    out = np.zeros(n, np.float32)
    response = np.empty(n, np.float32)
    for start in range(0, len(steps) - size + 1, dim):
        response[:] = bias
        for j in range(size):
            for c in range(n):
                response[c] += steps[start + j] * filters[j, c]
        for c in range(n):
            out[c] = max(out[c], response[c])
    return out


class CNN(RefinedScorer):
    """Scores by the features and by a convolutional reading of the history.

    Parameters
    ----------
    config : section ``scorer``

    Weights beside the MLP's and the table's: 144 * dim + 48 for horizontal filters, 4 * history + 4 for vertical ones and
    (48 + 4 * dim + 1) * dim for the layer that joins them.
    """

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        dim = config.embedding_dim
        heights = [min(height, config.history) for height in _HEIGHTS]
        self.horizontal = nn.ModuleList(nn.Conv1d(dim, _HORIZONTAL, height) for height in heights)
        self.vertical = nn.Conv1d(config.history, _VERTICAL, 1)
        self.out = nn.Linear(_HORIZONTAL * len(_HEIGHTS) + _VERTICAL * dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def refine(self, embedded: torch.Tensor) -> torch.Tensor:
        """Pooled horizontal and flat vertical features, through a layer that starts at zero."""
        by_step = embedded.transpose(1, 2)
        horizontal = [torch.relu(layer(by_step)).amax(2) for layer in self.horizontal]
        return self.out(torch.cat((*horizontal, self.vertical(embedded).flatten(1)), 1))

    def prepare(self) -> None:
        """See `Scorer.prepare`."""
        super().prepare()
        self._filters = []
        for layer in self.horizontal:
            weights = {name: tensor.detach() for name, tensor in layer.named_parameters()}
            by_step = weights["weight"].permute(2, 1, 0)
            filters = by_step.reshape(-1, _HORIZONTAL).numpy().copy()
            self._filters.append((len(by_step), filters, weights["bias"].numpy().copy()))
        vertical = {name: tensor.detach().numpy() for name, tensor in self.vertical.named_parameters()}
        self._vertical, self._vertical_bias = vertical["weight"][:, :, 0].copy(), vertical["bias"][:, None].copy()
        self._out, self._out_bias = self.out.weight.detach().numpy().T.copy(), self.out.bias.detach().numpy().copy()

    def refine_one(self, embedded: np.ndarray) -> np.ndarray:
        """`refine` of one history, see `RefinedScorer.refine_one`."""
        steps = np.zeros((self.history, embedded.shape[1]), np.float32)
        steps[: len(embedded)] = embedded
        horizontal = [pooled(steps.ravel(), *filters) for filters in self._filters]
        vertical = (self._vertical @ steps + self._vertical_bias).ravel()
        return np.concatenate((*horizontal, vertical)) @ self._out + self._out_bias
