"""`flinkrec demo` and `flinkrec watch` as a person runs them, on the real stack and on events of a seeded generator."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.cluster import Cluster
from cli.stack import Stack
from models.events import Event
from models.topics import EVENTS, RECOMMENDATIONS, slate_number
from operators.bootstrap import read_to_end
from tests import synthetic
from tests.e2e import running

EVENTS_SENT = 1_500
WINDOW_S = 3_600
COMMAND = [sys.executable, "-m", "cli.main"]
# A shell that puts the tests into the background makes them, and whatever they start, deaf to Ctrl-C.
HEARING = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from cli.main import main; main()",
]
CONFIGURATION = f"""\
kafka: {{partitions: 2}}
flink: {{checkpoint_interval_ms: 1000}}
policy: {{epsilon: 0.0, epsilon_min: 0.0}}
events: {{max_events_per_minute: 1000000}}
metrics: {{window_s: {WINDOW_S}}}
"""


@pytest.fixture(scope="module")
def stream() -> list[Event]:
    return synthetic.events(EVENTS_SENT)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, stream: list[Event]) -> tuple[Path, Path]:
    """The events and their items, in the form a person brings them."""
    directory = tmp_path_factory.mktemp("demo")
    events, items = directory / "events.csv", directory / "items.csv"
    with events.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp", "type", "value"))
        writer.writerows((e.user_id, e.item_id, e.event_time_ms, e.type, e.value) for e in stream)
    with items.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("item_id", "title"))
        writer.writerows((item_id, title_of(item_id)) for item_id in sorted({e.item_id for e in stream}))
    return events, items


@pytest.fixture(scope="module")
def shown(stack: Stack, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the demo says without a terminal; the job is ended afterwards, as other tests want its slots."""
    events, items = files
    configuration = tmp_path_factory.mktemp("conf") / "quick.yaml"
    configuration.write_text(CONFIGURATION)
    done = flinkrec("demo", "--events", str(events), "--items", str(items), "--config", str(configuration))
    assert done.returncode == 0, done.stdout + done.stderr
    yield done.stdout
    stack.end_beside("serve")
    cluster = Cluster(stack.jobmanager)
    for job_id in cluster.running_jobs():
        cluster.cancel(job_id)


def title_of(item_id: str) -> str:
    return f"Title {item_id.removeprefix('item-')}"


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(running.REPOSITORY), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "COLUMNS": "100"}


def flinkrec(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def prefix_in(output: str) -> str:
    [prefix] = re.findall(r"topics +(demo-\d+-)NAME", output)
    return str(prefix)


def values(stack: Stack, topic: str) -> list[Any]:
    records = read_to_end((topic,), stack.bootstrap_servers, {})
    return [msgspec.json.decode(value) for _, _, value in records if value is not None]


def test_every_event_is_answered_and_the_last_one_is_of_now(stack: Stack, shown: str, stream: list[Event]) -> None:
    events = values(stack, prefix_in(shown) + EVENTS)
    answered = [slate["event_id"] for slate in values(stack, prefix_in(shown) + RECOMMENDATIONS)]

    assert len(events) == len(stream)
    assert sorted(answered) == sorted(event["event_id"] for event in events)
    newest_ms = max(event["event_time_ms"] for event in events)
    assert 0 <= time.time() * 1000 - newest_ms < 180_000
    span_ms = newest_ms - min(event["event_time_ms"] for event in events)
    assert span_ms == stream[-1].event_time_ms - stream[0].event_time_ms


def test_the_summary_says_how_good_and_fast_it_was_and_where_everything_is(stack: Stack, shown: str) -> None:
    assert "1,500 events sent, 1,500 answered, 0 dead letters" in shown
    # 60 users, whose first events test nothing
    assert "1,440 of them tested the slate" in shown
    for figure in ("HR@10", "NDCG@10", "precision@10", "recall@10", "F1@10"):
        [value] = set(re.findall(rf"  {figure} (\d\.\d{{4}})", shown))
        assert 0 < float(value) < 1, figure
    [coverage] = set(re.findall(r"  coverage (\d\.\d{4})", shown))
    assert 0.5 < float(coverage) <= 1, "60 users and exploration may well reach every item"
    [number] = re.findall(r"average number of recommendations (\d+\.\d\d)", shown)
    assert 5 < float(number) <= 10
    assert re.search(r"p50 [\d,]+ ms, p99 [\d,]+ ms", shown)
    assert re.search(r"First recommendation: \d+ s after the start", shown)
    for place in (f"http://{stack.jobmanager}", stack.bootstrap_servers, str(stack.home.logs), "flinkrec down"):
        assert place in shown


def test_the_console_runs_beside_the_job_and_the_demo_says_where(shown: str, stack: Stack) -> None:
    [address] = set(re.findall(r"http://127\.0\.0\.1:\d+/console/", shown))
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
        assert "<title>Live · flinkrec</title>" in page.read().decode()
    assert "serve" in stack.processes()


def test_the_jobs_own_windows_hold_what_was_replayed(shown: str, stack: Stack) -> None:
    times_ms = sorted(event["event_time_ms"] for event in values(stack, prefix_in(shown) + EVENTS))
    last_start_ms = times_ms[-1] // (WINDOW_S * 1000) * WINDOW_S * 1000
    closed = [time_ms for time_ms in times_ms if time_ms < last_start_ms]

    assert f"closed windows of {WINDOW_S} s with {len(closed):,} events, HR@10 0." in shown


def test_watch_once_shows_the_newest_slate_of_a_user_with_titles_and_reasons(stack: Stack, shown: str) -> None:
    slates = values(stack, prefix_in(shown) + RECOMMENDATIONS)
    newest = max((slate for slate in slates if slate["user_id"] == "user-3"), key=lambda slate: slate["seq"])
    first = newest["items"][0]

    # without --config: the topics of the last submission are known
    done = flinkrec("watch", "--user", "user-3", "--once")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"user user-3, slate {slate_number(newest['seq'])}" in done.stdout
    [line] = [line for line in done.stdout.splitlines() if line.split()[:1] == ["1"]]
    strongest = first["reasons"][0]
    share = strongest["contribution"] / sum(reason["contribution"] for reason in first["reasons"])
    assert title_of(first["item_id"]) in line
    assert f"{title_of(strongest['item_id'])} {share:.0%}" in line
    assert len(done.stdout.splitlines()) == 2 + len(newest["items"])


def test_watch_once_of_a_user_without_a_slate_ends_with_one_sentence(shown: str) -> None:
    done = flinkrec("watch", "--user", "nobody", "--once")

    assert done.returncode == 1
    assert done.stdout == ""
    assert "there is no slate for user 'nobody'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupted_second_run_has_replaced_the_first_and_says_what_still_runs(
    stack: Stack, shown: str, files: tuple[Path, Path]
) -> None:
    events, items = files
    process = subprocess.Popen(
        [*HEARING, "demo", "--events", str(events), "--items", str(items), "--speed", "20"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    interrupted = False
    for line in process.stdout:
        said.append(line)
        # once: a line that is being printed meanwhile is printed again, and a second signal would meet the interpreter as it ends
        if not interrupted and line.startswith("First recommendation") and line.endswith("after the start.\n"):
            process.send_signal(signal.SIGINT)
            interrupted = True
    output = "".join(said)

    assert process.wait() == 130, output
    assert "Traceback" not in output
    [job_id] = re.findall(r"The stack and job (\w+) still run", output)
    assert Cluster(stack.jobmanager).running_jobs() == [job_id]
    assert values(stack, prefix_in(shown) + EVENTS) == []
