"""The gate: whether a network may be published, and whether the one that serves must go.

Progressive validation (Blum, Kalai and Langford, "Beating the hold-out", COLT 1999): each example is predicted before anybody learns
from it, here by three networks at once:

- the **candidate**, which is trained;
- the **serving** one, the version that was published last;
- the **good** one, an earlier version that has served for a whole window without being found worse than the one before it.

Of each, three measures of an example: the loss of its order (softmax over the list), the loss of its probabilities (binary
cross-entropy, summed over the list), both in nats, and whether what came next is among its first `k`.

Published: the candidate, unless over the last `window` examples its mean loss exceeds that of the serving network by more than
`margin` nats (of the probabilities: `probability_margin`), or its hit rate is lower by more than `hit_margin`; what the window
does not hold yet counts as equal.

Rolled back: the serving network, as soon as what it lost against the good one beyond a margin, summed since the sum was last
below zero, exceeds ``margin * window``: Page's test ("Continuous inspection schemes", Biometrika 1954). A network that loses d nats an
example more than the good one is therefore found after ``margin * window / (d - margin)`` judged examples, rounded up to a batch.

Layout of the state, version 1 (little endian): ``version u8 | length of the JSON u32 | JSON of `_State` | measures
f32[networks, measures, window]``, NaN where an example has none; the ring is written at ``at`` next. Size: 5 + 36 * window bytes and the
decisions, at most `DECISIONS` of them.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import torch
from torch.nn import functional

from models.config import Gate as Settings
from models.decisions import Decision, Measures
from models.layouts import require_version
from models.scorers.base import Lists, Scorer

VERSION = 1
DECISIONS = 50
"""So many of the latest decisions are kept and published."""
CANDIDATE, SERVING, GOOD = range(3)
RANK_LOSS, PROBABILITY_LOSS, HIT = range(3)
_HEAD = struct.Struct("<BI")
# One example must not decide: what is worse than this, or is no number, counts so much.
_WORST_LOSS = 20.0


class _State(msgspec.Struct):
    window: int
    at: int = 0
    excess: list[float] = msgspec.field(default_factory=lambda: [0.0, 0.0, 0.0])
    decisions: list[Decision] = []


@torch.inference_mode()
def judge(network: Scorer, lists: Lists, labels: torch.Tensor, *, k: int, miss_weight: float = 1.0) -> np.ndarray:
    """What a network says of examples, with the encoder's columns as its own encoder makes them.

    Parameters
    ----------
    labels : int64[lists], position of what came next, -1 where it was no candidate
    k : length of a slate
    miss_weight : of a list without a label in the loss of the probabilities, in which one of them stands for many

    Returns
    -------
    float32[measures, lists]; NaN for the loss of the order and for the hit where the label is -1, both by the weight of the list
    """
    training = network.training
    network.eval()
    rank, logit = network(network.refrozen(lists))
    network.train(training)
    # what was not wanted is no place that an order is judged by
    hit = labels >= 0 if lists.weights is None else (labels >= 0) & (lists.weights > 0)
    labels = torch.where(hit, labels, -1)
    known = labels.clamp_min(0)
    rank = rank.masked_fill(lists.mask == 0, -1e9)
    rank_loss = functional.cross_entropy(rank, known, reduction="none")
    targets = (torch.arange(lists.mask.shape[1], device=labels.device) == labels.unsqueeze(1)).float()
    pointwise = functional.binary_cross_entropy_with_logits(logit, targets, lists.predicted, reduction="none").sum(1)
    own = rank.gather(1, known.unsqueeze(1))
    # what is no number is no hit, and stands behind nothing
    place = rank.shape[1] - 1 - (rank < own).sum(1)
    among_first = (place < k) & torch.isfinite(own).squeeze(1)
    measures = torch.stack((rank_loss, pointwise, among_first.float()))
    measures[:2] = torch.nan_to_num(measures[:2], nan=_WORST_LOSS).clamp_max(_WORST_LOSS)
    # by what it is trained for; a weight of one on the average, so that margins mean what they say
    of_misses = torch.where(hit, 1.0, miss_weight)
    measures[PROBABILITY_LOSS] *= of_misses / of_misses.mean()
    if lists.weights is not None:
        shares = lists.weights.clamp_min(0)
        measures[[RANK_LOSS, HIT]] *= shares / shares.mean().clamp_min(1e-6)
    measures[RANK_LOSS, ~hit] = torch.nan
    measures[HIT, ~hit] = torch.nan
    return measures.cpu().numpy()


class Gate:
    """Decides, from what three networks said of the latest examples.

    Parameters
    ----------
    settings : section ``gate`` of the configuration
    loss : learner.loss; a loss that is not trained is not judged

    Attributes
    ----------
    decisions : the latest, the oldest first
    """

    def __init__(self, settings: Settings, *, loss: str) -> None:
        self._settings = settings
        rank, probability = settings.margin, settings.probability_margin
        # so much worse an example is not worse: of each measure; infinity where a measure does not count
        self._margins = np.array(
            [np.inf if loss == "bce" else rank, np.inf if loss == "listwise" else probability, settings.hit_margin]
        )
        self._ring = np.full((3, 3, settings.window), np.nan, np.float32)
        self._state = _State(window=settings.window)

    @property
    def decisions(self) -> list[Decision]:
        """The latest, the oldest first."""
        return self._state.decisions

    @property
    def judged(self) -> int:
        """Number of examples in the window."""
        return int((~np.isnan(self._ring[CANDIDATE, PROBABILITY_LOSS])).sum())

    def observe(self, measures: np.ndarray) -> None:
        """Take what the networks said of the next examples.

        Parameters
        ----------
        measures : float32[networks, measures, examples], of `judge`
        """
        window = self._settings.window
        n = min(measures.shape[2], window)
        places = (self._state.at + np.arange(n)) % window
        self._ring[:, :, places] = measures[:, :, measures.shape[2] - n :]
        self._state.at = (self._state.at + n) % window
        lost = _lost(measures[SERVING], measures[GOOD])
        counted = (~np.isnan(measures[GOOD])).sum(1)
        with np.errstate(invalid="ignore"):
            excess = np.array(self._state.excess) + lost - np.where(counted > 0, self._margins * counted, 0.0)
        self._state.excess = np.maximum(np.nan_to_num(excess, nan=0.0), 0.0).tolist()

    def forget(self) -> None:
        """Begin anew: the networks are others now."""
        self._ring[:] = np.nan
        self._state.at = 0
        self.trust()

    def trust(self) -> None:
        """Another network is the good one: what the serving one lost against the last does not count any more."""
        self._state.excess = [0.0, 0.0, 0.0]

    def candidate_is_worse(self) -> str | None:
        """Why the candidate may not be published; None when it may."""
        means = _lost(self._ring[CANDIDATE], self._ring[SERVING]) / self._settings.window
        return _explained(means, self._margins, "worse than the serving version by {} over the window")

    def serving_is_worse(self) -> str | None:
        """Why the serving version must go; None when it may stay."""
        most = self._margins * self._settings.window
        return _explained(np.array(self._state.excess), most, "worse than the good version by {} in sum, beyond the margin")

    def means(self, network: int) -> Measures:
        """The means of a network over the window."""
        found = []
        for values in self._ring[network].astype(np.float64):
            known = values[~np.isnan(values)]
            found.append(float(known.mean()) if len(known) else None)
        return Measures(*found)

    def remember(self, decision: Decision) -> None:
        """Keep a decision among the latest."""
        self._state.decisions = [*self._state.decisions, decision][-DECISIONS:]

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        said = msgspec.json.encode(self._state)
        return _HEAD.pack(VERSION, len(said)) + said + self._ring.tobytes()

    def restore(self, raw: bytes) -> None:
        """Carry on from packed bytes; of a window of another length only the decisions.

        Raises
        ------
        ValueError
            When the bytes are of another version.
        """
        require_version(raw, VERSION, what="gate")
        _, length = _HEAD.unpack_from(raw)
        state = msgspec.json.decode(raw[_HEAD.size : _HEAD.size + length], type=_State)
        if state.window != self._settings.window:
            self._state = _State(window=self._settings.window, decisions=state.decisions)
            return
        self._state = state
        self._ring = np.frombuffer(raw, "<f4", offset=_HEAD.size + length).reshape(3, 3, state.window).copy()


def _lost(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how much one network did worse than another, float64[measures], summed over the examples of both."""
    difference = one.astype(np.float64) - other
    difference[HIT] *= -1
    return np.nansum(difference, 1)


