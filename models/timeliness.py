"""What time makes of relevance: items fade with their age, and the next episode of a series comes before others.

    relevance * 2 ** -(age / freshness.half_life_hours) * series.next_factor for what comes next
"""

from __future__ import annotations

import numpy as np

from models.candidates import CandidateGenerator, Candidates
from models.config import Configuration
from models.replica import Replica

_EVENTS, _FIRST_SEEN_MS = Replica.STATS.index("events"), Replica.STATS.index("first_seen_ms")


class Timeliness:
    """The factors of freshness and of the next episode.

    Parameters
    ----------
    configuration : the whole configuration
    replica, generator : of the candidates

    Attributes
    ----------
    matters : whether the configuration asks for any
    """

    def __init__(self, configuration: Configuration, replica: Replica, generator: CandidateGenerator) -> None:
        self._replica, self._generator = replica, generator
        self._half_life_ms = 3_600_000 * (configuration.freshness.half_life_hours or 0.0)
        self._next_factor = configuration.series.next_factor if configuration.series.in_order else 1.0
        self.matters = self._half_life_ms > 0 or self._next_factor != 1

    def applied(self, scores: np.ndarray, candidates: Candidates, now_ms: int, *, odds: bool) -> np.ndarray:
        """Scores with the factors, float32[n].

        Parameters
        ----------
        scores : float[n], of the candidates
        now_ms : event time of the slate
        odds : the scores are logarithms of odds, to which the logarithm of a factor is added; otherwise they are multiplied
        """
        items, logs = candidates.items, np.zeros(len(candidates.items))
        if self._half_life_ms:
            came_ms = self._replica.from_ms[items].astype(np.float64)
            stats = self._replica.stats
            first_ms = np.where(stats[items, _EVENTS] > 0, stats[items, _FIRST_SEEN_MS], now_ms)
            age_ms = np.maximum(0.0, now_ms - np.where(came_ms > 0, came_ms, first_ms))
            logs -= np.log(2) / self._half_life_ms * age_ms
        if self._next_factor != 1:
            logs[self._generator.is_next_episode(candidates)] += np.log(self._next_factor)
        timely: np.ndarray = scores + logs if odds else scores * np.exp(logs)
        return timely.astype(np.float32)
