"""`flinkrec evaluate`: the job on the cluster and the loop in one process learn the same and serve alike."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from cli.clients import EventSender
from cli.eventfiles import read_events
from cli.movielens import movielens_100k
from cli.stack import Home, Stack
from models.evaluation.prequential import PrequentialEvaluator
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem
from tests.e2e import running

SLICE = 20_000
# Written at once as the stream begins: what is learned must not wait behind it for longer than to the next checkpoint.
CATALOGUE = {f"on the shelf {n}": CatalogueItem(title=f"Nobody had number {n}") for n in range(10_000)}

@pytest.fixture(scope="module")
def stream() -> list[running.Event]:
    events_path, _ = movielens_100k(Path(Home.from_environment().data))
    return list(read_events(events_path).events())[:SLICE]


def test_both_engines_learn_the_same_table_and_serve_alike(stack: Stack, stream: list[running.Event]) -> None:
    config = running.configuration(stack, metrics={"window_s": 86_400}, item_cf={"rows_interval_ms": 5_000})
    running.submitted(config)
    with closing(EventSender(config.kafka)) as sender:
        sender.send_items(CATALOGUE)
    loop = running.loop(config)
    for _ in loop.run(stream):
        pass
    loop.close()
    learned = running.await_learned(config, len(stream))
    local, evaluator = served_locally(config, stream)

    assert running.content(learned) == running.content({row.item_id: row for row in local.table})
    assert loop.quality.evaluated == evaluator.report().evaluated
    assert loop.quality.hr_at_k == pytest.approx(evaluator.report().hr_at_k, abs=0.005)


def served_locally(
    config: running.Configuration, stream: list[running.Event]
) -> tuple[LocalPipeline, PrequentialEvaluator]:
    """What ``evaluate --engine local --slate served`` does."""
    pipeline = LocalPipeline(config)
    for item_id, item in CATALOGUE.items():
        pipeline.apply_catalogue(item_id, msgspec.json.encode(item))
    evaluator = PrequentialEvaluator(config.slate.k)
    served: dict[str, list[str]] = {}
    for event in stream:
        evaluator.judge(event.user_id, event.item_id, served.get(event.user_id))
        pipeline.learn(event)
        served[event.user_id] = [item.item_id for item in pipeline.recommend(event).items]
    return pipeline, evaluator
