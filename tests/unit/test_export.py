"""`flinkrec export`: every field of an outcome in a column, a row for each item."""

from __future__ import annotations

import msgspec
import pyarrow.parquet as pq
import pytest

from cli.errors import UserError
from cli.export import write_parquet
from models.topics import Outcome, OutcomeItem
from tests.unit.test_schemas import OUTCOME


def test_an_outcome_is_a_row_for_each_of_its_items(tmp_path):
    [first] = OUTCOME.items
    second = msgspec.structs.replace(first, item_id="i2", position=2, probability=0.25, events=0, delay_ms=None, features=None)
    whole = msgspec.structs.replace(OUTCOME, items=[first, second])
    last = msgspec.structs.replace(OUTCOME, slate_id="00", next=None, terminal=True, items=[])
    assert write_parquet(tmp_path / "outcomes.parquet", iter([whole, last])) == (2, 3)
    rows = pq.read_table(tmp_path / "outcomes.parquet").to_pylist()
    assert [(row["slate_id"], row["item_id"], row["position"]) for row in rows] == [
        (whole.slate_id, "i1", 1), (whole.slate_id, "i2", 2), ("00", None, None)
    ]
    for row, item in zip(rows, whole.items, strict=False):
        for name in set(Outcome.__struct_fields__) - {"items", "context", "next", "versions", "reward", "delay_ms"}:
            assert row[name] == getattr(whole, name), name
        for name in set(OutcomeItem.__struct_fields__) - {"features"}:
            assert row[name] == getattr(item, name), name
        assert (row["slate_reward"], row["slate_delay_ms"], row["versions"]) == (3.0, 500, [("ranker", "7.1-00")])
        assert (row["state"], row["context"]) == (5, [1.0, 0.25])
        assert (row["next_state"], row["next_context"], row["next_action"]) == (7, [1.0, 0.5], "other")
    assert rows[0]["features"] == [1.0, -2.0]
    assert rows[1]["features"] is None
    assert (rows[2]["next_state"], rows[2]["terminal"]) == (None, True)


def test_no_outcomes_are_a_file_with_the_columns(tmp_path):
    assert write_parquet(tmp_path / "none.parquet", iter([])) == (0, 0)
    assert "propensity" in pq.read_table(tmp_path / "none.parquet").column_names


def test_what_was_exported_before_stays_where_the_topic_cannot_be_read_to_its_end(tmp_path):
    def broken():
        yield OUTCOME
        raise UserError("no Kafka broker answers")

    file = tmp_path / "outcomes.parquet"
    file.write_bytes(b"before")
    with pytest.raises(UserError):
        write_parquet(file, broken())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("outcomes.parquet", b"before")]
