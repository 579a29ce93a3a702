"""Online training of the scorer: mini-batches in stream order, with replay.

Examples gather until a batch is full; then one AdamW step is taken on that batch and one on each of `replay_batches` batches
drawn from the ring of earlier ones. Everything is a function of the order of the examples: replaying the same examples
from the same snapshot gives the same weights bit for bit.

The loss (learner.loss) is the softmax over the list, binary cross-entropy, or the first for the ranking and the second for the
probability; the encoder of a scorer that has one adds its own (`models.scorers.base`).

The state (rows of a snapshot, all opaque bytes):

``meta``      JSON: epoch, number of versions, steps, batches, examples, the running normalisation's count
``network``   safetensors: weights, Adam's moments, running mean and variance
``waiting``   the examples of the batch that is not full yet, each behind its length (u32)
``batch:N``   one batch of the replay ring, N = slot; bounded by `replay_bytes` in all
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.config import Learner as LearnerConfig
from models.config import Scorer as ScorerConfig
from models.examples import Example, decode_example, example_bytes
from models.features import WIDTH
from models.identity import uniform
from models.model_file import ModelFile, encode_model
from models.scorers import make_scorer
from models.scorers.base import Lists, Scorer
from models.versions import decode_tensors, encode_tensors, encode_version

_LENGTH = struct.Struct("<I")
_VARIANCE_FLOOR = 1e-4
# Until this many rows the running statistics follow the plain mean, after that they forget slowly.
_NORMAL_MEMORY = 1_000_000.0


class _Meta(msgspec.Struct):
    epoch: int = 0
    number: int = 0
    steps: int = 0
    batches: int = 0
    examples: int = 0
    skipped_steps: int = 0
    normal_count: float = 0.0


def weights_key(name: str) -> str:
    """Key of a network's published weights in `model-updates`."""
    return f"weights:{name}"


