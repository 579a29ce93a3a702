"""The Flink cluster of the local stack: a Flink home of our own, its configuration, and the JVM command lines.

PyFlink's distribution is used as it is, through symlinks. What differs is `lib/`: the flink-python and Kafka connector
jars must be loaded by Flink's own class loader, because pemja can be loaded only once in a JVM: as part of a job's jars
the second job on a TaskManager would fail with ``NoSuchFieldException: loadedLibraryNames``. And `opt/`: Flink's client sends
the flink-python jar in it with each Python job, 42 MB which the JobManager stores twice and each TaskManager once. Ours is
empty, as every cluster has the real one in its `lib/` (docs/cluster.md).

The JVMs are started directly, not through Flink's shell scripts: those start three more JVMs to read the configuration,
which a restart after a crash would have to wait for. Flink's BashJavaUtils is asked when the stack comes up.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli.errors import UserError
from cli.stack.jvm import SMALL_JVM
from cli.stack.paths import Home
from cli.stack.ports import Ports

JOBMANAGER_CLASS = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
ZOOKEEPER_CLASS = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
TASKMANAGER_CLASS = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
# Pekko's clock wakes each Flink process at each tick, and once more for its metrics; what is scheduled there is seconds away.
_TICK = "-Dpekko.scheduler.tick-duration=100ms"
_METRICS_PORT = "metrics.reporter.prometheus.port"
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"

_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.rolling.ref = RollingFileAppender

logger.kafka.name = org.apache.kafka
logger.kafka.level = WARN
logger.zookeeper.name = org.apache.flink.shaded.zookeeper3
logger.zookeeper.level = WARN
logger.netty.name = org.jboss.netty.channel.DefaultChannelPipeline
logger.netty.level = OFF

# JSON lines of the job's own, in a file of their own
logger.flinkrec.name = flinkrec
logger.flinkrec.level = {level}
logger.flinkrec.additivity = false
logger.flinkrec.appenderRef.lines.ref = Lines

appender.lines.name = Lines
appender.lines.type = RollingFile
appender.lines.createOnDemand = true
appender.lines.append = true
appender.lines.fileName = ${sys:lines.file}
appender.lines.filePattern = ${sys:lines.file}.%i
appender.lines.layout.type = PatternLayout
appender.lines.layout.pattern = %m%n
appender.lines.policies.type = Policies
appender.lines.policies.size.type = SizeBasedTriggeringPolicy
appender.lines.policies.size.size = 20MB
appender.lines.strategy.type = DefaultRolloverStrategy
appender.lines.strategy.max = 3

appender.rolling.name = RollingFileAppender
appender.rolling.type = RollingFile
appender.rolling.append = true
appender.rolling.fileName = ${sys:log.file}
appender.rolling.filePattern = ${sys:log.file}.%i
appender.rolling.layout.type = PatternLayout
appender.rolling.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %c{1} - %m%n
appender.rolling.policies.type = Policies
appender.rolling.policies.size.type = SizeBasedTriggeringPolicy
appender.rolling.policies.size.size = 20MB
appender.rolling.strategy.type = DefaultRolloverStrategy
appender.rolling.strategy.max = 3
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """Sizes in MiB. What Python allocates in thread mode is native memory of the JVM: `python` reserves it."""

    heap: int = 768
    managed: int = 64
    network: int = 128
    python: int = 1500


def distribution() -> Path:
    """The Flink distribution inside the installed pyflink package, found without importing it."""
    spec = importlib.util.find_spec("pyflink")
    if spec is None or spec.origin is None:
        raise UserError("apache-flink is not installed in this Python environment: run `make setup`")
    return Path(spec.origin).parent


def shipped_java_options() -> list[str]:
    """What Flink needs of every JVM that it runs in."""
    shipped = yaml.safe_load((distribution() / "conf" / "config.yaml").read_text())
    return str(shipped["env"]["java"]["opts"]["all"]).split()


def configuration(home: Home, ports: Ports, memory: Memory) -> dict[str, Any]:
    """What stands in the cluster's config.yaml."""
    return {
        "env.java.opts.all": " ".join((*shipped_java_options(), *SMALL_JVM, _TICK)),
        "env.log.dir": str(home.logs),
        "env.pid.dir": str(home.tmp),
        "io.tmp.dirs": str(home.tmp),
        "classloader.resolve-order": "parent-first",
        # Everything listens on this machine only.
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": ports.rpc,
        # Without it the jobs die with the JobManager; with it a new one takes them up from the last checkpoint.
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"localhost:{ports.zookeeper}",
        "high-availability.storageDir": home.high_availability.as_uri(),
        "high-availability.jobmanager.port": ports.rpc,
        # The new JobManager has to wait until the session of the dead one has expired.
        "high-availability.zookeeper.client.session-timeout": 8000,
        "high-availability.zookeeper.client.tolerate-suspended-connections": True,
        "jobmanager.bind-host": "localhost",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": ports.rest,
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
        # Whoever reaches the web page must not be able to run code of theirs.
        "web.submit.enable": False,
        # how old an answer about a job may be, in milliseconds
        "web.refresh-interval": 1000,
        "jobmanager.memory.process.size": "1g",
        "taskmanager.memory.task.heap.size": f"{memory.heap}m",
        "taskmanager.memory.managed.size": f"{memory.managed}m",
        "taskmanager.memory.network.min": f"{memory.network}m",
        "taskmanager.memory.network.max": f"{memory.network}m",
        "taskmanager.memory.task.off-heap.size": f"{memory.python}m",
        # All Python tasks of a JVM share one GIL: one slot a TaskManager, and more TaskManagers.
        "taskmanager.numberOfTaskSlots": 1,
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "python.pythonpath": sysconfig.get_path("purelib"),
        "execution.checkpointing.dir": home.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": home.savepoints.as_uri(),
        # With no free slot a fixed delay burns its attempts at once; this one waits for the new TaskManager.
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.reset-backoff-threshold": "1 min",
        "jobmanager.execution.failover-strategy": "region",
        # A killed TaskManager is noticed in about two seconds instead of fifty.
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 8000,
        "heartbeat.rpc-failure-threshold": 1,
    } | _reporter(ports)


