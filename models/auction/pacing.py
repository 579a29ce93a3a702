"""Pacing: how a campaign's budget lasts until its end.

The controller is that of Agarwal, Ghosh, Wei and You, "Budget pacing for targeted online advertisements at LinkedIn" (KDD 2014): a plan
says which part of the budget should be spent by now; every few minutes the pace falls by a step where more is spent, and rises by one
where less is. What the pace does to a slate is in `models.auction.campaigns`. Two things are other here: the plan follows the traffic
that the campaign itself met at each hour of the days before, and a day's pace is where the next day begins.
"""

from __future__ import annotations

from msgspec import Struct

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LOWEST_PACE = 0.01
"""A campaign is never held back altogether: it would not be heard of when it may go on."""
_NEWEST_DAY = 0.5
_SPENT_BY = 0.95
"""Part of the time or of the traffic after which a plan has spent all: what is left then finds its chances in the rest."""


class Traffic(Struct, array_like=True):
    """Slates by hour of the day.

    Attributes
    ----------
    day : that is counted now, in days since 1970
    counts : 24 numbers, of this day
    shares : 24 numbers that sum to 1, of the days before; none of the first day
    """

    day: int = 0
    counts: list[float] = []
    shares: list[float] = []

    def count(self, slates: int, *, time_ms: int) -> None:
        """Count slates; those of an earlier day than the last one count on this day, at their hour."""
        day, hour = time_ms // DAY_MS, time_ms % DAY_MS // HOUR_MS
        if day > self.day or not self.counts:
            self._learn()
            self.day, self.counts = day, [0.0] * 24
        self.counts[hour] += slates

    def _learn(self) -> None:
        total = sum(self.counts)
        if total == 0:
            return
        today = [count / total for count in self.counts]
        if not self.shares:
            self.shares = today
            return
        self.shares = [_NEWEST_DAY * new + (1 - _NEWEST_DAY) * old for new, old in zip(today, self.shares, strict=True)]

    def share_until(self, time_ms: int) -> float:
        """The part of a day's traffic that has come by this time; of its hours, where nothing is known."""
        in_day_ms = time_ms % DAY_MS
        if not self.shares:
            return in_day_ms / DAY_MS
        hour, into_ms = divmod(in_day_ms, HOUR_MS)
        return min(1.0, sum(self.shares[:hour]) + self.shares[hour] * into_ms / HOUR_MS)


def planned(share: float) -> float:
    """The part of a budget that should be spent when this part of the time or of the traffic has passed."""
    return min(1.0, max(0.0, share) / _SPENT_BY)


def next_pace(pace: float, *, spent: float, planned: float, step: float) -> float:
    """The pace of the next interval.

    Parameters
    ----------
    spent, planned : parts of the budget
    step : part by which the pace changes
    """
    return max(LOWEST_PACE, pace * (1 - step)) if spent > planned else min(1.0, pace * (1 + step))
