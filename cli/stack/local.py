"""The local stack as one object: start it, find it again, ask it, restart its TaskManagers, stop it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cli
from cli.errors import UserError
from cli.stack import broker, flink, health
from cli.stack.flink import Memory
from cli.stack.paths import Home
from cli.stack.ports import Ports
from cli.stack.state import State, end, read_state, wait_gone
from cli.stack.supervisor import Plan

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
# A child that had to be started again this often while the stack comes up will not come up.
HOPELESS_RESTARTS = 3

Progress = Callable[[str], None]


def _silent(_message: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Stack:
    """A running local stack. Processes come and go, so everything is read from the state file when asked for."""

    home: Home

    # ------------------------------------------------------------------------------------------------ life

    @classmethod
    def start(
        cls,
        home: Home,
        *,
        ports: Ports | None = None,
        taskmanagers: int = 3,
        memory: Memory | None = None,
        log_level: str = "INFO",
        progress: Progress = _silent,
    ) -> Stack:
        """Start the stack and wait until it serves; a stack that runs already is returned as it is.

        Parameters
        ----------
        home : where all its files live
        ports : the defaults when None
        taskmanagers : number of TaskManagers, of one slot each
        memory : of each TaskManager
        log_level : of the job's own lines
        progress : is told in a few words what is being waited for

        Raises
        ------
        UserError
            When a port is taken, jars are missing, or a process does not come up.
        """
        ports = ports or Ports()
        running = cls.find(home)
        if running is not None:
            running.wait_ready(progress=progress)
            return running
        if left := clear_leftovers(home):
            progress(f"ended {left} processes that a crashed supervisor had left behind")
        ports.require_free(taskmanagers=taskmanagers)
        _write_plan(home, ports, taskmanagers, memory or Memory(), log_level)
        progress("starting the supervisor")
        supervisor = _launch_supervisor(home)
        stack = cls(home)
        try:
            stack._await_supervisor(supervisor)
            stack.wait_ready(progress=progress)
        except BaseException:
            stack.stop()
            raise
        return stack

    @classmethod
    def find(cls, home: Home) -> Stack | None:
        """The stack whose supervisor runs in this home, or None."""
        state = read_state(home)
        return cls(home) if state is not None and state.supervisor.is_alive() else None

    @classmethod
    def attached(cls, home: Home | None = None) -> Stack:
        """The running stack of this home (by default the one the environment names); a UserError when none runs."""
        home = home or Home.from_environment()
        stack = cls.find(home)
        if stack is None:
            raise UserError(f"no local stack runs in {home.root}: start it with `flinkrec up`")
        return stack

    def stop(self) -> None:
        """End the supervisor and everything it started, and wait until all of it is gone."""
        state = read_state(self.home)
        if state is None:
            return
        state.supervisor.signal(signal.SIGTERM)
        wait_gone([state.supervisor], STOP_TIMEOUT_S)
        # Read again: the supervisor may have replaced a child before it heard the signal.
        clear_leftovers(self.home)
        end(state.processes(), 5.0)

    def restart_taskmanagers(self, *, progress: Progress = _silent) -> None:
        """Replace every TaskManager by a fresh one and wait until all have registered.

        A TaskManager keeps the Python modules it has once imported: without this a new submission would silently run
        the old code.
        """
        old = [child for child in self.state.children.values() if child.resource_id]
        progress("restarting the TaskManagers")
        end([child.process for child in old], 10.0)
        gone = {child.resource_id for child in old}
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            now = {child.resource_id for child in self.state.children.values() if child.resource_id}
            if not now & gone and len(now) == self.state.taskmanagers:
                break
            if time.monotonic() > deadline:
                raise UserError(f"the TaskManagers were not started again: see {self.home.logs / 'supervisor.log'}")
            time.sleep(0.05)
        self.wait_ready(progress=progress)

    def run_beside(self, name: str, command: list[str]) -> None:
        """Let the supervisor keep one more process alive, which ends with the stack; one of this name is ended first.

        Parameters
        ----------
        command : its command line; it runs the code of this repository, and its output goes to NAME.out among the logs
        """
        self.end_beside(name)
        plan = Plan.read(self.home)
        ours = ["env", f"PYTHONPATH={_repository()}", *command]
        log = str(self.home.logs / f"{name}.out")
        replace(plan, commands=plan.commands | {name: ours}, logs=plan.logs | {name: log}).write(self.home)
        self._await_children(lambda names: name in names)

    def end_beside(self, name: str) -> None:
        """End a process that `run_beside` has started, where there is one."""
        plan = Plan.read(self.home)
        if name in plan.commands:
            replace(plan, commands={other: command for other, command in plan.commands.items() if other != name}).write(self.home)
        self._await_children(lambda names: name not in names)

    def _await_children(self, settled: Callable[[set[str]], bool]) -> None:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while not settled(set(self.state.children)):
            if time.monotonic() > deadline:
                raise UserError(f"the supervisor does not do what it is told: see {self.home.logs / 'supervisor.log'}")
            time.sleep(0.05)

    def wait_ready(self, *, progress: Progress = _silent, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until `problems` finds none; raise a UserError that names the first one when time is up."""
        deadline = time.monotonic() + timeout_s
        said = ""
        before = {name: child.restarts for name, child in self.state.children.items()}
        while problems := self.problems():
            if problems[0] != said:
                said = problems[0]
                progress(said)
            self._give_up_on_hopeless(before)
            if time.monotonic() > deadline:
                raise UserError(f"the local stack is not ready after {timeout_s:.0f} s: {problems[0]}")
            time.sleep(0.1)

    # ------------------------------------------------------------------------------------------------ questions

    @property
    def state(self) -> State:
        state = read_state(self.home)
        if state is None:
            raise UserError(f"no local stack runs in {self.home.root}: start it with `flinkrec up`")
        return state

    @property
    def ports(self) -> Ports:
        return self.state.ports

    @property
    def bootstrap_servers(self) -> str:
        return self.ports.bootstrap_servers

    @property
    def jobmanager(self) -> str:
        """``host:port`` of Flink's REST interface."""
        return self.ports.jobmanager

    def processes(self) -> dict[str, int]:
        """Name to pid: ``kafka``, ``jobmanager``, ``taskmanager-1``, ..."""
        return {name: child.process.pid for name, child in self.state.children.items()}

    def problems(self) -> list[str]:
        """What keeps the stack from serving, each in a few words; empty when it is healthy."""
        state = self.state
        found = []
        if not state.supervisor.is_alive():
            found.append("the supervisor is not running")
        found += [f"{name} is not running" for name, child in state.children.items() if not child.process.is_alive()]
        if not health.broker_answers(state.ports):
            found.append("the Kafka broker does not answer yet")
        return found + self._cluster_problems(state)

    def _cluster_problems(self, state: State) -> list[str]:
        cluster = health.cluster(state.ports)
        if cluster is None:
            return ["the JobManager does not answer yet"]
        wanted = {child.resource_id for child in state.children.values() if child.resource_id}
        registered = wanted & cluster.resource_ids
        if len(registered) < state.taskmanagers:
            return [f"{len(registered)} of {state.taskmanagers} TaskManagers have registered"]
        return []

    # ------------------------------------------------------------------------------------------------ steps of start

    def _await_supervisor(self, supervisor: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 20.0
        while True:
            state = read_state(self.home)
            if state is not None and state.supervisor.pid == supervisor.pid and state.children:
                return
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the supervisor did not start: see {self.home.logs / 'supervisor.log'}")
            time.sleep(0.05)

    def _give_up_on_hopeless(self, before: dict[str, int]) -> None:
        for child in self.state.children.values():
            if child.restarts - before.get(child.name, 0) >= HOPELESS_RESTARTS:
                out = self.home.logs / f"{child.name}.out"
                raise UserError(f"{child.name} keeps dying: its last words are in {out} and {child.log}")


def clear_leftovers(home: Home) -> int:
    """End what a supervisor that crashed has left behind, and return how many processes that were."""
    state = read_state(home)
    if state is None:
        return 0
    left = state.alive()
    end(left, 20.0)
    home.state_file.unlink(missing_ok=True)
    return len(left)


def _write_plan(home: Home, ports: Ports, taskmanagers: int, memory: Memory, log_level: str) -> None:
    # Killed JVMs leave their working files behind. What ZooKeeper remembers is for a JobManager that died while the
    # stack was up; a new stack starts without jobs, so that an old one cannot stand in the way of what is submitted.
    for directory in (home.tmp, home.zookeeper, home.high_availability):
        shutil.rmtree(directory, ignore_errors=True)
    home.imported.unlink(missing_ok=True)
    home.create()
    broker.prepare(home, ports)
    flink.prepare(home, ports, memory, log_level=log_level)
    commands = {"kafka": broker.command(home), "zookeeper": flink.zookeeper_command(home)}
    commands["jobmanager"] = flink.jobmanager_command(home)
    commands |= flink.taskmanager_commands(
        home, {f"taskmanager-{number}": ports.metrics_of(number) for number in range(1, taskmanagers + 1)}
    )
    logs = {name: home.logs / f"{name}.log" for name in commands}
    Plan(ports, taskmanagers, commands, {name: str(path) for name, path in logs.items()}).write(home)


def _repository() -> str:
    return str(Path(next(iter(cli.__path__))).parent)


def _launch_supervisor(home: Home) -> subprocess.Popen[bytes]:
    """Start the supervisor in a session of its own: it outlives this process and the terminal's Ctrl-C."""
    path = os.pathsep.join(filter(None, [_repository(), os.environ.get("PYTHONPATH")]))
    with (home.logs / "supervisor.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.stack", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home.root,
            env=os.environ | {"PYTHONPATH": path, "FLINKREC_JARS": str(home.jars)},
            start_new_session=True,
        )
