"""Whether Kafka answers and the job runs: asked every few seconds in a thread, for everybody to read.

Flink is asked over its REST interface. Where it was never reached, from behind a firewall perhaps, nothing is known of the job and
nothing is concluded; once it was, silence means that the job is down. So does a job of the name that has other topics: it follows
what others are served, and nothing follows what is served here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

import httpx

from models.config import Flink
from models.topics import TOPIC_PREFIX_PARAMETER
from serving.direct import direct_client

_LOGGER = logging.getLogger(__name__)
_EVERY_S = 1.0
_TIMEOUT_S = 2.0

JobState = Literal["running", "down", "unknown"]


class Health(threading.Thread):
    """Asks again and again.

    Parameters
    ----------
    flink : section of the configuration
    topic_prefix : of the topics that are served
    brokers_answer : whether a broker answers, within a number of seconds

    Attributes
    ----------
    kafka_answers : at the last time
    job : running, down, or unknown
    elsewhere : prefix of the topics that the job has instead of those that are served, None where it has these or does not run
    asked : set after the first time
    """

    def __init__(self, flink: Flink, topic_prefix: str, brokers_answer: Callable[[float], bool]) -> None:
        super().__init__(name="health", daemon=True)
        self._flink, self._topic_prefix, self._brokers_answer = flink, topic_prefix, brokers_answer
        self._prefixes: dict[str, str] = {}
        self._stopping = threading.Event()
        self.kafka_answers = False
        self.job: JobState = "unknown"
        self.elsewhere: str | None = None
        self.asked = threading.Event()

    def run(self) -> None:
        with direct_client(f"http://{self._flink.jobmanager}", timeout_s=_TIMEOUT_S) as client:
            while not self._stopping.is_set():
                self._note(job=self._ask(client), kafka_answers=self._brokers_answer(_TIMEOUT_S))
                self.asked.set()
                self._stopping.wait(_EVERY_S)

    def _note(self, *, job: JobState, kafka_answers: bool) -> None:
        if kafka_answers != self.kafka_answers or not self.asked.is_set():
            _LOGGER.warning("Kafka %s", "answers" if kafka_answers else "does not answer")
        if job != self.job:
            _LOGGER.warning("the job %s: %s", self._flink.job_name, job)
        self.job, self.kafka_answers = job, kafka_answers

    def may_answer(self) -> bool:
        """Whether a question could be answered by the job; also where nothing is known of it."""
        return self.job != "down" and (self.kafka_answers or not self.asked.is_set())

    def _ask(self, client: httpx.Client) -> JobState:
        try:
            jobs = client.get("/jobs/overview").raise_for_status().json()["jobs"]
            running = [job["jid"] for job in jobs if job["name"] == self._flink.job_name and job["state"] == "RUNNING"]
            self._prefixes = {
                job_id: self._prefixes[job_id] if job_id in self._prefixes else self._ask_prefix(job_id, client) for job_id in running
            }
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            _LOGGER.debug("Flink at %s does not answer: %s", self._flink.jobmanager, error)
            self.elsewhere = None
            return "unknown" if self.job == "unknown" else "down"
        prefixes = list(self._prefixes.values())
        follows = self._topic_prefix in prefixes
        self.elsewhere = prefixes[0] if prefixes and not follows else None
        return "running" if follows else "down"

    def _ask_prefix(self, job_id: str, client: httpx.Client) -> str:
        """The prefix of a job's topics; of a job that does not say it, such as an older one, of those that are served."""
        told: dict[str, str] = client.get(f"/jobs/{job_id}/config").raise_for_status().json()["execution-config"]["user-config"]
        return told.get(TOPIC_PREFIX_PARAMETER, self._topic_prefix)

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopping.set()
        self.join()
