"""Waiting for a job to run, as the cluster tells it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.cluster import Cluster
from cli.errors import UserError

TASKS = 17


class Told(Cluster):
    """A cluster that says one state of its job after the other, each with the tasks that run and the latest failure."""

    def __init__(self, *said: tuple[str, int, str]) -> None:
        super().__init__("localhost:1")
        self._said = iter(said)

    def get(self, path: str) -> Any:
        if path.endswith("exceptions"):
            entries = [{"stacktrace": f"{self._failure}\n\tat somewhere"}] if self._failure else []
            return {"exceptionHistory": {"entries": entries}}
        state, running, self._failure = next(self._said)
        another = {"jid": "another", "state": "RUNNING", "tasks": {"total": 1, "running": 1}}
        return {"jobs": [another, {"jid": "job", "state": state, "tasks": {"total": TASKS if running else 0, "running": running}}]}


def test_why_the_tasks_start_again_is_told_once_until_it_is_something_else() -> None:
    said: list[str] = []
    cluster = Told(
        ("INITIALIZING", 0, ""),
        ("RESTARTING", 0, "no broker"),
        ("RESTARTING", 0, "no broker"),
        ("RUNNING", 1, "no broker"),
        ("RESTARTING", 0, "no topic"),
        ("RUNNING", TASKS, "no topic"),
    )

    cluster.wait_running("job", progress=said.append)

    assert said == ["the tasks start again: no broker", "the tasks start again: no topic"]


def test_a_job_that_has_failed_is_not_waited_for() -> None:
    with pytest.raises(UserError, match=r"did not start \(FAILED\): no python$"):
        Told(("FAILED", 0, "no python")).wait_running("job", progress=lambda _: None)
