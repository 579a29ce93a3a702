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
from models.halves import singles
from models.scorers.base import Lists, Scorer

CLIP = 6.0
_CF_COLUMN = list(FEATURES).index("cf")
# The share of positives among scored candidates is about one in a hundred: where the calibrated head starts.
_PRIOR_LOGIT = -4.6


# Sums in whatever order vector registers take them: the same on one machine each time.
_FAST = {"contract", "reassoc"}
_ROWS = 4


@njit(cache=True, fastmath=_FAST)
def _normalised(features, mean, inverse_deviation):  # type: ignore[no-untyped-def]
    """The normalised features, float32[n, width], and their mean over the list, float32[width]."""
    n, width = features.shape
    normal = np.empty((n, width), np.float32)
    middle = np.zeros(width, np.float32)
    for k in range(n):
        for f in range(width):
            value = (features[k, f] - mean[f]) * inverse_deviation[f]
            normal[k, f] = min(max(value, np.float32(-CLIP)), np.float32(CLIP))
            middle[f] += normal[k, f]
    for f in range(width):
        middle[f] /= np.float32(n)
    return normal, middle


@njit(cache=True, fastmath=_FAST)
def _hidden(inputs, weights, bias):  # type: ignore[no-untyped-def]
    """One layer and its rectifier, float32[n, outputs], by weights float32[inputs, outputs]; a few rows share a look at these."""
    n, width = inputs.shape
    outputs = np.empty((n, len(bias)), np.float32)
    sums = np.empty((_ROWS, len(bias)), np.float32)
    for first in range(0, n, _ROWS):
        # of the last rows again where no more are left; their sums are not looked at
        a, b, c, d = first, min(first + 1, n - 1), min(first + 2, n - 1), min(first + 3, n - 1)
        for h in range(len(bias)):
            sums[0, h] = sums[1, h] = sums[2, h] = sums[3, h] = bias[h]
        for f in range(width):
            of_a, of_b, of_c, of_d = inputs[a, f], inputs[b, f], inputs[c, f], inputs[d, f]
            for h in range(len(bias)):
                sums[0, h] += of_a * weights[f, h]
                sums[1, h] += of_b * weights[f, h]
                sums[2, h] += of_c * weights[f, h]
                sums[3, h] += of_d * weights[f, h]
        for row in range(min(_ROWS, n - first)):
            for h in range(len(bias)):
                outputs[first + row, h] = max(sums[row, h], np.float32(0.0))
    return outputs


@njit(cache=True, fastmath=_FAST)
def _score(  # type: ignore[no-untyped-def]
    matrix, mean, inverse_deviation, first, of_mean, first_bias, sizes, later, heads, biases, skip, slope
):
    """`MLP.forward` and the sigmoid for one list: between other work PyTorch takes twice as long, most of it for its calls.

    Parameters
    ----------
    matrix : uint16[n, width], bits of float16
    mean, inverse_deviation, skip : float32[width]
    first, of_mean : float32[width, sizes[0]], the first layer's weights of the features, and of their mean over the list
    first_bias : float32[sizes[0]]
    sizes : int64[layers], outputs of each
    later : float32[...], weights, float32[inputs, outputs], and biases of the layers behind the first, one behind the other
    heads : float32[2, sizes[-1]], weights of the rank and of the logit; `biases` likewise, float32[2]
    slope : float32

    Returns
    -------
    rank, probability : float32[n]
    """
    normal, middle = _normalised(singles(matrix), mean, inverse_deviation)
    shared, skipped = first_bias.copy(), np.float32(0.0)
    for f in range(len(middle)):
        skipped += middle[f] * skip[f]
        for h in range(len(shared)):
            shared[h] += middle[f] * of_mean[f, h]
    body = _hidden(normal, first, shared)
    at = 0
    for layer in range(1, len(sizes)):
        inputs, outputs = sizes[layer - 1], sizes[layer]
        bias_at = at + inputs * outputs
        body = _hidden(body, later[at:bias_at].reshape(inputs, outputs), later[bias_at : bias_at + outputs])
        at = bias_at + outputs
    n, hidden = body.shape
    rank, probability = np.empty(n, np.float32), np.empty(n, np.float32)
    for k in range(n):
        r, p = biases[0] - skipped, biases[1]
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
        """See `Scorer.prepare`: laid out for `_score`."""
        first, *later = self._linear()
        by_itself, by_difference = first.weight.detach().t().tensor_split(2, 0)
        behind = [part.detach().reshape(-1) for layer in later for part in (layer.weight.t(), layer.bias)]
        self._laid_out = (
            _copied(self.mean),
            _copied(self.inverse_deviation),
            _copied(by_itself + by_difference),
            _copied(-by_difference),
            _copied(first.bias),
            np.array([layer.out_features for layer in (first, *later)]),
            _copied(torch.cat(behind) if behind else torch.zeros(0)),
            _copied(torch.cat((self.rank.weight, self.probability.weight))),
            _copied(torch.cat((self.rank.bias, self.probability.bias))),
            _copied(self.skip),
            np.float32(self.slope.item()),
        )

    def score(
        self, matrix: np.ndarray, items: np.ndarray = NO_ITEMS, history: np.ndarray = NO_ITEMS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score one list, see `Scorer.score`; only the matrix is looked at."""
        return _score(matrix.view(np.uint16), *self._laid_out)


def _copied(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().numpy(), order="C")
