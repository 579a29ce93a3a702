"""Online training of the scorer: mini-batches in stream order, with replay.

Examples gather until a batch is full; then one AdamW step is taken on that batch and one on each of `replay_batches` batches
drawn from the ring of earlier ones. Everything is a function of the order of the examples: replaying the same examples
from the same snapshot gives the same weights bit for bit.

Before a batch is learned from, some of its examples are judged (`models.gate`) by the network as it is, by the version that serves,
and by an earlier good one. After every `publish_every_steps` batches the network is published, unless it is worse than the serving
version. A serving version that turns out worse than the good one is replaced by it at once, as a new version; so is one whose
candidates are worse twice in a row. Network, optimiser and normalisation then return to the good one, and the batches learned
since leave the replay.

The loss (learner.loss) is the softmax over the list, binary cross-entropy, or the first for the ranking and the second for the
probability; the encoder of a scorer that has one adds its own (`models.scorers.base`).

The state (rows of a snapshot, all opaque bytes):

``meta``      JSON: epoch, number of versions, steps, batches, examples, the running normalisation's count
``network``   safetensors: weights, Adam's moments, running mean and variance
``waiting``   the examples of the batch that is not full yet, each behind its length (u32)
``batch:N``   one batch of the replay ring, N = slot, empty where it was taken out; bounded by `replay_bytes` in all
``gate``      the gate's windows and decisions (`models.gate`)
``serving``   safetensors: the weights that were published last, as they were published
``good``      what to return to: safetensors as in ``network``, with the counters of that moment in ``state``
``next``      the same of the version that becomes the good one when it has served for a window
``vector:N``  the vector of an item as it came (`models.text.vectors`), N = hash of the item; empty where it is gone. Only a scorer that
              projects vectors is sent any

Earlier releases wrote none of the last five: their network is then the serving and the good one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from models.adamw import AdamW, Group
from models.config import Gate as GateConfig
from models.config import Learner as LearnerConfig
from models.config import Scorer as ScorerConfig
from models.decisions import Decision, GateRecord, Verdict, gate_key
from models.examples import Example, decode_example, example_bytes
from models.feature_table import WIDTH
from models.gate import CANDIDATE, SERVING, Gate, judge, kept_versions
from models.identity import uniform
from models.model_file import ModelFile, encode_model, network_shape
from models.scorers import make_scorer
from models.scorers.base import Lists, Scorer
from models.scorers.text import TextFISM
from models.text.vectors import VECTOR_KIND, VECTOR_PREFIX, ItemVectors, VectorRecord
from models.versions import About, decode_tensors, encode_tensors, encode_version, version_key, weights_key

_LENGTH = struct.Struct("<I")
_VARIANCE_FLOOR = 1e-4
# Until this many rows the running statistics follow the plain mean, after that they forget slowly.
_NORMAL_MEMORY = 1_000_000.0
# A candidate that is worse so often in a row is broken, and learning does not mend it.
_HELD_AT_MOST = 2


class _Meta(msgspec.Struct):
    epoch: int = 0
    number: int = 0
    steps: int = 0
    batches: int = 0
    examples: int = 0
    skipped_steps: int = 0
    normal_count: float = 0.0
    decided: int = -1
    held: int = 0
    serving: str = ""
    kept: list[tuple[int, int, int]] = []


class _Moment(msgspec.Struct):
    """Counters of a moment that may be returned to."""

    version: str
    batches: int
    examples: int
    normal_count: float


@dataclass(frozen=True, slots=True)
class _Saved:
    """What to return to."""

    moment: _Moment
    tensors: dict[str, torch.Tensor]

    def encode(self) -> bytes:
        said = torch.frombuffer(bytearray(msgspec.json.encode(self.moment)), dtype=torch.uint8)
        return encode_tensors(self.tensors | {"state": said})

    @classmethod
    def decode(cls, raw: bytes) -> _Saved:
        tensors = decode_tensors(raw)
        moment = msgspec.json.decode(tensors.pop("state").numpy().tobytes(), type=_Moment)
        return cls(moment, tensors)


class Learner:
    """Trains one network from examples and publishes its versions.

    Parameters
    ----------
    learner, scorer, gate : sections of the configuration
    k : length of a slate, for the hit rate by which versions are judged
    name : of the network, part of the published key
    pinnable : whether earlier versions stay in `model-updates` for a while
    epoch : of its versions, unless a snapshot asks for a later one. Versions of an earlier life are older only if it rises
        from life to life, also from one that left no snapshot: the time of the start in seconds does
    start : a network to begin with instead of an untrained one, unless there is a snapshot; it is published at once

    Attributes
    ----------
    has_ended : False; see `models.arm_learner.ArmLearner`

    Raises
    ------
    ValueError
        When `start` does not fit the configuration.
    """

    has_ended = False

    def __init__(
        self,
        learner: LearnerConfig,
        scorer: ScorerConfig,
        *,
        gate: GateConfig | None = None,
        k: int = 10,
        name: str = "ranker",
        pinnable: bool = True,
        epoch: int = 0,
        start: ModelFile | None = None,
    ) -> None:
        self._config = learner
        self._scorer = scorer
        self._gating = gate or GateConfig()
        self._k = k
        self._miss_weight = 1.0 / max(learner.miss_rate, 1e-6)
        self._name, self._pinnable = name, pinnable
        self.network = make_scorer(scorer, seed=learner.seed).to(learner.device)
        self._optimiser = _optimiser(self.network, learner)
        self._width = WIDTH + self.network.columns
        self._mean = np.zeros(self._width)
        self._square = np.ones(self._width)
        self._epoch = epoch
        self._meta = _Meta(epoch=epoch, decided=0)
        self._waiting: list[bytes] = []
        self._ring: dict[int, list[bytes]] = {}
        self._unsaved_slots: set[int] = set()
        size = example_bytes(width=self._width, candidates=scorer.candidates, history=self.network.history)
        self._ring_slots = max(1, learner.replay_bytes // (learner.batch_examples * (size + _LENGTH.size)))
        # what waits for its publication, by key; None is a tombstone
        self._outbox: dict[str, bytes | None] = {}
        self.gate = Gate(self._gating, loss=learner.loss)
        # as replicas begin, too
        self._serving = make_scorer(scorer, seed=learner.seed).to(learner.device).eval()
        self._good_network = make_scorer(scorer, seed=learner.seed).to(learner.device).eval()
        self.vectors = ItemVectors()
        self._vector_rows: dict[int, bytes] = {}
        for network in (self.network, self._serving, self._good_network):
            if isinstance(network, TextFISM):
                network.vectors = self.vectors
        self._good = self._next = self._save("")
        self._unsaved = {"serving", "good", "next"}
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

    @property
    def skipped_steps(self) -> int:
        """Number of steps that were not taken, since something was not finite."""
        return self._meta.skipped_steps

    @property
    def held(self) -> int:
        """Number of candidates that the gate has held since the last version."""
        return self._meta.held

    def learn_one(self, message: bytes) -> None:
        """Take one example (`models.examples`); every full batch is a training step. Or the vector of an item."""
        if message[0] == VECTOR_KIND:
            record = VectorRecord.decode(message)
            self.vectors.apply(record)
            self._vector_rows[record.item] = message if len(record.values) else b""
            return
        self._waiting.append(message)
        self._meta.examples += 1
        if len(self._waiting) == self._config.batch_examples:
            batch, self._waiting = self._waiting, []
            self._learn_batch(batch)

    def _learn_batch(self, batch: list[bytes]) -> None:
        examples = [self._decode(raw) for raw in batch]
        lists, labels = self._lists(examples)
        self._judge(lists, labels)
        if not self._normalise(examples):
            self._meta.skipped_steps += 1
            return
        self._step(lists, labels)
        slots = sorted(self._ring)
        for draw in range(self._config.replay_batches if slots else 0):
            slot = slots[int(uniform(self._meta.batches, self._config.seed, draw) * len(slots))]
            self._step(*self._lists([self._decode(raw) for raw in self._ring[slot]]))
        slot = self._meta.batches % self._ring_slots
        self._ring[slot] = batch
        self._unsaved_slots.add(slot)
        self._meta.batches += 1
        if self._meta.batches - self._meta.decided >= self._config.publish_every_steps:
            self._decide()

    def _decode(self, raw: bytes) -> Example:
        example = decode_example(raw)
        if example.features.shape[1] != self._width:
            raise ValueError(f"example of {example.features.shape[1]} columns for a scorer of {self._width}")
        return example

    def _normalise(self, examples: list[Example]) -> bool:
        """Follow the mean and variance of the features, and hand them to the network.

        False, and nothing changes, for features that are not finite: the running means would never be finite again.
        """
        rows = torch.from_numpy(np.concatenate([example.features for example in examples])).float()
        mean, square = rows.mean(0).numpy(), rows.square_().mean(0).numpy()
        if not np.isfinite(square).all():
            return False
        count = min(self._meta.normal_count, _NORMAL_MEMORY)
        share = len(rows) / (count + len(rows))
        self._mean += share * (mean - self._mean)
        self._square += share * (square - self._square)
        self._meta.normal_count = count + len(rows)
        deviation = np.sqrt(np.maximum(self._square - np.square(self._mean), _VARIANCE_FLOOR))
        self.network.mean.copy_(torch.from_numpy(self._mean))
        self.network.inverse_deviation.copy_(torch.from_numpy(1.0 / deviation))
        return True

    def _lists(self, examples: list[Example]) -> tuple[Lists, torch.Tensor]:
        lists = Lists.of(
            [example.features for example in examples],
            [example.items for example in examples],
            [example.history for example in examples],
            history=self.network.history,
        )
        if self._config.debias != "none" or self._config.weigh_by_reward or any(example.weight < 0 for example in examples):
            lists = replace(lists, weights=torch.tensor([example.weight for example in examples]))
        if self._config.probability_of == "shown":
            lists = replace(lists, shown=_shown(examples, lists.mask))
        lists = lists.to(self._config.device)
        return lists, torch.tensor([example.label for example in examples], device=self._config.device)

    def _step(self, lists: Lists, labels: torch.Tensor) -> None:
        loss = self._loss(lists, labels)
        if not torch.isfinite(loss):
            self._meta.skipped_steps += 1
            return
        self.network.zero_grad()
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
            weights = torch.where(hit, 1.0, self._miss_weight)
            parts.append(_pointwise(logit, lists, labels, weights))
        if hit.any():
            parts += self._ranking_loss(rank[hit], lists.where(hit), labels[hit])
        return torch.stack(parts).sum() if parts else 0.0 * rank.sum()

    def _ranking_loss(self, rank: torch.Tensor, lists: Lists, labels: torch.Tensor) -> list[torch.Tensor]:
        """What the order of lists teaches whose next item is one of them: the ranker, and the encoder."""
        if self._config.loss == "bce":
            loss = _pointwise(rank, lists, labels, torch.ones_like(labels) if lists.weights is None else lists.weights)
        else:
            loss = lists.cross_entropy(rank, labels)
        of_encoder = self.network.encoder_loss(lists, labels, rank.detach())
        return [loss] if of_encoder is None else [loss, of_encoder]

    def _judge(self, lists: Lists, labels: torch.Tensor) -> None:
        """Let the networks predict the first of the next examples, and roll the serving version back when it is found worse."""
        if not self._gating.enabled:
            return
        first = slice(max(1, round(self._gating.sample_rate * len(labels))))
        lists, labels = lists.where(first), labels[first]
        networks = (self.network, self._serving, self._good_network)
        measures = [judge(network, lists, labels, k=self._k, miss_weight=self._miss_weight) for network in networks]
        self.gate.observe(np.stack(measures))
        worse = self.gate.serving_is_worse()
        if worse is not None:
            self._roll_back(worse)

    def _decide(self) -> None:
        """Publish the network, unless it is worse than the version that serves."""
        self._meta.decided = self._meta.batches
        worse = self.gate.candidate_is_worse() if self._gating.enabled else None
        if worse is None and not all(math.isfinite(tensor.sum()) for tensor in self.network.state_dict().values()):
            worse = "weights that are not finite"
        if worse is None:
            self._meta.held = 0
            self._publish("published", "not worse than the serving version")
            self._advance()
            return
        self._meta.held += 1
        self._remember("held", worse)
        if self._meta.held == _HELD_AT_MOST:
            self._roll_back(f"candidates were worse {_HELD_AT_MOST} times in a row")

    def _advance(self) -> None:
        """Make the next version the good one when it has served for a window, and the one published now the next."""
        learned = self._meta.examples - self._next.moment.examples
        if learned * self._gating.sample_rate < self._gating.window and self._next is not self._good:
            return
        if self._next is not self._good:
            self._good = self._next
            self._load_good()
            self.gate.trust()
        self._next = self._save(self._meta.serving)
        self._unsaved |= {"good", "next"}

    def _roll_back(self, reason: str) -> None:
        """Publish the good version once more, and learn on from it."""
        meta, moment = self._meta, self._good.moment
        # what was learned since made it worse
        for batch in range(max(moment.batches, meta.batches - self._ring_slots), meta.batches):
            slot = batch % self._ring_slots
            self._ring.pop(slot, None)
            self._unsaved_slots.add(slot)
        self._load_tensors(self._good.tensors)
        meta.normal_count, meta.held, meta.decided = moment.normal_count, 0, meta.batches
        returned = f"{reason}; back to {moment.version or 'the untrained network'}"
        self._publish("rolled_back", returned, rollback_of=meta.serving)
        self._good = self._next = self._save(meta.serving)
        self._load_good()
        self._unsaved |= {"good", "next"}
        self.gate.forget()

    def _save(self, version: str) -> _Saved:
        meta = self._meta
        tensors = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return _Saved(_Moment(version, meta.batches, meta.examples, meta.normal_count), tensors)

    def _load_good(self) -> None:
        weights = {name[8:]: tensor for name, tensor in self._good.tensors.items() if name.startswith("network.")}
        self._good_network.load_state_dict(weights)

    def _publish(self, verdict: Verdict, reason: str, *, rollback_of: str | None = None) -> None:
        """Make the network the serving version, and keep it among those that can be pinned."""
        meta = self._meta
        meta.number += 1
        meta.serving = f"{meta.epoch}.{meta.number}"
        tensors = self.network.published()
        about = About(shape=network_shape(self._scorer), rollback_of=rollback_of)
        record = encode_version(meta.epoch, meta.number, tensors, about)
        self._outbox[weights_key(self._name)] = record
        if self._pinnable:
            self._keep(record)
        self._serving.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        self._unsaved.add("serving")
        self._remember(verdict, reason, rollback_of=rollback_of)

    def _keep(self, record: bytes) -> None:
        """Let the version published now be reachable, and an earlier one no more where there are too many."""
        meta = self._meta
        before = {(epoch, number) for _, epoch, number in meta.kept}
        meta.kept = kept_versions([*meta.kept, (meta.examples, meta.epoch, meta.number)], most=self._gating.keep)
        self._outbox[version_key(self._name, meta.serving)] = record
        for epoch, number in before - {(epoch, number) for _, epoch, number in meta.kept}:
            self._outbox[version_key(self._name, f"{epoch}.{number}")] = None

    def _remember(self, verdict: Verdict, reason: str, *, rollback_of: str | None = None) -> None:
        """Record a decision, for whoever reads the topic."""
        meta, gate = self._meta, self.gate
        gate.remember(
            Decision(
                version=meta.serving,
                verdict=verdict,
                reason=reason,
                examples=meta.examples,
                judged=gate.judged,
                candidate=gate.means(CANDIDATE),
                serving=gate.means(SERVING),
                rollback_of=rollback_of,
            )
        )
        record = GateRecord(
            name=self._name,
            scorer=self._scorer.name,
            mode=self._config.mode,
            examples=meta.examples,
            serving=meta.serving,
            good=self._good.moment.version,
            kept=[f"{epoch}.{number}" for _, epoch, number in meta.kept],
            decisions=gate.decisions,
        )
        self._outbox[gate_key(self._name)] = msgspec.json.encode(record)

    def has_updates(self) -> bool:
        """Whether something waits for its publication."""
        return bool(self._outbox)

    def take_updates(self) -> list[tuple[str, bytes | None]]:
        """What is to be published, as ``(key, bytes)`` records: the newest version, first under its network's key; None is a tombstone."""
        records, self._outbox = self._outbox, {}
        return list(records.items())

    def take_snapshot(self) -> list[tuple[str, bytes]]:
        """The rows of the state that changed since the last snapshot."""
        rows = [(f"batch:{slot}", _pack(self._ring.get(slot, []))) for slot in sorted(self._unsaved_slots)]
        rows += [(f"{VECTOR_PREFIX}{item}", record) for item, record in self._vector_rows.items()]
        self._vector_rows = {}
        self._unsaved_slots.clear()
        rows.append(("meta", msgspec.json.encode(self._meta)))
        rows.append(("network", encode_tensors(self._tensors())))
        rows.append(("waiting", _pack(self._waiting)))
        rows.append(("gate", self.gate.encode()))
        if "serving" in self._unsaved:
            rows.append(("serving", encode_tensors(self._serving.published())))
        rows += [(name, saved.encode()) for name, saved in (("good", self._good), ("next", self._next)) if name in self._unsaved]
        self._unsaved.clear()
        return rows

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {f"network.{name}": tensor.cpu() for name, tensor in self.network.state_dict().items()}
        for index, moments in self._optimiser.moments.items():
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
        if self._meta.decided < 0:
            self._meta.decided = self._meta.batches
        self._outbox = {}
        self._waiting = _unpack(saved["waiting"])
        ring = {int(key[6:]): raw for key, raw in saved.items() if key.startswith("batch:")}
        # a smaller replay_bytes than before leaves rows in the state that are not used any more
        self._ring = {slot: _unpack(raw) for slot, raw in ring.items() if slot < self._ring_slots and raw}
        for key, raw in saved.items():
            if key.startswith(VECTOR_PREFIX) and raw:
                self.vectors.apply(VectorRecord.decode(raw))
        self._load_tensors(decode_tensors(saved["network"]))
        self._load_gate(saved)

    def _load_gate(self, saved: dict[str, bytes]) -> None:
        """The gate's rows, where they were written."""
        if "gate" not in saved:
            self._serving.load_state_dict(self.network.state_dict())
            self._good = self._next = self._save(self._meta.serving)
            self._unsaved = {"serving", "good", "next"}
        else:
            self.gate.restore(saved["gate"])
            self._serving.load_state_dict({name: tensor.float() for name, tensor in decode_tensors(saved["serving"]).items()})
            self._good, self._next = _Saved.decode(saved["good"]), _Saved.decode(saved["next"])
            if self._next.moment == self._good.moment:
                self._next = self._good
            self._unsaved = set()
        self._load_good()

    def _load_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over network, optimiser and normalisation."""
        self._mean = tensors["normal.mean"].numpy().copy()
        self._square = tensors["normal.square"].numpy().copy()
        self._load_network({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("adam."):
                _, index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = tensor.clone()
        self._optimiser.moments = moments

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
        # before the first batch: who follows an earlier life hears of this network
        self._publish("published", f"what was learned before: {start.name}")
        self._good = self._next = self._save(self._meta.serving)
        self._load_good()

    def _load_network(self, tensors: dict[str, torch.Tensor]) -> None:
        try:
            self.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(f"the saved network does not fit the configured one: {error}") from error


def _optimiser(network: Scorer, config: LearnerConfig) -> AdamW:
    embeddings, projections = network.embeddings(), network.projections()
    apart = {id(parameter) for parameter in (*embeddings, *projections)}
    others = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    return AdamW(
        Group(parameters, rate, decay)
        for parameters, rate, decay in (
            (others, config.learning_rate, config.weight_decay),
            (embeddings, config.embedding_learning_rate, config.embedding_decay),
            (projections, config.projection_learning_rate, config.embedding_decay),
        )
        if parameters
    )


def _pointwise(logit: torch.Tensor, lists: Lists, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of every candidate by itself, a weighted mean over the lists; a label of -1 is none of them.

    Of a list of a negative weight the labelled candidate alone counts, as one that was not taken.
    """
    targets = (torch.arange(lists.mask.shape[1], device=labels.device) == labels.unsqueeze(1)).float()
    shares = lists.predicted * weights.abs().unsqueeze(1)
    if lists.weights is not None and (lists.weights < 0).any():
        # of what was not wanted nothing is known but that
        unwanted = (lists.weights < 0).unsqueeze(1)
        shares, targets = torch.where(unwanted, shares * targets, shares), torch.where(unwanted, 0.0, targets)
    total = functional.binary_cross_entropy_with_logits(logit, targets, shares, reduction="sum")
    # nothing may be worth anything
    return total / shares.sum().clamp_min(1e-6)


def _shown(examples: list[Example], mask: torch.Tensor) -> torch.Tensor:
    """Which candidates were shown; all of an example of before the switch."""
    shown = torch.zeros_like(mask)
    for row, example in enumerate(examples):
        if example.shown is None:
            shown[row] = mask[row]
        else:
            shown[row, torch.from_numpy(example.shown)] = 1.0
    return shown


def _pack(messages: list[bytes]) -> bytes:
    return b"".join(part for message in messages for part in (_LENGTH.pack(len(message)), message))


def _unpack(raw: bytes) -> list[bytes]:
    messages, at = [], 0
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        messages.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return messages
