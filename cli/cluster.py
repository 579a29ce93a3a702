"""What the CLI asks of a Flink cluster: through its REST interface for jobs, through Flink's own client to submit."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import yaml

import jobs
import models
import operators
from cli.errors import UserError
from cli.stack import Home, Stack
from models.config import Configuration

_ENDED = {"FINISHED", "CANCELED", "FAILED"}
_START_TIMEOUT_S = 180.0

Progress = Callable[[str], None]


class Cluster:
    """A Flink cluster, local or foreign.

    Parameters
    ----------
    jobmanager : ``host:port`` of its REST interface
    """

    def __init__(self, jobmanager: str) -> None:
        self._url = f"http://{jobmanager}"
        self._jobmanager = jobmanager

    def get(self, path: str) -> Any:
        """The JSON of a REST path; a UserError where the cluster does not answer."""
        return self._request(path, "GET")

    def _request(self, path: str, method: str) -> Any:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self._url}{path}", method=method), timeout=10
            ) as response:
                return json.loads(response.read() or b"{}")
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
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

    def wait_running(self, job_id: str) -> None:
        """Wait until every task of a job runs; a UserError with the job's own words when it does not."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            job = self.get(f"/jobs/{job_id}")
            states = {vertex["status"] for vertex in job["vertices"]}
            if states == {"RUNNING"}:
                return
            if job["state"] in _ENDED or time.monotonic() > deadline:
                raise UserError(f"the job did not start ({job['state']}): {self._last_failure(job_id)}")
            time.sleep(0.1)

    def _last_failure(self, job_id: str) -> str:
        entries = self.get(f"/jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        if not entries:
            return "its tasks wait for slots; are there a `serve` and a `learn` slot free?"
        return str(entries[0]["stacktrace"]).split("\n\tat ", 1)[0]


def submit_job(configuration: Configuration, *, progress: Progress) -> str:
    """Submit the recommendation job, in place of one of the same name, and wait until it runs.

    Returns
    -------
    str
        The job's id.

    Raises
    ------
    UserError
        When the cluster does not answer, refuses the job, or does not start it.
    """
    cluster = Cluster(configuration.flink.jobmanager)
    home = Home.from_environment()
    for job_id in cluster.running_jobs(configuration.flink.job_name):
        progress("ending the job that runs")
        cluster.cancel(job_id)
    stack = Stack.find(home)
    local = stack is not None and stack.jobmanager == configuration.flink.jobmanager
    config_file = _lay_out(home, configuration)
    if local and stack is not None:
        stack.restart_taskmanagers(progress=progress)
        where = []
    else:
        stack = Stack(home)
        where = ["-m", configuration.flink.jobmanager, "-pyfs", str(home.deployment)]
    progress("submitting the job")
    script = home.deployment / "jobs" / "recommend.py"
    result = stack.run_flink(["run", "-d", *where, "-py", str(script), "--config", str(config_file)])
    if "JobID" not in result.stdout:
        raise UserError(f"Flink refused the job: {_gist(result.stdout + result.stderr)}")
    job_id = result.stdout.split("JobID", 1)[1].split()[0]
    progress("waiting for the tasks")
    cluster.wait_running(job_id)
    return job_id


def _lay_out(home: Home, configuration: Configuration) -> Path:
    """Copy the job's code to where the local TaskManagers import it from, and write its configuration there.

    The place and the files' times stay the same from one submission to the next, so that compiled kernels are found again.
    """
    shutil.rmtree(home.deployment, ignore_errors=True)
    for package in (models, operators, jobs):
        assert package.__file__ is not None
        source = Path(package.__file__).parent
        shutil.copytree(source, home.deployment / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    config_file = home.deployment / "config.yaml"
    config_file.write_text(yaml.safe_dump(msgspec.json.decode(msgspec.json.encode(configuration))), encoding="utf-8")
    return config_file


def _gist(output: str) -> str:
    """The last line of a Python traceback, or else the first that names an exception."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    told = [line for line in lines if "Error" in line or "Exception" in line]
    return (told or lines or ["it said nothing"])[0]
