"""The features: one column for every documented name, and the matrix that is scored is the one that is learned from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.board import CF, LIKED, POINTERS, SUM_NAMES, SUMS
from models.events import Event
from models.examples import decode_example, label_pending
from models.feature_table import FEATURES, GROUPS, WIDTH, columns_of
from models.features import candidate_features
from models.identity import item_hash64
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.synthetic import events

HOUR_MS = 3_600_000.0
COLUMN = {name: column for column, name in enumerate(FEATURES)}


class Scored:
    """Keeps every matrix that a recommender asked its network to score."""

    def __init__(self, network):
        self.network = network
        self.matrices = []

    def score(self, matrix, *items_and_history):
        self.matrices.append(matrix.tobytes())
        return self.network.score(matrix, *items_and_history)

    def __getattr__(self, name):
        return getattr(self.network, name)


def features(**changes):
    """Two candidates of three items; item 2 is the user's latest."""
    sums = np.zeros((3, SUMS))
    sums[0, [CF, LIKED, POINTERS]] = 0.5, 0.25, 4
    sums[1, [CF, LIKED, POINTERS]] = 0.1, 0.1, 1
    stats = np.array(
        [
            # count, events, fast, slow, first, last, value sum, value count
            [3.0, 3.0, 2.0, 2.5, 0.0, 10 * HOUR_MS, 15.0, 3.0],
            [1.0, 1.0, 1.0, 1.0, 4 * HOUR_MS, 4 * HOUR_MS, 0.0, 0.0],
            [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    arguments = {
        "candidates": np.array([0, 1], np.int32),
        "sums": sums,
        "stats": stats,
        "categories": np.array([0b011, 0, 0b110], np.uint64),
        "year": np.array([1990.0, np.nan, 2000.0], np.float32),
        "labels": np.array([[0b0011, 0, 0, 0], [0, 0, 0, 0], [0b0110, 0, 0, 1 << 63]], np.uint64),
        "signatures": np.array([2**64 - 1, 0, 2**64 - 2], np.uint64),
        "log_prices": np.array([2.0, np.nan, 1.5], np.float32),
        "profile": np.array([2], np.int32),
        "steps": np.array([0.5]),
        "user": np.array([7.0, 3.0, 2 * HOUR_MS, 4.0]),
        "taste": np.array([3.0, -1.0] + [0.0] * 254 + [0.25] * 64, np.float32),
        "hashes": np.array([70, 71, 72]),
        "had": np.array([71, 70, 71, 72]),
        "had_ms": np.array([1, 2, 6, 14]) * int(HOUR_MS),
        "now_ms": 14 * HOUR_MS,
        "fast_half_life_ms": 4 * HOUR_MS,
        "slow_half_life_ms": 8 * HOUR_MS,
        "decay": 0.9,
    }
    return candidate_features(*(arguments | changes).values())


def test_the_kernel_writes_exactly_the_documented_columns():
    matrix = features()
    assert matrix.shape == (2, len(FEATURES)) == (2, WIDTH)
    assert matrix.dtype == np.float32
    # every column is another number somewhere when everything it reads is
    draw = np.random.default_rng(1)
    shape = features(sums=draw.random((3, SUMS)))
    assert [name for name, column in COLUMN.items() if not shape[:, column].any()] == []


def test_the_sums_are_named_once_each():
    assert len(SUM_NAMES) == len(set(SUM_NAMES)) == SUMS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cf", [np.log((0.5 + 1e-5) / 1e-5), np.log((0.1 + 1e-5) / 1e-5)]),
        ("cf_long", [0, 0]),
        ("pointers", [0.4, 0.1]),
        ("liked", [0.5, 1.0]),
        ("rank", [0, np.log(2)]),
        ("ratio", [1.0, 0.2]),
        ("popularity", [np.log(4), np.log(2)]),
        ("popularity_fast", [np.log1p(1.0), np.log1p(2**-2.5)]),
        ("popularity_slow", [np.log1p(2.5 * 2**-0.5), np.log1p(2**-1.25)]),
        ("idle", [np.log(5), np.log(11)]),
        ("age", [np.log(15), np.log(11)]),
        ("category_match", [0.5, 0]),
        ("category_last", [1 / 3, 0]),
        ("year_distance", [np.log(11), 0]),
        ("item_value", [(15 - 3 * 4) / 8, 0]),
        ("item_value_count", [np.log(4), 0]),
        ("user_events", [np.log(8)] * 2),
        ("user_sitting", [np.log(4)] * 2),
        ("user_gap", [np.log(3)] * 2),
        ("user_value", [4.0, 4.0]),
        ("had", [np.log(2), np.log(3)]),
        ("had_events", [np.log(3), np.log(2)]),
        ("had_hours", [np.log(13), np.log(9)]),
        ("taste", [2 / np.sqrt(2) + 64 * 0.25 / 8, 0]),
    ],
)
def test_a_column_holds_what_its_documentation_says(name, expected):
    assert features()[:, COLUMN[name]] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_without_values_the_value_columns_are_zero():
    matrix = features(user=np.array([7.0, 3.0, 0.0, np.nan]))
    assert not matrix[:, [COLUMN["item_value"], COLUMN["user_value"]]].any()


def test_a_user_without_items_has_finite_features():
    matrix = features(profile=np.zeros(0, np.int32), user=np.array([0.0, 0.0, 0.0, np.nan]))
    assert np.isfinite(matrix).all()
    assert not matrix[:, COLUMN["category_match"]].any()


def learned_from(config, stream):
    """Each example of a stream, and the bytes of the matrix that was scored for the slate before it."""
    pipeline = LocalPipeline(config, publish_every=1)
    scored = Scored(pipeline.recommender.rankers.everybody.network)
    pipeline.recommender.rankers.everybody.served.network = scored
    last: dict[str, bytes] = {}
    for event in stream:
        observation = pipeline.learn(event)
        if observation.example is not None:
            yield decode_example(observation.example), last[event.user_id]
        pipeline.recommend(event)
        last[event.user_id] = scored.matrices[-1] if scored.matrices else b""


@pytest.mark.parametrize("scorer", ["mlp", "gru", "cnn"])
def test_the_matrix_that_is_learned_from_is_the_one_that_was_scored_to_the_last_bit(scorer):
    config = parse_configuration({"scorer": {"name": scorer, "hidden": [8]}, "learner": {"batch_examples": 16}}, "test.yaml")
    examples = list(learned_from(config, events(400, users=15, items=60)))
    assert len(examples) > 100
    assert all(example.features.tobytes() == scored for example, scored in examples)


def test_values_beyond_float16_stay_finite():
    config = parse_configuration({"scorer": {"hidden": [8]}, "learner": {"batch_examples": 16}}, "test.yaml")
    dwell_ms = [msgspec.structs.replace(event, value=60_000 * event.value) for event in events(200, users=8, items=40)]
    examples = list(learned_from(config, dwell_ms))
    assert len(examples) > 20
    assert all(np.isfinite(example.features).all() for example, _ in examples)


def test_slates_stay_finite_when_values_are_large():
    config = parse_configuration({"scorer": {"hidden": [8]}, "learner": {"batch_examples": 8}}, "test.yaml")
    pipeline = LocalPipeline(config, publish_every=1)
    for number, event in enumerate(events(300, users=8, items=40)):
        pipeline.learn(Event(str(number), event.user_id, event.item_id, "view", event.event_time_ms, 1e6 * number))
        slate = pipeline.recommend(event)
    assert pipeline.learner.steps > 0
    assert slate.versions
    assert all(np.isfinite([item.score, item.probability]).all() for item in slate.items)


def test_content_columns_compare_labels_vectors_and_prices_with_the_users():
    matrix = features()
    # labels {0, 1} and {1, 2, 255}: one of sqrt(2 * 3); the signatures differ in one bit of 64
    assert matrix[0, COLUMN["content"]] == pytest.approx(1 / np.sqrt(6))
    assert matrix[0, COLUMN["vector"]] == pytest.approx(np.cos(np.pi / 64))
    assert matrix[0, COLUMN["price_distance"]] == pytest.approx(0.5)
    assert matrix[1, [COLUMN["content"], COLUMN["vector"], COLUMN["price_distance"]]].tolist() == [0, 0, 0]


def test_every_feature_is_in_one_group():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(FEATURES)


def test_an_ignored_group_is_zero_for_scoring_and_learning_and_the_others_are_as_they_were():
    ignored = columns_of(["content", "popularity"])
    kept = [column for column in range(WIDTH) if column not in ignored]
    assert {list(FEATURES)[column] for column in ignored} == {*GROUPS["content"], *GROUPS["popularity"]}

    def matrix(**scorer):
        pipeline = LocalPipeline(parse_configuration({"scorer": {"hidden": [8], **scorer}}, "test.yaml"), publish_every=1)
        for event in events(60, users=4):
            pipeline.learn(event)
        first = pipeline.recommend(event).items[0]
        example = label_pending(pipeline.user(event.user_id).pending, item_hash64(first.item_id))
        return decode_example(example).features.astype(np.float32)

    whole, partial = matrix(), matrix(ignored_groups=["content", "popularity"])
    assert not partial[:, ignored].any()
    assert whole[:, ignored].any()
    np.testing.assert_array_equal(partial[:, kept], whole[:, kept])


def test_the_table_of_the_documentation_names_every_feature_in_its_order_and_group():
    table = (Path(__file__).parents[2] / "docs" / "features.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    group = {name: each for each, names in GROUPS.items() for name in names}
    assert [(row[0].strip("`"), row[1], row[4]) for row in rows] == [(name, FEATURES[name], group[name]) for name in FEATURES]
