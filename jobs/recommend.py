"""The main job: events in, recommendations, metrics, dead letters and model updates out.

    events ──► RECOMMEND ──┬──► recommendations
    requests ─►            ├──► outcomes, traces
    items, controls,       ├──► dead-letter
    model-updates, ───────►├──► facts ──► SQL windows ──► metrics
    model-deltas           ├──► members, controls ────────┬──► model-updates
                           ├──► pairs ──► CO-OCCURRENCE ──┼──► model-deltas
                           ├──► examples ──► LEARNER ─────┤
                           ├──► lessons ───► ANSWERS ─────┤   where answers.enabled is on
                           ├──► steps ─────► BANDIT ──────┤
                           └──► sales ─────► LEDGER ──────┤   where campaigns pay; and charges
    items ──► VECTORS ────────────────────────────────────┘   where section text makes vectors
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from pyflink.common import Configuration as FlinkConfiguration
from pyflink.common import Types
from pyflink.datastream import CheckpointingMode, DataStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import DeliveryGuarantee
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import StreamTableEnvironment

from jobs.metrics import attach_metrics
from jobs.streams import (
    BYTES,
    EVENT,
    LEARN_PATH_DELAY_MS,
    event_source,
    item_source,
    kafka_sink,
    keyed_in_jvm,
    put_in_slot_group,
    request_source,
    shard_keys,
    side_output,
    update_source,
)
from models.config import Configuration
from models.topics import (
    CHARGES,
    DEAD_LETTER,
    EVENTS,
    MODEL_DELTAS,
    MODEL_UPDATES,
    OUTCOMES,
    RECOMMENDATIONS,
    TOPIC_PREFIX_PARAMETER,
    TRACES,
    topic_name,
)
from models.validation import parse_configuration
from operators.learn import DELTAS, learn_answers, learn_cooccurrence, learn_policy, learn_ranker
from operators.ledger import CHARGED, Ledger
from operators.recommend import (
    ACCOUNTS,
    CLOSED,
    DEAD_LETTERS,
    EXAMPLES,
    FACTS,
    LESSONS,
    PAIRS,
    RECORD,
    REPLICAS,
    STEPS,
    TRACED,
    Recommend,
)
from operators.vectors import FOR_LEARNER, MakeVectors

MAX_PARALLELISM = 128
SERVE = "serve"
LEARN = "learn"
_LEARNER_KEY = 0
# What is published between the bootstrap of the replica and the start of the source must be read by one of them; and who asked for a
# slate so long before may still be there.
_OVERLAP_MS = 60_000


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the job reads.

    Attributes
    ----------
    events, requests : keyed by user (`jobs.streams.EVENT_ROW`), requests where there are any
    updates : the broadcast topics (`UPDATE_ROW`)
    items : keyed by item, as `EVENT_ROW`, where section text makes vectors
    """

    events: DataStream
    updates: DataStream
    requests: DataStream | None = None
    items: DataStream | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the job makes: Row(key, value) for topics, and facts for the metrics; no outcomes where outcomes.enabled is off, no
    charges where auction.value is not bid."""

    recommendations: DataStream
    outcomes: DataStream | None
    traces: DataStream
    model_updates: DataStream
    model_deltas: DataStream
    dead_letters: DataStream
    facts: DataStream
    charges: DataStream | None = None


def build(
    inputs: Inputs,
    configuration: Configuration,
    *,
    bootstrap: bool = True,
    model: bytes | None = None,
    submitted_s: int = 0,
) -> Outputs:
    """Wire the operators.

    Parameters
    ----------
    inputs : streams to read
    configuration : the whole configuration
    bootstrap : fill the replica from Kafka when RECOMMEND opens
    model : a file of `flinkrec train` that learner and recommender begin with; it travels in the job graph
    submitted_s : time of the submission, the epoch of `model`
    """
    keys = shard_keys(configuration.item_cf.shards, MAX_PARALLELISM)
    recommend = Recommend(
        configuration, shard_keys=keys, learner_key=_LEARNER_KEY, bootstrap=bootstrap, model=model, submitted_s=submitted_s
    )
    asking = inputs.events if inputs.requests is None else inputs.events.union(inputs.requests)
    replica_updates = inputs.updates.broadcast(MapStateDescriptor("unused", Types.STRING(), Types.STRING()))
    recommendations = (
        keyed_in_jvm(asking, Types.STRING(), EVENT)
        .connect(replica_updates)
        .process(recommend, RECORD)
        .name("RECOMMEND")
        .uid("recommend")
        .slot_sharing_group(SERVE)
    )
    put_in_slot_group(asking, SERVE, delay_ms=configuration.flink.buffer_timeout_ms)
    put_in_slot_group(inputs.updates, SERVE)
    rows = _learn(
        side_output(recommendations, PAIRS), learn_cooccurrence(configuration, shard_keys=keys), "CO-OCCURRENCE", "cooccurrence"
    )
    examples = side_output(recommendations, EXAMPLES)
    projects = configuration.scorer.name == "text"
    vectors = None if inputs.items is None else _vectors(inputs.items, configuration, projects=projects)
    if vectors is not None and projects:
        examples = examples.union(side_output(vectors, FOR_LEARNER))
    versions = _learn(examples, learn_ranker(configuration, learner_key=_LEARNER_KEY, model=model), "LEARNER", "learner")
    versions.set_parallelism(1)
    # also with one strategy: an experiment may bring others while the job runs
    tables = _learn(side_output(recommendations, STEPS), learn_policy(configuration), "BANDIT", "bandit")
    tables.set_parallelism(1)
    updates = [versions, tables, side_output(recommendations, REPLICAS)]
    if vectors is not None:
        updates.append(vectors)
    charges = None
    if configuration.auction.value == "bid":
        accounts = _learn(side_output(recommendations, ACCOUNTS), Ledger(configuration.auction), "LEDGER", "ledger")
        updates.append(accounts)
        charges = side_output(accounts, CHARGED)
    if configuration.answers.enabled:
        memory = _learn(side_output(recommendations, LESSONS), learn_answers(configuration), "ANSWERS", "answers")
        memory.set_parallelism(1)
        updates.append(memory)
    # a thread of its own for the SQL: chained to RECOMMEND, its windows would run between two events
    facts = DataStream(side_output(recommendations, FACTS)._j_data_stream.rescale())
    return Outputs(
        recommendations=recommendations,
        outcomes=side_output(recommendations, CLOSED) if configuration.outcomes.enabled else None,
        traces=side_output(recommendations, TRACED),
        model_updates=rows.union(*updates),
        model_deltas=side_output(rows, DELTAS),
        dead_letters=side_output(recommendations, DEAD_LETTERS),
        facts=facts,
        charges=charges,
    )


def _vectors(items: DataStream, configuration: Configuration, *, projects: bool) -> DataStream:
    vectors = (
        keyed_in_jvm(items, Types.STRING(), EVENT)
        .process(MakeVectors(configuration, learner_key=_LEARNER_KEY if projects else None), RECORD)
        .name("VECTORS")
        .uid("vectors")
        .slot_sharing_group(LEARN)
    )
    put_in_slot_group(items, LEARN)
    return vectors


def _learn(messages: DataStream, operator: object, name: str, uid: str) -> DataStream:
    return (
        keyed_in_jvm(messages, Types.LONG(), BYTES)
        .process(operator, RECORD)
        .name(name)
        .uid(uid)
        .slot_sharing_group(LEARN)
    )


def attach_sinks(t_env: StreamTableEnvironment, outputs: Outputs, configuration: Configuration) -> None:
    """Send the outputs to their topics."""
    kafka, buffer_timeout_ms = configuration.kafka, configuration.flink.buffer_timeout_ms
    exactly_once = configuration.flink.recommendations_guarantee == "exactly_once"
    guarantee = DeliveryGuarantee.EXACTLY_ONCE if exactly_once else DeliveryGuarantee.AT_LEAST_ONCE
    for stream, topic, delivery, group, linger_ms in (
        (outputs.recommendations, RECOMMENDATIONS, guarantee, SERVE, buffer_timeout_ms),
        (outputs.traces, TRACES, DeliveryGuarantee.AT_LEAST_ONCE, SERVE, buffer_timeout_ms),
        (outputs.outcomes, OUTCOMES, DeliveryGuarantee.EXACTLY_ONCE, SERVE, LEARN_PATH_DELAY_MS),
        (outputs.dead_letters, DEAD_LETTER, DeliveryGuarantee.EXACTLY_ONCE, SERVE, LEARN_PATH_DELAY_MS),
        (outputs.charges, CHARGES, DeliveryGuarantee.EXACTLY_ONCE, LEARN, LEARN_PATH_DELAY_MS),
        (outputs.model_updates, MODEL_UPDATES, DeliveryGuarantee.AT_LEAST_ONCE, LEARN, LEARN_PATH_DELAY_MS),
        (outputs.model_deltas, MODEL_DELTAS, DeliveryGuarantee.AT_LEAST_ONCE, LEARN, LEARN_PATH_DELAY_MS),
    ):
        if stream is None:
            continue
        name = topic_name(kafka.topic_prefix, topic)
        sink = kafka_sink(kafka, name, delivery, linger_ms=linger_ms, transactional_prefix=topic)
        stream.sink_to(sink).name(topic).uid(f"{topic}-sink").slot_sharing_group(group)
    attach_metrics(t_env, outputs.facts, configuration)


def run(configuration: Configuration, model: bytes | None = None) -> None:
    """Submit the job to the cluster that the Flink client is configured for, with a model to begin with."""
    env = environment(configuration)
    t_env = StreamTableEnvironment.create(env)
    kafka = configuration.kafka
    from_ms = time.time_ns() // 1_000_000 - _OVERLAP_MS
    inputs = Inputs(
        events=event_source(t_env, configuration, topic_name(kafka.topic_prefix, EVENTS)),
        updates=update_source(t_env, kafka, from_ms=from_ms),
        requests=request_source(t_env, kafka, from_ms=from_ms),
        items=item_source(t_env, kafka) if configuration.text.makes_vectors else None,
    )
    outputs = build(inputs, configuration, model=model, submitted_s=int(time.time()))
    attach_sinks(t_env, outputs, configuration)
    env.execute(configuration.flink.job_name)


def _site_packages(python: Path) -> Path:
    """Of an interpreter on another machine, of the version of this one: the embedded one does not look for them."""
    return python.parent.parent / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def environment(configuration: Configuration) -> StreamExecutionEnvironment:
    """The execution environment with the job's settings."""
    flink = configuration.flink
    options = FlinkConfiguration()
    options.set_string("python.execution-mode", "thread")
    if flink.python is not None:
        options.set_string("python.executable", flink.python)
        options.set_string("python.pythonpath", str(_site_packages(Path(flink.python))))
    # of what nobody waits for; the way to an answer has its own: each connection wakes a thread so often, busy or not
    options.set_string("execution.buffer-timeout.interval", f"{LEARN_PATH_DELAY_MS} ms")
    options.set_string("state.backend.type", flink.state_backend)
    options.set_string("execution.checkpointing.incremental", str(flink.state_backend == "rocksdb").lower())
    # the SQL operators get uids too, so that a savepoint still fits when the job around them changes
    options.set_string("table.exec.uid.generation", "ALWAYS")
    options.set_string("table.local-time-zone", "UTC")
    # nothing here holds on to a row that it has handed on, or changes one; copied between the SQL operators, facts cost twice as much
    options.set_string("pipeline.object-reuse", "true")
    # generated code that is longer is taken apart, which took two fifths of the time of the plans; its methods are short as it is
    options.set_string("table.generated-code.max-length", "64000")
    for name, value in flink.options.items():
        options.set_string(name, value)
    if options.get_string("python.execution-mode", "") != "thread":
        raise SystemExit("flinkrec runs in PyFlink's thread mode only: take python.execution-mode out of flink.options")
    env = StreamExecutionEnvironment.get_execution_environment(options)
    env.set_parallelism(flink.parallelism)
    env.set_max_parallelism(MAX_PARALLELISM)
    # which topics a job has, to whoever asks Flink
    env.get_config().set_global_job_parameters({TOPIC_PREFIX_PARAMETER: configuration.kafka.topic_prefix})
    env.enable_checkpointing(flink.checkpoint_interval_ms, CheckpointingMode.EXACTLY_ONCE)
    return env


def main(argv: list[str]) -> None:
    """Read the configuration file and submit the job."""
    parser = argparse.ArgumentParser(prog="recommend", description="Submit the recommendation job.")
    parser.add_argument("--config", required=True, type=Path, help="YAML file of the configuration")
    parser.add_argument("--model", type=Path, help="file of `flinkrec train` to begin with")
    arguments = parser.parse_args(argv)
    configuration = parse_configuration(yaml.safe_load(arguments.config.read_text()), arguments.config.name)
    run(configuration, None if arguments.model is None else arguments.model.read_bytes())
