"""The report of `flinkrec evaluate`: its keys are fixed, programs read them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from models.evaluation.prequential import PrequentialReport


class LatencyMs(Struct, frozen=True, kw_only=True):
    """Quantiles of the time that one event took, milliseconds."""

    p50: float
    p99: float


class EvaluationReport(PrequentialReport, frozen=True, kw_only=True):
    """Quality and speed of one run over an event file.

    Attributes
    ----------
    events ... avg_recommendations : see `PrequentialReport`
    events_per_s : events a second, over the whole run
    latency_ms : of one event, from its arrival to its slate
    config : the configuration that was run, as plain values
    versions : of everything that the figures depend on, such as ``{"flinkrec": "0.1.0", "python": "3.11.7"}``
    """

    events_per_s: float
    latency_ms: LatencyMs
    config: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        quality: PrequentialReport,
        *,
        events_per_s: float,
        latency_ms: LatencyMs,
        config: dict[str, Any],
        versions: dict[str, str],
    ) -> EvaluationReport:
        """Put the quality of an evaluator and the speed of its run together."""
        return cls(
            **msgspec.structs.asdict(quality),
            events_per_s=events_per_s,
            latency_ms=latency_ms,
            config=config,
            versions=versions,
        )

    def encode(self) -> bytes:
        """The JSON of this report, indented, in UTF-8 with a newline at its end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
