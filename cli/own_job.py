"""A job on the local stack whose topics are its own, and end with it: an evaluation, a simulation, a demo of a domain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.cluster import Cluster, submit_job
from cli.configuration import on_own_topics
from cli.stack import Home, Stack
from cli.topics import JOB_TOPICS, create_topics, delete_topics

if TYPE_CHECKING:
    from cli.deployment import JobKind
    from models.config import Configuration


@contextmanager
def stack_for_now(say: Callable[[str], None]) -> Iterator[Stack]:
    """The local stack; one that had to be started is stopped again.

    Parameters
    ----------
    say : told what is going on while it starts
    """
    home = Home.from_environment()
    started_here = Stack.find(home) is None
    stack = Stack.start(home, progress=say)
    try:
        yield stack
    finally:
        if started_here:
            stack.stop()


class OwnJob:
    """A job that is to run in place of one of the same name, and its topics, which are there at once.

    Parameters
    ----------
    configuration : of the job
    stack : that it runs on
    name : of its topics, before the time that tells them apart
    topics : that it reads and writes

    Attributes
    ----------
    configuration : the same on these topics
    """

    def __init__(self, configuration: Configuration, stack: Stack, *, name: str, topics: Sequence[str] = JOB_TOPICS) -> None:
        self.configuration = on_own_topics(configuration, stack, prefix=f"{name}-{time.time_ns() // 1_000_000}-")
        self._topics = topics
        self._job_id: str | None = None
        create_topics(self.configuration.kafka, topics)

    def start(self, *, say: Callable[[str], None], model: Path | None = None, job: JobKind = "recommend") -> str:
        """Submit it, see `cli.cluster.submit_job`; returns its id."""
        self._job_id = submit_job(self.configuration, progress=say, model=model, job=job)
        return self._job_id

    def close(self) -> None:
        """End the job, if it was started, and delete its topics."""
        if self._job_id is not None:
            Cluster(self.configuration.flink.jobmanager).cancel(self._job_id)
        delete_topics(self.configuration.kafka, self._topics)
