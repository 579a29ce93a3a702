"""What a scorer is: a network that ranks the candidates of one slate, trained on many frozen slates at once.

A scorer may read more than the features: the hashes of the candidates and of the user's latest items (`Scorer.history` of
them). What it makes of them may enter the frozen matrix as `Scorer.columns` more columns (`Scorer.freeze`), made before
anybody knew what came next. Training then meets the numbers that serving made, never the ones that an encoder would
give after it has learned the answer: a ranker that is trained on those trusts its encoder far too much
(docs/experiments.md has the figures).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.config import Scorer as ScorerConfig
from models.examples import NO_ITEMS
from models.identity import EMPTY

# Beyond this probability what is not wanted is no worse: its loss stays finite.
_SUREST = 0.999
# Where all lists together are worth less, they are worth nothing.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Lists:
    """Lists of candidates, padded to one length.

    Attributes
    ----------
    features : float32[lists, candidates, WIDTH + columns], the frozen matrices
    mask : float32[lists, candidates], 1 for a candidate, 0 for padding
    items : int64[lists, candidates], hashes of the candidates, EMPTY for padding
    history : int64[lists, history], hashes of the user's latest items, the latest first, EMPTY for padding
    weights : float32[lists], of each in the loss of the order; None where all count alike. Below 0: the item of the label was not wanted
    shown : float32[lists, candidates], 1 for what was shown, where the probability is that of what is shown; None otherwise
    """

    features: torch.Tensor
    mask: torch.Tensor
    items: torch.Tensor
    history: torch.Tensor
    weights: torch.Tensor | None = None
    shown: torch.Tensor | None = None

    @classmethod
    def of(
        cls,
        matrices: list[np.ndarray],
        items: list[np.ndarray] | None = None,
        histories: list[np.ndarray] | None = None,
        *,
        history: int = 0,
    ) -> Lists:
        """Put lists of different lengths together.

        Parameters
        ----------
        matrices : float16[candidates, width] each
        items : int64[candidates] each; None, or an empty one, where nothing is known of them
        histories : int64[m] each, the latest first; what is beyond `history` is left out
        """
        longest = max(len(matrix) for matrix in matrices)
        features = np.zeros((len(matrices), longest, matrices[0].shape[1]), np.float16)
        mask = np.zeros((len(matrices), longest), np.float32)
        names = np.full((len(matrices), longest), EMPTY, np.int64)
        before = np.full((len(matrices), history), EMPTY, np.int64)
        for row, matrix in enumerate(matrices):
            features[row, : len(matrix)] = matrix
            mask[row, : len(matrix)] = 1.0
            if items is not None:
                names[row, : len(items[row])] = items[row]
            if histories is not None:
                latest = histories[row][:history]
                before[row, : len(latest)] = latest
        # made single by torch, which takes a fifth of numpy's time for it
        return cls(torch.from_numpy(features).float(), *(torch.from_numpy(array) for array in (mask, names, before)))

    def where(self, chosen: torch.Tensor | slice) -> Lists:
        """Some of the lists, bool[lists] or a slice of them."""
        weights = None if self.weights is None else self.weights[chosen]
        shown = None if self.shown is None else self.shown[chosen]
        return Lists(self.features[chosen], self.mask[chosen], self.items[chosen], self.history[chosen], weights, shown)

    def to(self, device: str) -> Lists:
        """The same lists on a device."""
        weights = None if self.weights is None else self.weights.to(device)
        before = self.history.to(device)
        shown = None if self.shown is None else self.shown.to(device)
        return Lists(self.features.to(device), self.mask.to(device), self.items.to(device), before, weights, shown)

    @property
    def predicted(self) -> torch.Tensor:
        """float32[lists, candidates], 1 for those whose probability is learned."""
        return self.mask if self.shown is None else self.shown

    def cross_entropy(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of the softmax over each list, the mean over the lists by their weights.

        A list of a negative weight is one whose labelled item was not wanted: its loss is ``-log(1 - p)`` (Welleck et al., "Neural text
        generation with unlikelihood training", ICLR 2020).

        Parameters
        ----------
        scores : float32[lists, candidates]
        labels : int64[lists], position of the item that came next
        """
        masked = scores.masked_fill(self.mask == 0, -1e9)
        if self.weights is None:
            return functional.cross_entropy(masked, labels)
        losses = functional.cross_entropy(masked, labels, reduction="none")
        if (self.weights < 0).any():
            losses = torch.where(self.weights < 0, -torch.log(1 - torch.exp(-losses).clamp_max(_SUREST)), losses)
        shares = self.weights.abs()
        return (losses * shares).sum() / shares.sum().clamp_min(_NOTHING)


