"""Visits, and whether their users came back: what retention is computed from.

A visit begins with an event that comes longer than profile.sitting_gap_s after all earlier ones of its user. The user has come back
when it begins at most metrics.retention_days after the latest of them. What is counted is

    retention = visits of users who came back / visits that began

Each return answers one earlier visit, and each visit is answered by at most one return: where as many visits begin from day to day,
it is the share of visits that are followed by another within retention_days. While there are more and more users it is below that,
since the visits of newcomers are counted before they can return. Both counts are sums over events, so a window has them exactly once.
"""

from __future__ import annotations

from enum import IntEnum

_DAY_MS = 86_400_000


class Visit(IntEnum):
    """What an event is to the visits of its user."""

    GOES_ON = 0
    BEGINS = 1
    COMES_BACK = 2


def visit_of(event_time_ms: int, previous_ms: int, *, gap_ms: float, retention_ms: float) -> Visit:
    """Whether a visit begins with an event, and whether its user has come back.

    Parameters
    ----------
    event_time_ms : of the event
    previous_ms : of the user's latest event before, -1 where there was none
    gap_ms : a longer pause begins a visit
    retention_ms : the longest pause after which a user has come back
    """
    if previous_ms < 0:
        return Visit.BEGINS
    pause_ms = event_time_ms - previous_ms
    if pause_ms <= gap_ms:
        return Visit.GOES_ON
    return Visit.COMES_BACK if pause_ms <= retention_ms else Visit.BEGINS


def is_first_of_day(event_time_ms: int, previous_ms: int) -> bool:
    """Whether an event is the first of its user in its day (UTC): such events count distinct users, and add up."""
    return previous_ms < 0 or event_time_ms // _DAY_MS > previous_ms // _DAY_MS