def _reporter(ports: Ports) -> dict[str, Any]:
    """Flink's page for Prometheus, which listens on every interface: it cannot be told otherwise."""
    if not ports.metrics:
        return {}
    return {
        "metrics.reporters": "prometheus",
        "metrics.reporter.prometheus.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        _METRICS_PORT: ports.metrics,
        # the bounds of histograms are labels, and +Inf must stay what it is
        "metrics.reporter.prometheus.filterLabelValueCharacters": False,
    }


def environment(home: Home) -> dict[str, str]:
    """The environment of the Flink processes and of Flink's client.

    PYTHONPATH names the installed packages and what was submitted last, not the repository: editing a file does not change
    the job that runs.
    """
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "FLINK_CONF_DIR": str(home.flink_conf),
        "FLINK_LIB_DIR": str(home.flink_lib),
        "FLINK_OPT_DIR": str(home.flink_opt),
        # Flink does not follow a symlink to this one.
        "FLINK_PLUGINS_DIR": str(distribution() / "plugins"),
        "FLINK_LOG_DIR": str(home.logs),
        "FLINK_PID_DIR": str(home.tmp),
        "FLINK_IDENT_STRING": "flinkrec",
        "PATH": search_path(),
        "PYTHONPATH": os.pathsep.join((str(home.deployment), sysconfig.get_path("purelib"))),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def search_path() -> str:
    """The PATH of a JVM in which Python runs.

    That Python takes its standard library from beside the first python3 on it: another one's, such as a pyenv shim's, does not fit the
    library that is loaded.
    """
    return os.pathsep.join((str(Path(sys.base_prefix) / "bin"), os.environ.get("PATH", os.defpath)))


def prepare(home: Home, ports: Ports, memory: Memory, *, log_level: str = "INFO") -> None:
    """Lay out the Flink home and write its configuration.

    Parameters
    ----------
    log_level : of the job's own lines (`operators.logs`)
    """
    _link(home.flink / "bin", distribution() / "bin")
    link_jars(home)
    (home.flink_conf / "config.yaml").write_text(yaml.safe_dump(configuration(home, ports, memory), width=10_000))
    for name in ("log4j-console.properties", "log4j.properties"):
        (home.flink_conf / name).write_text(_LOG4J.replace("{level}", log_level))
    (home.zookeeper / "zoo.cfg").write_text(_zookeeper_properties(home, ports))


def _zookeeper_properties(home: Home, ports: Ports) -> str:
    return (
        f"dataDir={home.zookeeper / 'data'}\n"
        f"clientPort={ports.zookeeper}\nclientPortAddress=localhost\n"
        "tickTime=1000\nadmin.enableServer=false\nmaxClientCnxns=0\n"
    )