class Learner:
    """Trains one network from examples and publishes its versions.

    Parameters
    ----------
    learner, scorer : sections of the configuration
    name : of the network, part of the published key
    epoch : of its versions, unless a snapshot asks for a later one. Versions of an earlier life are older only if it rises
        from life to life, also from one that left no snapshot: the time of the start in seconds does
    start : a network to begin with instead of an untrained one, unless there is a snapshot; it is published at once

    Raises
    ------
    ValueError
        When `start` does not fit the configuration.
    """

    def __init__(
        self,
        learner: LearnerConfig,
        scorer: ScorerConfig,
        *,
        name: str = "ranker",
        epoch: int = 0,
        start: ModelFile | None = None,
    ) -> None:
        self._config = learner
        self._scorer = scorer
        self._key = weights_key(name)
        self.network = make_scorer(scorer, seed=learner.seed).to(learner.device)
        self._optimiser = _optimiser(self.network, learner)
        self._width = WIDTH + self.network.columns
        self._mean = np.zeros(self._width)
        self._square = np.ones(self._width)
        self._epoch = epoch
        self._meta = _Meta(epoch=epoch)
        self._waiting: list[bytes] = []
        self._ring: dict[int, list[bytes]] = {}
        self._unsaved_slots: set[int] = set()
        size = example_bytes(width=self._width, candidates=scorer.candidates, history=self.network.history)
        self._ring_slots = max(1, learner.replay_bytes // (learner.batch_examples * (size + _LENGTH.size)))
        self._batches_published = 0
        if start is not None:
            self._begin_with(start)

    @property
    def examples(self) -> int:
        """Number of examples learned, over all lives of the learner."""
        return self._meta.examples

    @property
    def steps(self) -> int:
        """Number of optimiser steps taken."""
        return self._meta.steps

    def learn_one(self, message: bytes) -> None:
        """Take one example (`models.examples`); every full batch is a training step."""
        self._waiting.append(message)
        self._meta.examples += 1
        if len(self._waiting) == self._config.batch_examples:
            batch, self._waiting = self._waiting, []
            self._learn_batch(batch)

    def _learn_batch(self, batch: list[bytes]) -> None:
        examples = [self._decode(raw) for raw in batch]
        if not self._normalise(examples):
            self._meta.skipped_steps += 1
            return
        self._step(examples)
        slots = sorted(self._ring)
        for draw in range(self._config.replay_batches if slots else 0):
            slot = slots[int(uniform(self._meta.batches, self._config.seed, draw) * len(slots))]
            self._step([self._decode(raw) for raw in self._ring[slot]])
        slot = self._meta.batches % self._ring_slots
        self._ring[slot] = batch
        self._unsaved_slots.add(slot)
        self._meta.batches += 1

    def _decode(self, raw: bytes) -> Example:
        example = decode_example(raw)
        if example.features.shape[1] != self._width:
            raise ValueError(f"example of {example.features.shape[1]} columns for a scorer of {self._width}")
        return example

    def _normalise(self, examples: list[Example]) -> bool:
        """Follow the mean and variance of the features, and hand them to the network.

        False, and nothing changes, for features that are not finite: the running means would never be finite again.
        """
        rows = np.concatenate([example.features for example in examples]).astype(np.float32)
        if not np.isfinite(rows).all():
            return False
        count = min(self._meta.normal_count, _NORMAL_MEMORY)
        share = len(rows) / (count + len(rows))
        self._mean += share * (rows.mean(0, dtype=np.float64) - self._mean)
        self._square += share * (np.square(rows).mean(0, dtype=np.float64) - self._square)
        self._meta.normal_count = count + len(rows)
        deviation = np.sqrt(np.maximum(self._square - np.square(self._mean), _VARIANCE_FLOOR))
        self.network.mean.copy_(torch.from_numpy(self._mean))
        self.network.inverse_deviation.copy_(torch.from_numpy(1.0 / deviation))
        return True

    def _step(self, examples: list[Example]) -> None:
        history = self.network.history
        lists = Lists.of(
            [example.features for example in examples],
            [example.items for example in examples],
            [example.history for example in examples],
            history=history,
        ).to(self._config.device)
        labels = torch.tensor([example.label for example in examples], device=self._config.device)
        loss = self._loss(lists, labels)
        if not torch.isfinite(loss):
            self._meta.skipped_steps += 1
            return
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._config.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip_norm)
        self._optimiser.step()
        self._meta.steps += 1

    def _loss(self, lists: Lists, labels: torch.Tensor) -> torch.Tensor:
        rank, logit = self.network(lists)
        hit = labels >= 0
        parts = []
        if self._config.loss != "listwise":
            # a miss stands for all those that were not sampled
            weights = torch.where(hit, 1.0, 1.0 / max(self._config.miss_rate, 1e-6))
            parts.append(_pointwise(logit, lists, labels, weights))
        if hit.any():
            parts += self._ranking_loss(rank[hit], lists.where(hit), labels[hit])
        return torch.stack(parts).sum() if parts else 0.0 * rank.sum()

    def _ranking_loss(self, rank: torch.Tensor, lists: Lists, labels: torch.Tensor) -> list[torch.Tensor]:
        """What the order of lists teaches whose next item is one of them: the ranker, and the encoder."""
        if self._config.loss == "bce":
            loss = _pointwise(rank, lists, labels, torch.ones_like(labels))
        else:
            loss = functional.cross_entropy(rank.masked_fill(lists.mask == 0, -1e9), labels)
        of_encoder = self.network.encoder_loss(lists, labels, rank.detach())
        return [loss] if of_encoder is None else [loss, of_encoder]

    def has_updates(self) -> bool:
        """Whether enough steps were taken since the last version."""
        return self._meta.batches - self._batches_published >= self._config.publish_every_steps

    def take_updates(self) -> list[tuple[str, bytes]]:
        """The next version of the network, as a ``(key, bytes)`` record; none when nothing was learned since."""
        if self._meta.batches == self._batches_published:
            return []
        self._batches_published = self._meta.batches
        self._meta.number += 1
        return [(self._key, encode_version(self._meta.epoch, self._meta.number, self.network.published()))]

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows of the state that changed since the last snapshot."""
        rows = [(f"batch:{slot}", _pack(self._ring[slot])) for slot in sorted(self._unsaved_slots)]
        self._unsaved_slots.clear()
        rows.append(("meta", msgspec.json.encode(self._meta)))
        rows.append(("network", encode_tensors(self._tensors())))
        rows.append(("waiting", _pack(self._waiting)))
        return rows

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"network.{name}": tensor.cpu() for name, tensor in self.network.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor.cpu() for name, tensor in moments.items()}
        tensors["normal.mean"] = torch.from_numpy(self._mean)
        tensors["normal.square"] = torch.from_numpy(self._square)
        return tensors

    def load_snapshot(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Carry on from an earlier snapshot, in a new epoch.

        Raises
        ------
        ValueError
            When the snapshot does not fit this network.
        """
        saved = dict(rows)
        if not saved:
            return
        self._meta = msgspec.json.decode(saved["meta"], type=_Meta)
        self._meta.epoch = max(self._meta.epoch + 1, self._epoch)
        self._batches_published = self._meta.batches
        self._waiting = _unpack(saved["waiting"])
        ring = {int(key[6:]): raw for key, raw in saved.items() if key.startswith("batch:")}
        # a smaller replay_bytes than before leaves rows in the state that are not used any more
        self._ring = {slot: _unpack(raw) for slot, raw in ring.items() if slot < self._ring_slots}
        tensors = decode_tensors(saved["network"])
        self._mean = tensors.pop("normal.mean").numpy().copy()
        self._square = tensors.pop("normal.square").numpy().copy()
        self._load_network({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = tensor
        state = self._optimiser.state_dict()
        self._optimiser.load_state_dict({"state": moments, "param_groups": state["param_groups"]})

    def model(self) -> bytes:
        """What was learned, as a file that another learner may start from (`models.model_file`)."""
        return encode_model(
            self._scorer,
            {name: tensor.cpu() for name, tensor in self.network.state_dict().items()},
            mean=self._mean,
            square=self._square,
            count=self._meta.normal_count,
            examples=self._meta.examples,
        )

    def _begin_with(self, start: ModelFile) -> None:
        start.require_fit(self._scorer)
        self._load_network(start.network)
        self._mean, self._square = start.mean.copy(), start.square.copy()
        self._meta.normal_count = start.count
        # has_updates is true before the first batch: who follows an earlier life hears of this network
        self._batches_published = -self._config.publish_every_steps

    def _load_network(self, tensors: dict[str, torch.Tensor]) -> None:
        try:
            self.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"the saved network does not fit the configured one: {error}") from error


def _optimiser(network: Scorer, config: LearnerConfig) -> torch.optim.Optimizer:
    embeddings = network.embeddings()
    ids = {id(parameter) for parameter in embeddings}
    groups = [
        {
            "params": [parameter for parameter in network.parameters() if id(parameter) not in ids],
            "lr": config.learning_rate,
            "weight_decay": config.weight_decay,
        }
    ]
    if embeddings:
        groups.append(
            {
                "params": embeddings,
                "lr": config.embedding_learning_rate,
                "weight_decay": config.embedding_decay,
            }
        )
    return torch.optim.AdamW(groups, fused=True)


def _pointwise(logit: torch.Tensor, lists: Lists, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of every candidate by itself, a weighted mean over the lists; a label of -1 is none of them."""
    targets = (torch.arange(lists.mask.shape[1], device=labels.device) == labels.unsqueeze(1)).float()
    shares = lists.mask * weights.unsqueeze(1)
    total = functional.binary_cross_entropy_with_logits(logit, targets, shares, reduction="sum")
    return total / shares.sum()


def _pack(messages: list[bytes]) -> bytes:
    return b"".join(part for message in messages for part in (_LENGTH.pack(len(message)), message))


def _unpack(raw: bytes) -> list[bytes]:
    messages, at = [], 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        messages.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return messages
