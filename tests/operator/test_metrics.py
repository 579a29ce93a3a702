"""What the operators tell Flink's metrics and the log, and that an event costs no call into the JVM for it."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from pyflink.common import Row

from models.config import Configuration, Gate, Learner, Policy, Scorer, Strategy
from models.events import Event
from models.examples import encode_pending, label_pending
from models.feature_table import WIDTH
from models.pipeline import LocalPipeline
from models.policies import make_policy
from models.policies.learner import policy_key
from models.versions import decode_version, encode_version, version_key, weights_key
from operators import recommend
from operators.learn import learn_cooccurrence, learn_ranker
from operators.metrics import TELL_EVERY_MS, Metrics
from operators.recommend import PAIRS, REPLICAS, Recommend
from tests import synthetic
from tests.operator.fakes import FakeBackend, FakeMetricGroup, Running

CONFIG = Configuration(scorer=Scorer(hidden=(8,), candidates=30), learner=Learner(batch_examples=8, publish_every_steps=1))
T0 = 1_700_000_000_000


class Clock:
    """What `operators.metrics` sees of time."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        self.now_ns += 1  # a test that asks often enough would see time pass
        return self.now_ns

    def pass_ms(self, ms: int) -> None:
        self.now_ns += 1_000_000 * ms


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("operators.metrics.time", clock)
    return clock


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def metrics(backend: FakeBackend) -> Metrics:
    return Metrics(FakeMetricGroup(backend))


def view(number: int, *, user: str = "u", **more: Any) -> Event:
    return Event(f"e{number}", user, f"item-{number}", more.pop("type", "view"), T0 + number * 1000, **more)


class Recommending(Running):
    """RECOMMEND, driven by hand."""

    def __init__(self, configuration: Configuration = CONFIG) -> None:
        super().__init__(Recommend(configuration, shard_keys=(1, 2), learner_key=7, bootstrap=False))

    def event(self, event: Event) -> list[Any]:
        return self.send(event.user_id, Row(msgspec.json.encode(event), 0, 0))

    def update(self, topic: str, key: str | None, value: bytes | None, time_ms: int = T0) -> list[Any]:
        return self.broadcast(Row(topic, key, value, time_ms))


