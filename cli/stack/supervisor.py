"""The process that keeps the local stack alive: `python -m cli.stack HOME`.

It starts what the plan in its home directory lists, looks ten times a second whether a child has died, and starts it
again: at once the first time, later and later when it keeps dying young. A plan that is written anew meanwhile may have more
children, or fewer (`Stack.run_beside`). After each change it rewrites the state file,
by which the other commands find the processes. SIGTERM ends everything in order, the broker last, so that Flink can
still commit.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from cli.stack import flink
from cli.stack.paths import Home
from cli.stack.ports import Ports
from cli.stack.state import Child, Process, State, end, write_state
from cli.stack.timeslice import lengthen_time_slices

POLL_S = 0.1
# A child that lived this long died of something new: it is started again at once.
STEADY_AFTER_S = 30.0
BACKOFF_S = 0.5
MAX_BACKOFF_S = 10.0
ALREADY_RUNNING = 3
SERVERS = ("kafka", "zookeeper")

log = logging.getLogger("flinkrec.supervisor")


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall run: the command line of each child, in the order of their start."""

    ports: Ports
    taskmanagers: int
    commands: dict[str, list[str]]
    logs: dict[str, str]

    def write(self, home: Home) -> None:
        # at once: the supervisor never reads half of it
        unfinished = _plan_file(home).with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.replace(_plan_file(home))

    @classmethod
    def read(cls, home: Home) -> Plan:
        document = json.loads(_plan_file(home).read_text())
        return cls(**(document | {"ports": Ports(**document["ports"])}))


def _plan_file(home: Home) -> Path:
    return home.supervisor / "plan.json"


@dataclass(slots=True)
class Kept:
    """One child of the supervisor: its process, and what is needed to decide about its next start."""

    name: str
    command: list[str]
    running: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    born: float = 0.0
    starts: int = 0
    died_young: int = 0
    due: float = 0.0

    @property
    def resource_id(self) -> str:
        """Changes with each start, so that the JobManager's list tells a new TaskManager from the lost one."""
        return f"{self.name}.{self.starts}" if self.name.startswith("taskmanager") else ""

    def note_death(self, now: float) -> float:
        """Remember that the child was found dead, and return the seconds to wait before its next start."""
        self.died_young = self.died_young + 1 if now - self.born < STEADY_AFTER_S else 0
        delay = backoff_s(self.died_young)
        self.due = now + delay
        self.running = None
        return delay


def backoff_s(died_young: int) -> float:
    """Seconds to wait before the next start of a child that died young so many times in a row."""
    return 0.0 if died_young <= 1 else min(MAX_BACKOFF_S, BACKOFF_S * 2 ** min(died_young - 2, 10))


class Supervisor:
    """Keeps the children of one plan running until it is told to stop."""

    def __init__(self, home: Home, plan: Plan) -> None:
        self.home = home
        self.plan = plan
        self.children = [Kept(name, command) for name, command in plan.commands.items()]
        self.stopping = threading.Event()
        self.environment = flink.environment(home)
        self._plan_read_ns = _plan_file(home).stat().st_mtime_ns

    def run(self) -> None:
        """Start everything, revive what dies, and end everything when asked to."""
        self._write_state()
        try:
            while not self.stopping.is_set():
                self._follow_plan()
                self._revive(time.monotonic())
                self.stopping.wait(POLL_S)
        finally:
            self._shut_down()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        log.info("asked to stop by signal %d", number)
        self.stopping.set()

    def _follow_plan(self) -> None:
        """End what has left the plan since, and take up what has come to it."""
        written_ns = _plan_file(self.home).stat().st_mtime_ns
        if written_ns == self._plan_read_ns:
            return
        self._plan_read_ns = written_ns
        self.plan = Plan.read(self.home)
        gone = [child for child in self.children if self.plan.commands.get(child.name) != child.command]
        end([Process.of(child.running.pid) for child in gone if child.running is not None], 10.0)
        for child in gone:
            if child.running is not None:
                child.running.wait()
        self.children = [child for child in self.children if child not in gone]
        there = {child.name for child in self.children}
        self.children += [Kept(name, command) for name, command in self.plan.commands.items() if name not in there]
        self._write_state()

    def _revive(self, now: float) -> None:
        changed = False
        for child in self.children:
            if child.running is not None and child.running.poll() is not None:
                code, delay = child.running.returncode, child.note_death(now)
                log.warning("%s died with code %d, starts again in %.1f s", child.name, code, delay)
            if child.running is None and now >= child.due:
                self._start(child, now)
                changed = True
        if changed:
            self._write_state()

    def _start(self, child: Kept, now: float) -> None:
        child.starts += 1
        command = flink.with_resource_id(child.command, child.resource_id) if child.resource_id else child.command
        # A crashed JVM leaves its hs_err file in its working directory: let that be among the logs.
        with (self.home.logs / f"{child.name}.out").open("ab") as output:
            child.running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home.logs,
                env=self.environment,
            )
        child.born, child.since = now, time.time()
        log.info("%s runs as pid %d (start %d)", child.name, child.running.pid, child.starts)

    def _write_state(self) -> None:
        me = Process.of(os.getpid())
        children = {child.name: self._described(child) for child in self.children if child.running is not None}
        write_state(self.home, State(me, self.plan.ports, self.plan.taskmanagers, children))

    def _described(self, child: Kept) -> Child:
        assert child.running is not None
        return Child(
            name=child.name,
            process=Process.of(child.running.pid),
            since=child.since,
            restarts=child.starts - 1,
            log=self.plan.logs[child.name],
            resource_id=child.resource_id,
        )

    def _shut_down(self) -> None:
        running = {child.name: child.running for child in self.children if child.running is not None}
        # Those that others write to end last.
        servers = [Process.of(process.pid) for name, process in running.items() if name in SERVERS]
        cluster = [Process.of(process.pid) for name, process in running.items() if name not in SERVERS]
        end(cluster, 10.0)
        end(servers, 20.0)
        self.home.state_file.unlink(missing_ok=True)
        log.info("everything ended")


def main() -> int:
    """Supervise the stack whose home directory is the first argument, until a signal ends it."""
    from serving.logs import log_to_stderr

    log_to_stderr()
    lengthen_time_slices()
    home = Home.at(Path(sys.argv[1]))
    with home.lock_file.open("w") as lock:
        try:
            # Held until this process ends, however it ends: two supervisors of one home would fight over its ports.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another supervisor runs in %s", home.root)
            return ALREADY_RUNNING
        supervisor = Supervisor(home, Plan.read(home))
        signal.signal(signal.SIGTERM, supervisor.stop)
        signal.signal(signal.SIGINT, supervisor.stop)
        supervisor.run()
    return 0
