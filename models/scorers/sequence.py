"""Item embeddings by hashing, and what every scorer that reads the user's latest items shares.

An item's embedding is the sum of two rows of one table, chosen by the two halves of its hash (Svenstrup et al., "Hash
embeddings for efficient word representations", 2017, without the importance weights), and with the last number of each row
the item's bias. The same table serves history and candidates. A history becomes a query,

    query = sum_d decay^d e(history_d) / sqrt(sum_d decay^d) + refine(e(history)),

the second part is the encoder's own (`gru`, `cnn`) and starts at zero; what an item fits it is query . e(item) + bias(item).

This fit, centred over the list, and the same in deviations of the list, are two columns of the frozen matrix: made with the
embeddings as they were when the slate was made, and ranked like any other feature. The ranker's loss does not reach the
embeddings. They learn what the ranker leaves unexplained: the softmax of (rank, as given) + fit over the candidates.
Trained end to end instead, or from columns that are made again when an example is replayed, the network learns its
replay by heart (docs/experiments.md).

Size: ``embedding_rows * (embedding_dim + 1)`` numbers; 2 bytes each where they are published.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from numba import njit
from torch import nn
from torch.nn import functional

from models.config import Scorer as ScorerConfig
from models.identity import EMPTY
from models.scorers.base import Lists
from models.scorers.mlp import MLP

_HALF = 0x7FFF_FFFF
_FIRST_DECAY = 0.9
_DEVIATION = 0.05
# Added to the deviation of the fits over a list: near the start all are alike, and their differences mean nothing.
_DEVIATION_FLOOR = 0.3
_BOUND = 100.0


@njit(cache=True)
def embed(table, items):  # type: ignore[no-untyped-def]
    """Embeddings with biases, float32[n, dim + 1]; zeros for EMPTY."""
    rows, width = table.shape
    out = np.zeros((len(items), width), np.float32)
    for k in range(len(items)):
        if items[k] == EMPTY:
            continue
        one = (items[k] & _HALF) % rows
        other = ((items[k] >> 32) & _HALF) % rows
        for c in range(width):
            out[k, c] = table[one, c] + table[other, c]
    return out


@njit(cache=True)
def list_columns(table, items, query):  # type: ignore[no-untyped-def]
    """The two columns of one list, float32[n, 2]: what `SequenceScorer.columns_of` does for many."""
    rows, width = table.shape
    n = len(items)
    out = np.zeros((n, 2), np.float32)
    total = np.float32(0.0)
    for k in range(n):
        if items[k] == EMPTY:
            continue
        one = (items[k] & _HALF) % rows
        other = ((items[k] >> 32) & _HALF) % rows
        fit = table[one, width - 1] + table[other, width - 1]
        for c in range(width - 1):
            fit += (table[one, c] + table[other, c]) * query[c]
        out[k, 0] = min(max(fit, np.float32(-_BOUND)), np.float32(_BOUND))
        total += out[k, 0]
    mean = total / np.float32(n)
    square = np.float32(0.0)
    for k in range(n):
        out[k, 0] -= mean
        square += out[k, 0] * out[k, 0]
    deviation = np.sqrt(square / np.float32(n)) + np.float32(_DEVIATION_FLOOR)
    for k in range(n):
        out[k, 1] = out[k, 0] / deviation
    return out


@njit(cache=True)
def decayed_sum(embedded, decay):  # type: ignore[no-untyped-def]
    """The first part of a query, float32[dim]; the known items of a history stand before its padding."""
    n, width = embedded.shape
    out = np.zeros(width - 1, np.float32)
    weight, weights = np.float32(1.0), np.float32(0.0)
    for d in range(n):
        for c in range(width - 1):
            out[c] += weight * embedded[d, c]
        weights += weight
        weight *= decay
    if weights > 0:
        out /= np.sqrt(weights)
    return out


class SequenceScorer(MLP):
    """An MLP over the features and over how well a candidate fits the user's latest items.

    Parameters
    ----------
    config : section ``scorer``; `history`, `embedding_rows`, `embedding_dim` and `dropout` are the encoder's
    """

    columns = 2

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        self.history = config.history
        dim = config.embedding_dim
        self.table = nn.Parameter(torch.randn(config.embedding_rows, dim + 1) * (_DEVIATION / 2**0.5))
        self.decay = nn.Parameter(torch.tensor(_FIRST_DECAY))
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            self.table[:, dim] = 0.0

    @abstractmethod
    def refine(self, embedded: torch.Tensor) -> torch.Tensor:
        """The encoder's own part of the query.

        Parameters
        ----------
        embedded : float32[lists, history, embedding_dim], the latest first, zeros where there is no item

        Returns
        -------
        float32[lists, embedding_dim], zeros at the start
        """

    def embeddings(self) -> list[nn.Parameter]:
        """The table."""
        return [self.table]

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        """Embeddings with biases, float32[..., embedding_dim + 1]; zeros for EMPTY."""
        rows = len(self.table)
        one, other = (items & _HALF) % rows, ((items >> 32) & _HALF) % rows
        both = functional.embedding(one, self.table) + functional.embedding(other, self.table)
        return both * (items != EMPTY).unsqueeze(-1)

    def fit(self, items: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        """How well items fit histories, float32[lists, candidates]."""
        embedded = self.embed(history)[..., :-1]
        steps = torch.arange(history.shape[1], device=history.device)
        weights = self.decay.clamp(0.0, 1.0) ** steps * (history != EMPTY)
        decayed = (embedded * weights.unsqueeze(-1)).sum(1) / weights.sum(1, keepdim=True).clamp_min(1e-6).sqrt()
        query = self.dropout(decayed + self.refine(embedded))
        candidates = self.embed(items)
        return (candidates[..., :-1] @ query.unsqueeze(-1)).squeeze(-1) + candidates[..., -1]

    def encoder_loss(self, lists: Lists, labels: torch.Tensor, rank: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of what comes next, the ranker's opinion given."""
        fit = self.fit(lists.items, lists.history)
        return functional.cross_entropy((rank + fit).masked_fill(lists.mask == 0, -1e9), labels)

    def columns_of(self, lists: Lists) -> torch.Tensor:
        """The columns of many lists, float32[lists, candidates, 2], made by the encoder as it is now."""
        fit = self.fit(lists.items, lists.history).clamp(-_BOUND, _BOUND)
        n = lists.mask.sum(1, keepdim=True)
        centred = (fit - (fit * lists.mask).sum(1, keepdim=True) / n) * lists.mask
        deviation = (centred.square().sum(1, keepdim=True) / n).sqrt() + _DEVIATION_FLOOR
        return torch.stack((centred, centred / deviation), -1)

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over published weights, see `Scorer.load`."""
        super().load(tensors)
        self._prepare_encoder()

    def _prepare_encoder(self) -> None:
        self._table = self.table.detach().numpy().copy()
        self._decay = np.float32(min(max(self.decay.item(), 0.0), 1.0))

    @torch.inference_mode()
    def freeze(self, features: np.ndarray, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The features and the two columns of this encoder, see `Scorer.freeze`."""
        embedded = embed(self._table, history[: self.history])
        query = decayed_sum(embedded, self._decay) + self.refine_one(embedded[:, :-1])
        return np.hstack((features, list_columns(self._table, items, query).astype(np.float16)))

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
