"""How many slates come a second, and how long they took: counted as they arrive, for the last minutes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SECONDS = 600
"""So much of the past is kept."""

_LATENCIES_A_SECOND = 500


@dataclass(slots=True)
class _Second:
    """What came within one second."""

    slates: int = 0
    latencies_ms: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A few seconds of the stream of slates.

    Attributes
    ----------
    at_s : when they begin, seconds since 1970
    slates_per_s : mean over them
    p50_ms, p99_ms : from the producer's sending an event to its slate in Kafka; None where no slate says when its event was sent
    """

    at_s: int
    slates_per_s: float
    p50_ms: float | None
    p99_ms: float | None


class Rates:
    """Counts slates by the second in which they came.

    Of a second's latencies the first 500 are kept: a median of more is no truer, and the memory stays bounded.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}

    def add(self, at_s: int, *, latency_ms: int | None) -> None:
        """Count one slate; they may come in any order.

        Parameters
        ----------
        at_s : when it came, seconds since 1970
        latency_ms : of this slate, None where it is not known
        """
        second = self._seconds.get(at_s)
        if second is None:
            second = self._seconds[at_s] = _Second()
            if len(self._seconds) > SECONDS:
                del self._seconds[min(self._seconds)]
        second.slates += 1
        if latency_ms is not None and len(second.latencies_ms) < _LATENCIES_A_SECOND:
            second.latencies_ms.append(latency_ms)

    def points(self, now_s: int, *, step_s: int = 5, seconds: int = SECONDS) -> list[RatePoint]:
        """The last minutes in steps, the oldest first; the step that is not over is left out."""
        end_s = now_s - now_s % step_s
        return [self._point(start_s, step_s) for start_s in range(end_s - seconds, end_s, step_s)]

    def last(self, now_s: int, *, seconds: int) -> RatePoint:
        """The whole of the last seconds as one point."""
        return self._point(now_s - seconds, seconds)

    def _point(self, start_s: int, seconds: int) -> RatePoint:
        there = [second for at_s in range(start_s, start_s + seconds) if (second := self._seconds.get(at_s)) is not None]
        latencies_ms = [latency_ms for second in there for latency_ms in second.latencies_ms]
        return RatePoint(start_s, sum(second.slates for second in there) / seconds, *_quantiles(latencies_ms))


def _quantiles(latencies_ms: list[int]) -> tuple[float | None, float | None]:
    if not latencies_ms:
        return None, None
    p50, p99 = np.quantile(latencies_ms, (0.5, 0.99))
    return float(p50), float(p99)
