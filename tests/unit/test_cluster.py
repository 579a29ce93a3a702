"""Waiting for a job to run, as the cluster tells it."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
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


@pytest.fixture
def web_server() -> Iterator[str]:
    """Another server than Flink, which says the path that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[1]" if self.path == "/json" else b"<html>")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_what_is_no_flink_is_said_in_a_sentence(web_server: str) -> None:
    with pytest.raises(UserError, match=r"^no Flink cluster answers at 127"):
        Cluster(web_server).running_jobs()


def test_a_proxy_from_the_environment_does_not_come_between(web_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert Cluster(web_server).get("/json") == [1]
