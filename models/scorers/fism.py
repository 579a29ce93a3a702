"""Factored item similarities: how well a candidate fits the user's latest items, beside the MLP over the features.

Kabbur, Ning and Karypis, "FISM: factored item similarity models for top-N recommender systems", 2013, with a sum that decays:

    fit(x) = bias(x) + e(x) . sum_d decay^d e(history_d) / sqrt(sum_d decay^d)

Deviations: history and candidates share their embeddings; what the embeddings learn is the softmax over the candidates of
(the ranker's opinion, as given) + fit, so what the ranker leaves unexplained.

An item's embedding is the sum of two rows of one table, chosen by the two halves of its hash (Svenstrup et al., "Hash
embeddings for efficient word representations", 2017, without the importance weights); the last number of a row is the
item's bias. Size: ``embedding_rows * (embedding_dim + 1)`` numbers, 2 bytes each where they are published.

The fit, centred over the list, and the same in deviations of the list, are columns of the frozen matrix: made with the
embeddings as they were when the slate was made, and ranked like any other feature. The ranker's loss does not reach the
embeddings. Trained end to end instead, or from columns that are made again when an example is replayed, the network
learns its replay by heart (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numba import njit
from torch import nn
from torch.nn import functional

from models.config import Scorer as ScorerConfig
from models.halves import with_columns
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
def distinct(items):  # type: ignore[no-untyped-def]
    """The different ones of some hashes, int64[m] in the order of their first places, and where in these each stands, int64[n].

    What numpy and torch do by sorting, in a tenth of the time.
    """
    size = 2
    while size < 2 * len(items):
        size *= 2
    slots = np.full(size, -1, np.int32)
    found, places = np.empty(len(items), np.int64), np.empty(len(items), np.int64)
    n = 0
    for k in range(len(items)):
        slot = (items[k] ^ (items[k] >> 32)) & (size - 1)
        while slots[slot] >= 0 and found[slots[slot]] != items[k]:
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = n
            found[n] = items[k]
            n += 1
        places[k] = slots[slot]
    return found[:n], places


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
def centred_columns(fits):  # type: ignore[no-untyped-def]
    """The columns of some fits over one list, float32[n, 2]: what `FISM.columns_of` does for many."""
    n = len(fits)
    out = np.zeros((n, 2), np.float32)
    total = np.float32(0.0)
    for k in range(n):
        out[k, 0] = min(max(fits[k], np.float32(-_BOUND)), np.float32(_BOUND))
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
def list_columns(table, items, query):  # type: ignore[no-untyped-def]
    """`centred_columns` of how well a query fits the items of one list, float32[n, 2]."""
    rows, width = table.shape
    fits = np.zeros(len(items), np.float32)
    for k in range(len(items)):
        if items[k] == EMPTY:
            continue
        one = (items[k] & _HALF) % rows
        other = ((items[k] >> 32) & _HALF) % rows
        fit = table[one, width - 1] + table[other, width - 1]
        for c in range(width - 1):
            fit += (table[one, c] + table[other, c]) * query[c]
        fits[k] = fit
    return centred_columns(fits)


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


@njit(cache=True)
def _frozen(table, decay, features, items, history):  # type: ignore[no-untyped-def]
    """`FISM.freeze` for the one query of the plain encoder, in one call."""
    query = decayed_sum(embed(table, history), decay)
    return with_columns(features, list_columns(table, items, query))


class FISM(MLP):
    """An MLP over the features and over how well a candidate fits the user's latest items.

    Parameters
    ----------
    config : section ``scorer``; `history`, `embedding_rows`, `embedding_dim` and `dropout` (of the query) are the encoder's
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

    def embeddings(self) -> list[nn.Parameter]:
        """The table."""
        return [self.table]

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        """Embeddings with biases, float32[..., embedding_dim + 1]; zeros for EMPTY."""
        rows = len(self.table)
        one, other = (items & _HALF) % rows, ((items >> 32) & _HALF) % rows
        both = functional.embedding(torch.stack((one, other)), self.table).sum(0)
        return both * (items != EMPTY).unsqueeze(-1)

    def decayed(self, embedded: torch.Tensor, before: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """What histories sum to, float32[lists, embedding_dim]; see `fits_of`, `known` says which of their items there are."""
        steps = torch.arange(known.shape[1], device=known.device)
        weights = self.decay.clamp(0.0, 1.0) ** steps * known
        of_items = weights.new_zeros(len(known), len(embedded)).scatter_add(1, before, weights)
        return of_items @ embedded[:, :-1] / weights.sum(1, keepdim=True).clamp_min(1e-6).sqrt()

    def fit(self, embedded: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """How well items fit queries, float32[lists, items], without their biases; query : float32[lists, embedding_dim]."""
        return self.dropout(query) @ embedded[:, :-1].t()

    def fits(self, lists: Lists) -> list[torch.Tensor]:
        """What each part of the encoder says of many lists, float32[lists, candidates]; each is trained on its own."""
        both = torch.cat((lists.history, lists.items), 1)
        items, places = (torch.from_numpy(array).to(both.device) for array in distinct(both.cpu().numpy().reshape(-1)))
        before, now = places.reshape(both.shape).tensor_split((lists.history.shape[1],), 1)
        return [fit.gather(1, now) for fit in self.fits_of(self.embed(items), before, lists.history != EMPTY)]

    def fits_of(self, embedded: torch.Tensor, before: torch.Tensor, known: torch.Tensor) -> list[torch.Tensor]:
        """`fits` of all the items of a batch with all its lists: a product of two matrices, whose gradient is one too.

        Parameters
        ----------
        embedded : float32[items, embedding_dim + 1], each item of the batch once
        before : int64[lists, history], where in `embedded` the items of the histories stand
        known : bool[lists, history], false where a history has no item

        Returns
        -------
        list of float32[lists, items]
        """
        return [self.fit(embedded, self.decayed(embedded, before, known)) + embedded[:, -1]]

    def encoder_loss(self, lists: Lists, labels: torch.Tensor, rank: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of what comes next, the ranker's opinion given."""
        return torch.stack([lists.cross_entropy(rank + fit, labels) for fit in self.fits(lists)]).sum()

    def columns_of(self, lists: Lists) -> torch.Tensor:
        """The columns of many lists, float32[lists, candidates, columns], made by the encoder as it is now."""
        scaled = []
        n = lists.mask.sum(1, keepdim=True)
        for fit in self.fits(lists):
            bounded = fit.clamp(-_BOUND, _BOUND)
            centred = (bounded - (bounded * lists.mask).sum(1, keepdim=True) / n) * lists.mask
            deviation = (centred.square().sum(1, keepdim=True) / n).sqrt() + _DEVIATION_FLOOR
            scaled += [centred, centred / deviation]
        return torch.stack(scaled, -1)

    def refrozen(self, lists: Lists) -> Lists:
        """See `Scorer.refrozen`."""
        own = lists.features.shape[-1] - self.columns
        return replace(lists, features=torch.cat((lists.features[..., :own], self.columns_of(lists)), -1))

    def prepare(self) -> None:
        """See `Scorer.prepare`."""
        super().prepare()
        self._table = self.table.detach().numpy().copy()
        self._decay = np.float32(min(max(self.decay.item(), 0.0), 1.0))

    def freeze(self, features: np.ndarray, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The features and the encoder's columns, see `Scorer.freeze`."""
        history = history[: self.history]
        return _frozen(self._table, self._decay, features.view(np.uint16), items, history).view(np.float16)
