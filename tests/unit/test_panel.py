"""The panel: what stands in it, that it fits the smallest terminal, and that no text from outside can steer one."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from cli.loop import Answer, AnswerTimings, Progress, ShownItem, ShownReason
from cli.panel import Figures, because, duration, progress_panel, quality_line, shortened, slate_table
from models.evaluation.prequential import PrequentialReport

QUALITY = PrequentialReport(
    events=1_000,
    evaluated=900,
    hr_at_k=0.2312,
    ndcg_at_k=0.1193,
    precision_at_k=0.0232,
    recall_at_k=0.2312,
    f1_at_k=0.0422,
    coverage=0.5321,
    avg_recommendations=9.98,
)


def lines(renderable: RenderableType, *, width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def slate(*items: ShownItem, user_id: str = "405") -> Answer:
    return Answer(
        user_id=user_id,
        event_id="e-1",
        seq=17,
        items=list(items),
        timings=AnswerTimings(),
        versions={"ranker": "1795540371.4217-c0ffee"},
    )


def long_slate() -> Answer:
    """Ten places whose titles and reasons are all longer than there is room for."""
    reasons = [ShownReason("item_cf", f"own-{n}", 1.0 / n) for n in (1, 2, 3)]
    return slate(*(ShownItem(f"i-{n}", "An Item With A Very Long Title " * 3, n == 3, reasons) for n in range(10)))


def running(**changes: object) -> Progress:
    progress = Progress(
        sent=600, answered=540, dead_letters=10, waiting=50, latencies_ms=[10] * 98 + [200] * 2, finished_s=10.0
    )
    for name, value in changes.items():
        setattr(progress, name, value)
    return progress


def test_the_panel_holds_every_figure_and_fits_80_by_24():
    answer = long_slate()
    titles = {f"own-{n}": "Another Long Title Of One's Own" for n in (1, 2, 3)}
    shown = lines(progress_panel(Figures(1_000, running(last=answer, watched=answer), QUALITY, 10), titles))

    # the cursor waits in a line of its own below
    assert len(shown) <= 23
    assert all(cell_len(line) <= 80 for line in shown)
    text = "\n".join(shown)
    for part in ("HR@10", "0.2312", "NDCG@10", "0.1193", "precision@10", "0.0232", "recall@10", "F1@10", "0.0422"):
        assert part in text
    for part in ("0.5321", "9.98", "latency p50", "10 ms", "latency p99", "200 ms", "dead letters", "4217"):
        assert part in text
    assert "55%" in shown[1]
    assert "550 of 1,000 events, 54 events/s, 8 s left" in shown[2]
    assert "user 405, slate 17" in text
    assert [line.split()[1] for line in shown[-11:-1]] == ["1", "2", "3", "4*", "5", "6", "7", "8", "9", "10"]


def test_a_slate_wider_than_the_panel_shows_its_first_ten_places():
    answer = slate(*(ShownItem(f"i-{n}") for n in range(40)))

    shown = lines(progress_panel(Figures(1_000, running(watched=answer), QUALITY, 40), {}))

    assert len(shown) <= 23
    assert any("item i-9" in line for line in shown)
    assert not any("item i-10" in line for line in shown)


def test_events_that_still_wait_are_not_done_and_those_that_need_no_answer_are():
    figures = Figures(1_000, running(sent=600, answered=540, dead_letters=10, waiting=50), QUALITY, 10)

    assert figures.done == 550
    # 550 took 10 s, 450 are left
    assert figures.remaining_s == pytest.approx(10 * 450 / 550)
    assert quality_line(figures).startswith("550 of 1,000 events, 54 events/s, 8 s left; HR@10 0.2312")


def test_before_the_first_answer_there_is_neither_rate_nor_time_left_nor_slate():
    shown = lines(progress_panel(Figures(1_000, Progress(), QUALITY, 10), {}, user="405"))

    text = "\n".join(shown)
    assert "0 of 1,000 events, 0 events/s" in text
    assert "left" not in text
    assert "none yet" in text
    assert "user 405: no recommendations yet" in text


def test_a_finished_run_has_no_time_left():
    figures = Figures(1_000, running(sent=1_000, waiting=0), QUALITY, 10)

    assert "left" not in quality_line(figures)


def test_reasons_are_named_by_title_with_their_share_of_the_whole_score():
    item = ShownItem(
        "i",
        "Fargo",
        False,
        [ShownReason("item_cf", "1", 3.0), ShownReason("item_cf", "2", 1.5), ShownReason("item_cf", None, 1.5)],
    )

    assert because(item, {"1": "Heat"}, width=30) == "Heat 50%, item 2 25%"


def test_an_item_that_no_own_item_caused_says_what_did():
    assert because(ShownItem("i", reasons=[ShownReason("popularity")]), {}, width=30) == "popular"
    assert because(ShownItem("i", reasons=[ShownReason("campaign")]), {}, width=30) == "campaign"
    assert because(ShownItem("i"), {}, width=30) == ""


def test_both_shares_can_be_read_however_long_the_titles_are():
    [row] = [line for line in lines(slate_table(long_slate(), {}, places=1)) if line.lstrip().startswith("1 ")]

    # of 1 + 1/2 + 1/3
    assert "55%" in row
    assert "27%" in row


def test_markup_and_escape_sequences_in_titles_and_ids_are_shown_not_obeyed():
    hostile = "\x1b[2J[b]x[/]\r\n"
    own = ShownReason("item_cf", "own", 1.0)
    shown = lines(slate_table(slate(ShownItem("i", hostile, False, [own]), user_id=hostile), {"own": hostile}))

    text = "\n".join(shown)
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("[b]") == 3
    # user, header, one place
    assert len(shown) == 3


def test_wide_characters_count_as_the_two_cells_they_take():
    assert cell_len(shortened("千と千尋の神隠し" * 4, 21)) <= 21
    assert shortened("千と千尋の神隠し", 16) == "千と千尋の神隠し"
    assert shortened("Toy Story", 9) == "Toy Story"
    assert shortened("Toy Story 2", 9) == "Toy Stor…"


def test_durations_are_said_in_minutes_from_a_minute_on():
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.6, 61)] == ["0 s", "59 s", "1 min 0 s", "1 min 1 s"]
