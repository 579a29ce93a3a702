"""Waiting for a job to run, as the cluster tells it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.cluster import Cluster
from cli.errors import UserError


class Told(Cluster):
    """A cluster that says one state of its job after the other, each with the latest failure."""

    def __init__(self, *said: tuple[str, str, str]) -> None:
        super().__init__("localhost:1")
        self._said = iter(said)

    def get(self, path: str) -> Any:
        if path.endswith("exceptions"):
            entries = [{"stacktrace": f"{self._failure}\n\tat somewhere"}] if self._failure else []
            return {"exceptionHistory": {"entries": entries}}
        state, task, self._failure = next(self._said)
        return {"state": state, "vertices": [{"status": task}]}


def test_why_the_tasks_start_again_is_told_once_until_it_is_something_else() -> None:
    said: list[str] = []
    cluster = Told(
        ("CREATED", "CREATED", ""),
        ("RESTARTING", "CANCELED", "no broker"),
        ("RESTARTING", "CANCELED", "no broker"),
        ("RUNNING", "INITIALIZING", "no broker"),
        ("RESTARTING", "CANCELED", "no topic"),
        ("RUNNING", "RUNNING", "no topic"),
    )

    cluster.wait_running("job", progress=said.append)

    assert said == ["the tasks start again: no broker", "the tasks start again: no topic"]


def test_a_job_that_has_failed_is_not_waited_for() -> None:
    with pytest.raises(UserError, match=r"did not start \(FAILED\): no python$"):
        Told(("FAILED", "FAILED", "no python")).wait_running("job", progress=lambda _: None)
