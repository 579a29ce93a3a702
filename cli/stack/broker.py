"""The Kafka broker of the local stack: one KRaft node, plain java, its data in the home directory."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode

from cli.errors import UserError
from cli.stack.jvm import SMALL_JVM
from cli.stack.paths import Home
from cli.stack.ports import Ports

_LOG4J = """\
status = warn
rootLogger.level = info
rootLogger.appenderRef.file.ref = file

appender.file.name = file
appender.file.type = RollingFile
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %-5p %m (%c{{1}})%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
"""


def server_properties(home: Home, ports: Ports) -> str:
    """The broker's configuration as a properties file."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"localhost:{ports.controller}",
        "listeners": f"PLAINTEXT://localhost:{ports.kafka},CONTROLLER://localhost:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://localhost:{ports.kafka},CONTROLLER://localhost:{ports.controller}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": home.kafka_data,
        "num.partitions": 8,
        "auto.create.topics.enable": "false",
        # A replay writes events of years ago: time-based retention would delete them at once.
        "log.retention.ms": -1,
        # A record from the far future would carry the watermark with it and make everything after it late.
        "log.message.timestamp.after.max.ms": 3_600_000,
        "log.cleaner.enable": "true",
        "log.cleaner.dedupe.buffer.size": 33_554_432,
        "message.max.bytes": 4_194_304,
        "replica.fetch.max.bytes": 4_194_304,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "transaction.max.timeout.ms": 3_600_000,
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may register again only when its old session has expired (9 s by default).
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        # One node has nobody to hand its partitions to.
        "controlled.shutdown.enable": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def java(home: Home, *, heap: tuple[str, str]) -> list[str]:
    log4j = home.kafka / "log4j2.properties"
    return [
        "java",
        f"-Xms{heap[0]}",
        f"-Xmx{heap[1]}",
        *SMALL_JVM,
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={log4j}",
        "-cp",
        f"{home.jars / 'kafka'}/*",
    ]


def command(home: Home) -> list[str]:
    """The command line that becomes the broker."""
    return [*java(home, heap=("256m", "512m")), "kafka.Kafka", str(home.kafka_properties)]


def prepare(home: Home, ports: Ports) -> None:
    """Write the configuration, and format the data directory the first time."""
    if not any((home.jars / "kafka").glob("kafka_2.13-*.jar")):
        raise UserError(f"the broker's jars are missing in {home.jars / 'kafka'}: run `flinkrec setup` first")
    home.kafka_properties.write_text(server_properties(home, ports))
    (home.kafka / "log4j2.properties").write_text(_LOG4J.format(log=home.logs / "kafka.log"))
    if not (home.kafka_data / "meta.properties").exists():
        _format(home)


def _format(home: Home) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # one id in 64 begins with a dash: as an argument of its own it would be an option
    arguments = ["format", "--standalone", f"--cluster-id={cluster}", "-c", str(home.kafka_properties)]
    done = subprocess.run(
        [*java(home, heap=("64m", "256m")), "kafka.tools.StorageTool", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise UserError(f"Kafka could not format its data directory {home.kafka_data}: {lines[-1]}")
