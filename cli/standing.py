"""How the recommender stands: what its broker, its cluster and its topics say, gathered for `flinkrec status`.

Everything is asked of interfaces that a foreign Kafka and Flink have as well: Flink's REST interface, which shows our own metrics too
(`operators.metrics`), and the newest records of `recommendations`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from cli.cluster import Cluster
from cli.errors import UserError
from models.config import Configuration, Kafka
from models.topics import RECOMMENDATIONS

# Answers that are looked at, of each partition.
_ANSWERS = 200
_WAITING_AT_MOST = 10_000
_REFUSED_AT_MOST = 0.05
_RESTARTED_LATELY_S = 600.0
_CHECKPOINT_OLD_S = 60.0
_MODEL_OLD_S = 3_600.0
# Its name in the job graph is the SQL table's.
_EVENT_SOURCE = "events_source"

Standing = Literal["well", "unwell", "down"]


class FlinkCluster(msgspec.Struct, frozen=True, kw_only=True):
    """The Flink cluster.

    Attributes
    ----------
    address : of its REST interface and web page
    taskmanagers, slots, slots_free : None where it does not answer
    """

    address: str
    taskmanagers: int | None = None
    slots: int | None = None
    slots_free: int | None = None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The last checkpoint that was finished: seconds since then, milliseconds that it took, and its size in bytes."""

    age_s: float
    took_ms: int
    size_bytes: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """The job.

    Attributes
    ----------
    id, name, state : as Flink says
    up_s : since it was submitted
    restarts : since then
    restarted_s : since the last one, None where there was none; `failure` is why
    checkpoint : the last one, None before the first
    waiting : events in the topic that RECOMMEND has not read
    events_per_s : that it reads, a mean over the last minute
    refused : records by reason, since its tasks were started
    answered : events since then
    model_age_s : since the network that scores was published, None where none was
    """

    id: str
    name: str
    state: str
    up_s: float
    restarts: int = 0
    restarted_s: float | None = None
    failure: str | None = None
    checkpoint: Checkpoint | None = None
    waiting: int | None = None
    events_per_s: float | None = None
    refused: dict[str, int] = {}
    answered: int = 0
    model_age_s: float | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The newest answers.

    Attributes
    ----------
    looked_at : how many
    last_s : since the last one was given
    latency_p50_ms, latency_p99_ms : from the producer's sent_at_ms, of those whose event has one
    versions : of each part of the model, that the last one names
    """

    looked_at: int
    last_s: float
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    versions: dict[str, str]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What `flinkrec status --json` prints.

    Attributes
    ----------
    standing : well; unwell, where the job runs and something is wrong with it; down, where it does not run
    problems : what is wrong, in words
    kafka : addresses of the brokers
    flink, job, answers : None where there are none
    serving : address of `flinkrec serve`, None where it does not answer
    """

    standing: Standing
    problems: list[str]
    kafka: str
    flink: FlinkCluster
    job: Job | None
    answers: Answers | None
    serving: str | None


class _Timings(msgspec.Struct):
    emitted_at_ms: int
    sent_at_ms: int | None = None


class _Slate(msgspec.Struct):
    timings: _Timings
    versions: dict[str, str] = {}


def overview(configuration: Configuration, *, problems: list[str], serving_port: int | None = None) -> Overview:
    """Ask everybody.

    Parameters
    ----------
    problems : that are known already, such as those of the local stack
    serving_port : where `flinkrec serve` listens, if not where the configuration says
    """
    problems = list(problems)
    flink, job = FlinkCluster(address=f"http://{configuration.flink.jobmanager}"), None
    try:
        cluster = Cluster(configuration.flink.jobmanager)
        flink = _cluster(cluster)
        job = _job(cluster, configuration.flink.job_name)
    except UserError as error:
        problems.append(str(error))
    answers = None
    try:
        answers = _answers(configuration)
    except UserError as error:
        if job is not None or "no topic" not in str(error):
            problems.append(str(error))
    problems += [] if job is None else _problems_of(job, configuration, answers)
    serving, served = _serving(configuration.serving.host, serving_port or configuration.serving.port)
    problems += _problems_of_serving(serving, served, configuration.kafka)
    runs = job is not None and job.state == "RUNNING"
    return Overview(
        standing="down" if not runs else "unwell" if problems else "well",
        problems=problems,
        kafka=configuration.kafka.bootstrap_servers,
        flink=flink,
        job=job,
        answers=answers,
        serving=serving,
    )