def _explained(values: np.ndarray, bounds: np.ndarray, sentence: str) -> str | None:
    names = ("{:.3f} nats of the order's loss", "{:.3f} nats of the probabilities' loss", "{:.3f} hits")
    said = [name.format(value) for name, value, bound in zip(names, values, bounds, strict=True) if value > bound]
    return sentence.format(" and ".join(said)) if said else None


def kept_versions(numbers: list[tuple[int, int, int]], *, most: int) -> list[tuple[int, int, int]]:
    """Which versions stay reachable: the newest, and of the older ones fewer the older they are.

    Beyond `most`, that version leaves whose neighbours are nearest to each other for their age, so that the ages of those that
    stay grow about geometrically: a version of long ago can be pinned, too. The oldest stays.

    Parameters
    ----------
    numbers : (examples learned, epoch, number) of each, the oldest first
    most : at least 2

    Examples
    --------
    >>> kept = []
    >>> for n in range(1, 200):
    ...     kept = kept_versions([*kept, (n, 0, n)], most=8)
    >>> [199 - age for age, _, _ in kept]
    [198, 86, 46, 22, 10, 4, 1, 0]
    """
    kept = list(numbers)
    while len(kept) > most:
        newest = kept[-1][0]
        gaps = [
            (kept[place + 1][0] - kept[place - 1][0]) / (1 + newest - kept[place - 1][0]) for place in range(1, len(kept) - 1)
        ]
        kept.pop(1 + int(np.argmin(gaps)))
    return kept
