"""What every page is handed: the service, what the topics say, the job's health, and who may do what."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from models.config import Configuration
from models.requests import RequestRecord
from serving.answers import Answer
from serving.console.access import Access, this_browser
from serving.console.feed import Feed
from serving.console.flink import FlinkClient, JobHealth
from serving.service import Service, new_id

_ASK_FLINK_EVERY_S = 3.0


class JobWatch:
    """Asks Flink every few seconds how the job is.

    Attributes
    ----------
    job : as it was last; None where none runs, or nothing is known yet
    problem : why nothing is known, in one sentence
    asked : whether there was an answer, of whatever kind
    """

    def __init__(self, client: FlinkClient) -> None:
        self._client = client
        self.job: JobHealth | None = None
        self.problem: str | None = None
        self.asked = False

    async def run(self) -> None:
        """Ask until cancelled."""
        try:
            while True:
                try:
                    self.job, self.problem = await self._client.health(), None
                except ConnectionError as error:
                    self.job, self.problem = None, str(error)
                except (KeyError, TypeError, ValueError) as error:
                    self.job, self.problem = None, f"what answers is not Flink: {type(error).__name__}: {error}"
                self.asked = True
                await asyncio.sleep(_ASK_FLINK_EVERY_S)
        finally:
            await self._client.close()

    def in_words(self) -> tuple[str, str]:
        """How the job is, and good, warn or bad."""
        if not self.asked:
            return "asking Flink", ""
        if self.problem is not None:
            return "Flink does not answer", "bad"
        if self.job is None:
            return "no job runs", "bad"
        return ("job runs", "good") if self.job.runs else (f"job {self.job.state.lower()}", "warn")


@dataclass(frozen=True, slots=True)
class Desk:
    """What every page is handed.

    Attributes
    ----------
    service : what API and console call alike
    feed : what was read of the topics
    watch : the job's health
    configuration : the whole configuration
    access : who may do what
    """

    service: Service
    feed: Feed
    watch: JobWatch
    configuration: Configuration
    access: Access

    def may(self, scope: str) -> bool:
        """Whether the browser of this page may do something."""
        return scope in self.access.scopes(this_browser())

    def title(self, item_id: str) -> str | None:
        """Title of an item, None where it has none."""
        item = self.service.item(item_id)
        return None if item is None else item.title

    async def ask(self, user_id: str, *, deadline_ms: int, explain: bool = False, trace: bool = False) -> Answer:
        """A slate that the job makes now; see `Service.ask`."""
        now_ms = time.time_ns() // 1_000_000
        request = RequestRecord(
            request_id=f"console-{new_id()}", user_id=user_id, event_time_ms=now_ms, sent_at_ms=now_ms, trace=trace
        )
        return await self.service.ask(request, deadline_ms=deadline_ms, explain=explain)

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of all strategies that the configuration and its arms know."""
        names = dict.fromkeys(self.configuration.policy.strategies)
        for arm in self.configuration.experiment.arms.values():
            names |= dict.fromkeys(arm.policy.get("strategies", {}))
        return tuple(names)
