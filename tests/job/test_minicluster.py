"""The whole job on Flink's embedded MiniCluster: what `build` wires, without Kafka.

The stream of updates ticks on until the test has read what it waits for: at the end of a bounded job Flink drops the
timers that publish. It ends by itself after a minute, so that a test whose records never come fails instead of hanging.
"""

from __future__ import annotations

import base64
import json
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pyflink.common import Row, Types
from pyflink.datastream import DataStream, FlatMapFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment

from jobs.recommend import MAX_PARALLELISM, Inputs, build, environment
from jobs.streams import EVENT_ROW, LEARN_PATH_DELAY_MS, UPDATE_ROW, shard_keys, typed
from models.config import Configuration, Flink, ItemCF, Learner, Outcomes, Policy, Scorer, Slate, Sources, Strategy
from models.cooccurrence import Row as CooccurrenceRow
from models.cooccurrence import encode_row
from models.events import Event
from models.facts import Fact
from models.identity import slate_id
from models.metrics.score_bins import ScoreBins
from models.pipeline import LocalPipeline
from models.versions import decode_version, encode_version, weights_key
from operators.recommend import Recommend
from operators.threads import use_one_thread
from tests import synthetic
from tests.e2e.recompute_outcomes import Recomputation, comparable

ROOT = Path(__file__).resolve().parents[2]
TICKS_A_SECOND = 50
SECONDS = 60
BAD_EVENT = b'{"event_id": "bad"'
BAD_ITEM = b'{"title": 3}'


def configuration(**options: str) -> Configuration:
    always = {
        "taskmanager.numberOfTaskSlots": "8",
        "python.pythonpath": f"{sysconfig.get_path('purelib')}:{ROOT}",
    }
    return Configuration(
        flink=Flink(checkpoint_interval_ms=200, options=always | options),
        # some rows are published with a snapshot, some by a timer
        item_cf=ItemCF(shards=4, snapshot_every=13, publish_interval_ms=50, rows_interval_ms=100),
        scorer=Scorer(candidates=10, hidden=(8,)),
        learner=Learner(batch_examples=8, publish_every_steps=2),
        policy=Policy(epsilon=0.3),
        slate=Slate(k=3),
        # which new items have their turn depends on when the catalogue came
        sources=Sources(new_items=0.0),
    )


def record(event: Event) -> bytes:
    given = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
    return msgspec.json.encode(given)


def event_row(key: str, value: bytes, offset: int) -> Row:
    return Row(key, Row(value, 0, offset))


def start(config: Configuration) -> tuple[StreamExecutionEnvironment, StreamTableEnvironment]:
    env = environment(config)
    return env, StreamTableEnvironment.create(env)


