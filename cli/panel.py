"""What a person sees of a running loop: pure functions from figures to what rich prints, 80 columns wide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.loop import Answer, Progress, ShownItem
from models.evaluation.prequential import PrequentialReport

# Latency is shown over the latest answers: the first ones met cold caches.
RECENT = 5_000


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


def progress_panel(figures: Figures, titles: Mapping[str, str]) -> RenderableType:
    """Progress, quality, speed, and the latest slate of the watched user."""
    progress = figures.progress
    bar = ProgressBar(total=figures.total, completed=progress.answered, width=76)
    parts: list[RenderableType] = [Text(progress_line(figures)), bar, _figures_table(figures)]
    if progress.watched is not None:
        parts.append(slate_table(progress.watched, titles))
    return Panel(Group(*parts), title="flinkrec", width=80)


def progress_line(figures: Figures) -> str:
    """How far the loop is, in one line."""
    progress = figures.progress
    left = figures.total - progress.answered
    rest = f", {left / progress.events_per_s:,.0f} s left" if progress.events_per_s > 0 and left > 0 else ""
    return f"{progress.answered:,} of {figures.total:,} events at {progress.events_per_s:,.0f} events/s{rest}"


def quality_line(figures: Figures) -> str:
    """The figures of a running loop, in one line."""
    progress, quality, k = figures.progress, figures.quality, figures.k
    return (
        f"{progress_line(figures)}; HR@{k} {quality.hr_at_k:.4f}, NDCG@{k} {quality.ndcg_at_k:.4f}, "
        f"p50 {progress.latency_ms(0.5, last=RECENT):.0f} ms, {progress.dead_letters} dead letters"
    )


def _figures_table(figures: Figures) -> Table:
    progress, quality, k = figures.progress, figures.quality, figures.k
    version = (progress.last.versions if progress.last else {}).get("ranker", "none yet")
    table = Table(show_header=False, box=None, pad_edge=False, width=76)
    for row in (
        (f"HR@{k}", f"{quality.hr_at_k:.4f}", f"NDCG@{k}", f"{quality.ndcg_at_k:.4f}"),
        (f"precision@{k}", f"{quality.precision_at_k:.4f}", f"recall@{k}", f"{quality.recall_at_k:.4f}"),
        (f"F1@{k}", f"{quality.f1_at_k:.4f}", "coverage", f"{quality.coverage:.4f}"),
        ("avg recommendations", f"{quality.avg_recommendations:.2f}", "dead letters", f"{progress.dead_letters:,}"),
        (
            "latency p50 / p99",
            f"{progress.latency_ms(0.5, last=RECENT):.0f} / {progress.latency_ms(0.99, last=RECENT):.0f} ms",
            "model version",
            version.split("-")[0],
        ),
    ):
        table.add_row(*row)
    return table


def slate_table(answer: Answer, titles: Mapping[str, str], *, places: int = 5) -> Table:
    """The first places of a slate, with titles and reasons."""
    table = Table(
        title=f"user {answer.user_id}, slate {answer.seq}", title_justify="left", box=None, pad_edge=False, width=76
    )
    table.add_column("", justify="right")
    table.add_column("recommended", max_width=30, no_wrap=True)
    table.add_column("because of", no_wrap=True)
    for place, item in enumerate(answer.items[:places], start=1):
        mark = " (explored)" if item.explored else ""
        table.add_row(str(place), Text(_title(item.item_id, titles, item.title) + mark), Text(_because(item, titles)))
    return table


def _because(item: ShownItem, titles: Mapping[str, str]) -> str:
    """The user's own items that caused a recommendation, with their shares of the CF score."""
    total = sum(reason.contribution for reason in item.reasons)
    named = [reason for reason in item.reasons if reason.item_id is not None]
    if not named or total <= 0:
        return "popular"
    return ", ".join(
        f"{_title(reason.item_id or '', titles)} {reason.contribution / total:.0%}" for reason in named[:2]
    )


def _title(item_id: str, titles: Mapping[str, str], told: str | None = None) -> str:
    return told or titles.get(item_id) or f"item {item_id}"
