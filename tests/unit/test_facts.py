"""Facts: what the metrics are told of an event, of its answer, and of a record that was refused."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from models.attribution import ClosedSlate, OpenSlate, Tally
from models.events import Event, Refusal
from models.facts import NO_LATENCY, Fact, event_fact, outcome_fact, rejection_fact
from models.metrics.score_bins import ScoreBins
from models.recommender import Observation
from models.topics import Recommendation, RecommendedItem, Timings

EVENT = Event("e", "u", "i", "rating", 5_000, sent_at_ms=1_000)
FIRST = Observation(b"", None, None, evaluated=False, position=0, shown=0)


def answer(*item_ids: str, emitted_at_ms: int = 1_030) -> Recommendation:
    return Recommendation(
        slate_id="s",
        revision="r",
        seq=1,
        user_id="u",
        event_id="e",
        event_time_ms=5_000,
        items=[RecommendedItem(item_id=item, position=n, score=0.0) for n, item in enumerate(item_ids, start=1)],
        policy="p",
        action="a",
        action_probability=1.0,
        versions={},
        timings=Timings(sent_at_ms=1_000, received_at_ms=1_010, emitted_at_ms=emitted_at_ms, compute_us=5),
    )


def fact_of(
    event: Event = EVENT,
    seen: Observation = FIRST,
    slate: Recommendation | None = None,
    tally: Tally | None = None,
    **more,
) -> Fact:
    always = {"bins": ScoreBins(4), "late": False, "known_items": 0, "time_ms": 5_000}
    return event_fact(event, seen, slate, tally or Tally(), **always | more)


def test_an_answered_event_tells_what_was_shown_and_how_long_it_took():
    assert fact_of(slate=answer("a", "b"), known_items=40, late=True, time_ms=6_000) == Fact(
        time_ms=6_000,
        kind="event",
        type="rating",
        late=1,
        evaluated=0,
        position=0,
        shown=0,
        score_marks="",
        slates=1,
        recommended=2,
        items="a\x1fb",
        known_items=40,
        latency_ms=30,
    )


def test_an_event_that_judges_a_slate_tells_the_place_of_its_item():
    fact = fact_of(seen=Observation(b"", None, b"", evaluated=True, position=3, shown=10))
    assert (fact.evaluated, fact.position, fact.shown) == (1, 3, 10)


def test_an_event_that_judges_a_slate_tells_the_bins_of_all_its_probabilities():
    probabilities = np.array([0.5, 0.02, 0.0], np.float32)
    seen = Observation(b"", None, b"", evaluated=True, position=3, shown=3, probabilities=probabilities)
    assert fact_of(seen=seen).score_marks == "320"
    # what judges no slate labels no probability, though one may have been shown
    assert fact_of(seen=dataclasses.replace(seen, evaluated=False)).score_marks == ""


def test_an_event_without_an_answer_counts_no_slate_and_no_latency():
    fact = fact_of()
    assert (fact.slates, fact.recommended, fact.items, fact.latency_ms) == (0, 0, "", NO_LATENCY)


def test_an_empty_slate_is_an_answer():
    fact = fact_of(slate=answer())
    assert (fact.slates, fact.recommended, fact.items, fact.latency_ms) == (1, 0, "", 30)


def test_without_the_producers_clock_there_is_no_latency():
    silent = msgspec.structs.replace(EVENT, sent_at_ms=None)
    assert fact_of(event=silent, slate=answer("a")).latency_ms == NO_LATENCY


def test_a_producers_clock_that_is_ahead_is_no_latency_below_zero():
    assert fact_of(slate=answer("a", emitted_at_ms=400)).latency_ms == 0


@pytest.mark.parametrize("reason", Refusal)
def test_a_refused_record_tells_its_reason_and_counts_nowhere_else(reason):
    fact = rejection_fact(reason, time_ms=7)
    assert (fact.time_ms, fact.kind, fact.type, fact.latency_ms) == (7, "rejected", reason.value, NO_LATENCY)
    counted = (fact.late, fact.evaluated, fact.position, fact.shown, fact.slates, fact.recommended, fact.known_items)
    assert (sum(counted), fact.items, fact.score_marks) == (0, "", "")


def test_facts_are_made_of_integers_and_texts_alone():
    # they cross into SQL as they are: anything else would be a ClassCastException at run time
    for fact in (fact_of(slate=answer("a")), rejection_fact(Refusal.EMPTY, time_ms=0)):
        for field, value in zip(msgspec.structs.fields(Fact), msgspec.structs.astuple(fact), strict=True):
            assert type(value) is field.type in (int, str), field.name


def closed(reward: float, *, activated: bool = True, superseded: bool = False) -> ClosedSlate:
    slate = OpenSlate(1, 2, 1, 0, 0, 0, activated, superseded, 1, reward, 0, b"", b"")
    return ClosedSlate(slate, reward, 1_000, "window", None)


def test_a_fact_counts_what_closed_and_sums_the_rewards_of_what_was_seen():
    slates = [closed(2.5), closed(-1e30), closed(7.0, activated=False), closed(7.0, superseded=True)]
    tally = Tally(joined=1, late=2, orphans=3, closed=slates)
    for fact in (fact_of(tally=tally), outcome_fact(tally, time_ms=5_000)):
        assert (fact.outcomes_joined, fact.outcomes_late, fact.outcomes_orphan) == (1, 2, 3)
        assert (fact.slates_closed, fact.slates_judged) == (4, 2)
        assert fact.reward_micros == 2_500_000 - 10**15
    assert (fact.kind, fact.time_ms, fact.slates, fact.latency_ms) == ("outcome", 5_000, 0, NO_LATENCY)
