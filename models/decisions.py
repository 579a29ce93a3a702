"""What the gate (`models.gate`) decided of the versions of a network, as it tells it in a record of `model-updates`."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["published", "held", "rolled_back"]


class Measures(msgspec.Struct, frozen=True):
    """Means of one network over the window; None where no example has the measure.

    Attributes
    ----------
    rank_loss : nats, of the softmax over the list
    probability_loss : nats, binary cross-entropy summed over the list
    hit_rate : share of examples whose item is among the first k candidates, of those whose item is a candidate at all
    """

    rank_loss: float | None
    probability_loss: float | None
    hit_rate: float | None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one candidate, or of the serving version.

    Attributes
    ----------
    version : that serves after it, ``EPOCH.NUMBER``; empty for the untrained network
    verdict : published, held, or rolled_back
    reason : in words
    examples : learned until then, over all lives of the learner
    judged : examples in the window
    candidate, serving : their means over the window, before the decision
    rollback_of : the version that was found to be worse, where it was rolled back
    """

    version: str
    verdict: Verdict
    reason: str
    examples: int
    judged: int
    candidate: Measures
    serving: Measures
    rollback_of: str | None = None


class GateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the record ``gate:NAME`` of `model-updates`, JSON.

    Attributes
    ----------
    name : of the network
    scorer : name of its class
    mode : learner.mode
    examples : learned, over all lives of the learner
    serving, good : the version published last, and the one that it is measured by
    kept : versions that can be pinned, the oldest first
    decisions : the latest, the oldest first
    """

    name: str
    scorer: str
    mode: str
    examples: int
    serving: str
    good: str
    kept: list[str]
    decisions: list[Decision]


def gate_key(name: str) -> str:
    """Key of the gate's record in `model-updates`."""
    return f"gate:{name}"
