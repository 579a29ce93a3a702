"""Numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import cycle

UNKNOWN = "–"

SOURCES = {
    "item_cf": "others also had",
    "user_cf": "similar users",
    "content": "alike",
    "trending": "trending",
    "new_items": "few have seen",
    "repeats": "had before",
    "popularity": "popular",
    "rule": "rule",
    "request": "asked for",
    "meaning": "says the same",
    "solved": "solved similar questions",
    "series": "next of a series",
    "offer": "offered for money",
}
"""What a candidate source, or kind of reason, means in a few words; a test holds the job's sources to it."""

COLOURS = dict(zip(SOURCES, cycle(f"s{number}" for number in range(1, 8)), strict=False))
"""The colour of each in console.css."""


def source(name: str) -> str:
    """What a source means; of one that this console does not know, such as a newer job's, its name."""
    return SOURCES.get(name, name.replace("_", " "))


def sources(names: Iterable[str]) -> list[str]:
    """Each of these sources once, those with words in the order of the words."""
    found = set(names)
    return [name for name in SOURCES if name in found] + sorted(found - SOURCES.keys())


def number(value: float | None, *, digits: int = 0) -> str:
    """With thousands apart."""
    return UNKNOWN if value is None or value != value else f"{value:,.{digits}f}"


def significant(value: float | None) -> str:
    """With three digits that count, such as 0.00123 or 12.3."""
    if value is None or value != value:
        return UNKNOWN
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def share(value: float | None, *, digits: int = 1) -> str:
    """Of one, in percent."""
    return UNKNOWN if value is None or value != value else f"{100 * value:.{digits}f} %"


def size(size_bytes: int | None) -> str:
    """In the largest unit that leaves a number above 1."""
    if size_bytes is None:
        return UNKNOWN
    value, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" or value >= 100 else f"{value:.1f} {units[0]}"


def duration(milliseconds: float | None) -> str:
    """Such as 40 ms, 12 s, 3 min, 2 h or 5 d."""
    if milliseconds is None:
        return UNKNOWN
    for limit, unit, name in ((1_000, 1, "ms"), (120_000, 1_000, "s"), (7_200_000, 60_000, "min"), (172_800_000, 3_600_000, "h")):
        if milliseconds < limit:
            return f"{milliseconds / unit:.0f} {name}"
    return f"{milliseconds / 86_400_000:.0f} d"


def ago(then_ms: int | None, *, now_ms: int) -> str:
    """How long ago something was."""
    return UNKNOWN if then_ms is None else f"{duration(max(0, now_ms - then_ms))} ago"


def moment(time_ms: int | None) -> str:
    """Date and time of the server's zone."""
    return UNKNOWN if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000):%Y-%m-%d %H:%M:%S}"
