"""A plain Flink cluster, started by Flink's own scripts, and a submission to it from a home in which nothing was ever started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.errors import UserError
from cli.stack import Stack, free_ports
from cli.stack.flink import distribution, search_path, shipped_java_options
from cli.stack.jvm import SMALL_JVM
from tests import synthetic
from tests.e2e import running

SETTINGS = {
    "jobmanager.rpc.address": "localhost",
    "jobmanager.memory.process.size": "1g",
    "rest.address": "localhost",
    "classloader.parent-first-patterns.additional": "pemja",
    "taskmanager.numberOfTaskSlots": 1,
    "taskmanager.memory.process.size": "4g",
    "taskmanager.memory.managed.size": "512m",
    "taskmanager.memory.task.off-heap.size": "1500m",
}


class PlainCluster:
    """A JobManager and two TaskManagers from an unpacked distribution, as docs/cluster.md asks for them."""

    def __init__(self, directory: Path, jars: Path) -> None:
        ports = free_ports()
        self.jobmanager = ports.jobmanager
        self._bin = shutil.copytree(distribution() / "bin", directory / "bin")
        for name in ("opt", "plugins"):
            (directory / name).symlink_to(distribution() / name)
        for name in ("lib", "log"):
            (directory / name).mkdir()
        for jar in (*(distribution() / "lib").glob("*.jar"), *(distribution() / "opt").glob("flink-python*"), *jars.glob("*.jar")):
            (directory / "lib" / jar.name).symlink_to(jar)
        shutil.copytree(distribution() / "conf", directory / "conf")
        settings = SETTINGS | {
            "env.java.opts.all": " ".join((*shipped_java_options(), *SMALL_JVM)),
            "jobmanager.rpc.port": ports.rpc,
            "rest.port": ports.rest,
        }
        (directory / "conf" / "config.yaml").write_text(yaml.safe_dump(settings, width=10_000))
        self._pids = directory / "pids"
        self._environment = {"PATH": search_path(), "HOME": str(directory), "FLINK_PID_DIR": str(self._pids)}

    def start(self) -> None:
        for script in ("jobmanager.sh", "taskmanager.sh", "taskmanager.sh"):
            done = subprocess.run(
                ["bash", str(self._bin / script), "start"], env=self._environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """End it as a power cut does: to end in order takes each process five seconds."""
        for pids in self._pids.glob("*.pid"):
            for pid in pids.read_text().split():
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def plain(stack: Stack, tmp_path: Path) -> Iterator[PlainCluster]:
    cluster = PlainCluster(tmp_path / "flink", stack.home.jars / "flink")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.kill()


def installed(directory: Path) -> Path:
    """The interpreter of an environment of its own, with all packages, and flinkrec as `pip install` would put it there."""
    packages = directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    packages.mkdir(parents=True)
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if "flinkrec" not in package.name:
            (packages / package.name).symlink_to(package)
    for name in ("models", "operators", "jobs"):
        (packages / name).symlink_to(running.REPOSITORY / name)
    (directory / "bin").mkdir()
    (directory / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", directory)
    return directory / "bin" / "python"


def test_a_cluster_elsewhere_runs_the_job_that_is_submitted_from_an_empty_home(
    stack: Stack, plain: PlainCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = installed(tmp_path / "python")
    elsewhere = {"jobmanager": plain.jobmanager, "python": str(python), "state_backend": "rocksdb"}
    config = running.configuration(stack, flink=elsewhere)
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))
    running.await_true(lambda: both_registered(config), "the plain cluster has no two TaskManagers")

    job_id = running.submitted(config)
    loop = running.loop(config)
    *_, progress = loop.run(synthetic.events(30))
    loop.close()

    assert (progress.answered, progress.dead_letters) == (30, 0)
    assert job_id in running.cluster(config).running_jobs()
    assert job_id not in running.Cluster(stack.jobmanager).running_jobs()


def both_registered(config: running.Configuration) -> bool:
    """Whether both TaskManagers have registered."""
    try:
        return bool(running.cluster(config).get("/overview")["slots-available"] == 2)
    except UserError:
        return False