def _cluster(cluster: Cluster) -> FlinkCluster:
    said = cluster.get("/overview")
    return FlinkCluster(
        address=cluster.url, taskmanagers=said["taskmanagers"], slots=said["slots-total"], slots_free=said["slots-available"]
    )


def _job(cluster: Cluster, name: str) -> Job | None:
    """The job of this name that was submitted last, also one that has ended; None where there was none."""
    jobs = [job for job in cluster.get("/jobs/overview")["jobs"] if job["name"] == name]
    if not jobs:
        return None
    job = max(jobs, key=lambda job: int(job["start-time"]))
    identity = {"id": job["jid"], "name": job["name"], "state": job["state"], "up_s": job["duration"] / 1000}
    failure = _last_failure(cluster, job["jid"])
    if job["state"] != "RUNNING":
        return Job(**identity, restarted_s=failure[0], failure=failure[1])
    metrics = Metrics(cluster, job["jid"])
    published_ms = metrics.highest("flinkrec.model_published_ms.part.ranker.value")
    return Job(
        **identity,
        restarts=int(_value(cluster, job["jid"], "numRestarts")),
        restarted_s=failure[0],
        failure=failure[1],
        checkpoint=_checkpoint(cluster, job["jid"]),
        waiting=None if (waiting := metrics.total("pendingRecords", operator=_EVENT_SOURCE)) is None else int(waiting),
        events_per_s=metrics.total("numRecordsOutPerSecond", operator=_EVENT_SOURCE),
        refused=metrics.by_label("flinkrec.refused.reason.", ".total"),
        answered=sum(metrics.by_label("flinkrec.events.type.", ".total").values()),
        model_age_s=max(0.0, time.time() - published_ms / 1000) if published_ms else None,
    )


def _last_failure(cluster: Cluster, job_id: str) -> tuple[float | None, str | None]:
    """Seconds since the job failed last, and why."""
    entries = cluster.get(f"/jobs/{job_id}/exceptions?maxExceptions=1").get("exceptionHistory", {}).get("entries", [])
    if not entries:
        return None, None
    why = str(entries[0]["stacktrace"]).split("\n\tat ", 1)[0].strip()
    return time.time() - entries[0]["timestamp"] / 1000, why


def _checkpoint(cluster: Cluster, job_id: str) -> Checkpoint | None:
    latest = cluster.get(f"/jobs/{job_id}/checkpoints").get("latest", {}).get("completed")
    if latest is None:
        return None
    return Checkpoint(
        age_s=max(0.0, time.time() - latest["latest_ack_timestamp"] / 1000),
        took_ms=latest["end_to_end_duration"],
        size_bytes=latest["state_size"],
    )


def _value(cluster: Cluster, job_id: str, metric: str) -> float:
    found = cluster.get(f"/jobs/{job_id}/metrics?get={metric}")
    return float(found[0]["value"]) if found and found[0].get("value") not in (None, "NaN") else 0.0


