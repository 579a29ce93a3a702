"""The local stack on real processes: what is killed comes back, what was started is ended, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest

from cli.stack import Home, Stack, client, free_ports
from cli.stack.broker import prepare
from cli.stack.health import cluster, rest
from cli.stack.state import Process
from tests.e2e.running import await_true, flinkrec

# Counts the records of a key: thread mode, keyed state, Kafka in and out.
COUNTING = """\
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction
from pyflink.datastream.state import ValueStateDescriptor


class Count(KeyedProcessFunction):
    def open(self, context):
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value, context):
        self.count.update((self.count.value() or 0) + 1)
        yield Row(bytes(value), str(self.count.value()).encode())
"""
JOB = """\
import sys

from counting import Count
from pyflink.common import Types, WatermarkStrategy
from pyflink.common.serialization import ByteArraySchema, RowFieldExtractorSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors import kafka

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
env = StreamExecutionEnvironment.get_execution_environment()
env.enable_checkpointing(500)
source = (
    kafka.KafkaSource.builder().set_bootstrap_servers(sys.argv[1]).set_topics("count-in")
    .set_starting_offsets(kafka.KafkaOffsetsInitializer.earliest())
    .set_value_only_deserializer(ByteArraySchema()).build()
)
counted = (
    env.from_source(source, WatermarkStrategy.no_watermarks(), "in")
    .key_by(lambda value: bytes(value).decode(), key_type=Types.STRING())
    .process(Count(), output_type=Types.ROW([BYTES, BYTES]))
)
record = (
    kafka.KafkaRecordSerializationSchema.builder().set_topic("count-out")
    .set_key_serialization_schema(RowFieldExtractorSchema(0))
    .set_value_serialization_schema(RowFieldExtractorSchema(1)).build()
)
counted.sink_to(kafka.KafkaSink.builder().set_bootstrap_servers(sys.argv[1]).set_record_serializer(record).build())
env.execute("count")
"""


def kill_and_await_return(stack: Stack, name: str) -> None:
    before = stack.processes()
    os.kill(before[name], signal.SIGKILL)
    await_true(lambda: stack.processes().get(name) not in (None, before[name]), f"{name} has no new process", timeout_s=60.0)
    stack.wait_ready()
    after = stack.processes()
    assert {other: pid for other, pid in after.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }


def test_a_started_stack_serves_and_says_so(stack: Stack) -> None:
    assert stack.problems() == []
    assert set(stack.processes()) >= {"kafka", "jobmanager", "taskmanager-1", "taskmanager-2", "taskmanager-3"}
    shown = flinkrec(stack.home, "status")
    assert shown.returncode == 1, shown.stdout + shown.stderr
    assert "The job does not run" in shown.stdout
    assert "problem:" not in shown.stdout
    assert stack.bootstrap_servers in shown.stdout
    assert "3 of 3 slots free" in shown.stdout


def test_up_of_a_running_stack_starts_nothing(stack: Stack) -> None:
    before = stack.processes()
    again = flinkrec(stack.home, "up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "already up" in again.stdout
    assert stack.processes() == before


def test_a_process_beside_the_stack_is_kept_alive_and_replaced_and_ended(stack: Stack) -> None:
    before = stack.processes()
    waiting = [sys.executable, "-c", "import time; time.sleep(600)"]
    stack.run_beside("beside", waiting)
    first = stack.state.children["beside"].process
    os.kill(first.pid, signal.SIGKILL)
    await_true(lambda: stack.processes().get("beside") not in (None, first.pid), "it has no new process", timeout_s=60.0)
    second = stack.state.children["beside"].process
    stack.run_beside("beside", waiting)
    assert not second.is_alive()
    third = stack.state.children["beside"].process
    assert third.is_alive()
    stack.end_beside("beside")
    assert not third.is_alive()
    assert stack.processes() == before


def test_a_killed_taskmanager_comes_back_and_registers(stack: Stack) -> None:
    kill_and_await_return(stack, "taskmanager-2")
    restarted = stack.state.children["taskmanager-2"]
    assert restarted.restarts == 1
    known = cluster(stack.ports)
    assert known is not None
    assert restarted.resource_id in known.resource_ids


def test_a_killed_broker_comes_back_with_its_records(stack: Stack) -> None:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    admin.create_topics([NewTopic("kept", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    producer.send("kept", b"before the crash").get(10)
    producer.close()

    kill_and_await_return(stack, "kafka")

    consumer = KafkaConsumer(
        "kept",
        bootstrap_servers=stack.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )
    assert next(iter(consumer)).value == b"before the crash"
    consumer.close()


def test_the_broker_refuses_a_record_from_the_far_future_and_takes_an_old_one(stack: Stack) -> None:
    from kafka import KafkaAdminClient, KafkaProducer
    from kafka.admin import NewTopic
    from kafka.errors import InvalidTimestampError

    admin = KafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    admin.create_topics([NewTopic("timed", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    now_ms, hour_ms = int(time.time() * 1000), 3_600_000
    producer.send("timed", b"of 1997", timestamp_ms=874_724_710_000).get(10)
    with pytest.raises(InvalidTimestampError):
        producer.send("timed", b"of tomorrow", timestamp_ms=now_ms + 24 * hour_ms).get(10)
    producer.close()


def test_a_job_outlives_the_jobmanager_and_keeps_its_state(stack: Stack, tmp_path: Path) -> None:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
    from kafka.admin import NewTopic

    admin = KafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
    admin.create_topics([NewTopic("count-in", 1, 1), NewTopic("count-out", 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    counts = KafkaConsumer(
        "count-out",
        bootstrap_servers=stack.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,
    )

    def count_one() -> bytes:
        producer.send("count-in", b"same key").get(10)
        return bytes(next(counts).value)

    job = submit_counting_job(stack, tmp_path)
    assert [count_one(), count_one()] == [b"1", b"2"]
    await_checkpoints_after(stack, job, time.time())

    kill_and_await_return(stack, "jobmanager")
    assert count_one() == b"3"

    stopped = client.run(stack.home, "cancel", job)
    assert stopped.returncode == 0, stopped.stderr
    producer.close()
    counts.close()


def submit_counting_job(stack: Stack, directory: Path) -> str:
    (directory / "shipped").mkdir()
    (directory / "shipped" / "counting.py").write_text(COUNTING)
    (directory / "job.py").write_text(JOB)
    arguments = ["run", "-d", "-pyfs", str(directory / "shipped"), "-py", str(directory / "job.py")]
    submitted = client.run(stack.home, *arguments, stack.bootstrap_servers)
    found = re.search(r"JobID ([0-9a-f]{32})", submitted.stdout)
    assert found, submitted.stdout + submitted.stderr
    return found[1]


def await_checkpoints_after(stack: Stack, job: str, moment_s: float) -> None:
    def completed() -> bool:
        latest = rest(stack.ports, f"/jobs/{job}/checkpoints")["latest"]["completed"]
        return latest is not None and latest["trigger_timestamp"] > moment_s * 1000

    await_true(completed, "no checkpoint", timeout_s=60.0)


def test_restart_taskmanagers_replaces_each_of_them_and_nothing_else(stack: Stack) -> None:
    before = stack.processes()
    stack.restart_taskmanagers()
    after = stack.processes()
    for name, pid in before.items():
        assert (after[name] != pid) == name.startswith("taskmanager"), name
    known = cluster(stack.ports)
    assert known is not None
    assert known.slots_total == 3


def test_a_process_that_took_over_a_pid_is_not_ended() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        Process(stranger.pid, "another start time").signal(signal.SIGKILL)
        time.sleep(0.2)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_cluster_id_that_begins_with_a_dash_is_no_option(tmp_path, monkeypatch):
    monkeypatch.setattr("cli.stack.broker.uuid.uuid4", lambda: UUID(bytes=bytes([0xF8]) + bytes(15)))
    home = Home(tmp_path, Home.from_environment().jars)
    home.create()
    prepare(home, free_ports())
    assert "cluster.id=-AAAAAAAAAAAAAAAAAAAAA" in (home.kafka_data / "meta.properties").read_text().splitlines()