class Scorer(nn.Module, ABC):
    """Base of every scorer. A subclass needs `forward` alone; the rest makes it faster or gives it an encoder.

    Parameters
    ----------
    config : section ``scorer`` of the configuration

    Attributes
    ----------
    history : how many of the user's latest items it reads; 0: neither these nor the candidates' hashes reach it in training
    columns : how many columns `freeze` adds to the matrix
    mean, inverse_deviation : float32[width], of the frozen matrix so far; the learner keeps them current
    """

    history: int = 0
    columns: int = 0
    mean: torch.Tensor
    inverse_deviation: torch.Tensor

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, lists: Lists) -> tuple[torch.Tensor, torch.Tensor]:
        """Score lists of candidates.

        Returns
        -------
        rank : float32[lists, candidates]; its softmax over a list is the chance of each to be the next item
        logit : float32[lists, candidates]; its sigmoid is a calibrated probability
        """

    def encoder_loss(self, lists: Lists, labels: torch.Tensor, rank: torch.Tensor) -> torch.Tensor | None:
        """What trains the encoder whose columns the ranker takes as given; None where there is none.

        Parameters
        ----------
        labels : int64[lists], position of the item that came next
        rank : float32[lists, candidates], detached, of the same lists by the ranker as it is now
        """
        return None

    def refrozen(self, lists: Lists) -> Lists:
        """The same lists with the columns that `freeze` would add now; a scorer that adds columns says how."""
        return lists

    def embeddings(self) -> list[nn.Parameter]:
        """The parameters that learn at learner.embedding_learning_rate, with learner.embedding_decay."""
        return []

    def projections(self) -> list[nn.Parameter]:
        """The parameters that learn at learner.projection_learning_rate, with learner.embedding_decay."""
        return []

    def freeze(self, features: np.ndarray, items: np.ndarray, history: np.ndarray) -> np.ndarray:
        """The matrix that is scored now and learned from later.

        Parameters
        ----------
        features : float16[candidates, WIDTH]
        items : int64[candidates], hashes
        history : int64[m], hashes of the user's latest items, the latest first, m <= self.history

        Returns
        -------
        float16[candidates, WIDTH + columns]
        """
        return features

    @torch.inference_mode()
    def score(
        self, matrix: np.ndarray, items: np.ndarray = NO_ITEMS, history: np.ndarray = NO_ITEMS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one list, with the weights of the last `load`.

        Parameters
        ----------
        matrix : float16[candidates, WIDTH + columns], of `freeze`
        items, history : as in `freeze`

        Returns
        -------
        rank : float32[candidates]
        probability : float32[candidates], 0 to 1
        """
        rank, logit = self(Lists.of([matrix], [items], [history], history=self.history))
        return rank[0].numpy(), logit[0].sigmoid().numpy()

    def published(self) -> dict[str, torch.Tensor]:
        """The tensors that `load` takes, on the CPU; those of an encoder as float16, so that a record stays small."""
        halves = {id(parameter) for parameter in self.embeddings()}
        names = {name for name, parameter in self.named_parameters() if id(parameter) in halves}
        return {
            name: (tensor.half() if name in names else tensor).cpu() for name, tensor in self.state_dict().items()
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over published weights, for `score` and `freeze`.

        Raises
        ------
        RuntimeError
            When they are of a network of another shape.
        """
        self.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        self.prepare()

    def prepare(self) -> None:
        """Lay the weights out as `score` and `freeze` want them; called by `make_scorer`, and by `load`."""
