"""What the supervisor has started, written down so that any later command can find it.

`state.json` in the home directory lists every process with its pid and the moment the kernel started it. A pid alone
proves nothing: after a reboot or a wrap-around it may belong to a stranger, who must not be ended in our name.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.stack.paths import Home
from cli.stack.ports import Ports

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Process:
    """One running process: pid and the kernel's start time of it, together never used twice."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        return cls(pid, started_at(pid) or "")

    def is_alive(self) -> bool:
        return bool(self.started) and started_at(self.pid) == self.started

    def signal(self, number: int) -> None:
        """Send a signal, if the process is still the one we started."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


@dataclass(frozen=True, slots=True)
class Child:
    """A process the supervisor keeps alive.

    resource_id is the name by which Flink lists a TaskManager (empty for the others), since the time of its last start
    in seconds since 1970, restarts how often it had to be started again.
    """

    name: str
    process: Process
    since: float
    restarts: int
    log: str
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Everything `down`, `status` and a second `up` need to know."""

    supervisor: Process
    ports: Ports
    taskmanagers: int
    children: dict[str, Child] = field(default_factory=dict)

    def processes(self) -> list[Process]:
        return [self.supervisor, *(child.process for child in self.children.values())]

    def alive(self) -> list[Process]:
        return [process for process in self.processes() if process.is_alive()]


def started_at(pid: int) -> str | None:
    """When the kernel started this process, as an opaque text; None when it is gone or a zombie."""
    if sys.platform == "linux":
        try:
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    listed = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    status, _, start = listed.stdout.strip().partition(" ")
    return None if not status or status.startswith("Z") else start.strip()


def write_state(home: Home, state: State) -> None:
    """Replace the state file at once: a reader never sees half of it."""
    unfinished = home.state_file.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"format": FORMAT, "home": str(home.root), **asdict(state)}, indent=1))
    unfinished.replace(home.state_file)


def read_state(home: Home) -> State | None:
    """The last state written in this home, or None when nothing was ever started or all was ended."""
    try:
        document = json.loads(home.state_file.read_text())
    except FileNotFoundError:
        return None
    return State(
        supervisor=Process(**document["supervisor"]),
        ports=Ports(**document["ports"]),
        taskmanagers=document["taskmanagers"],
        children={
            name: Child(**(child | {"process": Process(**child["process"])}))
            for name, child in document["children"].items()
        },
    )


def end(processes: Iterable[Process], timeout_s: float) -> None:
    """Ask the processes to end, wait for them, and kill those that do not listen."""
    processes = list(processes)
    for process in processes:
        process.signal(signal.SIGTERM)
    if not wait_gone(processes, timeout_s):
        for process in processes:
            process.signal(signal.SIGKILL)
        wait_gone(processes, 5.0)


def wait_gone(processes: Iterable[Process], timeout_s: float) -> bool:
    """Wait until none of the processes is alive; False when time is up before."""
    processes = list(processes)
    deadline = time.monotonic() + timeout_s
    while any(process.is_alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
