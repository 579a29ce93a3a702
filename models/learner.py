"""Online training of the scorer: mini-batches in stream order, with replay.

Examples gather until a batch is full; then one Adam step is taken on that batch and one on each of `replay_batches` batches
drawn from the ring of earlier ones. Everything is a function of the order of the examples: replaying the same examples
from the same snapshot gives the same weights bit for bit.

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
from torch.nn import functional

from models.config import Learner as LearnerConfig
from models.config import Scorer as ScorerConfig
from models.examples import Example, decode_example
from models.features import WIDTH
from models.identity import uniform
from models.scorers.mlp import MLP
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
    """

    def __init__(
        self, learner: LearnerConfig, scorer: ScorerConfig, *, name: str = "ranker", epoch: int = 0
    ) -> None:
        self._config = learner
        self._key = weights_key(name)
        generator = torch.random.get_rng_state()
        torch.manual_seed(learner.seed)
        self.network = MLP(scorer.hidden)
        torch.random.set_rng_state(generator)
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=learner.learning_rate, foreach=True)
        self._mean = np.zeros(WIDTH)
        self._square = np.ones(WIDTH)
        self._epoch = epoch
        self._meta = _Meta(epoch=epoch)
        self._waiting: list[bytes] = []
        self._ring: dict[int, list[bytes]] = {}
        self._unsaved_slots: set[int] = set()
        batch_bytes = learner.batch_examples * 2 * WIDTH * scorer.candidates
        self._ring_slots = max(1, learner.replay_bytes // batch_bytes)
        self._steps_published = 0

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
        examples = [decode_example(raw) for raw in batch]
        if not self._normalise(examples):
            self._meta.skipped_steps += 1
            return
        self._step(examples)
        slots = sorted(self._ring)
        for draw in range(self._config.replay_batches if slots else 0):
            slot = slots[int(uniform(self._meta.batches, self._config.seed, draw) * len(slots))]
            self._step([decode_example(raw) for raw in self._ring[slot]])
        slot = self._meta.batches % self._ring_slots
        self._ring[slot] = batch
        self._unsaved_slots.add(slot)
        self._meta.batches += 1

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
        longest = max(len(example.features) for example in examples)
        features = np.zeros((len(examples), longest, WIDTH), np.float32)
        mask = np.zeros((len(examples), longest), np.float32)
        for row, example in enumerate(examples):
            n = len(example.features)
            features[row, :n] = example.features
            mask[row, :n] = 1.0
        labels = torch.tensor([example.label for example in examples])
        loss = self._loss(torch.from_numpy(features), torch.from_numpy(mask), labels)
        if not torch.isfinite(loss):
            self._meta.skipped_steps += 1
            return
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._meta.steps += 1

    def _loss(self, features: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Listwise softmax of the rank head plus binary cross-entropy of the probability head."""
        rank, logit = self.network(features, mask)
        listwise = functional.cross_entropy(rank.masked_fill(mask == 0, -1e9), labels)
        targets = functional.one_hot(labels, mask.shape[1]).float()
        pointwise = functional.binary_cross_entropy_with_logits(logit, targets, mask, reduction="sum") / mask.sum()
        return listwise + pointwise

    def has_updates(self) -> bool:
        """Whether enough steps were taken since the last version."""
        return self._meta.batches - self._steps_published >= self._config.publish_every_steps

    def take_updates(self) -> list[tuple[str, bytes]]:
        """The next version of the network, as a ``(key, bytes)`` record; none when nothing was learned since."""
        if self._meta.batches == self._steps_published:
            return []
        self._steps_published = self._meta.batches
        self._meta.number += 1
        return [(self._key, encode_version(self._meta.epoch, self._meta.number, self.network.state_dict()))]

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows of the state that changed since the last snapshot."""
        rows = [(f"batch:{slot}", _pack(self._ring[slot])) for slot in sorted(self._unsaved_slots)]
        self._unsaved_slots.clear()
        rows.append(("meta", msgspec.json.encode(self._meta)))
        rows.append(("network", encode_tensors(self._tensors())))
        rows.append(("waiting", _pack(self._waiting)))
        return rows

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
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
        self._steps_published = self._meta.batches
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

    def _load_network(self, tensors: dict[str, torch.Tensor]) -> None:
        try:
            self.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"the saved network does not fit the configured one: {error}") from error


def _pack(messages: list[bytes]) -> bytes:
    return b"".join(part for message in messages for part in (_LENGTH.pack(len(message)), message))


def _unpack(raw: bytes) -> list[bytes]:
    messages, at = [], 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        messages.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return messages
