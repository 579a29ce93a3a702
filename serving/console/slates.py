"""A slate as people see it: titles, reasons as bars of contributions, and what is new since the slate before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.fields import Reason
from serving.console.markup import Bar, Markup, bars, chip, joined
from serving.console.words import COLOURS, significant, source

Titles = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Move:
    """Where an item stood in the slate before.

    Attributes
    ----------
    before : its position there, None where it was not in it
    by : places that it rose; below 0 it fell
    """

    before: int | None
    by: int

    def in_words(self) -> tuple[str, str]:
        """What to write beside it, and the kind of its chip; empty where nothing changed."""
        if self.before is None:
            return "new", "accent"
        return (f"up {self.by}", "good") if self.by > 0 else (f"down {-self.by}", "") if self.by < 0 else ("", "")


def moves(before: Sequence[str], now: Sequence[str]) -> list[Move]:
    """What became of each place of a slate.

    Parameters
    ----------
    before, now : item ids by position; with nothing before, nothing has moved

    Examples
    --------
    >>> [move.in_words()[0] for move in moves(["a", "b", "c"], ["b", "d", "c"])]
    ['up 1', 'new', '']
    """
    if not before:
        return [Move(place, 0) for place in range(1, len(now) + 1)]
    stood = {item_id: place for place, item_id in enumerate(before, 1)}
    return [Move(stood.get(item_id), stood[item_id] - place if item_id in stood else 0) for place, item_id in enumerate(now, 1)]


def reason_bars(reasons: Sequence[Reason], *, longest: Mapping[str, float], titles: Titles) -> Markup:
    """The reasons of one item: a bar for each that says how much it contributed, a word for each other.

    Parameters
    ----------
    longest : contribution that fills a bar, for each kind of reason: those of two kinds cannot be compared
    titles : title of an item, None where it has none
    """
    measured = [
        Bar(
            _because(reason, titles),
            reason.contribution / longest.get(reason.kind, reason.contribution),
            significant(reason.contribution),
            COLOURS.get(reason.kind, "s6"),
        )
        for reason in reasons
        if reason.contribution > 0
    ]
    named = [chip(source(reason.kind)) for reason in reasons if reason.contribution <= 0]
    return Markup((bars(measured) if measured else "") + (f'<div class="row tight">{joined(named)}</div>' if named else ""))


def longest_contributions(reasons: Iterable[Reason]) -> dict[str, float]:
    """The largest contribution of each kind."""
    longest: dict[str, float] = {}
    for reason in reasons:
        longest[reason.kind] = max(longest.get(reason.kind, 0.0), reason.contribution)
    return longest


def _because(reason: Reason, titles: Titles) -> str:
    if reason.item_id is not None:
        return f"because of {titles(reason.item_id) or reason.item_id}"
    return "because of others of your items" if reason.kind == "item_cf" else source(reason.kind)
