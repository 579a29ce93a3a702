"""State file, ports and the supervisor's patience, without any server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import UserError
from cli.stack import Home, Memory, Ports, free_ports
from cli.stack.broker import server_properties
from cli.stack.flink import configuration
from cli.stack.state import Child, Process, State, end, read_state, write_state
from cli.stack.supervisor import MAX_BACKOFF_S, STEADY_AFTER_S, Kept, backoff_s

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)",
]


def test_a_state_survives_the_file(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "jars")
    home.create()
    child = Child("taskmanager-1", Process(12, "34"), 5.5, 2, "/log", "taskmanager-1.3")
    state = State(Process(1, "2"), Ports(rest=99), 1, {"taskmanager-1": child})
    assert read_state(home) is None
    write_state(home, state)
    assert read_state(home) == state


def test_a_process_is_known_by_pid_and_start_time() -> None:
    me = Process.of(os.getpid())
    assert me.is_alive()
    assert not Process(me.pid, me.started + "1").is_alive()
    assert not Process(me.pid, "").is_alive()


def test_a_dead_child_that_nobody_reaped_is_not_alive() -> None:
    child = subprocess.Popen(SLEEPER)
    process = Process.of(child.pid)
    assert process.is_alive()
    end([process], 5.0)
    assert not process.is_alive()
    child.wait()


def test_a_process_that_ignores_the_request_is_killed() -> None:
    with subprocess.Popen(DEAF, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = Process.of(child.pid)
        end([process], 0.2)
        assert not process.is_alive()


def test_the_first_restart_is_immediate_and_later_ones_wait_longer() -> None:
    waits = [backoff_s(died_young) for died_young in range(12)]
    assert waits[:4] == [0.0, 0.0, 0.5, 1.0]
    assert waits == sorted(waits)
    assert waits[-1] == MAX_BACKOFF_S


def test_a_child_that_lived_long_is_forgiven() -> None:
    child = Kept("kafka", ["java"], died_young=5, born=100.0)
    assert child.note_death(100.0 + STEADY_AFTER_S) == 0.0
    assert child.died_young == 0


def test_each_start_of_a_taskmanager_has_another_resource_id() -> None:
    child = Kept("taskmanager-1", ["java"], starts=1)
    first = child.resource_id
    child.starts += 1
    assert first != child.resource_id
    assert Kept("kafka", ["java"]).resource_id == ""


def test_a_taken_port_is_named_with_its_option() -> None:
    ports = free_ports()
    ports.require_free()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", ports.rest))
        holder.listen()
        with pytest.raises(UserError, match=rf"port {ports.rest} \(rest\) is in use.*--rest-port"):
            ports.require_free()


def test_a_taken_port_of_a_page_for_prometheus_is_named_too() -> None:
    ports = free_ports()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", ports.metrics_of(2)))
        holder.listen()
        ports.require_free(taskmanagers=1)
        with pytest.raises(UserError, match=rf"port {ports.metrics + 2} \(metrics\) is in use.*--metrics-port"):
            ports.require_free(taskmanagers=2)


def test_each_process_of_flink_has_a_page_for_prometheus_unless_that_is_switched_off(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "jars")
    told = configuration(home, Ports(metrics=5_000), Memory())
    assert told["metrics.reporter.prometheus.port"] == 5_000
    assert told["metrics.reporter.prometheus.filterLabelValueCharacters"] is False
    silent = configuration(home, Ports(metrics=0), Memory())
    assert not [key for key in silent if key.startswith("metrics.")]
    assert Ports(metrics=0).metrics_of(1) == 0


def test_homes_share_jars_only_when_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FLINKREC_JARS", raising=False)
    assert Home.from_environment().jars == tmp_path / "home" / "jars"
    monkeypatch.setenv("FLINKREC_JARS", str(tmp_path / "jars"))
    home = Home.from_environment()
    assert home.jars == tmp_path / "jars"
    assert home.kafka_data.is_relative_to(home.root)


def test_the_broker_keeps_old_records_and_listens_on_this_machine_only(tmp_path: Path) -> None:
    text = server_properties(Home(tmp_path, tmp_path), Ports())
    properties = dict(line.split("=", 1) for line in text.splitlines())
    assert properties["log.retention.ms"] == "-1"
    assert all("//localhost:" in listener for listener in properties["listeners"].split(","))
