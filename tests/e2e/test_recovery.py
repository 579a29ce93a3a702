"""Processes killed with SIGKILL in mid-stream: what is learned afterwards is exactly what was sent."""

from __future__ import annotations

import os
import signal

import pytest

from cli.stack import Stack
from models.topics import RECOMMENDATIONS
from tests import synthetic
from tests.e2e import running

EVENTS_SENT = 3_000
KILL_AFTER = 1_200


@pytest.mark.parametrize("vertex", ["CO-OCCURRENCE", "RECOMMEND"])
def test_the_table_is_exact_after_a_taskmanager_was_killed_in_mid_stream(stack: Stack, vertex: str) -> None:
    stream = synthetic.events(EVENTS_SENT, seed=11)
    config = running.configuration(stack)
    job_id = running.submitted(config)
    loop = running.loop(config)
    killed = False
    for progress in loop.run(stream):
        if progress.answered >= KILL_AFTER and not killed:
            killed = True
            name = running.taskmanager_of(config, job_id, vertex).split(".")[0]
            os.kill(stack.processes()[name], signal.SIGKILL)
    loop.close()
    learned = running.await_learned(config, len(stream))

    assert running.restarts(config, job_id) >= 1
    assert running.content(learned) == running.content(running.recomputed_rows(config, stream))
    answered = {slate["event_id"] for slate in running.values(config, RECOMMENDATIONS)}
    assert answered == {event.event_id for event in stream}
