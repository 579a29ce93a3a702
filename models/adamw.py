"""AdamW by the kernel that `torch.optim.AdamW` runs when it is fused, and bit for bit the same.

`torch.optim` loads PyTorch's compiler with its first optimiser: five seconds and 100 MB of every process that learns, and nothing of it is
used here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8

Moments = dict[str, torch.Tensor]
"""Of one parameter: its first and second moment, ``exp_avg`` and ``exp_avg_sq``, and the number of its steps, ``step``, float32."""


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that learn alike.

    Attributes
    ----------
    parameters : on one device
    learning_rate : of a step
    decay : of the weights, a part of the learning rate
    """

    parameters: Sequence[nn.Parameter]
    learning_rate: float
    decay: float


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019).

    Parameters
    ----------
    groups : of parameters; one without a gradient is left alone by a step, and by its count of steps
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = list(groups)
        self._moments: dict[int, Moments] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters that have a gradient."""
        first = 0
        for group in self._groups:
            numbered = enumerate(group.parameters, first)
            first += len(group.parameters)
            moved = [(parameter, parameter.grad, self._of(index, parameter)) for index, parameter in numbered if parameter.grad is not None]
            if not moved:
                continue
            parameters, gradients, moments = zip(*moved, strict=True)
            steps = [one["step"] for one in moments]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                parameters,
                gradients,
                [one["exp_avg"] for one in moments],
                [one["exp_avg_sq"] for one in moments],
                [],
                steps,
                lr=group.learning_rate,
                beta1=_BETA1,
                beta2=_BETA2,
                weight_decay=group.decay,
                eps=_EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _of(self, index: int, parameter: nn.Parameter) -> Moments:
        if index not in self._moments:
            self._moments[index] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self._moments[index]

    @property
    def moments(self) -> dict[int, Moments]:
        """By the place of the parameter among those of all groups; none before its first step."""
        return self._moments

    @moments.setter
    def moments(self, moments: dict[int, Moments]) -> None:
        on = [parameter.device for group in self._groups for parameter in group.parameters]
        self._moments = {index: {name: tensor.to(on[index]) for name, tensor in of.items()} for index, of in moments.items()}
