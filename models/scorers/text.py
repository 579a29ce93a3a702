"""FISM with items that are placed by their vectors: an item nobody knows has an embedding, learned from what others like it were to users.

    e(x)    = hashed(x) + P v(x)
    fit(x)  = b(x) + p . v(x) + e(x) . q,    q = sum_d decay^d e(history_d) / sqrt(sum_d decay^d)
    told(x) = p . v(x) + P v(x) . r,         r = sum_d decay^d P v(history_d) / sqrt(sum_d decay^d)

`v` is the item's vector (`models.text.vectors`), of its text or of whatever came with it; `P` and `p` are tuned by what users did next.
The second fit reads of all items only what is told of them, as if all were new (Volkovs, Yu and Poutanen, "DropoutNet: addressing cold
start in recommender systems", 2017, drop the rest at random instead): a similarity of vectors that is learned. Each is trained by the
same loss on its own; `told` trains `P` and `p` alone.

Columns: the cosine of the candidate's vector and the latest item's, the same with the decayed sum of the history's vectors, and of
both fits the two columns of `models.scorers.fism`. `options: {tuned: false}` leaves the projection out: the vectors as they came,
which is what tuning is compared with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models.config import Scorer as ScorerConfig
from models.scorers.base import Lists
from models.scorers.fism import FISM, centred_columns, decayed_sum, embed
from models.text.vectors import ItemVectors

# Small beside the hashed embeddings: what nobody has learned yet is not to be heard.
_DEVIATION = 0.01
_VECTOR_DECAY = 0.9
# Beyond so many items back nothing counts in the cosine.
_VECTOR_HISTORY = 64
_COSINES = 2


class TextFISM(FISM):
    """An MLP over the features, over how well a candidate fits the user's items, and over what its vector says of that.

    Parameters
    ----------
    config : section ``scorer``; `vector_dimension` are the numbers of an item's vector

    Attributes
    ----------
    vectors : of the items; whoever learns or serves puts theirs here
    """

    columns = _COSINES + 4

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        self.vectors = ItemVectors()
        self._tuned = bool(config.options.get("tuned", True))
        start = torch.randn(config.vector_dimension, config.embedding_dim + 1) * _DEVIATION
        self.projection = nn.Parameter(start, requires_grad=self._tuned)
        with torch.no_grad():
            self.projection[:, -1] = 0.0
            if not self._tuned:
                self.projection.zero_()

    def projections(self) -> list[nn.Parameter]:
        """The projection, where it is tuned."""
        return [self.projection] if self._tuned else []

    def embed(self, items: torch.Tensor) -> torch.Tensor:
        """Embeddings with biases and, behind them, the part that is told, float32[items, 2 * (embedding_dim + 1)]."""
        own = super().embed(items)
        if not self._tuned:
            return torch.cat((own, torch.zeros_like(own)), -1)
        told = self._vectors_of(items) @ self.projection
        return torch.cat((own + told, told), -1)

    def _vectors_of(self, items: torch.Tensor) -> torch.Tensor:
        """Vectors, float32[..., vector_dimension], of hashes."""
        flat = self.vectors.of(items.reshape(-1).cpu().numpy())
        width = self.config.vector_dimension
        if flat.shape[1] != width:  # none has come yet, or those of an earlier configuration
            flat = np.zeros((len(flat), width), np.float32)
        return torch.from_numpy(flat).to(items.device).reshape(*items.shape, width)

    def fits_of(self, embedded: torch.Tensor, before: torch.Tensor, known: torch.Tensor) -> list[torch.Tensor]:
        """The fit of the whole embedding, and of what is told."""
        whole, told = embedded.tensor_split(2, 1)
        query, like = self.decayed(whole, before, known), self.decayed(told, before, known)
        return [self.fit(whole, query) + whole[:, -1], self.fit(told, like) + told[:, -1]]

    def refrozen(self, lists: Lists) -> Lists:
        """See `Scorer.refrozen`: the cosines do not learn."""
        given = lists.features.shape[-1] - self.columns + _COSINES
        return replace(lists, features=torch.cat((lists.features[..., :given], self.columns_of(lists)), -1))

    def prepare(self) -> None:
        """See `Scorer.prepare`."""
        super().prepare()
        self._projection = self.projection.detach().numpy().copy()
        self._projected = np.zeros((0, self._projection.shape[1]), np.float32)
        self._projected_of = np.zeros(0, np.int64)

    def freeze(self, features: np.ndarray, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The features, the cosines and the encoder's columns, see `Scorer.freeze`."""
        width = features.shape[1]
        history = history[: self.history]
        rows, before = self.vectors.rows_of(items), self.vectors.rows_of(history)
        matrix = np.empty((len(items), width + self.columns), np.float16)
        matrix[:, :width] = features
        matrix[:, width : width + _COSINES] = self._cosines(rows, before)
        told = self._told(rows)
        whole = embed(self._table, items) + told
        had = self._told(before)
        query = decayed_sum(embed(self._table, history) + had, self._decay)
        like = decayed_sum(had, self._decay)
        for part, (embedded, asked) in enumerate(((whole, query), (told, like))):
            first = width + _COSINES + 2 * part
            matrix[:, first : first + 2] = centred_columns(embedded[:, :-1] @ asked + embedded[:, -1])
        return matrix

    def told(self, rows: np.ndarray, history: np.ndarray) -> np.ndarray:
        """How well items fit a user by what is told of them, float32[n].

        Parameters
        ----------
        rows : int64[n], where their vectors stand
        history : int64[m], hashes of the user's latest items, the latest first
        """
        had = self._told(self.vectors.rows_of(history))
        told = self._told(rows)
        return told[:, :-1] @ decayed_sum(had, self._decay) + told[:, -1]

    @property
    def is_tuned(self) -> bool:
        """Whether the projection learns."""
        return self._tuned

    def _cosines(self, rows: np.ndarray, before: np.ndarray) -> np.ndarray:
        """With the latest item and with the decayed sum of the history, float32[n, 2]."""
        of_history, of_items = self.vectors.take(before[:_VECTOR_HISTORY]), self.vectors.take(rows)
        if len(of_history) == 0 or self.vectors.dimension == 0:
            return np.zeros((len(rows), _COSINES), np.float32)
        weights = np.float32(_VECTOR_DECAY) ** np.arange(len(of_history), dtype=np.float32)
        total = weights @ of_history
        length = float(np.linalg.norm(total))
        return of_items @ np.stack((of_history[0], total / length if length > 0 else total), 1)

    def _told(self, rows: np.ndarray) -> np.ndarray:
        """Projections by row, float32[n, embedding_dim + 1]; each is made once for a version of the weights and of its vector."""
        told = np.zeros((len(rows), self._projection.shape[1]), np.float32)
        # of other numbers: what an earlier configuration left in the topic, until the new ones come
        if not self._tuned or self.vectors.dimension != len(self._projection):
            return told
        if len(self._projected_of) != len(self.vectors.written):
            self._projected = np.zeros((len(self.vectors.written), self._projection.shape[1]), np.float32)
            self._projected_of = np.zeros(len(self.vectors.written), np.int64)
        known = rows >= 0
        wanted = rows[known]
        missing = wanted[self._projected_of[wanted] < self.vectors.written[wanted]]
        if len(missing):
            self._projected[missing] = self.vectors.take(missing) @ self._projection
            self._projected_of[missing] = self.vectors.written[missing]
        told[known] = self._projected[wanted]
        return told


