"""The job on a real broker and a real cluster: slates, dirty records, metrics, and what is learned."""

from __future__ import annotations

import base64
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cli.models import read_models
from cli.stack import Stack
from models.topics import DEAD_LETTER, EVENTS, METRICS, MODEL_UPDATES, RECOMMENDATIONS
from models.versions import decode_tensors, decode_version
from tests.e2e import running
from tests.e2e.answered import DIRT, WINDOW_S


def test_every_event_is_answered_exactly_once_while_nothing_fails(
    run: running.Configuration, stream: list[running.Event]
) -> None:
    answered = Counter(slate["event_id"] for slate in running.values(run, RECOMMENDATIONS))

    assert answered == Counter(event.event_id for event in stream)


def test_no_process_is_started_beside_a_taskmanager(stack: Stack, run: running.Configuration) -> None:
    # PyFlink starts a JVM of its own where a default of it asks for a Java object
    taskmanagers = {pid for name, pid in stack.processes().items() if name.startswith("taskmanager")}
    parents = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            parents.append(int(status.read_text().rpartition(")")[2].split()[1]))

    assert taskmanagers
    assert not taskmanagers & set(parents)


def test_a_submission_sends_none_of_what_the_processes_have_loaded(stack: Stack, run: running.Configuration) -> None:
    [job_id] = running.cluster(run).running_jobs(run.flink.job_name)
    sent = [file.stat().st_size for file in stack.home.high_availability.glob(f"*/blob/job_{job_id}/blob_*")]

    assert sent
    assert sum(sent) < 1_000_000


def test_slates_name_items_the_user_has_not_had_and_explain_them(
    run: running.Configuration, stream: list[running.Event]
) -> None:
    had: dict[str, set[str]] = {}
    by_event = {slate["event_id"]: slate for slate in running.values(run, RECOMMENDATIONS)}
    for event in stream:
        history = had.setdefault(event.user_id, set())
        history.add(event.item_id)
        for item in by_event[event.event_id]["items"]:
            assert item["item_id"] not in history
            owners = {reason["item_id"] for reason in item["reasons"]} - {None}
            assert owners <= history
            if "item_cf" in item["sources"]:
                total = sum(reason["contribution"] for reason in item["reasons"] if reason["kind"] == "item_cf")
                assert total == pytest.approx(item["cf_score"], rel=1e-5)


def test_each_bad_record_is_one_dead_letter_with_its_raw_bytes(run: running.Configuration) -> None:
    wanted = Counter([*DIRT, "duplicate", "empty"])
    running.await_records(run, DEAD_LETTER, wanted.total())
    letters = running.values(run, DEAD_LETTER)

    assert Counter(letter["reason"] for letter in letters) == wanted
    for letter in letters:
        if letter["reason"] in DIRT:
            assert base64.b64decode(letter["raw_base64"]) == DIRT[letter["reason"]]
            assert letter["topic"].endswith(EVENTS)
            assert letter["offset"] is not None


def test_windows_count_what_was_sent_exactly_once(run: running.Configuration, stream: list[running.Event]) -> None:
    # the last window is open until a later event closes it
    last_start = stream[-1].event_time_ms // (WINDOW_S * 1000) * WINDOW_S * 1000
    closed = [event for event in stream if event.event_time_ms < last_start]

    def counted() -> float:
        metrics = running.values(run, METRICS)
        return sum(m["value"] for m in metrics if m["metric"] == "events" and m["slice"] == "all")

    running.await_true(lambda: counted() >= len(closed), "the windows hold fewer events than were sent")

    assert counted() == len(closed)
    metrics = running.values(run, METRICS)
    names = {m["metric"] for m in metrics}
    assert names >= {"hr_at_k", "ndcg_at_k", "precision_at_k", "recall_at_k", "f1_at_k", "coverage"}
    assert names >= {"avg_recommendations", "latency_p50_ms", "latency_p99_ms", "late", "duplicates", "dead_letters"}
    assert names >= {"pr_precision", "pr_recall", "pr_auc"}
    [duplicates] = {m["value"] for m in metrics if m["metric"] == "duplicates" and m["value"]}
    assert duplicates == 1


def test_a_network_is_trained_and_serves(run: running.Configuration) -> None:
    running.await_true(
        lambda: any(key == b"weights:ranker" for key, _ in running.records(run, MODEL_UPDATES, committed=False)),
        "no version was published",
    )
    last = running.values(run, RECOMMENDATIONS)[-1]

    epoch, number = last["versions"]["ranker"].split("-")[0].split(".")
    assert time.time() - 3_600 < int(epoch) <= time.time(), "the epoch is the time at which the learner started"
    assert int(number) >= 1
    assert 0 < last["items"][0]["probability"] < 1


def test_versions_are_listed_with_their_figures_and_with_the_slates_that_name_them(
    run: running.Configuration, stream: list[running.Event]
) -> None:
    running.await_true(lambda: read_models(run, slates=len(stream)).gate is not None, "the gate said nothing")
    found = read_models(run, slates=len(stream))

    assert found.gate is not None
    assert found.newest is not None
    assert found.newest.startswith(f"{found.gate.serving}-")
    assert (found.mode, found.pinned, found.pinnable) == ("online", None, found.gate.kept)
    assert found.gate.decisions[-1].version == found.gate.serving
    assert {decision.verdict for decision in found.gate.decisions} == {"published"}
    named = Counter(slate["versions"].get("ranker", "") for slate in running.values(run, RECOMMENDATIONS))
    assert found.serving.by_version == dict(named)
    assert found.serving.slates == len(stream)


def test_the_policy_has_learned_of_each_slate_what_slates_and_events_say(
    run: running.Configuration, stream: list[running.Event]
) -> None:
    slates = {slate["event_id"]: slate for slate in running.values(run, RECOMMENDATIONS)}
    expected: dict[str, list[float]] = {"personal": [0, 0.0], "sources": [0, 0.0]}
    before: dict[str, Any] = {}
    for event in stream:
        slate = before.get(event.user_id)
        if slate is not None:
            expected[slate["action"]][0] += 1
            expected[slate["action"]][1] += event.item_id in {item["item_id"] for item in slate["items"]}
        before[event.user_id] = slates[event.event_id]

    def learned() -> dict[str, list[float]]:
        published = [value for key, value in running.records(run, MODEL_UPDATES, committed=False) if key == b"policy:thompson"]
        if not published:
            return {}
        tables = {name: tensor.numpy() for name, tensor in decode_tensors(decode_version(published[-1])[1]).items()}
        counts, sums = tables["counts"][:, 0].tolist(), (tables["sums"][:, 0] / 2**30).tolist()
        return {name: [count, total] for name, count, total in zip(expected, counts, sums, strict=True)}

    running.await_true(lambda: learned() == expected, "the tables are not those of a recomputation")
    assert min(count for count, _ in expected.values()) > 0
    last = slates[stream[-1].event_id]
    assert last["versions"].keys() == {"ranker", "policy"}
    assert 0 < last["action_probability"] < 1
