"""What `flinkrec alerts` makes of the records of the topic."""

from __future__ import annotations

from cli.alerts import Surges, told
from models.monitor.alerts import Alert, AlertText

END_MS = 1_704_099_600_000  # 2024-01-01 09:00 UTC


def alert(name="a", state="raised", *, hours=0, **more):
    fields = {
        "alert_id": name,
        "state": state,
        "kind": "volume",
        "topic": "deals",
        "raised_window_end_ms": END_MS,
        "window_start_ms": END_MS + (hours - 1) * 3_600_000,
        "window_end_ms": END_MS + hours * 3_600_000,
        "texts": 40,
        "expected_texts": 8.25,
        "negative_share": 0.5,
        "expected_negative_share": 0.2,
        "score": 9.0,
        "emitted_at_ms": END_MS + hours * 3_600_000 + 900,
    }
    return Alert(**fields | more)


def test_what_was_raised_and_not_cleared_is_open_and_a_record_written_again_counts_once():
    surges = Surges()
    new = [surges.put(one) for one in (alert("b", hours=2), alert("a"), alert("a"), alert("c", hours=1), alert("a", "cleared", hours=3))]
    assert new == [True, True, False, True, True]
    assert [one.alert_id for one in surges.open] == ["c", "b"]
    assert [(one.alert_id, one.state) for one in surges.all] == [("a", "raised"), ("c", "raised"), ("b", "raised"), ("a", "cleared")]


def test_a_raised_alert_is_told_with_the_texts_that_caused_it():
    texts = [
        AlertText(text_id=f"{n}", kind="news", text=f"Norvik fails {n}", event_time_ms=END_MS, sentiment="negative") for n in range(5)
    ]
    first, *others = told(alert(entity="Norvik", entities=["Norvik", "Halden"], examples=texts))
    assert first == (
        "2024-01-01 09:00 UTC  raised   deals, Norvik: 40 texts where 8.2 are usual, 50% of them negative where 20% are; "
        "they name Norvik, Halden"
    )
    assert others == [f"    negative: Norvik fails {n}" for n in range(3)]


def test_a_cleared_alert_says_why():
    [line] = told(alert(state="cleared", texts=0, negative_share=None, hours=1, cleared_by="duration"))
    assert line == "2024-01-01 10:00 UTC  cleared  deals: 0 texts where 8.2 are usual; it is what is usual now"
