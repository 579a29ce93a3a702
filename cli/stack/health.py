"""Questions to the running stack: does the broker answer, and what does Flink's REST interface say?"""

from __future__ import annotations

import json
import logging
import socket
import urllib.request
from dataclasses import dataclass
from typing import Any

from cli.stack.ports import Ports


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the JobManager knows: the TaskManagers that can be used, slots and jobs (name, state, id, start time in ms)."""

    resource_ids: frozenset[str]
    slots_total: int
    slots_free: int
    jobs: tuple[dict[str, Any], ...]


def open_directly(request: urllib.request.Request, *, timeout_s: float) -> Any:
    """The response to a request to a cluster: no proxy from the environment may come between us and it."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout_s)


def rest(ports: Ports, path: str, timeout_s: float = 3.0) -> Any:
    """GET a path of Flink's REST interface, as parsed JSON; raises OSError when it does not answer."""
    with open_directly(urllib.request.Request(f"http://{ports.jobmanager}{path}"), timeout_s=timeout_s) as answer:
        return json.load(answer)


def cluster(ports: Ports) -> Cluster | None:
    """The state of the Flink cluster, or None when the JobManager does not answer."""
    try:
        overview = rest(ports, "/overview")
        taskmanagers = rest(ports, "/taskmanagers")["taskmanagers"]
        jobs = rest(ports, "/jobs/overview")["jobs"]
    except (OSError, ValueError, KeyError):
        return None
    return Cluster(
        # a TaskManager is listed when it has registered, and offers its slot after that
        resource_ids=frozenset(taskmanager["id"] for taskmanager in taskmanagers if taskmanager["slotsNumber"]),
        slots_total=overview["slots-total"],
        slots_free=overview["slots-available"],
        jobs=tuple(jobs),
    )


def broker_answers(ports: Ports) -> bool:
    """Whether the broker tells its metadata; an open port alone does not make it one that serves."""
    if not _accepts(ports.kafka):
        return False
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    try:
        admin = KafkaAdminClient(bootstrap_servers=ports.bootstrap_servers, request_timeout_ms=5000)
    except (KafkaError, OSError, ValueError):
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=1.0):
            return True
    except OSError:
        return False
