"""What `flinkrec serve` costs, beside a running job: the store against a constant, a fresh answer against the pipeline's own.

    flinkrec up && python -m benchmarks.serving [--rate EVENTS_PER_S] [--seconds SECONDS]

Workload serving-1: users and items of tests/synthetic.py; the job (default configuration) has answered 1,500 events and goes on with
RATE events a second until the end. Both figures are ratios within this run:

- `wrk` (1 thread, 16 connections) asks for the slates of random users and, in turn with it, for /healthz, which is a constant behind
  the same middlewares. Requests a second and 99th percentile, median of the rounds.
- RATE questions a second over HTTP (POST /v1/recommendations) while RATE events a second go through Kafka: time from sending a question
  to having its answer, against time from sending an event to the broker having its recommendation. p50 and p99.

What is asked for is checked: a slate must be stored, and an answer fresh. Needs `wrk` (Debian: apt install wrk).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import msgspec
import numpy as np
import yaml

from cli.cluster import submit_job
from cli.configuration import on_own_topics
from cli.loop import Loop
from cli.stack import Stack
from cli.topics import create_topics
from models.config import Configuration
from models.events import Event
from models.validation import parse_configuration
from serving.client import Client
from tests import synthetic

USERS, ITEMS, WARM, ROUNDS = 200, 300, 1_500, 3
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0}
# the same script for both: what it costs `wrk` to make a request is no difference between them
_LUA = """
math.randomseed(7)
local slates = "%s" == "slates"
request = function()
  local path = "/v1/users/user-" .. math.random(0, %d) .. "/recommendations"
  return wrk.format("GET", slates and path or "/healthz")
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What `wrk` measured: requests a second, and the 99th percentile of the latency in ms."""

    per_s: float
    p99_ms: float


def wrk(url: str, script: Path, *, seconds: int) -> Load:
    """Put load on an address; fails where an answer is no success."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(said)
    per_s = re.search(r"Requests/sec:\s+([\d.]+)", said)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    assert per_s is not None
    assert p99 is not None
    return Load(float(per_s[1]), float(p99[1]) * _UNITS_MS[p99[2]])


async def ask_at_rate(address: str, *, rate: float, seconds: int) -> np.ndarray:
    """Milliseconds that each of so many questions a second took, from sending it to having its answer."""
    taken_ms: list[float] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        began = time.perf_counter()
        user = f"user-{number * 7 % USERS}"
        response = await client.post("/v1/recommendations", json={"user_id": user, "deadline_ms": 10_000})
        taken_ms.append((time.perf_counter() - began) * 1_000)
        assert response.json()["source"] == "fresh", response.text

    async with httpx.AsyncClient(base_url=address, timeout=30) as client, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            group.create_task(ask(client, number))
    return np.array(taken_ms)


class Feed(threading.Thread):
    """Events at a steady pace, until it is stopped."""

    def __init__(self, configuration: Configuration, *, rate: float) -> None:
        super().__init__(daemon=True)
        self._loop = Loop(configuration, events_per_s=rate)
        self._stopping = threading.Event()

    @property
    def latencies_ms(self) -> list[int]:
        return self._loop.progress.latencies_ms

    def run(self) -> None:
        for _ in self._loop.run(self._events()):
            pass

    def _events(self) -> Iterator[Event]:
        for number, event in enumerate(itertools.cycle(synthetic.events(2_000, users=USERS, items=ITEMS, seed=8))):
            if self._stopping.is_set():
                return
            yield msgspec.structs.replace(event, event_id=f"f-{number}", event_time_ms=time.time_ns() // 1_000_000)

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self._loop.close()


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure `flinkrec serve` beside a running job.")
    parser.add_argument("--rate", type=float, default=50.0, help="events, and questions, a second")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    arguments = parser.parse_args()
    stack = Stack.attached()
    base = parse_configuration({"serving": {"rate_per_s": None}}, "the benchmark")
    configuration = on_own_topics(base, stack, prefix=f"serving-{int(time.time())}-")
    create_topics(configuration.kafka)
    submit_job(configuration, progress=print)
    warm = Loop(configuration)
    for _ in warm.run(synthetic.events(WARM, users=USERS, items=ITEMS)):
        pass
    warm.close()
    with tempfile.TemporaryDirectory() as directory:
        measure(configuration, Path(directory), rate=arguments.rate, seconds=arguments.seconds)


def measure(configuration: Configuration, directory: Path, *, rate: float, seconds: int) -> None:
    """Start a server and an event feed, and print the ratios."""
    file, log = directory / "config.yaml", directory / "log"
    file.write_text(yaml.safe_dump(msgspec.to_builtins(configuration)))
    command = [sys.executable, "-m", "cli.main", "serve", "--config", str(file), "--port", "0", "--store", str(directory / "store")]
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while "on http://" not in log.read_text():
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        address = "http://" + log.read_text().split("on http://")[1].split(",")[0]
        with Client(address) as client:
            while not client.ready().ready:
                time.sleep(0.2)
            assert all(client.recommend(f"user-{number}").source == "stored" for number in range(USERS))
        feed = Feed(configuration, rate=rate)
        feed.start()
        compare_store(address, directory, seconds=seconds)
        compare_fresh(address, feed, rate=rate, seconds=3 * seconds)
        feed.stop()
    finally:
        server.terminate()
        server.wait()


def compare_store(address: str, directory: Path, *, seconds: int) -> None:
    """Slates from the store against a constant."""
    for name in ("constant", "slates"):
        (directory / f"{name}.lua").write_text(_LUA % (name, USERS - 1))
    rounds = []
    for _ in range(ROUNDS):
        constant, slates = (wrk(address, directory / f"{name}.lua", seconds=seconds) for name in ("constant", "slates"))
        rounds.append((slates.per_s / constant.per_s, slates.p99_ms / constant.p99_ms))
        for name, load in (("slate", slates), ("constant", constant)):
            print(f"GET {name:8} {load.per_s:7.0f}/s, p99 {load.p99_ms:6.2f} ms")
    per_s, p99 = (median(column) for column in zip(*rounds, strict=True))
    print(f"GET of a stored slate: {per_s:.2f} of the throughput of a constant (target >= 0.50), p99 {p99:.2f} x (target <= 3)")


def compare_fresh(address: str, feed: Feed, *, rate: float, seconds: int) -> None:
    """Fresh answers against the pipeline's own."""
    asyncio.run(ask_at_rate(address, rate=rate, seconds=2))
    before = len(feed.latencies_ms)
    fresh = asyncio.run(ask_at_rate(address, rate=rate, seconds=seconds))
    own = np.array(feed.latencies_ms[before:])
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        of_fresh, of_own = np.quantile(fresh, quantile), np.quantile(own, quantile)
        print(
            f"fresh answer over HTTP, {name}: {of_fresh:.1f} ms; event to recommendation: {of_own:.1f} ms; "
            f"ratio {of_fresh / of_own:.2f} (target <= 2) at {rate:g}/s each, n = {len(fresh)} and {len(own)}"
        )


if __name__ == "__main__":
    main()
