"""What the CLI asks of a Flink cluster: through its REST interface for jobs, through Flink's own client to submit."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.deployment import JobKind, bring_to, lay_out
from cli.errors import UserError
from cli.stack import Home, Stack, client
from cli.stack.health import open_directly
from models.config import MONITOR_SUFFIX, Configuration

_ENDED = {"FINISHED", "CANCELED", "FAILED"}
_START_TIMEOUT_S = 180.0

Progress = Callable[[str], None]


class Cluster:
    """A Flink cluster, local or foreign.

    Parameters
    ----------
    jobmanager : ``host:port`` of its REST interface

    Attributes
    ----------
    url : of the same
    """

    def __init__(self, jobmanager: str) -> None:
        self.url = f"http://{jobmanager}"
        self._jobmanager = jobmanager

    def get(self, path: str) -> Any:
        """The JSON of a REST path; a UserError where the cluster does not answer."""
        return self._request(path, "GET")

    def _request(self, path: str, method: str) -> Any:
        try:
            with open_directly(urllib.request.Request(f"{self.url}{path}", method=method), timeout_s=10) as response:
                return json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UserError(f"no Flink cluster answers at {self._jobmanager}: {error}") from None

    def running_jobs(self, name: str | None = None) -> list[str]:
        """Ids of the jobs that have not ended, of this name or of any."""
        return [
            job["jid"]
            for job in self.get("/jobs/overview")["jobs"]
            if job["state"] not in _ENDED and name in (None, job["name"])
        ]

    def cancel(self, job_id: str) -> None:
        """Cancel a job and wait until it has ended."""
        self._request(f"/jobs/{job_id}?mode=cancel", "PATCH")
        while job_id in self.running_jobs():
            time.sleep(0.1)

    def wait_running(self, job_id: str, *, progress: Progress) -> None:
        """Wait until every task of a job runs; a UserError with the job's own words when it does not.

        `progress` is told why its tasks start again, where they do: what ails them may pass.
        """
        deadline, told = time.monotonic() + _START_TIMEOUT_S, ""
        while True:
            # what is said of the job alone may be three seconds old
            [job] = (job for job in self.get("/jobs/overview")["jobs"] if job["jid"] == job_id)
            if 0 < job["tasks"]["total"] == job["tasks"]["running"]:
                return
            if job["state"] in _ENDED or time.monotonic() > deadline:
                raise UserError(f"the job did not start ({job['state']}): {self._last_failure(job_id)}")
            if job["state"] == "RESTARTING" and (failure := self._last_failure(job_id)) != told:
                told = failure
                progress(f"the tasks start again: {failure}")
            time.sleep(0.1)

    def _last_failure(self, job_id: str) -> str:
        entries = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return "its tasks wait for slots; are there a `serve` and a `learn` slot free?"
        return str(entries[0]["stacktrace"]).split("\n\tat ", 1)[0]


def _require_encoder(configuration: Configuration) -> None:
    """Find out before anything starts whether the texts of items can be encoded, into vectors that the scorer takes."""
    if configuration.text.makes_vectors:
        from models.pipeline import vector_maker

        vector_maker(configuration)


def submit_job(configuration: Configuration, *, progress: Progress, model: Path | None = None, job: JobKind = "recommend") -> str:
    """Submit a job as `start_job` does, and wait until it runs.

    Raises
    ------
    UserError, ConfigurationError
        As of `start_job` and `await_job`.
    """
    job_id = start_job(configuration, progress=progress, model=model, job=job)
    await_job(configuration, job_id, progress=progress)
    return job_id


def await_job(configuration: Configuration, job_id: str, *, progress: Progress) -> None:
    """Wait until all tasks of a job run.

    Raises
    ------
    UserError
        When the cluster does not answer, or the job does not start.
    """
    progress("waiting for the tasks")
    Cluster(configuration.flink.jobmanager).wait_running(job_id, progress=progress)


def start_job(configuration: Configuration, *, progress: Progress, model: Path | None = None, job: JobKind = "recommend") -> str:
    """Submit a job, in place of one of the same name; its tasks begin to start.

    Parameters
    ----------
    job : which of the two
    model : file of `flinkrec train` to begin with; that it fits was checked before (`cli.modelfile`)

    Returns
    -------
    str
        The job's id.

    Raises
    ------
    UserError
        When the cluster does not answer or refuses the job.
    ConfigurationError
        When the encoder of texts cannot be used here.
    """
    _require_encoder(configuration)
    cluster = Cluster(configuration.flink.jobmanager)
    home = Home.from_environment()
    for job_id in cluster.running_jobs(job_name(configuration, job)):
        progress("ending the job that runs")
        cluster.cancel(job_id)
    stack = Stack.find(home)
    code: list[str] = []
    if stack is not None and stack.jobmanager == configuration.flink.jobmanager:
        elsewhere, config_file = None, bring_to(stack, configuration, job, progress=progress)
    else:
        elsewhere, config_file = configuration.flink.jobmanager, lay_out(home, configuration, job)
        if configuration.flink.python is None:  # where nothing of ours is installed
            code = ["-pyfs", str(home.deployment)]
    options = [job, "--config", str(config_file)]
    if model is not None:
        options += ["--model", str(model.resolve())]
    progress("submitting the job")
    script = home.deployment / "jobs" / "submit.py"
    result = client.run(home, "run", "-d", *code, "-py", str(script), *options, jobmanager=elsewhere)
    if "JobID" not in result.stdout:
        raise UserError(f"Flink refused the job: {_gist(result.stdout + result.stderr)}")
    return result.stdout.split("JobID", 1)[1].split()[0]


def job_name(configuration: Configuration, job: JobKind) -> str:
    """The name of a job in Flink."""
    return configuration.flink.job_name + MONITOR_SUFFIX * (job == "monitor")


def _gist(output: str) -> str:
    """The last line of a Python traceback, or else the first that names an exception."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    told = [line for line in lines if "Error" in line or "Exception" in line]
    return (told or lines or ["it said nothing"])[0]