def link_jars(home: Home) -> None:
    """Make `lib` of PyFlink's jars and our own; a UserError where these have not been fetched."""
    shipped = distribution()
    connector = sorted((home.jars / "flink").glob("*.jar"))
    if not connector:
        raise UserError(f"the Kafka connector is missing in {home.jars / 'flink'}: run `flinkrec setup` first")
    # Links of another PyFlink version must not stay beside the new ones.
    for old in home.flink_lib.glob("*.jar"):
        old.unlink()
    for jar in [*sorted((shipped / "lib").glob("*.jar")), *(shipped / "opt").glob("flink-python*.jar"), *connector]:
        _link(home.flink_lib / jar.name, jar)


def empty_opt(home: Home) -> None:
    """Make `opt` of a flink-python jar with nothing in it, for the client to send."""
    home.flink_opt.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(home.flink_opt / "flink-python.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n\n")


def _link(link: Path, target: Path) -> None:
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target)


def zookeeper_command(home: Home) -> list[str]:
    """The command line that becomes ZooKeeper, of which the Flink distribution holds a copy."""
    return [
        *("java", "-Xms32m", "-Xmx96m", *SMALL_JVM, *_log_options(home, "zookeeper")),
        *("-classpath", classpath(home), ZOOKEEPER_CLASS, str(home.zookeeper / "zoo.cfg")),
    ]


def jobmanager_command(home: Home) -> list[str]:
    """The command line that becomes the JobManager."""
    return _command(home, JOBMANAGER_CLASS, _resource_parameters(home, "GET_JM_RESOURCE_PARAMS"), "jobmanager")


def taskmanager_commands(home: Home, metrics_ports: dict[str, int]) -> dict[str, list[str]]:
    """The command lines that become the TaskManagers, by name.

    Parameters
    ----------
    metrics_ports : by the name that tells its log from the others', the port of its page for Prometheus, 0 where there is none
    """
    # asked once for all of them: each question is a JVM
    resources = _resource_parameters(home, "GET_TM_RESOURCE_PARAMS")
    return {
        name: _command(home, TASKMANAGER_CLASS, resources, name) + (["-D", f"{_METRICS_PORT}={port}"] if port else [])
        for name, port in metrics_ports.items()
    }


def with_resource_id(command: list[str], resource_id: str) -> list[str]:
    """The same TaskManager under the name by which the JobManager's REST interface will list it."""
    return [*command, "-D", f"taskmanager.resource-id={resource_id}"]


def _command(home: Home, main_class: str, resources: tuple[list[str], list[str]], name: str) -> list[str]:
    options, dynamic = resources
    java_options = yaml.safe_load((home.flink_conf / "config.yaml").read_text())["env.java.opts.all"].split()
    return [
        "java",
        *options,
        *java_options,
        *_log_options(home, name),
        "-classpath",
        classpath(home),
        main_class,
        "--configDir",
        str(home.flink_conf),
        *dynamic,
    ]


def _log_options(home: Home, name: str) -> list[str]:
    return [
        f"-Dlog.file={home.logs / name}.log",
        f"-Dlines.file={home.logs / name}.jsonl",
        f"-Dlog4j.configurationFile={(home.flink_conf / 'log4j-console.properties').as_uri()}",
    ]


def classpath(home: Home) -> str:
    """Every jar of lib by name, flink-dist last: the order of Flink's own scripts."""
    jars = sorted(home.flink_lib.glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))
    return os.pathsep.join(map(str, jars))


def _resource_parameters(home: Home, what: str) -> tuple[list[str], list[str]]:
    """JVM options and dynamic properties that Flink derives from the memory settings."""
    jars = [home.flink / "bin" / "bash-java-utils.jar", *home.flink_lib.glob("flink-dist*.jar")]
    done = subprocess.run(
        [
            *("java", *SMALL_JVM, "-cp", os.pathsep.join(map(str, jars))),
            *("org.apache.flink.runtime.util.bash.BashJavaUtils", what, "--configDir", str(home.flink_conf)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    results = [line.removeprefix(_RESULT) for line in done.stdout.splitlines() if line.startswith(_RESULT)]
    if len(results) != 2:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise UserError(f"Flink refused the memory settings in {home.flink_conf / 'config.yaml'}: {lines[-1]}")
    return results[0].split(), results[1].split()
