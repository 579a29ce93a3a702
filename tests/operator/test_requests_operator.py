"""RECOMMEND asked for slates: what waits for which event and for how long, what a restore makes of it; traces; erasures."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from pyflink.common import Row

from models.config import Configuration, Requests
from models.events import Event
from models.identity import hash64, slate_id
from models.panel import panel_key
from models.pipeline import LocalPipeline
from models.requests import MAX_WAITING, decode_waiting
from models.traces import Trace
from operators.recommend import request_mark
from tests import synthetic
from tests.operator import test_recommend_operator
from tests.operator.fakes import FakeBackend
from tests.operator.test_recommend_operator import T0, Recommending, Yielded, view

# longer than a machine under load takes between two lines of a test
WAIT_MS = 20_000
CONFIG = msgspec.structs.replace(test_recommend_operator.CONFIG, requests=Requests(wait_ms=WAIT_MS))


@pytest.fixture(scope="module")
def updates() -> list[tuple[str, bytes]]:
    """Rows that the learn path published."""
    pipeline = LocalPipeline(CONFIG, publish_every=10**9)
    for event in synthetic.events(300):
        pipeline.learn(event)
    return pipeline.table.take_updates()


class Asked(Recommending):
    """RECOMMEND with a model, asked by hand."""

    def __init__(self, rows: Any = (), configuration: Configuration = CONFIG, backend: FakeBackend | None = None) -> None:
        super().__init__(configuration, backend)
        for key, value in rows:
            self.update("model-updates", key, value)

    def ask(self, name: str, *, user: str = "u", **more: Any) -> Yielded:
        raw = json.dumps({"request_id": name, "user_id": user, "event_time_ms": T0 + 1_000, **more}).encode()
        return self.raw_request(user, raw)

    def raw_request(self, key: str, raw: bytes | None) -> Yielded:
        return Yielded(self.send(key, Row(raw, request_mark(3), 17)))

    def clock(self) -> Yielded:
        """Let the time of the timers of requests come."""
        until_ms = max(time_ms for time_ms, _ in self.waiting_timers())
        return Yielded(self.fire_timers(until_ms))

    def waiting_timers(self) -> list[tuple[int, str]]:
        soon_ms = min(time_ms for time_ms, _ in self.backend.timers) + 60_000
        return [timer for timer in self.backend.timers if timer[0] < soon_ms]

    def waiting(self, user: str = "u") -> list[str]:
        raw = self.backend.cells.get(("waiting", user))
        return [waiting.request.request_id for waiting in decode_waiting(raw)]


def erase(name: str = "gone", *, user: str = "u") -> Event:
    return Event(name, user, "", "erase", T0 + 9_000)


def test_a_request_is_answered_at_once_counted_and_timed(updates):
    recommend = Asked(updates)
    recommend.event(view(1, item="item-3"))
    yielded = recommend.ask("r1", k=4, sent_at_ms=T0)
    [(key, slate)] = yielded.keyed_slates
    assert (key, slate["request_id"], slate["event_id"], len(slate["items"]), slate["seq"]) == (b"u", "r1", "", 4, 2)
    assert slate["slate_id"] == slate_id("request:r1", "u")
    assert yielded.pairs == yielded.examples == yielded.replicas == yielded.traces == yielded.letters == []
    [fact] = yielded.facts
    assert (fact.kind, fact.slates, fact.items, fact.evaluated) == ("request", 0, "", 0)
    assert fact.latency_ms == slate["timings"]["emitted_at_ms"] - T0
    [fact] = recommend.ask("r2").facts
    assert (fact.slates, fact.recommended, fact.action, fact.latency_ms) == (1, 10, "exploit", -1)
    assert recommend.backend.counts == {"requests_answered": 2}


def test_what_a_request_may_and_may_not_show_is_kept(updates):
    recommend = Asked(updates)
    [slate] = recommend.ask("r1", restrict=["item-3", "item-4", "item-5"], exclude=["item-4"]).slates
    assert {item["item_id"] for item in slate["items"]} == {"item-3", "item-5"}


def test_a_request_for_what_has_not_happened_yet_waits_and_is_answered_behind_the_event(updates):
    recommend = Asked(updates)
    assert recommend.ask("r1", after_event_id="e1").slates == []
    assert recommend.event(view(2, item="item-2")).slates[0]["event_id"] == "e2"
    assert recommend.waiting() == ["r1"]
    # of another user, with the same id
    assert len(recommend.event(view(1, user="v")).slates) == 1
    event_slate, answer = recommend.event(view(1, item="item-3")).slates
    assert (event_slate["event_id"], answer["request_id"], answer["seq"]) == ("e1", "r1", 3)
    assert [reason["item_id"] for item in answer["items"] for reason in item["reasons"] if reason.get("item_id") == "item-3"]
    assert recommend.waiting() == []
    assert ("waiting", "u") not in recommend.backend.cells
    assert recommend.backend.counts["requests_waited"] == 1
    assert recommend.clock().slates == [], "its timer finds nothing"


def test_a_request_for_what_has_happened_is_answered_at_once(updates):
    recommend = Asked(updates)
    recommend.event(view(1))
    recommend.event(view(2, type="impression"))
    for name in ("e1", "e2"):
        assert len(recommend.ask(f"after-{name}", after_event_id=name).slates) == 1
    assert recommend.backend.counts["requests_waited"] == 0


def test_when_the_event_does_not_come_the_answer_does(updates):
    recommend = Asked(updates)
    recommend.event(view(1))
    recommend.ask("r1", after_event_id="never", user="u")
    [(due_ms, key)] = recommend.waiting_timers()
    assert key == "u"
    assert Yielded(recommend.fire_timers(due_ms - 1)).slates == []
    yielded = Yielded(recommend.fire_timers(due_ms))
    [slate] = yielded.slates
    assert (slate["request_id"], slate["timings"]["received_at_ms"]) == ("r1", due_ms - WAIT_MS)
    assert [fact.kind for fact in yielded.facts] == ["request"]
    assert recommend.backend.counts == {"requests_answered": 1, "requests_waited_in_vain": 1}


def test_no_request_waits_where_waiting_is_off(updates):
    off = msgspec.structs.replace(CONFIG, requests=Requests(wait_ms=0))
    assert len(Asked(updates, off).ask("r1", after_event_id="never").slates) == 1


def test_a_request_that_waits_survives_a_restore_and_is_answered_once(updates):
    recommend = Asked(updates)
    recommend.ask("r1", after_event_id="e1")
    checkpoint = recommend.backend.checkpoint()
    behind_the_event = Asked(updates, backend=checkpoint.checkpoint())
    assert [slate["request_id"] for slate in behind_the_event.event(view(1)).slates] == [None, "r1"]
    by_its_timer = Asked(updates, backend=checkpoint)
    assert [slate["request_id"] for slate in by_its_timer.clock().slates] == ["r1"]
    assert len(by_its_timer.event(view(1)).slates) == 1


def test_a_timer_of_a_slate_at_the_same_millisecond_does_not_swallow_a_waiting_request(updates):
    recommend = Asked(updates)
    recommend.event(view(1))
    [(heartbeat_ms, _)] = recommend.backend.timers
    recommend.ask("r1", after_event_id="never")
    [(due_ms, _)] = recommend.waiting_timers()
    raw = recommend.backend.cells["waiting", "u"]
    [waiting] = decode_waiting(raw)
    moved = msgspec.msgpack.encode([msgspec.structs.replace(waiting, due_ms=heartbeat_ms)])
    recommend.backend.cells["waiting", "u"] = raw[:1] + moved
    recommend.backend.timers = {(heartbeat_ms, "u")}
    assert [slate["request_id"] for slate in Yielded(recommend.fire_timers(heartbeat_ms)).slates] == ["r1"]
    assert due_ms < heartbeat_ms


def test_as_many_requests_of_a_user_wait_as_may_and_the_oldest_does_not_any_more(updates):
    recommend = Asked(updates)
    for number in range(MAX_WAITING):
        assert recommend.ask(f"r{number}", after_event_id="e1").slates == []
    [slate] = recommend.ask("one more", after_event_id="e1").slates
    assert slate["request_id"] == "r0"
    answers = recommend.event(view(1)).slates
    assert [answer["request_id"] for answer in answers[1:]] == [*(f"r{n}" for n in range(1, MAX_WAITING)), "one more"]
    assert [answer["seq"] for answer in answers] == list(range(2, MAX_WAITING + 3))


@pytest.mark.parametrize("raw", [None, b"{", b'{"request_id": "r", "user_id": "v", "event_time_ms": 1}', b"\xff", b"[]"])
def test_a_request_that_cannot_be_used_is_a_dead_letter_of_its_own_topic(raw):
    recommend = Asked()
    yielded = recommend.raw_request("u", raw)
    [letter] = yielded.letters
    assert (letter["topic"], letter["partition"], letter["offset"], letter["key"]) == ("requests", 3, 17, "u")
    assert (yielded.slates, [fact.kind for fact in yielded.facts]) == ([], ["rejected"])
    assert recommend.backend.cells == {}


def test_requests_and_events_of_one_user_are_as_many_a_minute_as_are_allowed():
    few = msgspec.structs.replace(CONFIG, events=msgspec.structs.replace(CONFIG.events, max_events_per_minute=3))
    recommend = Asked(configuration=few)
    yielded = [recommend.ask(f"r{number}") for number in range(9)]
    assert sum(len(each.slates) for each in yielded) <= 6, "a minute may end in between"
    assert yielded[-1].letters[0]["reason"] == "too_many" or yielded[3].letters[0]["reason"] == "too_many"


# ------------------------------------------------------------------------------------------------ traces


def test_a_trace_comes_with_its_slate_and_only_then(updates):
    recommend = Asked(updates)
    assert recommend.event(view(1, item="item-3")).traces == []
    for yielded, cause in (
        (recommend.event(view(2, item="item-4", trace=True)), ("e2", None)),
        (recommend.ask("r1", trace=True), ("", "r1")),
    ):
        [slate] = yielded.slates
        [(key, raw)] = yielded.traces
        trace = msgspec.json.decode(raw, type=Trace)
        assert (key, trace.event_id, trace.request_id) == (b"u", *cause)
        assert (trace.slate_id, trace.versions) == (slate["slate_id"], slate["versions"])
        shown = sorted((c for c in trace.candidates if c.position), key=lambda c: c.position)
        assert [(c.item_id, c.propensity) for c in shown] == [(i["item_id"], i["propensity"]) for i in slate["items"]]
    assert recommend.ask("r2").traces == []


# ------------------------------------------------------------------------------------------------ erasure


def test_an_erasure_clears_all_state_tombstones_the_panel_member_and_says_so(updates):
    recommend = Asked(updates)
    for number in range(4):
        yielded = recommend.event(view(number, item=f"item-{number}"))
    [(key, record)] = yielded.replicas
    recommend.update("model-updates", key.decode(), record)
    recommend.ask("r1", after_event_id="never")
    other = recommend.event(view(1, user="v"))
    assert recommend.operator._recommender.replica.panel.member(hash64("u")) >= 0

    yielded = recommend.event(erase())
    [(row_key, marker)] = yielded.keyed_slates
    assert (row_key, marker["erased"], marker["items"], marker["event_id"], marker["user_id"]) == (b"u", True, [], "gone", "u")
    assert marker["seq"] == 5 > other.slates[0]["seq"]
    [tombstone] = yielded.replicas
    assert tuple(tombstone) == (panel_key(hash64("u")).encode(), None)
    assert {user for _, user in recommend.backend.cells} == {"v"}
    assert [fact.kind for fact in yielded.facts] == ["erasure"]
    assert yielded.pairs == yielded.examples == yielded.outcomes == yielded.letters == []
    assert recommend.backend.counts == {"users_erased": 1, "slates_closed_erased": 4}

    recommend.update("model-updates", panel_key(hash64("u")), None)
    assert recommend.operator._recommender.replica.panel.member(hash64("u")) == -1
    # timers of before find nothing
    assert Yielded(recommend.fire_timers(T0 * 2)).slates == []
    assert [o["user_id"] for o in Yielded(recommend.advance_watermark(T0 * 2)).outcomes if o["user_id"] == "u"] == []
    [slate] = recommend.event(view(1)).slates
    assert slate["seq"] == 1, "the user begins anew, also with an event that is known no more"


@pytest.mark.parametrize("tombstone", [None, b""], ids=["null", "empty, as the sink writes it"])
def test_a_replica_that_bootstraps_past_the_tombstone_does_not_know_the_user(tombstone):
    recommend = Asked()
    for number in range(4):
        yielded = recommend.event(view(number))
    [(key, record)] = yielded.replicas
    late = Asked([(key.decode(), record), (key.decode(), tombstone)])
    assert late.operator._recommender.replica.panel.member(hash64("u")) == -1
    assert len(Asked([(key.decode(), tombstone)]).operator._recommender.replica.panel) == 0, "what was compacted away"


def test_a_control_that_was_taken_back_is_so_for_a_replica_that_bootstraps():
    late = Asked([("control:epsilon", b'{"epsilon": 1}'), ("control:epsilon", b"")])
    assert late.operator._recommender._controls == {}
    assert late.backend.counts == {}


def test_an_erasure_again_or_of_a_stranger_is_the_same_again():
    recommend = Asked()
    for name in ("gone", "gone", "gone again"):
        yielded = recommend.event(erase(name, user="stranger"))
        assert [slate["erased"] for slate in yielded.slates] == [True]
        assert recommend.backend.cells == {}
