"""What a person sees of a running loop: pure functions from figures to what rich prints.

The panel fits into a terminal of 80 x 24. Titles and ids come from outside: they are never read as markup, and what is
not printable in them is replaced, because a catalogue must not be able to steer a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.loop import Answer, Progress, ShownItem
from models.evaluation.prequential import PrequentialReport
from models.topics import slate_number

# Latency is shown over the latest answers: the first ones met cold caches.
RECENT = 5_000
PANEL_WIDTH = 80
PANEL_PLACES = 10
_INNER_WIDTH = PANEL_WIDTH - 4
_REASONS_SHOWN = 2
_NOT_FROM_CF = {"popularity": "popular"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a panel shows.

    Parameters
    ----------
    total : events that will be sent
    progress, quality : of the loop
    k : length of a slate
    """

    total: int
    progress: Progress
    quality: PrequentialReport
    k: int

    @property
    def done(self) -> int:
        """Events that were sent and wait for nothing any more."""
        return self.progress.sent - self.progress.waiting

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at the rate so far; None before there is a rate."""
        elapsed_s = self.progress.finished_s - self.progress.started_s
        return elapsed_s * (self.total - self.done) / self.done if elapsed_s > 0 and self.done else None

    @property
    def model_version(self) -> str:
        """Number of the network that ranked the latest slate."""
        versions = self.progress.last.versions if self.progress.last else {}
        return versions.get("ranker", "none yet").split("-")[0].split(".")[-1]


def progress_panel(figures: Figures, titles: Mapping[str, str], *, user: str | None = None) -> RenderableType:
    """Progress, quality, speed, and the latest slate of the watched user.

    Parameters
    ----------
    titles : by item id
    user : whose slate is awaited while there is none
    """
    parts: list[RenderableType] = [_bar(figures), Text(progress_line(figures)), Text(), figures_table(figures), Text()]
    if figures.progress.watched is not None:
        parts.append(slate_table(figures.progress.watched, titles, places=PANEL_PLACES))
    elif user is not None:
        parts.append(Text(f"user {printable(user)}: no recommendations yet"))
    return Panel(Group(*parts), title="flinkrec", width=PANEL_WIDTH)


def _bar(figures: Figures) -> Table:
    # in a table, because a bar alone ends no line
    total = max(1, figures.total)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=total, completed=figures.done, width=_INNER_WIDTH - 6), f"{figures.done / total:4.0%}"
    )
    return bar


def progress_line(figures: Figures) -> str:
    """How far the loop is, in one line."""
    line = f"{figures.done:,} of {figures.total:,} events, {figures.progress.events_per_s:,.0f} events/s"
    if figures.remaining_s is not None and figures.done < figures.total:
        line += f", {duration(figures.remaining_s)} left"
    return line


def quality_line(figures: Figures) -> str:
    """The figures of a running loop in one line, for where there is no terminal."""
    progress, quality, k = figures.progress, figures.quality, figures.k
    return (
        f"{progress_line(figures)}; HR@{k} {quality.hr_at_k:.4f}, NDCG@{k} {quality.ndcg_at_k:.4f}, "
        f"coverage {quality.coverage:.4f}; p50 {progress.latency_ms(0.5, last=RECENT):,.0f} ms, "
        f"p99 {progress.latency_ms(0.99, last=RECENT):,.0f} ms; {progress.dead_letters:,} dead letters; "
        f"model {figures.model_version}"
    )


def figures_table(figures: Figures) -> Table:
    """Quality and speed so far, three figures a row."""
    progress, quality, k = figures.progress, figures.quality, figures.k
    p50_ms, p99_ms = (progress.latency_ms(quantile, last=RECENT) for quantile in (0.5, 0.99))
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
    middle = (
        (f"precision@{k}", f"{quality.precision_at_k:.4f}"),
        (f"recall@{k}", f"{quality.recall_at_k:.4f}"),
        (f"F1@{k}", f"{quality.f1_at_k:.4f}"),
        ("", ""),
    )
    left = (
        (f"HR@{k}", f"{quality.hr_at_k:.4f}"),
        (f"NDCG@{k}", f"{quality.ndcg_at_k:.4f}"),
        ("coverage", f"{quality.coverage:.4f}"),
        ("avg recommended", f"{quality.avg_recommendations:.2f}"),
    )
    right = (
        ("latency p50", f"{p50_ms:,.0f} ms"),
        ("latency p99", f"{p99_ms:,.0f} ms"),
        ("dead letters", f"{progress.dead_letters:,}"),
        ("model", figures.model_version),
    )
    for pairs in zip(left, middle, right, strict=True):
        table.add_row(*(cell for pair in pairs for cell in pair))
    return table


def slate_table(
    answer: Answer, titles: Mapping[str, str], *, places: int | None = None, width: int = _INNER_WIDTH
) -> Table:
    """A slate with titles and reasons, one line a place; `*` marks an explored one.

    Parameters
    ----------
    titles : by item id, of the items that the reasons name
    places : how many of the first places, None for all
    width : of a line, in cells of the terminal
    """
    title_width = width * 2 // 5
    table = Table(
        title=Text(f"user {printable(answer.user_id)}, slate {slate_number(answer.seq)}"),
        title_justify="left",
        box=None,
        pad_edge=False,
        width=width,
    )
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("recommended", width=title_width, no_wrap=True)
    table.add_column("because of", no_wrap=True)
    reason_width = (width - title_width - 6) // _REASONS_SHOWN
    for place, item in enumerate(answer.items[:places], start=1):
        table.add_row(
            f"{place}{'*' if item.explored else ''}",
            Text(shortened(_title(item.item_id, titles, item.title), title_width)),
            Text(because(item, titles, width=reason_width)),
        )
    return table


def because(item: ShownItem, titles: Mapping[str, str], *, width: int) -> str:
    """The user's own items that caused a recommendation most, each with its share of the item's CF score.

    Parameters
    ----------
    titles : by item id
    width : of one reason, in cells of the terminal
    """
    total = sum(reason.contribution for reason in item.reasons)
    own = [reason for reason in item.reasons if reason.item_id is not None and reason.contribution > 0]
    if not own:
        return ", ".join(_NOT_FROM_CF.get(reason.kind, printable(reason.kind)) for reason in item.reasons[:1])
    told = []
    for reason in own[:_REASONS_SHOWN]:
        share = f" {reason.contribution / total:.0%}"
        told.append(shortened(_title(reason.item_id or "", titles), width - len(share) - 2) + share)
    return ", ".join(told)


def duration(seconds: float) -> str:
    """A time to wait, in words of a person."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def shortened(text: str, width: int) -> str:
    """A text that takes at most `width` cells of the terminal, its end replaced by an ellipsis where it is longer."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def printable(text: str) -> str:
    """A text without control characters: they could move the cursor or change what stands on the screen."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _title(item_id: str, titles: Mapping[str, str], told: str | None = None) -> str:
    return printable(told or titles.get(item_id) or f"item {item_id}")
