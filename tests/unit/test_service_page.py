"""The page of the service desk's demo."""

from __future__ import annotations

from cli.report.service import ServicePage, Worked, render_service
from models.domains.service import START_MS, Case
from models.domains.service_figures import Closed, ServiceFigures
from models.fields import Reason
from models.topics import Recommendation, RecommendedItem, Timings


def closed(number: int, *, answerable: bool = True, right: bool = True, hand_over: bool = False, confidence: float = 0.9) -> Closed:
    case = Case(number, f"customer {number}", START_MS + number, "where <is> it", "track-parcel" if answerable else None)
    return Closed(case, answerable, right, confidence, hand_over, solved=right and not hand_over)


CASES = [
    *(closed(number) for number in range(12)),
    *(closed(20 + number, right=False, confidence=0.45) for number in range(4)),
    *(closed(30 + number, answerable=False, right=False, hand_over=True, confidence=0.1) for number in range(3)),
    closed(40, hand_over=True, confidence=0.3),
]


def answer(*, hand_over: bool) -> Recommendation:
    reasons = [Reason(kind="solved", contribution=12.0), Reason(kind="meaning", contribution=0.4)]
    item = RecommendedItem(item_id="track-parcel", position=1, score=0.7, reasons=reasons, title="Tracking & more")
    return Recommendation(
        slate_id=f"{1:016x}",
        revision=f"{2:016x}",
        seq=1,
        user_id="u",
        event_id="",
        event_time_ms=1,
        items=[] if hand_over else [item],
        policy="epsilon_greedy",
        action="exploit",
        action_probability=1.0,
        versions={},
        timings=Timings(received_at_ms=0, emitted_at_ms=0, compute_us=0),
        confidence=0.2 if hand_over else 0.91,
        hand_over=hand_over,
        suggestions=[item] if hand_over else [],
    )


def test_the_figures_count_what_they_say():
    figures = ServiceFigures.of(CASES)
    assert figures.top3 == 13 / 17
    assert figures.solved == 12 / 17
    assert figures.handed_over == 4 / 20
    assert figures.precision == 3 / 4
    assert figures.recall == 1.0
    assert [(round(said, 2), came, n) for said, came, n in figures.reliability] == [
        (0.1, 0.0, 3),
        (0.3, 1.0, 1),
        (0.45, 0.0, 4),
        (0.9, 1.0, 12),
    ]
    assert abs(figures.calibration_error - (3 * 0.1 + 0.7 + 4 * 0.45 + 12 * 0.1) / 20) < 1e-9


def test_the_page_shows_the_run_the_comparison_and_both_kinds_of_answers():
    worked = [Worked(name, CASES, CASES) for name in ("service", "service, learning nothing", "products")]
    examples = [(CASES[0], answer(hand_over=False)), (CASES[-1], answer(hand_over=True))]
    page = render_service(ServicePage(closed=CASES, examples=examples, compared=worked, days=10, seed=1))
    assert page.count("<svg") == 3
    assert "71 % of those that a template answers were solved without a person; 20 % of all were handed over" in page
    assert "Answered: “where &lt;is&gt; it”" in page
    assert "Handed over: “where &lt;is&gt; it”" in page
    assert "solved 12 similar questions, says the same" in page
    assert "Tracking &amp; more ✓" in page
    assert page.count('<td style="text-align: left">products</td>') == 1
