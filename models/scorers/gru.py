"""A gated recurrent unit over the user's latest items, beside the MLP over the features.

Hidasi et al., "Session-based recommendations with recurrent neural networks", 2016; here its last state corrects the
decayed sum of the item embeddings, and is trained apart from them and from the ranker (`models.scorers.refined`).
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import nn

from models.config import Scorer as ScorerConfig
from models.scorers.refined import RefinedScorer


@njit(cache=True)
def last_state(inputs, recurrent, bias):  # type: ignore[no-untyped-def]
    """The state behind the last step of one history.

    Parameters
    ----------
    inputs : float32[steps, 3 * dim], of the reset, update and new gates, with their biases
    recurrent : float32[dim, 3 * dim], transposed: a row is what one number of the state adds
    bias : float32[3 * dim], of the recurrent part

    Returns
    -------
    float32[dim]
    """
    steps, width = inputs.shape
    dim = width // 3
    state = np.zeros(dim, np.float32)
    gates = np.empty(width, np.float32)
    one = np.float32(1.0)
    for step in range(steps):
        gates[:] = bias
        for j in range(dim):
            for c in range(width):
                gates[c] += state[j] * recurrent[j, c]
        for c in range(dim):
            reset = one / (one + np.exp(-(inputs[step, c] + gates[c])))
            update = one / (one + np.exp(-(inputs[step, dim + c] + gates[dim + c])))
            new = np.tanh(inputs[step, 2 * dim + c] + reset * gates[2 * dim + c])
            state[c] = (one - update) * new + update * state[c]
    return state


class GRU(RefinedScorer):
    """Scores by the features and by a GRU's reading of the history.

    Parameters
    ----------
    config : section ``scorer``

    A history shorter than scorer.history begins with empty steps. Weights beside the MLP's and the table's: 7 * dim^2 + 7 * dim.
    """

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__(config)
        dim = config.embedding_dim
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def refine(self, embedded: torch.Tensor) -> torch.Tensor:
        """The last state, through a layer that starts at zero."""
        return self.out(self.gru(embedded.flip(1))[0][:, -1])

    def prepare(self) -> None:
        """See `Scorer.prepare`."""
        super().prepare()
        weights = {name: tensor.detach().numpy() for name, tensor in self.gru.named_parameters()}
        self._inputs, self._input_bias = weights["weight_ih_l0"].T.copy(), weights["bias_ih_l0"].copy()
        self._recurrent, self._bias = weights["weight_hh_l0"].T.copy(), weights["bias_hh_l0"].copy()
        self._out, self._out_bias = self.out.weight.detach().numpy().T.copy(), self.out.bias.detach().numpy().copy()

    def refine_one(self, embedded: np.ndarray) -> np.ndarray:
        """`refine` of one history, see `RefinedScorer.refine_one`."""
        steps = np.zeros((self.history, embedded.shape[1]), np.float32)
        steps[self.history - len(embedded) :] = embedded[::-1]
        state = last_state(steps @ self._inputs + self._input_bias, self._recurrent, self._bias)
        return state @ self._out + self._out_bias
