"""The SQL of the windowed metrics, on facts made by hand, against numbers computed by hand. No Kafka."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from pyflink.common import Row, WatermarkStrategy
from pyflink.table import StreamTableEnvironment

from jobs.metrics import attach_metrics
from jobs.recommend import environment
from models.config import Configuration, Flink, Metrics
from models.facts import NO_LATENCY, Fact
from operators.recommend import FACT

WINDOW_MS = 60_000
T0 = 1_700_000_040_000  # the start of a minute
FIRST, SECOND = T0, T0 + WINDOW_MS
CONFIG = Configuration(
    flink=Flink(options={"taskmanager.numberOfTaskSlots": "4"}), metrics=Metrics(window_s=WINDOW_MS // 1000)
)
NO_FACT = Fact(T0, "event", "view", 0, 0, 0, 0, 0, 0, "", 0, NO_LATENCY)


def fact(after_ms: int, **fields: Any) -> Fact:
    return msgspec.structs.replace(NO_FACT, time_ms=T0 + after_ms, **fields)


def rejected(after_ms: int, reason: str) -> Fact:
    return fact(after_ms, kind="rejected", type=reason)


def answered(*items: str) -> dict[str, Any]:
    return {"slates": 1, "recommended": len(items), "items": "\x1f".join(items)}


FACTS = [
    # the first minute: three slates are judged, two of them hold the item: at place 1 and at place 3
    fact(0, known_items=4, latency_ms=10, **answered("a", "b")),
    fact(1_000, evaluated=1, position=1, shown=2, known_items=5, latency_ms=30, **answered("b", "c", "d")),
    fact(2_000, evaluated=1, position=3, shown=3, late=1, type="rating", known_items=8, **answered("a")),
    fact(3_000, evaluated=1, position=0, shown=1, late=1, known_items=8, latency_ms=20, **answered()),
    # one that is shown a slate without being judged by it counts nowhere in the precision
    fact(4_000, position=1, shown=7, type="impression"),
    rejected(5_000, "duplicate"),
    rejected(6_000, "duplicate"),
    rejected(59_999, "not_json"),
    # the second minute: nothing is judged, nothing answered, nothing timed
    fact(60_000, type="impression"),
    # the third has dead letters only
    rejected(120_000, "not_json"),
]


class Captured:
    """A table environment that keeps the statement of the sink for us instead of running it."""

    def __init__(self, t_env: StreamTableEnvironment) -> None:
        self._t_env = t_env
        self.insert = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._t_env, name)

    def execute_sql(self, statement: str) -> None:
        assert statement.split()[:4] == ["CREATE", "TEMPORARY", "TABLE", "metrics_sink"]

    def create_statement_set(self) -> Captured:
        return self

    def add_insert_sql(self, statement: str) -> None:
        assert not self.insert, "two inserts into the sink would fight for its transactional ids"
        self.insert = statement

    def attach_as_datastream(self) -> None:
        pass


@pytest.fixture(scope="module")
def rows() -> list[tuple[Any, ...]]:
    """All that the job would write to the topic: key, window start and end, metric, slice, value, n."""
    env = environment(CONFIG)
    t_env = StreamTableEnvironment.create(env)
    # The facts are out of order; the watermark passes all windows when they end.
    shuffled = FACTS[::-2] + FACTS[-2::-2]
    stream = env.from_collection([Row(*msgspec.structs.astuple(made)) for made in shuffled], FACT)
    captured = Captured(t_env)
    attach_metrics(captured, stream.assign_timestamps_and_watermarks(WatermarkStrategy.no_watermarks()), CONFIG)
    select = captured.insert.split("metrics_sink", 1)[1]
    with t_env.execute_sql(select).collect() as results:
        return [tuple(row) for row in results]


@pytest.fixture(scope="module")
def measured(rows: list[tuple[Any, ...]]) -> dict[tuple[int, str, str], tuple[float | None, int]]:
    return {(start, metric, part): (value, n) for _, start, _, metric, part, value, n in rows}


def test_each_measure_of_a_window_is_one_record_whose_key_names_it(rows):
    assert len({row[0] for row in rows}) == len(rows)
    for key, start, end, metric, part, _, _ in rows:
        assert key == f"{start}/{metric}/{part}"
        assert (start % WINDOW_MS, end - start) == (0, WINDOW_MS)
    assert {row[1] for row in rows} == {FIRST, SECOND, SECOND + WINDOW_MS}


GAIN_AT_3 = math.log(2) / math.log(4)


@pytest.mark.parametrize(
    ("metric", "value", "n"),
    [
        ("events", 5, 8),
        ("dead_letters", 3, 8),
        ("duplicates", 2, 8),
        ("late", 2, 5),
        ("hr_at_k", 2 / 3, 3),
        ("ndcg_at_k", (1 + GAIN_AT_3) / 3, 3),
        ("precision_at_k", 2 / 6, 6),
        ("recall_at_k", 2 / 3, 3),
        ("f1_at_k", 2 * 2 / (6 + 3), 3),
        ("avg_recommendations", (2 + 3 + 1 + 0) / 4, 4),
        ("coverage", 4 / 8, 8),
        ("latency_p50_ms", 20, 3),
        # linear between the two highest of 10, 20, 30
        ("latency_p99_ms", 20 + 0.98 * 10, 3),
    ],
)
def test_the_value_of_a_window_is_the_one_computed_by_hand(measured, metric, value, n):
    found, count = measured[FIRST, metric, "all"]
    assert found == pytest.approx(value, abs=1e-9)
    assert count == n


def test_f1_is_the_harmonic_mean_of_precision_and_recall(measured):
    precision, recall, f1 = (measured[FIRST, f"{name}_at_k", "all"][0] for name in ("precision", "recall", "f1"))
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_events_are_counted_by_type_and_dead_letters_by_reason(measured):
    first = {(metric, part): value for (start, metric, part), value in measured.items() if start == FIRST}
    slices = {name: value for name, value in first.items() if name[1] != "all"}
    assert slices == {
        ("events", "type=view"): (3, 3),
        ("events", "type=rating"): (1, 1),
        ("events", "type=impression"): (1, 1),
        ("dead_letters", "reason=duplicate"): (2, 2),
        ("dead_letters", "reason=not_json"): (1, 1),
    }


@pytest.mark.parametrize(
    "metric",
    ["hr_at_k", "ndcg_at_k", "precision_at_k", "recall_at_k", "f1_at_k", "avg_recommendations", "latency_p50_ms"],
)
@pytest.mark.parametrize("window", [SECOND, SECOND + WINDOW_MS], ids=["events only", "dead letters only"])
def test_a_mean_of_nothing_is_null_and_not_zero(measured, metric, window):
    assert measured[window, metric, "all"] == (None, 0)


def test_a_window_of_dead_letters_only_is_still_counted(measured):
    window = SECOND + WINDOW_MS
    assert measured[window, "events", "all"] == (0, 1)
    assert measured[window, "dead_letters", "all"] == (1, 1)
    assert measured[window, "dead_letters", "reason=not_json"] == (1, 1)
