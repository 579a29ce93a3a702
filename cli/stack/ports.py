"""The ports of the local stack, and whether they are free."""

from __future__ import annotations

import random
import socket
from dataclasses import dataclass

from cli.errors import UserError

# The option of `flinkrec up` that moves each port elsewhere.
OPTIONS = {
    "kafka": "--kafka-port",
    "controller": "--controller-port",
    "rest": "--rest-port",
    "rpc": "--rpc-port",
    "zookeeper": "--zookeeper-port",
    "metrics": "--metrics-port",
}
# The largest stack that `free_ports` finds room for.
_TASKMANAGERS = 8


@dataclass(frozen=True, slots=True)
class Ports:
    """kafka and controller belong to the broker, rest and rpc to the JobManager; TaskManagers pick theirs at random.

    metrics is the JobManager's page for Prometheus, the TaskManagers' are on the ports behind it; 0: there are none.
    """

    kafka: int = 19092
    controller: int = 19093
    rest: int = 18081
    rpc: int = 16123
    zookeeper: int = 12181
    metrics: int = 19249

    @property
    def bootstrap_servers(self) -> str:
        return f"localhost:{self.kafka}"

    @property
    def jobmanager(self) -> str:
        return f"localhost:{self.rest}"

    def metrics_of(self, taskmanager: int) -> int:
        """Port of the page of a TaskManager, counted from 1; 0 where there is none."""
        return self.metrics + taskmanager if self.metrics else 0

    def require_free(self, *, taskmanagers: int = 0) -> None:
        """Raise a UserError for the first port that another process holds."""
        wanted = [(name, getattr(self, name)) for name in OPTIONS]
        wanted += [("metrics", self.metrics_of(number)) for number in range(1, taskmanagers + 1)]
        for name, port in wanted:
            if not is_free(port):
                raise UserError(
                    f"port {port} ({name}) is in use by another process: stop that process, "
                    f"or choose another port with {OPTIONS[name]}"
                )


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # The servers bind with SO_REUSEADDR too: connections in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ports() -> Ports:
    """Ports that are free now, for a second stack beside a running one.

    They lie below those that Linux gives to outgoing connections, which could have taken one by the time that the stack starts, or
    starts again.
    """
    while True:
        first = random.randrange(20_000, 32_000)
        if all(map(is_free, range(first, first + len(OPTIONS) + _TASKMANAGERS))):
            # the pages of the TaskManagers are on the ports behind the last of them
            return Ports(**{name: first + place for place, name in enumerate(OPTIONS)})


def next_free_port(wanted: int, *, tries: int = 50) -> int | None:
    """The first port from `wanted` on that is free; None where none of the next ones is."""
    return next((port for port in range(wanted, min(wanted + tries, 65_536)) if is_free(port)), None)
