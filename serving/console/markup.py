"""Pieces of HTML that the pages are made of where nothing is clicked: tables, bars, facts. Texts are escaped here, and only here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


class Markup(str):
    """HTML that is safe as it stands; everything else is escaped where it is put in."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    title : of the column
    number : whether it holds numbers, which stand on the right
    """

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a list of bars.

    Attributes
    ----------
    label : what it is of
    share : its length, 0 to 1
    value : the number beside it, as it is written
    colour : a name of console.css, such as ``s1``
    """

    label: str
    share: float
    value: str
    colour: str = "s1"


def text(content: str | Markup) -> Markup:
    """A text as HTML."""
    return content if isinstance(content, Markup) else Markup(escape(content))


def joined(parts: Iterable[str | Markup], separator: str = " ") -> Markup:
    """Several pieces, one after the other."""
    return Markup(separator.join(map(text, parts)))


def chip(content: str, kind: str = "") -> Markup:
    """A word in a small frame; kind is accent, good, warn, bad or empty."""
    return Markup(f'<span class="chip {escape(kind)}">{escape(content)}</span>')


def titled(title: str | None, item_id: str) -> Markup:
    """An item by its title and then its id; by its id where there is no title."""
    if not title:
        return text(item_id)
    return Markup(f'{escape(title)} <span class="id">{escape(item_id)}</span>')


def table(columns: Sequence[Column], rows: Iterable[Sequence[str | Markup]], *, caption: str, classes: Sequence[str] = ()) -> Markup:
    """A table; `caption` is read to those who do not see it, `classes` are those of the rows."""
    head = "".join(f'<th scope="col"{_number(column)}>{escape(column.title)}</th>' for column in columns)
    body = "".join(
        f'<tr class="{escape(classes[place] if place < len(classes) else "")}">'
        + "".join(f"<td{_number(column)}>{text(cell)}</td>" for column, cell in zip(columns, row, strict=True))
        + "</tr>"
        for place, row in enumerate(rows)
    )
    return Markup(
        f'<div class="scroll"><table class="data" aria-label="{escape(caption)}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(column: Column) -> str:
    return ' class="number"' if column.number else ""


def bars(entries: Iterable[Bar]) -> Markup:
    """Bars with their labels on the left and their numbers on the right."""
    return Markup(
        '<div class="bars">'
        + "".join(
            f'<span class="label" title="{escape(bar.label)}">{escape(bar.label)}</span>'
            f'<span class="track"><span class="fill" style="display:block;width:{100 * min(1.0, max(0.0, bar.share)):.1f}%;'
            f'background:var(--{escape(bar.colour)})"></span></span>'
            f'<span class="value">{escape(bar.value)}</span>'
            for bar in entries
        )
        + "</div>"
    )


def facts(entries: Iterable[tuple[str, str | Markup]]) -> Markup:
    """What is known of one thing: a name and a value a line."""
    return Markup('<dl class="facts">' + "".join(f"<dt>{escape(name)}</dt><dd>{text(value)}</dd>" for name, value in entries) + "</dl>")


def empty(what: str, advice: str) -> Markup:
    """What stands where there is nothing yet: what is missing, and what to do."""
    return Markup(f'<div class="empty"><strong>{escape(what)}</strong><span>{escape(advice)}</span></div>')
