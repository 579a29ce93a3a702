"""What `flinkrec status` takes for a problem, and how it says how things stand."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.main import app
from cli.standing import Answers, Checkpoint, FlinkCluster, Job, Overview, _problems_of, _problems_of_serving
from cli.status import _print
from models.config import Configuration, Kafka

CONFIG = Configuration()
HEALTHY = Job(
    id="0a",
    name="flinkrec",
    state="RUNNING",
    up_s=7_260,
    checkpoint=Checkpoint(age_s=4.2, took_ms=120, size_bytes=1_500_000),
    waiting=12,
    events_per_s=412.0,
    refused={"duplicate": 3},
    answered=10_000,
    model_age_s=12.0,
)
ANSWERS = Answers(looked_at=200, last_s=1.0, latency_p50_ms=8, latency_p99_ms=23, versions={"ranker": "17.3-00ff"})


def job(**others: Any) -> Job:
    return msgspec.structs.replace(HEALTHY, **others)


def test_a_healthy_job_has_no_problem():
    assert _problems_of(HEALTHY, CONFIG, ANSWERS) == []


@pytest.mark.parametrize(
    ("unwell", "said"),
    [
        (job(state="RESTARTING", failure="no slots"), "the job is RESTARTING: no slots"),
        (job(restarts=2, restarted_s=30.0, failure="boom"), "the job was restarted 30 s ago: boom"),
        (job(checkpoint=Checkpoint(age_s=101, took_ms=1, size_bytes=1)), "no checkpoint was finished for 101 s"),
        (job(checkpoint=None), "no checkpoint was finished for 7260 s"),
        (job(waiting=10_001), "10,001 events wait to be read"),
        (job(refused={"not_json": 600, "empty": 1}), "601 of 10,601 records were refused, see the topic dead-letter"),
        (job(model_age_s=7_200), "the network was published 2.0 h ago, though events come"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_in_words(unwell, said):
    assert _problems_of(unwell, CONFIG, ANSWERS) == [said]


@pytest.mark.parametrize(
    "well",
    [
        job(restarts=2, restarted_s=3_600.0, failure="long ago"),
        job(checkpoint=None, up_s=20),
        job(refused={"not_json": 500}),
        job(model_age_s=7_200, events_per_s=0.0),
        job(model_age_s=None, waiting=None),
    ],
)
def test_what_is_past_or_has_just_begun_is_no_problem(well):
    assert _problems_of(well, CONFIG, ANSWERS) == []


def test_answers_that_are_not_in_the_topic_are_a_problem():
    assert _problems_of(HEALTHY, CONFIG, None) == ["events were answered, and the topic recommendations is empty"]


def test_a_server_with_other_topics_of_the_same_brokers_is_a_problem_and_another_ones_is_not():
    kafka = Kafka(topic_prefix="new-")
    served = {"brokers": kafka.bootstrap_servers, "topic_prefix": "old-"}
    [problem] = _problems_of_serving("http://127.0.0.1:8080", served, kafka)
    assert "has other topics than the job, old-NAME and not new-NAME" in problem
    for other in ({**served, "topic_prefix": "new-"}, {**served, "brokers": "elsewhere:9092"}, {}):
        assert _problems_of_serving("http://127.0.0.1:8080", other, kafka) == []


def printed(found: Overview) -> str:
    written = io.StringIO()
    _print(Console(file=written, width=100, highlight=False), found)
    return written.getvalue()


def overview(**others: Any) -> Overview:
    cluster = FlinkCluster(address="http://localhost:18081", taskmanagers=3, slots=3, slots_free=1)
    return msgspec.structs.replace(
        Overview(
            standing="well",
            problems=[],
            kafka="localhost:19092",
            flink=cluster,
            job=HEALTHY,
            answers=ANSWERS,
            serving="http://127.0.0.1:8080",
        ),
        **others,
    )


def test_how_things_stand_is_said_on_one_screen():
    said = printed(overview())
    assert said.startswith("All is well.\n")
    for words in (
        "localhost:19092",
        "3 TaskManagers, 1 of 3 slots free",
        "flinkrec (0a) is RUNNING for 2 h 1 min, 0 restarts",
        "4 s ago, took 120 ms, 1.5 MB",
        "12 wait, 412.0 a second are read",
        "3 duplicate, beside 10,000",
        "the last 1 s ago; latency of the last 200: p50 8 ms, p99 23 ms",
        "ranker 17.3-00ff; the network was published 12 s ago",
        "http://127.0.0.1:8080/console/",
        "http://127.0.0.1:8080/docs",
    ):
        assert words in said
    assert len(said.splitlines()) <= 12


def test_what_is_down_is_said_first():
    said = printed(overview(standing="down", problems=["no Flink cluster answers at [here]"], job=None, answers=None, serving=None))
    assert said.startswith("The job does not run.\nproblem: no Flink cluster answers at [here]\n")
    assert "flinkrec submit" in said


def test_where_nothing_is_up_the_exit_code_is_1_and_json_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path))
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"standing": "down", "problems": [f"Nothing is up in {tmp_path}. Start it with: flinkrec up"]}
