"""AdamW: bit for bit that of PyTorch, with what it saves, and without its compiler."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from models.adamw import AdamW, Group

LEARNS = """
import sys
import numpy as np
from models.config import Learner as LearnerConfig, Scorer
from models.examples import encode_pending, label_pending
from models.feature_table import WIDTH
from models.learner import Learner

learner = Learner(LearnerConfig(batch_examples=1, replay_batches=1), Scorer(name="mlp", hidden=[8]))
items = np.arange(1, 5)
for _ in range(2):
    learner.learn_one(label_pending(encode_pending(np.eye(4, WIDTH, dtype=np.float16), items), 2))
print(learner.steps, "torch._dynamo" in sys.modules)
"""


def layers() -> list[nn.Parameter]:
    torch.manual_seed(1)
    return [nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(7))]


def pull(parameters: list[nn.Parameter], step: int) -> None:
    """Gradients of one step; every third leaves the last parameter alone."""
    loss = sum((parameter * (place + step)).sin().sum() for place, parameter in enumerate(parameters[: 2 if step % 3 == 0 else 3]))
    loss.backward()


def test_it_moves_weights_as_that_of_pytorch_does_also_from_what_was_saved():
    ours, theirs = layers(), layers()
    groups = [Group(ours[:1], 0.01, 0.1), Group(ours[1:], 0.003, 0.0)]
    optimiser = AdamW(groups)
    reference = torch.optim.AdamW(
        [{"params": theirs[:1], "lr": 0.01, "weight_decay": 0.1}, {"params": theirs[1:], "lr": 0.003, "weight_decay": 0.0}], fused=True
    )
    for step in range(20):
        if step == 10:
            saved = {index: {name: tensor.clone() for name, tensor in of.items()} for index, of in optimiser.moments.items()}
            optimiser = AdamW(groups)
            optimiser.moments = saved
        for parameters in (ours, theirs):
            for parameter in parameters:
                parameter.grad = None
            pull(parameters, step)
        optimiser.step()
        reference.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    kept = reference.state_dict()["state"]
    assert kept.keys() == optimiser.moments.keys()
    assert all(torch.equal(kept[index][name], tensor) for index, of in optimiser.moments.items() for name, tensor in of.items())


def test_without_gradients_a_step_leaves_all_alone():
    parameters = layers()
    pull(parameters, 1)
    optimiser = AdamW([Group(parameters, 0.1, 0.0)])
    nn.ParameterList(parameters).zero_grad()
    assert all(parameter.grad is None for parameter in parameters)
    before = [parameter.clone() for parameter in parameters]
    optimiser.step()
    assert all(torch.equal(one, other) for one, other in zip(before, parameters, strict=True))
    assert optimiser.moments == {}


def test_who_learns_does_not_load_the_compiler_of_pytorch():
    said = subprocess.run([sys.executable, "-c", LEARNS], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["3", "False"]
