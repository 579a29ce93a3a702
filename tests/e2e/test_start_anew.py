"""A job without state begins with what an earlier one has published."""

from __future__ import annotations

from models.topics import RECOMMENDATIONS
from tests.e2e import running


def test_a_new_job_serves_what_an_earlier_one_learned(run: running.Configuration, stream: list[running.Event]) -> None:
    running.await_learned(run, len(stream))
    # no state of the old job, but its published model: only new events are read
    config = running.msgspec.structs.replace(run, kafka=running.msgspec.structs.replace(run.kafka, start_from="latest"))
    running.submitted(config)
    known = stream[-1]
    newcomer = running.msgspec.structs.replace(known, event_id="newcomer-1", user_id="newcomer")
    loop = running.loop(config)
    for _ in loop.run([newcomer]):
        pass
    loop.close()
    [slate] = [s for s in running.values(config, RECOMMENDATIONS) if s["user_id"] == "newcomer"]

    assert len(slate["items"]) == config.slate.k
    assert "item_cf" in slate["items"][0]["sources"]
    assert slate["items"][0]["reasons"][0]["item_id"] == known.item_id