def lines(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    """The log's lines of one kind."""
    found = [json.loads(record.getMessage()) for record in caplog.records if record.name.startswith("flinkrec.")]
    return [line for line in found if line["message"] == message]


# ------------------------------------------------------------------------------------------------ the instruments


def test_flink_is_told_together_and_only_what_has_changed(backend, metrics):
    counter, gauge = metrics.counter("slates"), metrics.gauge("items")
    counter.n += 3
    gauge.value = 5
    assert (backend.told, backend.gauges) == ({}, {})
    metrics.tell()
    assert backend.told == {"flinkrec.slates_total": 3}
    assert backend.gauges == {"flinkrec.items": 5}
    backend.gauges.clear()
    counter.n += 1
    metrics.tell()
    assert backend.told == {"flinkrec.slates_total": 4}
    assert backend.gauges == {}


def test_buckets_of_a_histogram_hold_what_is_at_or_below_their_bound(backend, metrics):
    histogram = metrics.histogram("latency_ms", (10, 100))
    for value in (3, 10, 11, 100, 101, 5_000):
        histogram.observe(value)
    metrics.tell()
    histogram.observe(7)
    metrics.tell()
    metrics.tell()
    assert backend.told == {
        "flinkrec.latency_ms.le=10.bucket": 3,
        "flinkrec.latency_ms.le=100.bucket": 5,
        "flinkrec.latency_ms.le=+Inf.bucket": 7,
        "flinkrec.latency_ms.sum": 3 + 10 + 11 + 100 + 101 + 5_000 + 7,
        "flinkrec.latency_ms.count": 7,
    }


def test_it_is_time_to_tell_again_after_a_while(clock, metrics):
    assert metrics.is_due()
    metrics.tell()
    assert not metrics.is_due()
    clock.pass_ms(TELL_EVERY_MS - 1)
    assert not metrics.is_due()
    clock.pass_ms(1)
    assert metrics.is_due()


# ------------------------------------------------------------------------------------------------ RECOMMEND


def test_events_are_counted_by_type_and_slates_with_their_times_but_not_told_at_once(clock):
    running = Recommending()
    running.event(view(0))
    told = dict(running.backend.told)
    for number, kind in enumerate(("view", "click", "impression"), 1):
        running.event(view(number, type=kind, sent_at_ms=1))
    assert running.backend.told == told
    clock.pass_ms(TELL_EVERY_MS)
    running.event(view(4, type="click", sent_at_ms=1))

    counts = running.backend.told
    assert {name: n for name, n in counts.items() if ".events." in name} == {
        "flinkrec.events.type=view.total": 2,
        "flinkrec.events.type=click.total": 2,
        "flinkrec.events.type=impression.total": 1,
    }
    assert counts["flinkrec.slates_total"] == counts["flinkrec.compute_us.count"] == 4
    # the first event did not say when it was sent; the others were long ago
    assert counts["flinkrec.latency_ms.count"] == counts["flinkrec.latency_ms.le=+Inf.bucket"] == 3
    assert "flinkrec.latency_ms.le=60000.bucket" not in counts


def test_a_replica_tells_its_size_and_how_long_a_delta_took_to_reach_it(clock, monkeypatch):
    running = Recommending()
    pipeline = LocalPipeline(CONFIG, publish_every=10**9)
    for event in synthetic.events(60):
        pipeline.learn(event)
    deltas = pipeline.table.take_deltas()
    monkeypatch.setattr(recommend.time, "time_ns", lambda: (T0 + 250) * 1_000_000)
    for delta in deltas:
        running.update("model-deltas", "0", delta)
    clock.pass_ms(TELL_EVERY_MS)
    running.update("model-deltas", "0", deltas[0], T0 + 300)

    gauges, counts = running.backend.gauges, running.backend.told
    assert gauges["flinkrec.replica_items"] == len(pipeline.table)
    assert gauges["flinkrec.replica_rows"] == 2 * len(pipeline.table)
    assert gauges["flinkrec.replica_bytes"] > 100_000
    assert gauges["flinkrec.panel_share_ppm"] == 1_000_000
    assert "flinkrec.replica_lag_ms.le=200.bucket" in counts, "a clock that is behind the broker's counts as no delay"
    assert counts["flinkrec.replica_lag_ms.le=300.bucket"] == len(deltas) + 1
    assert counts["flinkrec.replica_lag_ms.sum"] == 250 * len(deltas)


def test_the_age_of_a_version_is_that_of_its_publication_also_of_one_that_is_pinned(clock):
    running = Recommending()
    tensors = LocalPipeline(CONFIG).learner.network.published()
    first, second = ((decode_version(value)[0], value) for value in (encode_version(1, number, tensors) for number in (4, 5)))

    def serving() -> tuple[int, int]:
        clock.pass_ms(TELL_EVERY_MS)
        running.event(view(clock.now_ns, user=str(clock.now_ns)))
        gauges = running.backend.gauges
        return gauges["flinkrec.model_number.part=ranker.value"], gauges["flinkrec.model_published_ms.part=ranker.value"]

    for (version, value), published_ms in ((first, T0), (second, T0 + 60_000)):
        running.update("model-updates", weights_key("ranker"), value, published_ms)
        running.update("model-updates", version_key("ranker", version.name), value, published_ms + 1)
    assert serving() == (second[0].number, T0 + 60_000)
    running.update("controls", "pinned_version", msgspec.json.encode({"version": first[0].name}), T0 + 90_000)
    assert serving() == (first[0].number, T0 + 1)


def test_tables_of_the_policy_have_an_age_too(clock):
    policy = Policy(strategies={"one": Strategy(), "other": Strategy(scorer_weight=0.0)})
    running = Recommending(msgspec.structs.replace(CONFIG, policy=policy))
    tables = {name: torch.from_numpy(table) for name, table in make_policy(policy).tables().items()}
    running.update("model-updates", policy_key(policy.name), encode_version(1, 1, tables), T0)
    clock.pass_ms(TELL_EVERY_MS)
    running.event(view(1))
    assert running.backend.gauges["flinkrec.model_published_ms.part=policy.value"] == T0


def test_refusals_are_counted_one_by_one_and_logged_now_and_then(clock, caplog, monkeypatch):
    running = Recommending()
    now_ns = [T0 * 1_000_000]
    monkeypatch.setattr(recommend.time, "time_ns", lambda: now_ns[0])
    for offset in range(50):
        running.send("u", Row(b"{", 3, offset))
    assert running.backend.told == {"flinkrec.refused.reason=not_json.total": 50}, "the last of a burst is told too"
    now_ns[0] += 10_000 * 1_000_000
    clock.pass_ms(TELL_EVERY_MS)
    running.send("u", Row(b"{", 3, 50))

    assert running.backend.told == {"flinkrec.refused.reason=not_json.total": 51}
    first, later = lines(caplog, "record refused")
    assert (first["reason"], first["topic"], first["partition"], first["offset"], first["user_id"]) == (
        "not_json",
        "events",
        3,
        0,
        "u",
    )
    assert "left_out" not in first
    assert (later["offset"], later["left_out"]) == (50, 49)


def test_slates_are_logged_where_that_is_asked_for_with_the_ids_to_search_for(caplog):
    quiet = Recommending()
    quiet.event(view(1))
    assert lines(caplog, "slate") == []
    with caplog.at_level(logging.DEBUG, "flinkrec.recommend"):
        asked = Recommending()
        [slate, *_] = asked.event(view(1))
        made = json.loads(slate[1])
        [line] = lines(caplog, "slate")
    assert (line["slate_id"], line["user_id"], line["event_id"]) == (made["slate_id"], "u", "e1")
    assert line["level"] == "DEBUG"


def test_a_slow_slate_is_logged_without_being_asked_for(caplog, monkeypatch):
    monkeypatch.setattr(recommend, "_SLOW_US", 0)
    running = Recommending()
    for number in range(5):
        running.event(view(number))
    [line] = lines(caplog, "slow slate")
    assert line["level"] == "WARN"
    assert line["slate_id"]


class Record(msgspec.Struct):
    """What a topic held before the first event."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int = 1
    offset: int = 9
    timestamp: int = T0


def test_what_is_unreadable_before_the_first_event_is_logged_with_topic_and_key(caplog, monkeypatch):
    found = [Record("items", b"good", b'{"title": "Good"}'), Record("items", b"bad", b'{"title": 3}'), Record("controls", b"no", b"{}")]
    monkeypatch.setattr(recommend, "read_records", lambda *_: found)
    with caplog.at_level(logging.INFO, "flinkrec.recommend"):
        running = Running(Recommend(CONFIG, shard_keys=(1,), learner_key=7, bootstrap=True))
    bad, no = lines(caplog, "unreadable record in a compacted topic")
    assert (bad["topic"], bad["key"], bad["partition"], bad["offset"], bad["reason"]) == ("items", "bad", 1, 9, "wrong_type")
    assert (no["topic"], no["key"], no["reason"]) == ("controls", "no", "unknown_type")
    [filled] = lines(caplog, "replica filled")
    assert (filled["records"], filled["unreadable"], filled["items"]) == (3, 2, 1)
    assert running.operator is not None


@pytest.mark.parametrize("first", ["an event", "a record of the catalogue"])
def test_a_rule_that_came_while_no_job_ran_is_published_as_accepted_once(first, monkeypatch):
    found = [Record("controls", b"epsilon", b'{"epsilon": 0.5}'), Record("controls", b"epsilon", b'{"epsilon": 7}')]
    monkeypatch.setattr(recommend, "read_records", lambda *_: found)
    running = Running(Recommend(CONFIG, shard_keys=(1,), learner_key=7, bootstrap=True))
    [event] = synthetic.events(1)

    def published() -> list[Row]:
        if first == "an event":
            sent = running.send(event.user_id, Row(msgspec.json.encode(event), 0, 0))
        else:
            sent = running.broadcast(Row("items", "i", b"{}", T0))
        return [each[1] for each in sent if isinstance(each, tuple) and not isinstance(each, Row) and each[0] is REPLICAS]

    assert published() == [Row(b"control:epsilon", b'{"epsilon": 0.5}')]
    assert published() == []


# ------------------------------------------------------------------------------------------------ the learn path


def test_cooccurrence_tells_what_it_learned_and_published(clock):
    recommending, learning = Recommending(), Running(learn_cooccurrence(CONFIG, shard_keys=(1, 2)))
    pairs = [
        row
        for event in synthetic.events(40)
        for tag, row in (each for each in recommending.event(event) if isinstance(each, tuple) and not isinstance(each, Row))
        if tag is PAIRS
    ]
    published = [record for row in pairs for record in learning.send(row[0], row[1])]
    published += learning.fire_timers(10**15)
    clock.pass_ms(TELL_EVERY_MS)
    published += learning.send(*pairs[0])

    counts = learning.backend.told
    assert counts["flinkrec.learned_total"] == len(pairs) + 1 == 41
    assert counts["flinkrec.published.record=row.total"] + counts["flinkrec.published.record=delta.total"] == len(published)
    assert counts["flinkrec.published.record=row.total"] == learning.backend.gauges["flinkrec.rows"]


def examples(n: int) -> list[bytes]:
    draw = np.random.default_rng(3)
    made = []
    for _ in range(n):
        items = np.arange(1, 11)
        pending = encode_pending(draw.normal(size=(10, WIDTH)).astype(np.float16), items)
        made.append(label_pending(pending, int(draw.integers(1, 11)), 1.0))
    return made


def test_the_learner_tells_examples_steps_and_what_the_gate_decides(clock, caplog):
    config = Configuration(
        scorer=Scorer(name="mlp", hidden=(8,), candidates=10),
        learner=Learner(batch_examples=4, publish_every_steps=2, replay_batches=1, sample_rate=0.5),
        gate=Gate(window=16, sample_rate=1.0, margin=0.0, probability_margin=0.0, hit_margin=0.0),
    )
    running = Running(learn_ranker(config, learner_key=0))
    for example in examples(200):
        clock.pass_ms(TELL_EVERY_MS)
        running.send(0, example)
    learner = running.operator._log.model(0)

    gauges, counts = running.backend.gauges, running.backend.told
    assert gauges["flinkrec.examples"] == counts["flinkrec.learned_total"] == 200
    assert gauges["flinkrec.steps"] == learner.steps
    assert gauges["flinkrec.sample_rate_ppm"] == 500_000
    decided = {
        verdict: sum(decision.verdict == verdict for decision in learner.gate.decisions)
        for verdict in ("published", "held", "rolled_back")
    }
    assert sum(decided.values()) < 50, "none of them was forgotten"
    assert decided["held"] > 0
    assert {verdict: counts[f"flinkrec.gate_decisions.verdict={verdict}.total"] for verdict in decided} == decided
    last = learner.gate.decisions[-1]
    assert gauges["flinkrec.gate_rank_loss_milli.network=serving.value"] == round(1000 * last.serving.rank_loss)
    held = lines(caplog, "candidate held")
    assert len(held) == decided["held"]
    assert held[0]["reason"].startswith("worse than the serving version")

    restored = Running(learn_ranker(config, learner_key=0), running.backend.checkpoint())
    clock.pass_ms(TELL_EVERY_MS)
    restored.send(0, examples(1)[0])
    assert not any("gate_decisions" in name for name in restored.backend.told), "those of an earlier life were counted by it"
