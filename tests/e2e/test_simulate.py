"""The closed loop through Kafka and the job: people see what it answers, and what they do comes back to it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from itertools import islice

from cli.simulation.job import JobCompetitor
from cli.stack import Stack
from models.simulation.loop import Crowd, closed_loop
from models.simulation.world import NATURES, World
from models.topics import EVENTS, RECOMMENDATIONS
from tests.e2e import running

SLATES = 300


def test_people_react_to_the_slates_of_the_job_and_quote_them(stack: Stack) -> None:
    config = running.configuration(stack, scorer={"name": "none"}, kafka={"partitions": 2})
    world = World(NATURES["steady"], seed=1, users=80, items=120)
    waited = []

    class Watched(JobCompetitor):
        def slates(self):
            waited.append(len(self._due))
            return super().slates()

    with closing(Watched(config, stack, name="the test", say=lambda _: None)) as job:
        seen = list(islice(closed_loop(world, job, k=10, crowd=Crowd(8, 3_600_000), reports=True), SLATES))
        own = running.on_topics_of(config, job.kafka)
        running.await_true(lambda: len(answering(own)) == len(asking(own)), "some events have no slate")
        slates, events, everything = answering(own), asking(own), running.values(own, EVENTS)

    assert len(seen) == SLATES
    assert max(waited) > 1
    assert {slate["event_id"] for slate in slates.values()} == {event["event_id"] for event in events}
    assert job.answered >= SLATES

    clicks = [event for event in events if event["type"] == "click"]
    # the loop is left before it tells the job what came of the last slate
    assert len(clicks) == sum(one.clicked for one in seen[:-1])
    for event in clicks:
        slate = slates[event["slate_id"]]
        assert slate["user_id"] == event["user_id"]
        assert slate["items"][event["position"] - 1]["item_id"] == event["item_id"]
        assert slate["event_time_ms"] < event["event_time_ms"]
    assert max(Counter(event["slate_id"] for event in clicks).values()) == 1

    reports = [event for event in everything if event["type"] == "impression"]
    assert len(reports) == SLATES - 1
    assert {event["slate_id"] for event in clicks} <= {event["slate_id"] for event in reports}


def answering(config: running.Configuration) -> dict[str, dict]:
    """The slates that the job made, by their id."""
    return {slate["slate_id"]: slate for slate in running.values(config, RECOMMENDATIONS)}


def asking(config: running.Configuration) -> list[dict]:
    """The events that a slate answers."""
    return [event for event in running.values(config, EVENTS) if event["type"] != "impression"]
