"""Where the local stack keeps its files: everything under one directory outside the repository.

`FLINKREC_HOME` names it (default ``~/.flinkrec``). `FLINKREC_JARS` may point at jars fetched before, so that a second
home, such as that of the tests, needs no download.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """All paths of one local stack. Two stacks with different homes and ports do not see each other."""

    root: Path
    jars: Path

    @classmethod
    def from_environment(cls) -> Home:
        root = Path(os.environ.get("FLINKREC_HOME") or Path.home() / ".flinkrec").expanduser().absolute()
        return cls.at(root)

    @classmethod
    def at(cls, root: Path) -> Home:
        jars = os.environ.get("FLINKREC_JARS")
        return cls(root, Path(jars).expanduser().absolute() if jars else root / "jars")

    @property
    def kafka(self) -> Path:
        """The broker's configuration; its data lie beside it."""
        return self.root / "kafka"

    @property
    def kafka_data(self) -> Path:
        return self.kafka / "data"

    @property
    def kafka_properties(self) -> Path:
        return self.kafka / "server.properties"

    @property
    def flink(self) -> Path:
        """A Flink home of our own: PyFlink's distribution, with two more jars in its lib."""
        return self.root / "flink"

    @property
    def flink_conf(self) -> Path:
        return self.flink / "conf"

    @property
    def flink_lib(self) -> Path:
        return self.flink / "lib"

    @property
    def flink_opt(self) -> Path:
        return self.flink / "opt"

    @property
    def client_conf(self) -> Path:
        """Configuration of Flink's client for clusters that are not the local one."""
        return self.root / "client"

    @property
    def zookeeper(self) -> Path:
        return self.root / "zookeeper"

    @property
    def high_availability(self) -> Path:
        """What a new JobManager needs to carry on with the jobs of one that died."""
        return self.root / "high-availability"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def savepoints(self) -> Path:
        return self.root / "savepoints"

    @property
    def deployment(self) -> Path:
        """The job's code and configuration as last submitted; the TaskManagers import from here."""
        return self.root / "deployment"

    @property
    def imported(self) -> Path:
        """A digest of the code that the running TaskManagers have imported, where anything was submitted to them, and how many jobs."""
        return self.supervisor / "imported"

    @property
    def serving(self) -> Path:
        """Stores of `flinkrec serve`, one for each set of topics."""
        return self.root / "serving"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def data(self) -> Path:
        """Downloaded data sets."""
        return self.root / "data"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def state_file(self) -> Path:
        return self.supervisor / "state.json"

    @property
    def lock_file(self) -> Path:
        return self.supervisor / "lock"

    def create(self) -> None:
        """Make the directories that hold something at run time."""
        for directory in (
            self.kafka_data,
            self.flink_conf,
            self.flink_lib,
            self.client_conf,
            self.zookeeper,
            self.high_availability,
            self.checkpoints,
            self.savepoints,
            self.logs,
            self.tmp,
            self.data,
            self.supervisor,
        ):
            directory.mkdir(parents=True, exist_ok=True)
