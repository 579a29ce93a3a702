"""Facts: what the metrics are told of an event, of its answer, and of a record that was refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.attribution import ClosedSlate, OpenSlate, Tally
from models.config import Configuration, Events, EventType, Metrics, Profile
from models.events import Event, Refusal
from models.facts import (
    ANSWERED,
    HANDED_OVER,
    NO_DWELL,
    NO_LATENCY,
    Fact,
    erasure_fact,
    event_fact,
    outcome_fact,
    rejection_fact,
    request_fact,
)
from models.metrics.score_bins import ScoreBins
from models.metrics.visits import Visit
from models.observer import Observation
from models.rankers import Rankers
from models.requests import Request
from models.topics import Recommendation, RecommendedItem, Timings
from models.treatments import Treatments
from models.validation import parse_configuration

EVENT = Event("e", "u", "i", "rating", 5_000, sent_at_ms=1_000)
FIRST = Observation(b"", None, None, evaluated=False, position=0, shown=0)
CONFIG = Configuration(
    events=Events(types={"rating": EventType(weight=1.5), "view": EventType(), "stay": EventType(weight=0.0, dwell=True)}),
    profile=Profile(sitting_gap_s=60),
    metrics=Metrics(retention_days=2),
)
DAY_MS = 86_400_000


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
    always = {"configuration": CONFIG, "bins": ScoreBins(4), "late": False, "known_items": 0, "arms": 0, "time_ms": 5_000}
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
        arm="default",
        arms=0,
        share_ppm=1_000_000,
        action="a",
        judged_action="",
        reward_milli=0,
        visit=Visit.BEGINS,
        first_of_day=1,
        dwell_milli=NO_DWELL,
    )


def test_an_event_that_judges_a_slate_tells_the_place_of_its_item():
    fact = fact_of(seen=Observation(b"", None, b"", evaluated=True, position=3, shown=10))
    assert (fact.evaluated, fact.position, fact.shown) == (1, 3, 10)


def test_a_hit_tells_the_strategy_of_its_slate_and_the_weight_of_the_event():
    hit = Observation(b"", None, b"", evaluated=True, position=3, shown=10, action="broad")
    fact = fact_of(seen=hit, slate=answer("a"))
    assert (fact.judged_action, fact.action, fact.reward_milli) == ("broad", "a", 1_500)
    assert fact_of(seen=msgspec.structs.replace(hit, position=0)).reward_milli == 0


def test_an_event_tells_the_arm_of_its_user_and_how_many_there_are():
    settings = parse_configuration({"experiment": {"arms": {"a": {"weight": 1}, "b": {"weight": 2}}}}, "t")
    treatments = Treatments(settings, Rankers(settings))
    seen = msgspec.structs.replace(FIRST, treatment=treatments.of("u"))
    fact = fact_of(seen=seen, arms=treatments.arms)
    assert fact.arms == 2
    assert fact.share_ppm == {"a": 333_333, "b": 666_667}[fact.arm]


@pytest.mark.parametrize(
    ("pause_ms", "visit", "first"),
    [
        (None, Visit.BEGINS, 1),
        (60_000, Visit.GOES_ON, 0),
        (-5_000, Visit.GOES_ON, 0),
        (60_001, Visit.COMES_BACK, 0),
        (2 * DAY_MS, Visit.COMES_BACK, 1),
        (2 * DAY_MS + 1, Visit.BEGINS, 1),
    ],
)
def test_an_event_tells_whether_a_visit_begins_with_it_and_whether_its_user_has_come_back(pause_ms, visit, first):
    time_ms = 10 * DAY_MS + 3_600_000
    event = msgspec.structs.replace(EVENT, event_time_ms=time_ms)
    seen = msgspec.structs.replace(FIRST, previous_ms=-1 if pause_ms is None else time_ms - pause_ms)
    fact = fact_of(event=event, seen=seen)
    assert (fact.visit, fact.first_of_day) == (visit, first)


def test_the_first_event_after_midnight_is_the_first_of_its_day_however_short_the_pause():
    event = msgspec.structs.replace(EVENT, event_time_ms=3 * DAY_MS)
    fact = fact_of(event=event, seen=msgspec.structs.replace(FIRST, previous_ms=3 * DAY_MS - 1))
    assert (fact.visit, fact.first_of_day) == (Visit.GOES_ON, 1)


def test_users_and_visits_are_counted_also_where_items_are_not_learned():
    fact = fact_of(seen=msgspec.structs.replace(FIRST, pair=None))
    assert (fact.visit, fact.first_of_day) == (Visit.BEGINS, 1)


def test_an_event_that_teaches_nothing_is_no_visit():
    nothing = Observation(None, None, None, evaluated=False, position=0, shown=0)
    fact = fact_of(event=msgspec.structs.replace(EVENT, type="stay"), seen=nothing)
    assert (fact.visit, fact.first_of_day) == (Visit.GOES_ON, 0)


@pytest.mark.parametrize(("value", "milli"), [(None, NO_DWELL), (-1.0, NO_DWELL), (0.0, 0), (1.2346, 1_235), (1e15, 10**15)])
def test_an_event_of_a_dwell_type_tells_the_time_that_was_spent(value, milli):
    stay = msgspec.structs.replace(EVENT, type="stay", value=value)
    assert fact_of(event=stay).dwell_milli == milli
    assert fact_of(event=msgspec.structs.replace(stay, type="view")).dwell_milli == NO_DWELL


def test_an_event_that_judges_a_slate_tells_the_bins_of_all_its_probabilities():
    probabilities = np.array([0.5, 0.02, 0.0], np.float32)
    seen = Observation(b"", None, b"", evaluated=True, position=3, shown=3, probabilities=probabilities)
    assert fact_of(seen=seen).score_marks == "320"
    # what judges no slate labels no probability, though one may have been shown
    assert fact_of(seen=msgspec.structs.replace(seen, evaluated=False)).score_marks == ""


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


def fact_of_request(answered=None, **asked) -> Fact:
    request = Request(request_id="r", user_id="u", event_time_ms=5_000, **asked)
    return request_fact(
        request,
        answered or answer("a", "b"),
        Tally(),
        treatment=Treatments(CONFIG, Rankers(CONFIG)).of("u"),
        configuration=CONFIG,
        known_items=40,
        arms=0,
        time_ms=6_000,
    )


def test_a_request_tells_what_it_showed_where_the_next_event_judges_it_and_else_how_long_it_took_alone():
    plain, less = fact_of_request(sent_at_ms=1_000), fact_of_request(sent_at_ms=1_000, k=2)
    assert (plain.kind, plain.slates, plain.recommended, plain.items, plain.action) == ("request", 1, 2, "a\x1fb", "a")
    assert (less.kind, less.slates, less.recommended, less.items, less.action) == ("request", 0, 0, "", "")
    assert (plain.latency_ms, less.latency_ms, fact_of_request().latency_ms) == (30, 30, NO_LATENCY)
    assert (plain.evaluated, plain.visit, plain.first_of_day, plain.dwell_milli) == (0, 0, 0, NO_DWELL)
    assert fact_of_request(k=10).slates == 1, "as many as events are answered with"


@pytest.mark.parametrize(
    ("said", "type_"), [({}, ""), ({"confidence": 0.9}, ANSWERED), ({"confidence": 0.1, "hand_over": True}, HANDED_OVER)]
)
def test_of_a_question_it_tells_whether_it_was_answered(said, type_):
    assert fact_of_request(answered=msgspec.structs.replace(answer("a", "b"), **said)).type == type_


def test_facts_are_made_of_integers_and_texts_alone():
    # they cross into SQL as they are: anything else would be a ClassCastException at run time
    for fact in (fact_of(slate=answer("a")), rejection_fact(Refusal.EMPTY, time_ms=0), fact_of_request(), erasure_fact(time_ms=0)):
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
