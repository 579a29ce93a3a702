"""What the service knows of the model: similar and popular items against a computation by hand, and what may not be shown."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from models.config import Configuration
from models.cooccurrence import SCALE, Row, encode_row
from models.pipeline import LocalPipeline
from models.topics import CatalogueItem
from serving.model import Model
from tests import synthetic

EVENTS = synthetic.events(300, users=12, items=40)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    pipeline = LocalPipeline(Configuration())
    for event in EVENTS:
        pipeline.learn(event)
    return {row.item_id: row for row in pipeline.table}


@pytest.fixture
def model(rows: dict[str, Row]) -> Model:
    made = Model(Configuration())
    for item_id, row in rows.items():
        item = CatalogueItem(title=item_id.upper(), categories=["even" if int(item_id[5:]) % 2 == 0 else "odd"])
        made.apply_item(item_id.encode(), msgspec.json.encode(item))
        made.apply_update(b"row:whatever", encode_row(row))
    made.publish(popular=10)
    return made


def test_similar_items_are_pairs_in_both_directions_over_how_often_each_is_met(model: Model, rows: dict[str, Row]) -> None:
    from models.identity import hash64

    weights = {item: {neighbour: fixed[0] / SCALE for neighbour, fixed in row.neighbours().items()} for item, row in rows.items()}

    def similarity(one: str, other: str) -> float:
        both = weights[one].get(hash64(other), 0) + weights[other].get(hash64(one), 0)
        return both / math.sqrt((rows[one].count / SCALE + 10) * (rows[other].count / SCALE + 10))

    item = max(rows, key=lambda name: rows[name].count)
    expected = sorted((similarity(item, other) for other in rows if other != item), reverse=True)[:5]
    found = model.similar(item, 5)
    assert found is not None
    np.testing.assert_allclose([each.similarity for each in found], expected, rtol=1e-5)
    np.testing.assert_allclose([similarity(item, each.item_id) for each in found], expected, rtol=1e-5)
    assert [each.title for each in found] == [each.item_id.upper() for each in found]
    assert model.similar("unheard-of", 5) is None


def test_popular_items_are_those_with_the_most_lately_and_none_that_is_hidden(model: Model, rows: dict[str, Row]) -> None:
    # everything happened within hours, of a half-life of two weeks
    counts = sorted((row.events for row in rows.values()), reverse=True)
    found = [rows[item.item_id].events for item in model.popular]
    assert len(found) == 10
    assert min(found) >= counts[12]
    model.apply_control(b"exclude", b'{"categories": ["odd"]}')
    model.publish(popular=10)
    assert {int(item.item_id[5:]) % 2 for item in model.popular} == {0}
    assert {int(item[5:]) % 2 for item in model.hidden} == {1}
    similar = model.similar(model.popular[0].item_id, 10)
    assert similar is not None
    assert {int(item.item_id[5:]) % 2 for item in similar} == {0}


def test_one_row_is_enough_to_become_popular(model: Model, rows: dict[str, Row]) -> None:
    for row in (*rows.values(), *rows.values()):
        model.apply_update(b"row:whatever", encode_row(row))
    model.publish(popular=10)
    rarest = min(rows, key=lambda name: rows[name].events)
    assert rarest not in [item.item_id for item in model.popular]
    pipeline = LocalPipeline(Configuration())
    for n in range(100):
        pipeline.learn(msgspec.structs.replace(EVENTS[-1], event_id=f"more {n}", user_id=f"another {n}", item_id=rarest))
    [row] = [row for row in pipeline.table if row.item_id == rarest]
    model.apply_update(b"row:whatever", encode_row(row))
    model.publish(popular=10)
    assert model.popular[0].item_id == rarest


def test_a_bad_rule_leaves_the_last_good_one_and_a_bad_item_is_passed_over(model: Model) -> None:
    model.apply_control(b"exclude", b'{"categories": ["odd"]}')
    for bad in (b"{", b'{"categories": 7}', b'{"catgories": ["even"]}'):
        model.apply_control(b"exclude", bad)
    model.apply_item(b"item-2", b'{"title": 7}')
    model.apply_item(None, b'{"title": "nameless"}')
    model.publish(popular=10)
    assert model.hidden
    assert "item-2" not in model.hidden
    assert model.title("item-2") == "ITEM-2"


def test_items_are_found_by_title_or_id_whatever_the_case_those_that_begin_with_it_first(model: Model) -> None:
    assert model.find_items("em-1", most=3)[0][0].startswith("item-1")
    model.apply_item(b"x1", msgspec.json.encode(CatalogueItem(title="The Item")))
    assert next(item for item, _ in model.find_items("iTEM-3", most=40)).startswith("item-3")
    assert model.find_items("item", most=100)[-1] == ("x1", "The Item")
    assert model.find_items("no such thing", most=3) == []
