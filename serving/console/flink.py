"""How the job is: what Flink's REST interface says of it, asked a few times a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from serving.direct import direct_async_client

_TIMEOUT_S = 3.0
_ENDED = {"FINISHED", "CANCELED", "FAILED"}


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The job's checkpoints.

    Attributes
    ----------
    completed, failed, restored : how many; each restore is a restart
    last_ms : when the last one was completed, milliseconds since 1970; None where there is none
    duration_ms, size_bytes : of the last one
    """

    completed: int
    failed: int
    restored: int
    last_ms: int | None
    duration_ms: int | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One vertex of the job graph.

    Attributes
    ----------
    name : in Flink
    parallelism : number of its subtasks
    running : how many of them run
    """

    name: str
    parallelism: int
    running: int


@dataclass(frozen=True, slots=True)
class JobHealth:
    """The job as Flink sees it.

    Attributes
    ----------
    job_id, state : in Flink's words
    since_ms : when it was submitted
    operators : its vertices
    checkpoints : as they stand
    """

    job_id: str
    state: str
    since_ms: int
    operators: tuple[Operator, ...]
    checkpoints: Checkpoints

    @property
    def runs(self) -> bool:
        """Whether every subtask runs."""
        return self.state == "RUNNING" and all(operator.running == operator.parallelism for operator in self.operators)


class FlinkClient:
    """Asks one cluster about one job.

    Parameters
    ----------
    jobmanager : ``host:port`` of the REST interface
    job_name : of the job; of several of this name the newest one is meant
    """

    def __init__(self, jobmanager: str, *, job_name: str) -> None:
        self.jobmanager = jobmanager
        self._job_name = job_name
        self._http = direct_async_client(f"http://{jobmanager}", timeout_s=_TIMEOUT_S)

    async def health(self) -> JobHealth | None:
        """The job that has not ended; None where there is none.

        Raises
        ------
        ConnectionError
            When the cluster does not answer.
        """
        jobs = [job for job in (await self._get("/jobs/overview"))["jobs"] if job["name"] == self._job_name and job["state"] not in _ENDED]
        if not jobs:
            return None
        job_id = max(jobs, key=lambda job: int(job["start-time"]))["jid"]
        return job_health(await self._get(f"/jobs/{job_id}"), await self._get(f"/jobs/{job_id}/checkpoints"))

    async def _get(self, path: str) -> Any:
        try:
            answer = await self._http.get(path)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ConnectionError(f"no Flink cluster answers at {self.jobmanager}: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def job_health(job: dict[str, Any], checkpoints: dict[str, Any]) -> JobHealth:
    """Put together what the two REST paths say.

    Parameters
    ----------
    job : of ``/jobs/ID``
    checkpoints : of ``/jobs/ID/checkpoints``
    """
    counts = checkpoints.get("counts", {})
    last = (checkpoints.get("latest") or {}).get("completed") or {}
    return JobHealth(
        job_id=job["jid"],
        state=job["state"],
        since_ms=job["start-time"],
        operators=tuple(Operator(vertex["name"], vertex["parallelism"], vertex["tasks"].get("RUNNING", 0)) for vertex in job["vertices"]),
        checkpoints=Checkpoints(
            completed=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            restored=counts.get("restored", 0),
            last_ms=last.get("latest_ack_timestamp"),
            duration_ms=last.get("end_to_end_duration"),
            size_bytes=last.get("state_size"),
        ),
    )
