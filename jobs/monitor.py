"""The job that watches what is written: texts and labels in, alerts, metrics and dead letters out.

    texts, labels ──► READ ──┬──► JUDGE ──┬──► opinions ──► SQL windows ──┬──► metrics
                             │            └──► new texts ──► WATCH ◄──────┘
                             └──► dead-letter                  └──► alerts
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import yaml
from pyflink.common import Types
from pyflink.datastream import DataStream
from pyflink.datastream.connectors.kafka import DeliveryGuarantee
from pyflink.table import StreamTableEnvironment

from jobs.opinion_windows import attach_opinion_metrics, opinion_windows
from jobs.recommend import MAX_PARALLELISM, environment
from jobs.streams import (
    BYTES,
    LEARN_PATH_DELAY_MS,
    TEXT,
    kafka_sink,
    keyed_in_jvm,
    label_source,
    shard_keys,
    side_output,
    text_source,
)
from models.config import MONITOR_SUFFIX, Configuration
from models.topics import ALERTS, DEAD_LETTER, topic_name
from models.validation import parse_configuration
from operators.judge_texts import NEW_TEXTS, OPINION, JudgeTexts
from operators.read_texts import UNREAD, ReadTexts
from operators.recommend import MESSAGE, RECORD
from operators.watch_topics import WatchTopics


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the job makes: Row(key, value) for topics."""

    alerts: DataStream
    dead_letters: DataStream


def build(t_env: StreamTableEnvironment, inputs: DataStream, configuration: Configuration) -> Outputs:
    """Wire the operators.

    Parameters
    ----------
    t_env : in which the windows are counted
    inputs : texts and labels by shard (`jobs.streams.TEXT_ROW`)
    configuration : the whole configuration
    """
    read = (
        keyed_in_jvm(inputs, Types.LONG(), TEXT).process(ReadTexts(configuration), MESSAGE).name("READ").uid("read")
    )
    opinions = (
        keyed_in_jvm(read, Types.LONG(), BYTES)
        .process(JudgeTexts(configuration), OPINION)
        .name("JUDGE")
        .uid("judge")
        .set_parallelism(1)
    )
    windows = opinion_windows(t_env, opinions, configuration)
    alerts = (
        keyed_in_jvm(windows.union(side_output(opinions, NEW_TEXTS)), Types.STRING(), BYTES)
        .process(WatchTopics(configuration), RECORD)
        .name("WATCH")
        .uid("watch")
    )
    return Outputs(alerts=alerts, dead_letters=side_output(read, UNREAD))


def attach_sinks(t_env: StreamTableEnvironment, outputs: Outputs, configuration: Configuration) -> None:
    """Send the outputs to their topics: dead letters and metrics exactly once; alerts at once, as ids make them idempotent."""
    kafka = configuration.kafka
    for stream, topic, delivery in (
        (outputs.alerts, ALERTS, DeliveryGuarantee.AT_LEAST_ONCE),
        (outputs.dead_letters, DEAD_LETTER, DeliveryGuarantee.EXACTLY_ONCE),
    ):
        name = topic_name(kafka.topic_prefix, topic)
        sink = kafka_sink(kafka, name, delivery, linger_ms=LEARN_PATH_DELAY_MS, transactional_prefix=f"monitor-{topic}")
        stream.sink_to(sink).name(topic).uid(f"{topic}-sink")
    attach_opinion_metrics(t_env, configuration)


def run(configuration: Configuration) -> None:
    """Submit the job to the cluster that the Flink client is configured for."""
    env = environment(configuration)
    t_env = StreamTableEnvironment.create(env)
    keys = shard_keys(configuration.monitor.shards, MAX_PARALLELISM)
    inputs = text_source(t_env, configuration, shard_keys=keys).union(label_source(t_env, configuration, shard_keys=keys))
    attach_sinks(t_env, build(t_env, inputs, configuration), configuration)
    env.execute(configuration.flink.job_name + MONITOR_SUFFIX)


def main(argv: list[str]) -> None:
    """Read the configuration file and submit the job."""
    parser = argparse.ArgumentParser(prog="monitor", description="Submit the job that watches what is written.")
    parser.add_argument("--config", required=True, type=Path, help="YAML file of the configuration")
    arguments = parser.parse_args(argv)
    run(parse_configuration(yaml.safe_load(arguments.config.read_text()), arguments.config.name))