def ticks(t_env: StreamTableEnvironment, name: str, *, a_second: int, rows: int) -> str:
    """A table of the numbers from 0 on, at a pace; its position is part of a checkpoint."""
    t_env.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {name} (n BIGINT) WITH (
            'connector' = 'datagen', 'rows-per-second' = '{a_second}', 'fields.n.kind' = 'sequence',
            'fields.n.start' = '0', 'fields.n.end' = '{rows - 1}'
        )
        """
    )
    return name


def idle_updates(t_env: StreamTableEnvironment) -> DataStream:
    """Records of `model-updates` that say nothing."""
    name = ticks(t_env, "update_ticks", a_second=TICKS_A_SECOND, rows=SECONDS * TICKS_A_SECOND)
    table = t_env.sql_query(f"SELECT 'model-updates', CAST(NULL AS STRING), CAST(NULL AS BYTES), CAST(0 AS BIGINT) FROM {name}")
    return typed(t_env.to_data_stream(table), UPDATE_ROW)


class Collected:
    """One output stream, read as it comes."""

    def __init__(self, stream: DataStream) -> None:
        self._iterator = stream._j_data_stream.collectAsync()
        self.rows: list[tuple[Any, ...]] = []
        self.ended = False

    def until(self, enough: Callable[[list[tuple[Any, ...]]], bool]) -> None:
        """Read until it is enough, or until the job has ended."""
        while not enough(self.rows):
            if not self._iterator.hasNext():
                self.ended = True
                return
            row = self._iterator.next()
            self.rows.append(tuple(row.getField(place) for place in range(row.getArity())))


class Preloaded(Recommend):
    """RECOMMEND whose replica holds a model when it opens, as it does after reading Kafka."""

    def __init__(self, *arguments: Any, updates: list[tuple[str, bytes]], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._preloaded = updates

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        for key, value in self._preloaded:
            self._apply("model-updates", key, value, 0)


class Running:
    """The outputs of a running job."""

    def __init__(self, env: StreamExecutionEnvironment, inputs: Inputs, config: Configuration) -> None:
        outputs = build(inputs, config, bootstrap=False)
        self.recommendations = Collected(outputs.recommendations)
        self.model_updates = Collected(outputs.model_updates)
        self.dead_letters = Collected(outputs.dead_letters)
        self.facts = Collected(outputs.facts)
        self.outcomes = Collected(outputs.outcomes)
        # a side output that nobody reads is not in the graph, and an operator that yields to it hangs
        discarding = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
        outputs.model_deltas._j_data_stream.sinkTo(discarding)
        self._env = env

    @contextmanager
    def job(self) -> Iterator[Running]:
        client = self._env.execute_async("test")
        collected = (self.recommendations, self.model_updates, self.dead_letters, self.facts, self.outcomes)
        for one in collected:
            one._iterator.setJobClient(client._j_job_client)
        try:
            yield self
        finally:
            if not any(one.ended for one in collected):
                client.cancel().result()


def published(table: Iterable[CooccurrenceRow]) -> dict[str, bytes]:
    """The rows of a table, as they are published the first time."""
    return {f"row:{row.item & 0xFFFFFFFFFFFFFFFF:016x}": encode_row(row) for row in table}


def learned(events: Iterable[Event], config: Configuration) -> dict[bytes, bytes]:
    """The table of the local pipeline, as it would be published."""
    local = LocalPipeline(config, publish_every=1)
    for event in events:
        local.learn(event)
        local.recommend(event)
    return {key.encode(): row for key, row in published(local.table).items()}


def newest_rows(records: Iterable[tuple[Any, ...]]) -> dict[bytes, bytes]:
    """The rows that a reader of the compacted topic ends with."""
    return {key: value for key, value in records if key.startswith(b"row:")}


# ------------------------------------------------------------------------------------------------ the job

EVENTS = synthetic.events(150, users=6, items=40)


def earlier_model(config: Configuration) -> list[tuple[str, bytes]]:
    """What an earlier life of the learn path published: rows, and a version of the network."""
    # whoever asks first: products of matrices differ in their last bits with the number of threads
    use_one_thread()
    teacher = LocalPipeline(config, publish_every=1)
    for event in synthetic.events(400, seed=8, users=20, items=40):
        teacher.learn(event)
        teacher.recommend(event)
    version = encode_version(0, 1, teacher.learner.network.state_dict())
    return [*published(teacher.table).items(), (weights_key("ranker"), version)]


def served(config: Configuration) -> tuple[list[dict[str, Any]], list[tuple[str, bytes]]]:
    """The slates of the local pipeline with that model, and the versions of the network that its examples make."""
    local = LocalPipeline(config, publish_every=len(EVENTS) + 1)
    for key, value in earlier_model(config):
        local.recommender.apply_update(key, value)
    slates, versions = [], []
    for event in EVENTS:
        local.learn(event)
        if local.learner.has_updates():
            versions += [one for one in local.learner.take_updates() if one[0] == weights_key("ranker")]
        slates.append(without_timings(msgspec.json.encode(local.recommend(event))))
    return slates, versions


def numbered(record: tuple[str, bytes]) -> tuple[str, int, bytes]:
    """Key, number and weights of a version: its epoch is the time at which the learner started."""
    version, weights = decode_version(record[1])
    return record[0], version.number, weights


def without_timings(slate: bytes) -> dict[str, Any]:
    return {name: value for name, value in json.loads(slate).items() if name != "timings"}


@pytest.fixture(scope="module")
def finished() -> Running:
    """The outputs of a job that has answered and learned all events, among them a bad record."""
    config = configuration()
    env, t_env = start(config)
    rows = [event_row(event.user_id, record(event), number) for number, event in enumerate(EVENTS)]
    rows.insert(70, event_row("user-1", BAD_EVENT, 1_000))
    catalogue = [
        Row("items", "item-1", BAD_ITEM, 0),
        Row("items", "of the catalogue only", b'{"title": "Two"}', 0),
        Row("items", "of the catalogue only", None, 0),
    ]
    updates = env.from_collection(catalogue, UPDATE_ROW).union(idle_updates(t_env))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.recommend.Recommend", partial(Preloaded, updates=earlier_model(config)))
        running = Running(env, Inputs(env.from_collection(rows, EVENT_ROW), updates), config)
    wanted = learned(EVENTS, config)
    with running.job():
        running.facts.until(lambda rows: len(rows) >= len(EVENTS) + 1)
        running.recommendations.until(lambda rows: len(rows) >= len(EVENTS))
        running.dead_letters.until(lambda rows: len(rows) >= 2)
        versions = len(served(config)[1])
        running.model_updates.until(
            lambda rows: (
                newest_rows(rows) == wanted and sum(key == b"weights:ranker" for key, _ in rows) >= versions
            )
        )
    return running


def test_only_what_is_on_its_way_to_an_answer_travels_at_once():
    config = msgspec.structs.replace(configuration(), flink=msgspec.structs.replace(configuration().flink, buffer_timeout_ms=7))
    env, t_env = start(config)
    inputs = Inputs(env.from_collection([event_row("user", b"", 0)], EVENT_ROW).name("EVENTS"), idle_updates(t_env))
    build(inputs, config, bootstrap=False)
    nodes = env._generate_stream_graph().getStreamNodes().toArray()
    waits_ms = {node.getOperatorName(): node.getBufferTimeout() for node in nodes}
    assert {name for name, wait_ms in waits_ms.items() if wait_ms == 7} == {"Source: EVENTS"}
    assert {wait_ms for name, wait_ms in waits_ms.items() if name != "Source: EVENTS"} == {LEARN_PATH_DELAY_MS}
    assert {"RECOMMEND", "CO-OCCURRENCE", "LEARNER", "BANDIT"} < set(waits_ms)


def test_every_event_is_answered_once_and_each_user_in_order(finished):
    slates = [json.loads(value) for _, value in finished.recommendations.rows]
    assert [slate["slate_id"] for slate in slates] == [slate_id(event.event_id, event.user_id) for event in EVENTS]
    for user in {event.user_id for event in EVENTS}:
        answers = [slate["seq"] for slate in slates if slate["user_id"] == user]
        assert answers == list(range(1, len(answers) + 1))
    assert [key.decode() for key, _ in finished.recommendations.rows] == [event.user_id for event in EVENTS]


def test_every_slate_is_that_of_the_local_pipeline_to_the_last_propensity(finished):
    slates, _ = served(configuration())
    assert [without_timings(value) for _, value in finished.recommendations.rows] == slates
    assert all(len(slate["items"]) == 3 for slate in slates)
    assert any(item["explored"] for slate in slates for item in slate["items"])


def test_the_published_networks_are_those_of_the_local_pipeline_to_the_last_bit(finished):
    _, versions = served(configuration())
    assert len(versions) >= 2
    given = [(key.decode(), value) for key, value in finished.model_updates.rows if key == b"weights:ranker"]
    assert [numbered(record) for record in given] == [numbered(record) for record in versions]


def test_the_published_table_is_that_of_the_local_pipeline(finished):
    assert newest_rows(finished.model_updates.rows) == learned(EVENTS, configuration())


def test_a_bad_event_and_a_bad_catalogue_entry_are_one_dead_letter_each(finished):
    letters = {key: json.loads(value) for key, value in finished.dead_letters.rows}
    assert len(finished.dead_letters.rows) == 2
    places = {key: (letter["topic"], letter["offset"], letter["key"]) for key, letter in letters.items()}
    assert places == {b"not_json": ("events", 1_000, "user-1"), b"wrong_type": ("items", None, "item-1")}
    raw = {key: base64.b64decode(letter["raw_base64"]) for key, letter in letters.items()}
    assert raw == {b"not_json": BAD_EVENT, b"wrong_type": BAD_ITEM}


def test_every_record_is_one_fact(finished):
    kinds = [(fact[1], fact[2]) for fact in finished.facts.rows]
    assert kinds.count(("event", "rating")) == len(EVENTS)
    assert kinds.count(("rejected", "not_json")) == 1
    assert len(kinds) == len(EVENTS) + 1


def test_every_fact_marks_the_probabilities_of_the_slate_that_its_event_judges(finished):
    bins = ScoreBins(configuration().metrics.pr_bins)
    shown: dict[str, list[float]] = {}
    expected = []
    for _, value in finished.recommendations.rows:
        slate = json.loads(value)
        expected.append(bins.marks(np.array(shown.get(slate["user_id"], []), np.float32)))
        shown[slate["user_id"]] = [item["probability"] for item in slate["items"]]
    facts = [Fact(*fact) for fact in finished.facts.rows]
    assert [fact.score_marks for fact in facts if fact.kind == "event"] == expected
    assert len({marks for marks in expected if len(marks) == 3}) > 2


# ------------------------------------------------------------------------------------------------ failure and restore


SAFE = 75
FAILS_AT = 110


class FailingOnce(FlatMapFunction):
    """The events, paced by ticks, with a pause until checkpoints surely hold the first `SAFE`, and one failure later.

    It leaves traces: the first tick of every life, the tick at which the pause ended, and that it has failed. Tick n
    gives the same event in both lives, as a source with positions would.
    """

    def __init__(self, checkpoints: Path, traces: Path) -> None:
        self._checkpoints, self._traces = str(checkpoints), str(traces)
        self._begun = False
        self._paused_at: int | None = None

    def flat_map(self, tick: Row) -> Iterator[Row]:
        n = tick[0]
        if not self._begun:
            self._begun = True
            with (Path(self._traces) / "first ticks").open("a") as lives:
                lives.write(f"{n}\n")
        index = n if n < SAFE else self._after_pause(n)
        if index == FAILS_AT and not (Path(self._traces) / "failed").exists():
            (Path(self._traces) / "failed").touch()
            raise RuntimeError("a failure on purpose")
        if index is not None and index < len(EVENTS):
            yield event_row(EVENTS[index].user_id, record(EVENTS[index]), index)

    def _after_pause(self, n: int) -> int | None:
        resumed = Path(self._traces) / "resumed"
        if not resumed.exists():
            done = [int(path.parent.name[4:]) for path in Path(self._checkpoints).glob("*/chk-*/_metadata")]
            newest = max(done, default=0)
            if self._paused_at is None:
                self._paused_at = newest
            # one checkpoint may have begun before the pause; the second has all that came before it
            if newest < self._paused_at + 2:
                return None
            resumed.write_text(str(n))
        since = n - int(resumed.read_text())
        return SAFE + since if since >= 0 else None


def test_after_a_failure_the_job_goes_on_from_its_checkpoint_and_the_table_is_exact(tmp_path):
    checkpoints = tmp_path / "checkpoints"
    config = configuration(
        **{
            "execution.checkpointing.dir": checkpoints.as_uri(),
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": "1",
            "restart-strategy.fixed-delay.delay": "0 s",
        }
    )
    env, t_env = start(config)
    numbers = ticks(t_env, "event_ticks", a_second=50, rows=50 * SECONDS)
    paced = typed(t_env.to_data_stream(t_env.sql_query(f"SELECT n FROM {numbers}")), Types.ROW([Types.LONG()]))
    events = paced.flat_map(FailingOnce(checkpoints, tmp_path), EVENT_ROW)
    running = Running(env, Inputs(events, idle_updates(t_env)), config)
    wanted = learned(EVENTS, config)
    with running.job():
        running.facts.until(lambda rows: len(rows) >= len(EVENTS))
        running.model_updates.until(lambda rows: newest_rows(rows) == wanted)

    assert (tmp_path / "failed").exists()
    first, second = map(int, (tmp_path / "first ticks").read_text().split())
    assert first == 0
    assert second > SAFE, "the second life goes on from a checkpoint, not from the beginning"
    assert newest_rows(running.model_updates.rows) == wanted
    assert [fact[0] for fact in running.facts.rows] == [event.event_time_ms for event in EVENTS]
    assert all(fact[1] == "event" for fact in running.facts.rows), "nothing came twice"


# ------------------------------------------------------------------------------------------------ outcomes


def test_each_slate_has_its_outcome_when_the_watermark_has_passed():
    """All but the last few close by a timer, whose side outputs PyFlink forgets (`operators.timers`)."""
    config = msgspec.structs.replace(
        configuration(),
        policy=Policy(name="sarsa", epsilon=0.3, strategies={"personal": Strategy(), "broad": Strategy(diversity=0.5)}),
        outcomes=Outcomes(window_ms=120_000),
    )
    env, _ = start(config)
    rows = [event_row(event.user_id, record(event), number) for number, event in enumerate(EVENTS)]
    updates = env.from_collection([Row("model-updates", None, None, 0)], UPDATE_ROW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.recommend.Recommend", partial(Preloaded, updates=earlier_model(config)))
        running = Running(env, Inputs(env.from_collection(rows, EVENT_ROW), updates), config)
    with running.job():
        # both inputs end, and with them time
        for collected in (running.recommendations, running.outcomes, running.facts):
            collected.until(lambda rows: False)
    slates = [json.loads(value) for _, value in running.recommendations.rows]
    recomputation = Recomputation(msgspec.to_builtins(config), slates)
    for event in EVENTS:
        recomputation.event(msgspec.to_builtins(event))
    recomputation.watermark = float("inf")
    outcomes = [json.loads(value) for _, value in running.outcomes.rows]
    assert comparable(outcomes) == comparable(recomputation.finish())
    assert len(outcomes) == len(EVENTS)
    assert {outcome["user_id"].encode() for outcome in outcomes} == {key for key, _ in running.outcomes.rows}
    facts = [Fact(*fact) for fact in running.facts.rows]
    assert sum(fact.slates_closed for fact in facts) == len(EVENTS)
    assert sum(fact.slates_closed for fact in facts if fact.kind == "outcome") > 0
    assert sum(fact.outcomes_joined for fact in facts) == sum(outcome["outcomes"] for outcome in outcomes) > 0
    assert sum(fact.reward_micros for fact in facts) == pytest.approx(1e6 * sum(o["reward"] for o in outcomes))


# ------------------------------------------------------------------------------------------------ shards


@pytest.mark.parametrize("shards", [1, 3, 4, 16, 128])
def test_the_shards_lie_evenly_over_flinks_key_groups(shards):
    jvm = get_gateway().jvm
    assignment = jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment
    selector = jvm.KeyByKeySelector()
    groups = []
    for key in shard_keys(shards, MAX_PARALLELISM):
        message = jvm.org.apache.flink.types.Row(2)
        message.setField(0, jvm.java.lang.Long.valueOf(key))
        groups.append(assignment.assignToKeyGroup(selector.getKey(message), MAX_PARALLELISM))
    assert groups == [shard * MAX_PARALLELISM // shards for shard in range(shards)]
    for parallelism in (p for p in (2, 4, 8) if shards % p == 0):
        subtasks = [assignment.computeOperatorIndexForKeyGroup(MAX_PARALLELISM, parallelism, group) for group in groups]
        assert [subtasks.count(subtask) for subtask in range(parallelism)] == [shards // parallelism] * parallelism
