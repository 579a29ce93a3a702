"""Stacks that come and go: `down` ends what `up` started and nothing else, and what a dead supervisor leaves is found."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import UserError
from cli.stack import Home, Stack, free_ports
from cli.stack.local import clear_leftovers
from cli.stack.state import read_state
from tests.e2e.running import await_true, flinkrec

JARS = Home.from_environment().jars


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = Home(tmp_path_factory.mktemp("first"), JARS)
    stack = Stack.start(home, ports=free_ports(), taskmanagers=1)
    try:
        yield stack
    finally:
        stack.stop()


def test_down_leaves_no_process_and_up_finds_the_data_again(first: Stack, tmp_path: Path) -> None:
    home = Home(tmp_path / "second", JARS)
    ports = free_ports()
    options = ["--taskmanagers", "1", "--kafka-port", str(ports.kafka), "--controller-port", str(ports.controller)]
    options += ["--rest-port", str(ports.rest), "--rpc-port", str(ports.rpc)]
    options += ["--zookeeper-port", str(ports.zookeeper), "--metrics-port", str(ports.metrics)]
    for _ in range(2):
        started = flinkrec(home, "up", *options)
        assert started.returncode == 0, started.stdout + started.stderr
        state = read_state(home)
        assert state is not None
        assert len(state.alive()) == len(state.processes())
        ended = flinkrec(home, "down")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert state.alive() == []
        assert flinkrec(home, "status").returncode == 1
    assert first.problems() == []


def test_a_stack_survives_its_supervisor_only_as_leftovers_and_down_ends_those(first: Stack, tmp_path: Path) -> None:
    state = read_state(first.home)
    assert state is not None
    processes = state.processes()

    os.kill(state.supervisor.pid, signal.SIGKILL)
    await_true(lambda: not state.supervisor.is_alive(), "the supervisor is still there", timeout_s=60.0)
    assert Stack.find(first.home) is None
    shown = flinkrec(first.home, "status")
    assert (shown.returncode, "supervisor" in shown.stdout) == (1, True)
    assert len(state.alive()) == len(processes) - 1

    with pytest.raises(UserError, match="in use"):
        Stack.start(Home(tmp_path / "third", JARS), ports=first.ports, taskmanagers=1)

    assert clear_leftovers(first.home) == len(processes) - 1
    assert state.alive() == []
