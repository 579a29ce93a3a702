"""RECOMMEND: what becomes of every kind of record, and that nothing that arrives stops it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyflink.common import Row

from models.arm_learner import ArmLearner
from models.attribution import decode_open_slates
from models.config import Configuration, Events, EventType, Learner, Outcomes, Policy, Scorer
from models.cooccurrence import decode_pair_message
from models.events import Event, Refusal
from models.examples import decode_example
from models.facts import Fact
from models.feature_table import WIDTH
from models.identity import hash64
from models.metrics.score_bins import ScoreBins
from models.panel import decode_member, panel_key
from models.pipeline import LocalPipeline
from models.policies.learner import PolicyLearner, learner_of
from models.scorers.gru import GRU
from models.versions import encode_version, weights_key
from operators.recommend import CLOSED, DEAD_LETTERS, EXAMPLES, FACTS, LESSONS, PAIRS, REPLICAS, STEPS, TRACED, Recommend
from tests import synthetic
from tests.operator.fakes import FakeBackend, Running

SHARD_KEYS = (100, 101, 102, 103)
LEARNER_KEY = 7
LATE_AFTER_MS = 60_000
CONFIG = Configuration(
    events=Events(late_after_ms=LATE_AFTER_MS),
    scorer=Scorer(hidden=(8,), candidates=30),
    learner=Learner(batch_examples=8, publish_every_steps=1),
    policy=Policy(epsilon=0.2),
)
T0 = 1_700_000_000_000
TAGS = {
    PAIRS: "pairs",
    REPLICAS: "replicas",
    EXAMPLES: "examples",
    LESSONS: "lessons",
    STEPS: "steps",
    CLOSED: "outcomes",
    TRACED: "traces",
    FACTS: "facts",
    DEAD_LETTERS: "letters",
}


class Yielded:
    """What one element made RECOMMEND yield, by output."""

    def __init__(self, elements: Iterable[Any]) -> None:
        outputs: dict[str, list[Row]] = {"slates": [], **{name: [] for name in TAGS.values()}}
        for each in elements:
            if isinstance(each, tuple) and not isinstance(each, Row):
                outputs[TAGS[each[0]]].append(each[1])
            else:
                outputs["slates"].append(each)
        self.traces = outputs["traces"]
        self.pairs, self.examples, self.replicas = outputs["pairs"], outputs["examples"], outputs["replicas"]
        self.keyed_slates = [(row[0], json.loads(row[1])) for row in outputs["slates"]]
        self.slates = [slate for _, slate in self.keyed_slates]
        self.keyed_letters = [(row[0], json.loads(row[1])) for row in outputs["letters"]]
        self.letters = [letter for _, letter in self.keyed_letters]
        self.facts = [Fact(*row) for row in outputs["facts"]]
        self.steps, self.lessons = outputs["steps"], outputs["lessons"]
        self.keyed_outcomes = [(row[0], json.loads(row[1])) for row in outputs["outcomes"]]
        self.outcomes = [outcome for _, outcome in self.keyed_outcomes]

    def without_timings(self) -> tuple[Any, ...]:
        """All that a replay must yield again."""
        slates = [{name: value for name, value in slate.items() if name != "timings"} for slate in self.slates]
        facts = [msgspec.structs.replace(fact, latency_ms=0) for fact in self.facts]
        rows = [tuple(row) for row in (*self.pairs, *self.examples, *self.replicas, *self.steps)]
        return slates, rows, self.outcomes, self.letters, facts


class Recommending(Running):
    """RECOMMEND, driven by hand.

    Parameters
    ----------
    configuration : the whole configuration
    backend : its state; empty for a fresh start, a checkpoint of another for a restore
    """

    def __init__(self, configuration: Configuration = CONFIG, backend: FakeBackend | None = None) -> None:
        operator = Recommend(configuration, shard_keys=SHARD_KEYS, learner_key=LEARNER_KEY, bootstrap=False)
        super().__init__(operator, backend)

    def record(self, key: str, raw: bytes | None, *, partition: int = 3, offset: int = 17) -> Yielded:
        return Yielded(self.send(key, Row(raw, partition, offset)))

    def event(self, event: Event) -> Yielded:
        return self.record(event.user_id, msgspec.json.encode(event))

    def update(self, topic: str, key: str | None, value: bytes | None) -> Yielded:
        return Yielded(self.broadcast(Row(topic, key, value, T0)))


def view(number: int, *, user: str = "u", item: str | None = None, time_ms: int | None = None, **more: Any) -> Event:
    time_ms = T0 + number * 1000 if time_ms is None else time_ms
    return Event(f"e{number}", user, item or f"item-{number}", more.pop("type", "view"), time_ms, **more)


@pytest.fixture(scope="module")
def updates() -> list[tuple[str, bytes]]:
    """What the learn path published from 800 events: rows, and versions of the network."""
    pipeline = LocalPipeline(CONFIG, publish_every=10**9)
    for event in synthetic.events(800):
        pipeline.learn(event)
        pipeline.recommend(event)
    return pipeline.table.take_updates()


@pytest.fixture(scope="module")
def network() -> list[tuple[str, bytes]]:
    """A version of a trained network."""
    pipeline = LocalPipeline(CONFIG, publish_every=1)
    for event in synthetic.events(300, users=5):
        pipeline.learn(event)
        pipeline.recommend(event)
    assert pipeline.learner.steps > 0
    return [(weights_key("ranker"), encode_version(0, 5, pipeline.learner.network.state_dict()))]


@pytest.fixture
def recommend() -> Recommending:
    return Recommending()


def informed(
    updates: list[tuple[str, bytes]], backend: FakeBackend | None = None, configuration: Configuration = CONFIG
) -> Recommending:
    """RECOMMEND with a model."""
    running = Recommending(configuration, backend)
    for key, value in updates:
        running.update("model-updates", key, value)
    return running


# ------------------------------------------------------------------------------------------------ events


def test_an_event_gives_a_slate_a_pair_message_and_a_fact(recommend):
    event = view(1, item="tea", value=4.0)
    yielded = recommend.event(event)

    [(key, slate)] = yielded.keyed_slates
    assert key == b"u"
    assert (slate["user_id"], slate["event_id"], slate["event_time_ms"], slate["seq"]) == ("u", "e1", T0 + 1000, 1)
    [pair] = yielded.pairs
    assert pair[0] == SHARD_KEYS[hash64("tea") % len(SHARD_KEYS)]
    message = decode_pair_message(pair[1])
    assert (message.item, message.item_id, message.value, message.earlier.tolist()) == (hash64("tea"), "tea", 4.0, [])
    [fact] = yielded.facts
    assert (fact.kind, fact.type, fact.time_ms, fact.evaluated, fact.slates) == ("event", "view", T0 + 1000, 0, 1)
    assert yielded.letters == yielded.examples == []


def test_the_item_alone_says_which_shard_learns_an_event(recommend):
    for number in range(20):
        [pair] = recommend.event(view(number, user=f"u{number % 3}")).pairs
        assert pair[0] == SHARD_KEYS[hash64(f"item-{number}") % len(SHARD_KEYS)]


def test_every_fourth_event_of_a_panel_member_publishes_the_profile(recommend):
    for number in range(1, 13):
        yielded = recommend.event(view(number))
        assert len(yielded.replicas) == (number % CONFIG.user_cf.publish_every == 0)
    [(key, record)] = yielded.replicas
    assert key.decode() == panel_key(hash64("u"))
    user, items, _, _ = decode_member(record)
    assert (user, items.tolist()) == (hash64("u"), [hash64(f"item-{number}") for number in range(1, 13)])
    recommend.update("model-updates", key.decode(), record)
    assert recommend.operator._recommender.replica.panel.member(hash64("u")) == 0


def test_deltas_reach_the_replica_like_the_rows_that_they_make(updates):
    pipeline = LocalPipeline(CONFIG, publish_every=10**9)
    for event in synthetic.events(800):
        pipeline.learn(event)
        pipeline.recommend(event)
    follower = Recommending()
    for record in pipeline.table.take_deltas():
        assert follower.update("model-deltas", "0", record).letters == []
    assert follower.update("model-deltas", "0", None).letters == []
    slates = [running.event(view(1, item="item-3")).keyed_slates[0][1] for running in (follower, informed(updates))]
    assert slates[0]["items"] == slates[1]["items"] != []


def test_a_control_changes_the_sources_of_the_next_slate_and_is_published_to_the_other_replicas(updates):
    recommend = informed(updates)

    def sources(number):
        [slate] = recommend.event(view(number, item=f"item-{number}")).slates
        return {source for item in slate["items"] for source in item["sources"]}

    assert "item_cf" in sources(0)
    only_popular = b'{"trending": 1}'
    [row] = recommend.update("controls", "sources", only_popular).replicas
    assert tuple(row) == (b"control:sources", only_popular)
    assert "item_cf" not in sources(1)
    for bad in (b'{"no_such_source": 1}', b'{"item_cf": -1}', b"[", b'{"item_cf": "much"}'):
        yielded = recommend.update("controls", "sources", bad)
        assert (len(yielded.letters), yielded.replicas) == (1, [])
    assert len(recommend.update("controls", "no such rule", b"{}").letters) == 1
    assert "item_cf" not in sources(2), "a bad rule leaves the last good one in force"
    other = informed([*updates, ("control:sources", only_popular)])
    [slate] = other.event(view(3, item="item-3")).slates
    assert not any("item_cf" in item["sources"] for item in slate["items"]), "a replica that starts finds it"
    recommend.update("controls", "sources", None)
    assert "item_cf" in sources(4)


def test_an_item_is_off_the_next_slate_and_on_it_again_as_a_rule_comes_and_goes(updates):
    recommend = informed(updates)

    def shown(number):
        # somebody new each time, who begins with the same item
        [slate] = recommend.event(view(number, user=f"u{number}", item="viewed")).slates
        return [item["item_id"] for item in slate["items"]]

    recommend.update("controls", "epsilon", b'{"epsilon": 0}')
    first, second, *_ = shown(0)
    rule = json.dumps({"items": [first, second]}).encode()
    [row] = recommend.update("controls", "exclude:recall", rule).replicas
    assert tuple(row) == (b"control:exclude:recall", rule)
    assert not {first, second} & set(shown(1))
    bad_ones = (("exclude:recall", b'{"items": 3}'), ("exclude:recall", b"{}"), ("exlude", rule), ("exclude:recall", b"\xff"))
    for number, (name, bad) in enumerate(bad_ones, start=2):
        yielded = recommend.update("controls", name, bad)
        assert (len(yielded.letters), yielded.replicas) == (1, [])
        assert not {first, second} & set(shown(number)), "the last good one stays"
    [row] = recommend.update("controls", "exclude:recall", None).replicas
    assert tuple(row) == (b"control:exclude:recall", None)
    assert shown(9)[:2] == [first, second]


TWO_ARMS = b'{"salt": "s", "arms": {"a": {"policy": {"name": "ucb1", "strategies": {"x": {}, "y": {"scorer_weight": 0}}}}}}'


def steps_of(recommend, event):
    return [tuple(row) for row in recommend.event(event).steps]


def test_the_learner_of_an_arm_is_told_what_it_learns_before_its_first_step_and_again_in_every_life(updates):
    at_once = msgspec.structs.replace(CONFIG, outcomes=Outcomes(max_open=1))

    def started(records, backend=None):
        running = Recommending(at_once, backend)
        for key, value in [*updates, *records]:
            running.update("model-updates", key, value)
        return running

    recommend = started([])
    recommend.update("controls", "experiment", TWO_ARMS)
    assert steps_of(recommend, view(1)) == []
    key = learner_of("policy:ucb1@s.a")
    definition, step = steps_of(recommend, view(2))
    assert (definition[0], step[0]) == (key, key)
    learner = PolicyLearner(CONFIG.policy)
    for _, message in (definition, step):
        learner.learn_one(message)
    [(record, tables)] = learner.take_updates()
    assert record == "policy:ucb1@s.a"
    assert learner.policy.tables()["counts"].sum() == 1
    [again] = steps_of(recommend, view(3))
    assert again[1] != definition[1]
    recommend.update("model-updates", record, tables)
    [slate] = recommend.event(view(4)).slates
    assert (slate["arm"], slate["policy"], "policy" in slate["versions"]) == ("a", "ucb1", True)
    restored = started([("control:experiment", TWO_ARMS)], recommend.backend.checkpoint())
    assert next(message for _, message in steps_of(restored, view(5))) == definition[1]


SCORED_ARM = b'{"salt": "s", "arms": {"a": {"scorer": {"name": "gru"}}}}'


def test_the_learner_of_an_arms_network_is_told_what_it_learns_and_when_it_ends(updates):
    def started(backend=None):
        running = Recommending(CONFIG, backend)
        for key, value in updates:
            running.update("model-updates", key, value)
        running.update("controls", "experiment", SCORED_ARM)
        return running

    recommend, number = started(), 1

    def next_hit() -> list[tuple[int, bytes]]:
        """Examples from an event that takes what the last slate showed."""
        nonlocal number
        [slate] = recommend.event(view(number)).slates
        number += 2
        return [tuple(row) for row in recommend.event(view(number - 1, item=slate["items"][0]["item_id"])).examples]

    (key, definition), (same, example) = next_hit()[:2]
    learner = ArmLearner(CONFIG)
    learner.learn_one(definition)
    learner.learn_one(example)
    assert (key, same, learner.learner.examples) == (key, key, 1)
    assert key != LEARNER_KEY and decode_example(example).features.shape[1] == WIDTH + GRU.columns
    assert [other for other, _ in next_hit()] == [key] * len(next_hit()), "it was told already"
    pending = recommend.event(view(99)).slates[0]
    # a life that goes on from a checkpoint: the slate of before is still an example of that network
    recommend = started(recommend.backend.checkpoint())
    again = [tuple(row) for row in recommend.event(view(100, item=pending["items"][0]["item_id"])).examples]
    assert again[0] == (key, definition) and again[1][0] == key
    [slate] = recommend.event(view(101)).slates
    ending = recommend.update("controls", "experiment", None).examples
    learner.learn_one(ending[0][1])
    assert [row[0] for row in ending] == [key] and learner.has_ended
    taken = recommend.event(view(102, item=slate["items"][0]["item_id"]))
    assert taken.examples == [], "nobody learns from a slate of a network that is gone"
    [slate] = taken.slates
    [row] = recommend.event(view(103, item=slate["items"][0]["item_id"])).examples
    assert row[0] == LEARNER_KEY


def test_networks_that_are_left_from_an_experiment_that_ended_while_no_job_ran_end(updates, monkeypatch):
    name = "ranker/s.gone.00000000"
    left = SimpleNamespace(
        topic="model-updates", key=weights_key(name).encode(), value=encode_version(1, 1, {}), timestamp=T0, partition=0, offset=0
    )
    monkeypatch.setattr("operators.recommend.read_records", lambda *_: [left])
    operator = Recommend(CONFIG, shard_keys=SHARD_KEYS, learner_key=LEARNER_KEY, bootstrap=True)
    recommend = Running(operator)
    [(number, message)] = Yielded(recommend.send("u", Row(msgspec.json.encode(view(1)), 3, 17))).examples
    assert number == hash64(name)
    learner = ArmLearner(CONFIG)
    learner.learn_one(message)
    assert dict(learner.take_updates())[weights_key(name)] is None
    assert Yielded(recommend.send("u", Row(msgspec.json.encode(view(2)), 3, 18))).examples == []


def test_the_next_event_of_a_user_names_the_earlier_items_and_other_users_do_not(recommend):
    for number in (1, 2):
        recommend.event(view(number))
    [pair] = recommend.event(view(3)).pairs
    assert decode_pair_message(pair[1]).earlier.tolist() == [hash64("item-2"), hash64("item-1")]
    [pair] = recommend.event(view(4, user="v")).pairs
    assert decode_pair_message(pair[1]).earlier.tolist() == []


def test_an_event_that_takes_what_the_last_slate_showed_is_an_evaluated_hit_and_an_example(updates):
    recommend = informed(updates)
    [slate] = recommend.event(view(1, item="item-0")).slates
    third = slate["items"][2]["item_id"]
    yielded = recommend.event(view(2, item=third))
    [fact] = yielded.facts
    assert (fact.evaluated, fact.position, fact.shown) == (1, 3, len(slate["items"]))
    shown = np.array([item["probability"] for item in slate["items"]], np.float32)
    assert fact.score_marks == ScoreBins(CONFIG.metrics.pr_bins).marks(shown)
    [row] = yielded.examples
    assert row[0] == LEARNER_KEY
    assert decode_example(row[1]).features.shape[0] == CONFIG.scorer.candidates


def test_an_impression_is_counted_but_teaches_nothing_and_gets_no_slate(recommend):
    recommend.event(view(1))
    yielded = recommend.event(view(2, type="impression"))
    assert yielded.slates == yielded.pairs == yielded.examples == yielded.letters == []
    [fact] = yielded.facts
    assert (fact.type, fact.slates, fact.evaluated) == ("impression", 0, 0)
    [pair] = recommend.event(view(3)).pairs
    assert decode_pair_message(pair[1]).earlier.tolist() == [hash64("item-1")]


def test_an_event_type_that_makes_no_slate_still_teaches():
    types = {"view": EventType(), "cart": EventType(weight=2.0, makes_slate=False)}
    recommend = Recommending(Configuration(events=Events(types=types)))
    yielded = recommend.event(view(1, type="cart"))
    assert yielded.slates == []
    assert len(yielded.pairs) == len(yielded.facts) == 1


# ------------------------------------------------------------------------------------------------ dead letters

MALFORMED = {
    Refusal.EMPTY: None,
    Refusal.NOT_JSON: b"{",
    Refusal.MISSING_FIELD: b'{"event_id": "x", "user_id": "u"}',
    Refusal.WRONG_TYPE: b'{"event_id": "x", "user_id": "u", "item_id": [], "event_time_ms": 1}',
    Refusal.UNKNOWN_TYPE: b'{"event_id": "x", "user_id": "u", "item_id": "i", "event_time_ms": 1, "type": "sneeze"}',
    Refusal.BAD_ID: b'{"event_id": "x", "user_id": "u", "item_id": "", "event_time_ms": 1}',
    Refusal.OUT_OF_BOUNDS: b'{"event_id": "x", "user_id": "u", "item_id": "i", "event_time_ms": -1}',
    Refusal.OVERSIZED: b'"' + b"x" * 70_000 + b'"',
    Refusal.IN_THE_FUTURE: b'{"event_id": "x", "user_id": "u", "item_id": "i", "event_time_ms": 99999999999999}',
    Refusal.KEY_MISMATCH: b'{"event_id": "x", "user_id": "v", "item_id": "i", "event_time_ms": 1}',
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_a_malformed_record_is_one_dead_letter_and_one_fact_and_leaves_no_state(recommend, reason):
    raw = MALFORMED[reason]
    yielded = recommend.record("u", raw, partition=3, offset=17)

    [(key, letter)] = yielded.keyed_letters
    assert key.decode() == letter["reason"] == reason
    assert (letter["topic"], letter["partition"], letter["offset"], letter["key"]) == ("events", 3, 17, "u")
    assert (None if letter["raw_base64"] is None else base64.b64decode(letter["raw_base64"])) == raw
    [fact] = yielded.facts
    assert (fact.kind, fact.type, fact.slates) == ("rejected", reason, 0)
    assert yielded.slates == yielded.pairs == yielded.examples == []
    assert recommend.backend.cells == {}
    assert recommend.backend.told == {f"flinkrec.refused.reason={reason}.total": 1}


def test_an_event_too_far_behind_the_watermark_is_a_dead_letter():
    recommend = Recommending(Configuration(events=Events(max_age_days=1.0)))
    recommend.backend.watermark_ms = T0
    [letter] = recommend.event(view(1, time_ms=T0 - 86_400_001)).letters
    assert letter["reason"] == "too_old"
    assert recommend.event(view(2, time_ms=T0 - 86_400_000)).letters == []


def test_a_duplicate_is_one_dead_letter_and_changes_nothing(recommend):
    recommend.event(view(1))
    before = recommend.backend.checkpoint().cells
    yielded = recommend.event(view(1))
    [letter] = yielded.letters
    assert letter["reason"] == "duplicate"
    [fact] = yielded.facts
    assert (fact.kind, fact.type) == ("rejected", "duplicate")
    assert yielded.slates == yielded.pairs == yielded.examples == []
    assert recommend.backend.cells == before


def test_the_same_event_id_of_another_user_is_no_duplicate(recommend):
    recommend.event(view(1))
    assert recommend.event(view(1, user="v")).letters == []


def test_a_user_who_sends_too_much_is_cut_off_also_after_a_restore():
    limited = Configuration(events=Events(max_events_per_minute=3))
    recommend = Recommending(limited)
    answered = [bool(recommend.event(view(number)).slates) for number in range(6)]
    recommend = Recommending(limited, recommend.backend.checkpoint())
    answered += [bool(recommend.event(view(number)).slates) for number in range(6, 12)]
    # The minutes are those of the real clock: one may end in between.
    assert 3 <= sum(answered) <= 6
    [letter] = recommend.event(view(12)).letters or [{"reason": "too_many"}]
    assert letter["reason"] == "too_many"
    assert recommend.event(view(13, user="v")).slates


def test_without_a_key_the_payload_says_whose_event_it_is(recommend):
    # The source falls back to the payload; the key is empty only where the payload names nobody.
    [letter] = recommend.record("", b'{"event_id": "x", "item_id": "i", "event_time_ms": 1}').letters
    assert (letter["reason"], letter["detail"]) == ("missing_field", "user_id: expected it, but it is not there")
    assert recommend.record("7", b'{"event_id":"x","user_id":7,"item_id":"i","event_time_ms":1}').slates


# ------------------------------------------------------------------------------------------------ time


@pytest.mark.parametrize(
    ("behind_ms", "late"), [(-5_000, 0), (0, 0), (LATE_AFTER_MS, 0), (LATE_AFTER_MS + 1, 1), (10**9, 1)]
)
def test_a_late_event_is_answered_like_any_other_and_counted(recommend, behind_ms, late):
    recommend.backend.watermark_ms = T0
    yielded = recommend.event(view(1, time_ms=T0 - behind_ms))
    [fact] = yielded.facts
    assert fact.late == late
    assert len(yielded.slates) == len(yielded.pairs) == 1
    # Behind the watermark a window would drop it.
    assert fact.time_ms == max(T0 - behind_ms, T0 + 1)


def test_nothing_is_late_before_there_is_a_watermark(recommend):
    [fact] = recommend.event(view(1, time_ms=0)).facts
    assert (fact.late, fact.time_ms) == (0, 0)


def test_a_dead_letter_counts_in_the_oldest_open_window(recommend):
    recommend.backend.watermark_ms = T0
    [fact] = recommend.record("u", b"{").facts
    assert fact.time_ms == T0 + 1


def test_the_latency_of_an_answer_is_measured_from_the_producers_clock(recommend):
    [fact] = recommend.event(view(1)).facts
    assert fact.latency_ms == -1
    [fact] = recommend.event(view(2, sent_at_ms=T0)).facts
    assert fact.latency_ms > 0


# ------------------------------------------------------------------------------------------------ state


def without_heartbeats(cells: dict[Any, bytes]) -> dict[Any, Any]:
    """The state, less what depends on when it was written."""
    slates = {place: decode_open_slates(raw) for place, raw in cells.items() if place[0] == "slates"}
    for each in slates.values():
        each.heartbeat_ms = 0
    return cells | slates


def test_a_restored_operator_answers_as_if_it_had_never_stopped(updates, network):
    stream = synthetic.events(120, users=4)
    one = informed(updates + network)
    for event in stream[:60]:
        one.event(event)
    other = informed(updates + network, one.backend.checkpoint())
    for event in stream[60:]:
        assert one.event(event).without_timings() == other.event(event).without_timings()
    assert without_heartbeats(one.backend.cells) == without_heartbeats(other.backend.cells)


def test_all_state_of_a_user_is_bytes_with_the_time_to_live_of_the_configuration(updates):
    recommend = informed(updates)
    recommend.event(view(1, item="item-0"))
    assert {name for name, _ in recommend.backend.cells} == {"user", "seen", "pending", "slates"}
    descriptors = dict(recommend.backend.descriptors)
    assert descriptors.pop("slates")._ttl_config is None, "after an outage the clock would have dropped open slates"
    for name, descriptor in descriptors.items():
        ttl = descriptor._ttl_config
        assert ttl.get_ttl().to_milliseconds() == 365 * 86_400_000, name


def test_an_event_clears_the_pending_example_that_it_has_answered(updates):
    types = {"view": EventType(), "cart": EventType(makes_slate=False)}
    recommend = Recommending(msgspec.structs.replace(CONFIG, events=Events(types=types)))
    for key, value in updates:
        recommend.update("model-updates", key, value)
    [slate] = recommend.event(view(1, item="item-0")).slates
    shown = slate["items"][0]["item_id"]
    assert len(recommend.event(view(2, item=shown, type="cart")).examples) == 1
    assert recommend.event(view(3, item=shown, type="cart")).examples == []
    assert ("pending", "u") not in recommend.backend.cells


# ------------------------------------------------------------------------------------------------ the replica


def test_a_broadcast_row_is_served_at_the_next_event(updates, recommend):
    assert recommend.event(view(1, item="item-0")).slates[0]["items"] == []
    for key, value in updates:
        yielded = recommend.update("model-updates", key, value)
        assert yielded.letters == yielded.slates == yielded.facts == []
    [slate] = recommend.event(view(2, item="item-6")).slates
    assert len(slate["items"]) == CONFIG.slate.k
    assert slate["items"][0]["sources"] == ["item_cf"]


def test_a_broadcast_version_scores_the_next_slate_and_an_older_one_does_not_replace_it(updates, network):
    [(key, value)] = network
    recommend = informed(updates)
    assert recommend.event(view(1, item="item-0")).slates[0]["versions"] == {}
    recommend.update("model-updates", key, value)
    before = recommend.event(view(2, item="item-6")).slates[0]["versions"]["ranker"]
    older = encode_version(0, 4, LocalPipeline(CONFIG).learner.network.state_dict())
    recommend.update("model-updates", key, older)
    assert recommend.event(view(3, item="item-12")).slates[0]["versions"]["ranker"] == before


def test_a_network_of_another_shape_does_not_stop_the_job_and_is_counted(recommend, caplog):
    other = LocalPipeline(msgspec.structs.replace(CONFIG, scorer=Scorer(hidden=(9,), candidates=30))).learner
    recommend.update("model-updates", weights_key("ranker"), encode_version(0, 1, other.network.published()))
    assert recommend.backend.counts["versions_passed_over"] == 1
    assert "of a network with other tensors" in caplog.text
    assert recommend.event(view(1)).slates[0]["versions"] == {}


def test_a_damaged_network_stops_the_job(recommend, network):
    [(key, value)] = network
    with pytest.raises(ValueError, match="damaged"):
        recommend.update("model-updates", key, value[:-1] + bytes([value[-1] ^ 1]))


def test_records_that_mean_nothing_to_this_release_are_passed_over(recommend):
    for key, value in [(None, b"x"), ("row:0000000000000001", None), ("hello:there", b"?"), ("weights:other", b"?")]:
        yielded = recommend.update("model-updates", key, value)
        assert yielded.letters == yielded.slates == []


def test_a_row_of_another_version_stops_the_job(updates, recommend):
    key, value = updates[0]
    with pytest.raises(ValueError, match="version 9"):
        recommend.update("model-updates", key, b"\x09" + value[1:])


def test_a_catalogue_entry_gives_its_title_and_a_tombstone_takes_the_item_off(updates):
    recommend = informed(updates)
    [slate] = recommend.event(view(1, item="item-0")).slates
    best, second = (slate["items"][place]["item_id"] for place in (0, 1))
    recommend.update("items", best, b'{"title": "The Best"}')
    recommend.update("items", None, json.dumps({"item_id": second, "title": "Second"}).encode())
    recommend.update("items", best, None)
    [slate] = recommend.event(view(2, item="unheard-of")).slates
    titles = {item["item_id"]: item["title"] for item in slate["items"]}
    assert titles[second] == "Second"
    assert best not in titles


DEEP = b'{"colour": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
BAD_CATALOGUE = [
    ("i", b"{", "not_json"),
    ("i", b"\xff", "not_json"),
    ("i", DEEP, "not_json"),
    ("i", b'{"title": "\\ud800"}', "not_json"),
    (None, b'{"item_id": ' + b"9" * 5_000 + b"}", "wrong_type"),
    ("i", b'{"title": 3}', "wrong_type"),
    ("i", b'{"year": 1e99}', "wrong_type"),
    (None, b'{"title": "of nothing"}', "missing_field"),
    (None, b'{"item_id": ""}', "missing_field"),
    (None, None, "tombstone_key"),
]


@pytest.mark.parametrize(("key", "raw", "reason"), BAD_CATALOGUE, ids=range(len(BAD_CATALOGUE)))
def test_a_catalogue_entry_that_cannot_be_read_is_one_dead_letter(recommend, key, raw, reason):
    yielded = recommend.update("items", key, raw)
    [(letter_key, letter)] = yielded.keyed_letters
    assert (letter_key.decode(), letter["reason"]) == (reason, reason)
    assert (letter["topic"], letter["key"]) == ("items", key)
    assert (None if letter["raw_base64"] is None else base64.b64decode(letter["raw_base64"])) == raw
    assert yielded.slates == yielded.pairs == []
    assert recommend.backend.told == {f"flinkrec.refused.reason={reason}.total": 1}


# ------------------------------------------------------------------------------------------------ anything


@pytest.fixture(scope="module")
def under_fire(updates) -> Recommending:
    return informed(updates)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = Event.__struct_fields__
records = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(FIELDS), json_values).map(lambda fields: json.dumps(fields).encode()),
    st.fixed_dictionaries(
        {
            "event_id": st.text(min_size=1, max_size=3) | st.integers(),
            "user_id": st.just("u"),
            "item_id": st.text(max_size=3) | st.integers(0, 300).map("item-{}".format),
            "event_time_ms": st.integers(-5, 2 * T0),
        },
        optional={name: json_values for name in FIELDS[5:]}
        | {"value": st.floats(), "position": st.integers(), "type": st.sampled_from(["view", "impression", "VIEW"])},
    ).map(lambda fields: json.dumps(fields).encode()),
)


@given(st.sampled_from(["u", "v", ""]), records)
@example("u", b'{"event_id":"h","user_id":"u","item_id":"item-1","event_time_ms":1,"value":1e308}')
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_record_is_either_answered_or_one_dead_letter_and_always_one_fact(under_fire, key, raw):
    yielded = under_fire.record(key, raw)
    assert len(yielded.facts) == 1
    [fact] = yielded.facts
    if yielded.letters:
        assert len(yielded.letters) == 1
        assert (fact.kind, fact.type) == ("rejected", yielded.letters[0]["reason"])
        assert yielded.slates == yielded.pairs == yielded.examples == []
    else:
        assert fact.kind == "event"
        assert len(yielded.slates) == fact.slates == (fact.type != "impression")
