"""Whether Kafka answers and the job runs: asked every few seconds in a thread, for everybody to read.

Flink is asked over its REST interface. Where it was never reached, from behind a firewall perhaps, nothing is known of the job and
nothing is concluded; once it was, silence means that the job is down.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

import httpx

from models.config import Flink

_LOGGER = logging.getLogger(__name__)
_EVERY_S = 1.0
_TIMEOUT_S = 2.0

JobState = Literal["running", "down", "unknown"]


class Health(threading.Thread):
    """Asks again and again.

    Parameters
    ----------
    flink : section of the configuration
    brokers_answer : whether a broker answers, within a number of seconds

    Attributes
    ----------
    kafka_answers : at the last time
    job : running, down, or unknown
    asked : set after the first time
    """

    def __init__(self, flink: Flink, brokers_answer: Callable[[float], bool]) -> None:
        super().__init__(name="health", daemon=True)
        self._flink, self._brokers_answer = flink, brokers_answer
        self._stopping = threading.Event()
        self.kafka_answers = False
        self.job: JobState = "unknown"
        self.asked = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=f"http://{self._flink.jobmanager}", timeout=_TIMEOUT_S) as client:
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

    def _ask(self, client: httpx.Client) -> JobState:
        try:
            jobs = client.get("/jobs/overview").raise_for_status().json()["jobs"]
            running = any(job["name"] == self._flink.job_name and job["state"] == "RUNNING" for job in jobs)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            _LOGGER.debug("Flink at %s does not answer: %s", self._flink.jobmanager, error)
            return "unknown" if self.job == "unknown" else "down"
        return "running" if running else "down"

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopping.set()
        self.join()
