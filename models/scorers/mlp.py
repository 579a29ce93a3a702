"""A small multi-layer perceptron that re-ranks the candidates of one slate.

Each candidate enters as the normalised columns of its frozen matrix and the same less their mean over the list (what
matters is how a candidate differs from the others), twice as many inputs as columns. Two heads share the body:

The first layer is linear, so what its half for the differences makes of ``x - mean`` is what it makes of x, less a vector that all
candidates of the list share: the two halves are added up, and half of the largest product is saved.

- ``rank``: a score whose softmax over the list is the probability of being the next item. It starts as the item-CF score
  itself (a linear path from the centred ``cf`` feature, the network's own last layer at zero), so that an untrained
  network ranks as well as the collaborative filter.
- ``probability``: the logit of a calibrated probability that this candidate is the next item, trained by binary cross-entropy on the
  detached body and, times a slope, the detached rank: that loss ranks worse and must not disturb the other.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numba import njit
from torch import nn
from torch.nn import functional

from models.config import Scorer as ScorerConfig
from models.examples import NO_ITEMS
from models.feature_table import FEATURES, WIDTH
from models.scorers.base import Lists, Scorer

CLIP = 6.0
_CF_COLUMN = list(FEATURES).index("cf")
# The share of positives among scored candidates is about one in a hundred: where the calibrated head starts.
_PRIOR_LOGIT = -4.6


@njit(cache=True)
def network_input(features, mean, inverse_deviation, shared):  # type: ignore[no-untyped-def]
    """The first half of `MLP.forward` for one list; in PyTorch its small operations cost more than the network.

    Parameters
    ----------
    features : float32[n, width]
    mean, inverse_deviation : float32[width]
    shared : float32[width, m], what becomes of the mean over the list

    Returns
    -------
    normal : float32[n, width], the normalised features
    of_mean : float32[m], their mean over the list times `shared`
    """
    n, width = features.shape
    normal = np.empty((n, width), np.float32)
    totals = np.zeros(width, np.float32)
    for k in range(n):
        for f in range(width):
            value = (features[k, f] - mean[f]) * inverse_deviation[f]
            normal[k, f] = min(max(value, np.float32(-CLIP)), np.float32(CLIP))
            totals[f] += normal[k, f]
    of_mean = np.zeros(shared.shape[1], np.float32)
    for f in range(width):
        for m in range(len(of_mean)):
            of_mean[m] += totals[f] / np.float32(n) * shared[f, m]
    return normal, of_mean


@njit(cache=True)
def network_output(body, normal, skip_of_mean, heads, biases, skip, slope):  # type: ignore[no-untyped-def]
    """What the heads make of the last hidden layer of one list, the end of `MLP.forward`.

    Parameters
    ----------
    body : float32[n, hidden]
    normal : float32[n, width], of `network_input`
    skip_of_mean : float32, what `skip` makes of their mean
    heads : float32[2, hidden], weights of the rank and of the logit; `biases` likewise, float32[2]
    skip : float32[width]
    slope : float32

    Returns
    -------
    rank, probability : float32[n]
    """
    n, hidden = body.shape
    rank, probability = np.empty(n, np.float32), np.empty(n, np.float32)
    for k in range(n):
        r, p = biases[0] - skip_of_mean, biases[1]
        for f in range(len(skip)):
            r += normal[k, f] * skip[f]
        for h in range(hidden):
            r += body[k, h] * heads[0, h]
            p += body[k, h] * heads[1, h]
        rank[k] = r
        probability[k] = np.float32(1.0) / (np.float32(1.0) + np.exp(-(p + slope * r)))
    return rank, probability


class MLP(Scorer):
    """Scores a list of candidates by the columns of their frozen matrix.

    Parameters
    ----------
    config : section ``scorer``; `hidden` are the sizes of the hidden layers

    Examples
    --------
    >>> scorer = MLP(ScorerConfig(hidden=(8,)))
    >>> lists = Lists.of([np.zeros((5, WIDTH), np.float16), np.zeros((3, WIDTH), np.float16)])
    >>> rank, logit = scorer(lists)
    >>> rank.shape, logit.shape
    (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        width = WIDTH + self.columns
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("inverse_deviation", torch.ones(width))
        sizes = (2 * width, *config.hidden)
        self.body = nn.Sequential(
            *(
                layer
                for inputs, outputs in pairwise(sizes)
                for layer in (nn.Linear(inputs, outputs), nn.ReLU())
            )
        )
        self.skip = nn.Parameter(torch.zeros(width))
        self.rank = nn.Linear(sizes[-1], 1)
        self.probability = nn.Linear(sizes[-1], 1)
        self.slope = nn.Parameter(torch.zeros(1))
        with torch.no_grad():
            self.skip[_CF_COLUMN] = 1.0
            self.rank.weight.zero_()
            self.rank.bias.zero_()
            self.probability.weight.zero_()
            self.probability.bias.fill_(_PRIOR_LOGIT)

    def _linear(self) -> list[nn.Linear]:
        return [layer for layer in self.body if isinstance(layer, nn.Linear)]

    def forward(self, lists: Lists) -> tuple[torch.Tensor, torch.Tensor]:
        """Score lists of candidates, see `Scorer.forward`."""
        normal = (lists.features - self.mean).mul_(self.inverse_deviation).clamp_(-CLIP, CLIP)
        mean = torch.bmm(lists.mask.unsqueeze(1), normal) / lists.mask.sum(1)[:, None, None]
        first, *later = self._linear()
        by_itself, by_difference = first.weight.tensor_split(2, 1)
        # what a list shares, bias and all, is added in place: a pass over what every candidate has costs as much as a product
        shared = functional.linear(mean, -by_difference, first.bias)
        body = functional.linear(normal, by_itself + by_difference).add_(shared).relu_()
        for layer in later:
            body = layer(body).relu_()
        rank = self.rank(body).squeeze(-1) + normal @ self.skip - mean @ self.skip
        return rank, self.probability(body.detach()).squeeze(-1) + self.slope * rank.detach()

    def prepare(self) -> None:
        """See `Scorer.prepare`: on lists this short the calls of modules cost more than the arithmetic."""
        first, *later = self._linear()
        by_itself, by_difference = first.weight.detach().tensor_split(2, 1)
        self._first = ((by_itself + by_difference).t(), first.bias.detach().numpy().copy())
        self._layers = [(layer.weight.detach().t(), layer.bias.detach()) for layer in later]
        skip = self.skip.detach().numpy().copy()
        self._shared = np.concatenate((by_difference.t().numpy(), skip[:, None]), 1)
        heads = torch.cat((self.rank.weight, self.probability.weight)).detach().numpy()
        biases = torch.cat((self.rank.bias, self.probability.bias)).detach().numpy()
        self._output = (heads, biases, skip, np.float32(self.slope.item()))
        self._mean = self.mean.numpy().copy()
        self._inverse_deviation = self.inverse_deviation.numpy().copy()

    def score(
        self, matrix: np.ndarray, items: np.ndarray = NO_ITEMS, history: np.ndarray = NO_ITEMS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one list, see `Scorer.score`; only the matrix is looked at. What `prepare` has detached needs no mode of inference."""
        features = torch.from_numpy(matrix).float().numpy()
        normal, of_mean = network_input(features, self._mean, self._inverse_deviation, self._shared)
        first, first_bias = self._first
        body = torch.addmm(torch.from_numpy(first_bias - of_mean[:-1]), torch.from_numpy(normal), first).relu_()
        for weight, bias in self._layers:
            body = torch.addmm(bias, body, weight).relu_()
        return network_output(body.numpy(), normal, of_mean[-1], *self._output)
