"""RECOMMEND's timers: which slate closes when, by which clock, and what a restore makes of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from models.config import Configuration, Events, EventType, Outcomes, Policy, Profile, Scorer, Sources, Strategy
from models.cooccurrence import CooccurrenceTable
from models.events import Event
from models.pipeline import LocalPipeline
from models.policies.steps import decode_step
from operators.recommend import LAST_WATERMARK_MS
from tests import synthetic
from tests.operator.fakes import FakeBackend
from tests.operator.test_recommend_operator import LEARNER_KEY, T0, Recommending, Yielded

WINDOW_MS, LATE_MS, GAP_S, IDLE_MS = 100_000, 10_000, 300, 50_000
CLOSES_MS = WINDOW_MS + LATE_MS
CONFIG = Configuration(
    events=Events(
        types={
            "view": EventType(),
            "rating": EventType(),
            "cart": EventType(weight=2.0, makes_slate=False),
            "impression": EventType(weight=0.0, makes_slate=False),
        },
        late_after_ms=LATE_MS,
    ),
    profile=Profile(sitting_gap_s=GAP_S),
    scorer=Scorer(name="none", candidates=20),
    policy=Policy(name="sarsa", strategies={"personal": Strategy(), "broad": Strategy(diversity=0.5)}),
    outcomes=Outcomes(window_ms=WINDOW_MS, idle_ms=IDLE_MS, max_open=3),
    # how often a replica has shown an item is no state
    sources=Sources(new_items=0.0),
)
UNSEEN = msgspec.structs.replace(CONFIG, outcomes=msgspec.structs.replace(CONFIG.outcomes, served_means_seen=False))


def rows() -> list[tuple[str, bytes]]:
    table = CooccurrenceTable(CONFIG.item_cf, CONFIG.popularity)
    pipeline = LocalPipeline(CONFIG)
    pipeline.table = table
    for event in synthetic.events(300, users=20, items=60):
        pipeline.learn(event)
    table.take_deltas()
    return table.take_updates()


ROWS = rows()


class Clocked(Recommending):
    """RECOMMEND with a model, whose clocks are set by hand."""

    def __init__(self, configuration: Configuration = CONFIG, backend: FakeBackend | None = None) -> None:
        super().__init__(configuration, backend)
        for key, value in ROWS:
            self.update("model-updates", key, value)

    def view(self, name: str, after_ms: int, *, item: str = "item-1", user: str = "u", **more: Any) -> Yielded:
        return self.event(Event(name, user, item, more.pop("type", "view"), T0 + after_ms, **more))

    def time(self, after_ms: int) -> Yielded:
        return Yielded(self.advance_watermark(T0 + after_ms))

    def clock(self, until_ms: int) -> Yielded:
        return Yielded(self.fire_timers(until_ms))

    def heartbeat_ms(self) -> int:
        [(time_ms, _)] = self.backend.timers
        return time_ms


def by_slate(outcome: dict[str, Any]) -> tuple[str, int]:
    return outcome["user_id"], outcome["seq"]


def shown(yielded: Yielded, place: int = 0) -> str:
    return yielded.slates[0]["items"][place]["item_id"]


def test_a_slate_closes_when_the_watermark_has_passed_its_window_and_its_session():
    recommend = Clocked()
    first = recommend.view("e1", 0)
    taken = recommend.view("e2", 5_000, item=shown(first), type="cart")
    assert taken.facts[0].outcomes_joined == 1
    assert recommend.time(CLOSES_MS - 1).outcomes == []
    assert recommend.time(CLOSES_MS).outcomes == [], "nobody knows whether another slate follows in the session"
    assert recommend.time(5_000 + GAP_S * 1000 + LATE_MS - 1).outcomes == []
    yielded = recommend.time(5_000 + GAP_S * 1000 + LATE_MS)
    [(key, outcome)] = yielded.keyed_outcomes
    assert key == b"u"
    assert (outcome["slate_id"], outcome["revision"]) == (first.slates[0]["slate_id"], first.slates[0]["revision"])
    assert (outcome["closed_by"], outcome["closed_time_ms"]) == ("window", T0 + WINDOW_MS)
    assert (outcome["reward"], outcome["outcomes"], outcome["delay_ms"], outcome["terminal"]) == (2.0, 1, 5_000, True)
    assert [(item["reward"], item["events"]) for item in outcome["items"][:2]] == [(2.0, 1), (0.0, 0)]
    [row] = yielded.steps
    assert row[0] == LEARNER_KEY
    choice, following = decode_step(row[1])
    assert (choice.reward, choice.context.state, following) == (2.0, outcome["context"]["state"], None)
    [fact] = yielded.facts
    assert (fact.kind, fact.slates_closed, fact.slates_judged, fact.reward_micros) == ("outcome", 1, 1, 2_000_000)
    assert recommend.backend.counts == {"outcomes_joined": 1, "slates_closed_window": 1}
    assert not recommend.backend.event_timers
    assert {name for name, _ in recommend.backend.cells} == {"user", "seen", "pending", "settled"} - {"pending"}


def test_the_next_slate_of_the_session_ends_the_wait_and_is_part_of_the_step():
    recommend = Clocked()
    recommend.view("e1", 0)
    second = recommend.view("e2", 60_000, item="item-2")
    yielded = recommend.time(CLOSES_MS)
    [outcome] = yielded.outcomes
    assert (outcome["event_id"], outcome["terminal"]) == ("e1", False)
    assert outcome["next"]["action"] == second.slates[0]["action"]
    choice, following = decode_step(yielded.steps[0][1])
    assert following is not None
    assert (following.context.state, outcome["reward"], choice.reward) == (outcome["next"]["state"], 0.0, 0.0)


def test_there_is_one_timer_of_each_kind_for_all_slates_of_a_user():
    recommend = Clocked()
    for number in range(3):
        recommend.view(f"e{number}", 10_000 * number, item=f"item-{number}")
    assert recommend.backend.event_timers == {(T0 + CLOSES_MS, "u")}
    assert len(recommend.backend.timers) == 1
    assert [outcome["event_id"] for outcome in recommend.time(CLOSES_MS).outcomes] == ["e0"]
    assert recommend.backend.event_timers == {(T0 + 10_000 + CLOSES_MS, "u")}


def test_too_many_open_slates_close_the_oldest_early():
    recommend = Clocked()
    for number in range(3):
        assert recommend.view(f"e{number}", 1_000 * number, item=f"item-{number}").outcomes == []
    yielded = recommend.view("e3", 3_000, item="item-3")
    [outcome] = yielded.outcomes
    assert (outcome["event_id"], outcome["closed_by"], outcome["closed_time_ms"]) == ("e0", "bound", T0 + 3_000)
    assert yielded.facts[0].slates_closed == 1
    assert recommend.backend.counts["slates_closed_bound"] == 1


def test_a_late_event_is_counted_and_changes_nothing():
    recommend = Clocked()
    first = recommend.view("e1", 0)
    [slate] = first.slates
    recommend.time(10 * CLOSES_MS)
    late = recommend.view("e2", 1_000, item=shown(first), type="cart", slate_id=slate["slate_id"])
    assert (late.facts[0].outcomes_joined, late.facts[0].outcomes_late, late.outcomes) == (0, 1, [])
    assert len(late.pairs) == 1, "it still feeds collaborative filtering"


def test_an_event_that_names_an_unknown_slate_waits_and_is_an_orphan_then():
    recommend = Clocked()
    recommend.view("e1", 0, type="cart", slate_id="00000000000000aa")
    yielded = recommend.time(60_001)
    assert [fact.outcomes_orphan for fact in yielded.facts] == [1]
    assert recommend.backend.counts == {"outcomes_orphan": 1}
    assert not recommend.backend.event_timers


def test_a_slate_that_nobody_saw_teaches_nothing():
    recommend = Clocked(UNSEEN)
    first = recommend.view("e1", 0)
    recommend.view("e2", 1_000, item="item-2")
    recommend.event(Event("i1", "u", shown(first), "impression", T0 + 2_000, slate_id=first.slates[0]["slate_id"]))
    yielded = recommend.time(10 * CLOSES_MS)
    assert [(o["event_id"], o["activated"], o["terminal"]) for o in yielded.outcomes] == [
        ("e1", True, True), ("e2", False, True)
    ]
    assert len(yielded.steps) == 1


def test_an_outcome_that_quotes_another_revision_feeds_the_pairs_and_keeps_its_slate_from_the_policy():
    recommend = Clocked()
    first = recommend.view("e1", 0)
    quoted = {"slate_id": first.slates[0]["slate_id"], "revision": "00000000000000aa"}
    taken = recommend.view("e2", 1_000, item=shown(first), type="cart", **quoted)
    assert len(taken.pairs) == 1
    yielded = recommend.time(10 * CLOSES_MS)
    [outcome] = yielded.outcomes
    assert (outcome["superseded"], outcome["reward"], yielded.steps) == (True, 0.0, [])
    assert recommend.backend.counts["outcomes_superseded"] == 1


def test_when_event_time_stands_still_the_clock_closes_the_slates():
    recommend = Clocked()
    recommend.backend.now_ms = 5_000
    recommend.view("e1", 0)
    recommend.view("e2", 1_000, item="item-2")
    recommend.time(1_000)
    # the watermark has moved since the timer was armed
    first_ms = recommend.heartbeat_ms()
    assert recommend.clock(first_ms).outcomes == []
    second_ms = recommend.heartbeat_ms()
    assert second_ms == first_ms + IDLE_MS
    yielded = recommend.clock(second_ms)
    assert [(o["event_id"], o["closed_by"], o["terminal"]) for o in yielded.outcomes] == [
        ("e1", "heartbeat", False), ("e2", "heartbeat", True)
    ]
    assert {outcome["closed_time_ms"] for outcome in yielded.outcomes} == {second_ms}
    assert len(yielded.steps) == 2
    assert not recommend.backend.timers
    assert Yielded(recommend.advance_watermark(LAST_WATERMARK_MS)).outcomes == [], "once only"


def test_a_user_who_comes_back_gets_timers_again():
    recommend = Clocked()
    recommend.view("e1", 0)
    armed = set(recommend.backend.event_timers)
    recommend.clock(recommend.heartbeat_ms())
    assert armed == recommend.backend.event_timers, "it fires, and finds nothing"
    recommend.time(CLOSES_MS)
    later_ms = 10 * CLOSES_MS
    recommend.view("e2", later_ms, item="item-2")
    assert recommend.backend.event_timers == {(T0 + later_ms + CLOSES_MS, "u")}
    assert len(recommend.time(100 * CLOSES_MS).outcomes) == 1


def test_after_a_restore_a_heartbeat_that_is_long_due_waits_for_the_sources_to_go_on():
    recommend = Clocked()
    recommend.view("e1", 0)
    recommend.time(0)
    checkpoint = recommend.backend.checkpoint()
    checkpoint.watermark_ms = -(2**63)
    restored = Clocked(backend=checkpoint)
    assert restored.clock(recommend.heartbeat_ms() + 10**9).outcomes == []
    restored.view("e2", 60_000, item="item-2")
    assert [outcome["closed_by"] for outcome in restored.time(10 * CLOSES_MS).outcomes] == ["window", "window"]


@pytest.mark.parametrize("cut", [1, 17, 40])
def test_a_restored_operator_closes_each_slate_as_if_it_had_never_stopped(cut):
    stream = synthetic.events(60, users=3, items=60)
    whole, closed = Clocked(), []
    for event in stream:
        closed += whole.event(event).outcomes + whole.time(event.event_time_ms - T0).outcomes
    closed += Yielded(whole.advance_watermark(LAST_WATERMARK_MS)).outcomes
    first, again = Clocked(), []
    for event in stream[:cut]:
        again += first.event(event).outcomes + first.time(event.event_time_ms - T0).outcomes
    checkpoint = first.backend.checkpoint()
    # what was sent after the checkpoint is taken back by the exactly-once sink
    for event in stream[cut : cut + 10]:
        first.event(event)
    checkpoint.watermark_ms = -(2**63)
    second = Clocked(backend=checkpoint)
    for event in stream[cut:]:
        again += second.event(event).outcomes + second.time(event.event_time_ms - T0).outcomes
    again += Yielded(second.advance_watermark(LAST_WATERMARK_MS)).outcomes
    # of one user in the order of the slates; the watermark of the second life lags at first
    assert sorted(again, key=by_slate) == sorted(closed, key=by_slate)
    assert [o for o in again if o["user_id"] == "user-1"] == [o for o in closed if o["user_id"] == "user-1"]
    assert len({outcome["slate_id"] for outcome in closed}) == len(closed) == len(stream)
    assert sum(outcome["outcomes"] for outcome in closed) > 0