class Metrics:
    """The metrics of a job's operators, as Flink's REST interface has them: some seconds old.

    Parameters
    ----------
    cluster : that the job runs on
    job_id : of the job
    """

    def __init__(self, cluster: Cluster, job_id: str) -> None:
        self._cluster = cluster
        self._paths = [f"/jobs/{job_id}/vertices/{vertex['id']}/subtasks/metrics" for vertex in cluster.get(f"/jobs/{job_id}")["vertices"]]
        self._names = {path: [metric["id"] for metric in cluster.get(path)] for path in self._paths}

    def _find(self, wanted: str, *, within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and figures (sum, max and so on over subtasks) of the metrics whose name ends so, or holds `within`."""
        for path, names in self._names.items():
            found = [name for name in names if (name.endswith(wanted) and within in name)]
            if found:
                for metric in self._cluster.get(f"{path}?get={','.join(found)}"):
                    yield metric["id"], metric

    def total(self, name: str, *, operator: str) -> float | None:
        """The sum of a metric over the subtasks of one operator; None where nobody has it."""
        sums = [float(metric["sum"]) for _, metric in self._find(f".{name}", within=operator)]
        return sum(sums) if sums else None

    def highest(self, name: str) -> float | None:
        """The highest value of a metric; None where nobody has it."""
        return max((float(metric["max"]) for _, metric in self._find(name)), default=None)

    def by_label(self, before: str, behind: str) -> dict[str, int]:
        """Sums by a label, of the counters of our own that are named so; those that are 0 are left out."""
        sums = {
            name.partition(before)[2].removesuffix(behind): int(float(metric["sum"]))
            for name, metric in self._find(behind, within=before)
        }
        return {label: count for label, count in sorted(sums.items(), key=lambda one: -one[1]) if count}


def _answers(configuration: Configuration) -> Answers | None:
    from cli.clients import read_topic

    decode = msgspec.json.Decoder(_Slate).decode
    slates = [decode(value) for _, value in read_topic(configuration.kafka, RECOMMENDATIONS, last=_ANSWERS) if value]
    if not slates:
        return None
    slates.sort(key=lambda slate: slate.timings.emitted_at_ms)
    newest = slates[-1]
    latencies = sorted(
        max(0, slate.timings.emitted_at_ms - slate.timings.sent_at_ms) for slate in slates if slate.timings.sent_at_ms is not None
    )
    return Answers(
        looked_at=len(slates),
        last_s=max(0.0, time.time() - newest.timings.emitted_at_ms / 1000),
        latency_p50_ms=statistics.median(latencies) if latencies else None,
        latency_p99_ms=latencies[int(0.99 * (len(latencies) - 1))] if latencies else None,
        versions=newest.versions,
    )


def _problems_of(job: Job, configuration: Configuration, answers: Answers | None) -> list[str]:
    """What is wrong with a job, in words."""
    if job.state != "RUNNING":
        return [f"the job is {job.state}: {job.failure or 'Flink does not say why'}"]
    found = []
    if job.restarts and job.restarted_s is not None and job.restarted_s < _RESTARTED_LATELY_S:
        found.append(f"the job was restarted {job.restarted_s:.0f} s ago: {job.failure}")
    old_s = max(_CHECKPOINT_OLD_S, 10 * configuration.flink.checkpoint_interval_ms / 1000)
    age_s = job.up_s if job.checkpoint is None else job.checkpoint.age_s
    if age_s > old_s:
        found.append(f"no checkpoint was finished for {age_s:.0f} s")
    if job.waiting is not None and job.waiting > _WAITING_AT_MOST:
        found.append(f"{job.waiting:,} events wait to be read")
    refused = sum(job.refused.values())
    if refused > _REFUSED_AT_MOST * (refused + job.answered):
        found.append(f"{refused:,} of {refused + job.answered:,} records were refused, see the topic dead-letter")
    learns = configuration.learner.enabled and job.events_per_s
    if learns and job.model_age_s is not None and job.model_age_s > _MODEL_OLD_S:
        found.append(f"the network was published {job.model_age_s / 3600:.1f} h ago, though events come")
    if answers is None and job.answered:
        found.append("events were answered, and the topic recommendations is empty")
    return found


def _problems_of_serving(address: str | None, served: dict[str, Any], kafka: Kafka) -> list[str]:
    """What is wrong with a server, in words; one of other brokers has nothing to do with the job."""
    if served.get("brokers") != kafka.bootstrap_servers or served.get("topic_prefix") == kafka.topic_prefix:
        return []
    return [
        f"flinkrec serve at {address} has other topics than the job, {served.get('topic_prefix')}NAME and not {kafka.topic_prefix}NAME: "
        "start it again"
    ]


def _serving(host: str, port: int) -> tuple[str | None, dict[str, Any]]:
    """Address of `flinkrec serve`, if it answers, and what /readyz says there."""
    import httpx

    from serving.direct import direct_client

    host = "localhost" if host in ("0.0.0.0", "::") else host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        with direct_client(address, timeout_s=1.0) as client:
            return (address, client.get("/readyz").json()) if client.get("/healthz").is_success else (None, {})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None, {}
