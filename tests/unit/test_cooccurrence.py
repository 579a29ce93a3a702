"""The co-occurrence table: known answers, a brute-force twin, bounded rows, and the bytes it is kept in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import ItemCF, Popularity
from models.cooccurrence import (
    CooccurrenceTable,
    PairMessage,
    Row,
    decode_deltas,
    decode_pair_message,
    decode_row,
    encode_pair_message,
    encode_row,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NO_VALUE = float("nan")


def pair(item, earlier, *, sitting=0, weight=1.0, time_ms=0, value=NO_VALUE, item_id=None):
    return encode_pair_message(
        PairMessage(
            item=item,
            item_id=f"item-{item}" if item_id is None else item_id,
            event_time_ms=time_ms,
            weight=weight,
            value=value,
            earlier=np.array(earlier, np.int64),
            sitting=sitting,
        )
    )


def learned(messages, *, item_cf=None, popularity=None):
    table = CooccurrenceTable(item_cf or ItemCF(), popularity or Popularity())
    for message in messages:
        table.learn_one(message)
    return table


def stream(seed, events=400, items=25):
    draw = np.random.default_rng(seed)
    return [
        pair(
            int(draw.integers(1, items)),
            draw.integers(1, items, size=draw.integers(0, 21)).tolist(),
            sitting=int(draw.integers(0, 2**20)),
            weight=float(draw.choice([1.0, 1.5, 3.0])),
            time_ms=number * HOUR_MS,
            value=float(draw.choice([NO_VALUE, 2.0, 5.0])),
        )
        for number in range(events)
    ]


def bytes_of(table):
    return {row.item: encode_row(row) for row in table}


def test_one_event_counts_each_earlier_item_by_its_distance():
    row = learned([pair(9, [1, 2, 3], sitting=0b101)]).row(9)
    # 4096 to one; 0.94 a step, 0.5 a step for fast; the sitting column only where its bit is set.
    assert row.neighbours() == {1: (4096, 4096, 4096), 2: (3850, 2048, 0), 3: (3619, 1024, 3619)}
    assert (row.count, row.events, row.item_id) == (4096, 1, "item-9")


def test_the_weight_of_an_event_scales_its_pairs_and_counts():
    row = learned([pair(9, [1, 2], weight=2.0), pair(9, [2], weight=0.5)]).row(9)
    assert row.neighbours() == {1: (8192, 8192, 0), 2: (7700 + 2048, 4096 + 2048, 0)}
    assert (row.count, row.events) == (4096 * 5 // 2, 2)


def test_an_item_is_no_neighbour_of_itself_but_keeps_its_distance():
    assert learned([pair(9, [9, 2])]).row(9).neighbours() == {2: (3850, 2048, 0)}


def test_pairs_are_directed():
    table = learned([pair(1, []), pair(2, [1])])
    assert table.row(1).neighbours() == {}
    assert set(table.row(2).neighbours()) == {1}


@pytest.mark.parametrize("bit", [0, 19, 63])
def test_a_sitting_bit_speaks_of_its_own_earlier_item_only(bit):
    row = learned([pair(999, range(1, 101), sitting=1 << bit)], item_cf=ItemCF(pair_items=100)).row(999)
    assert [j for j, weights in row.neighbours().items() if weights[2]] == [bit + 1]


def test_values_are_summed_and_missing_ones_are_not():
    row = learned([pair(9, [], value=4.0), pair(9, []), pair(9, [], value=1.0)]).row(9)
    assert (row.value_sum, row.value_count, row.events) == (5.0, 2, 3)


def test_popularities_halve_with_their_half_lives():
    popularity = Popularity(fast_half_life_hours=1.0, slow_half_life_hours=2.0)
    row = learned([pair(9, [], time_ms=0), pair(9, [], time_ms=2 * HOUR_MS)], popularity=popularity).row(9)
    assert (row.pop_fast, row.pop_slow) == pytest.approx((1.25, 1.5))
    assert (row.first_seen_ms, row.last_seen_ms) == (0, 2 * HOUR_MS)


def test_a_late_event_ages_itself_and_turns_no_clock_back():
    popularity = Popularity(fast_half_life_hours=1.0, slow_half_life_hours=2.0)
    row = learned([pair(9, [], time_ms=2 * HOUR_MS), pair(9, [], time_ms=0)], popularity=popularity).row(9)
    assert (row.pop_fast, row.pop_slow) == pytest.approx((1.25, 1.5))
    assert (row.first_seen_ms, row.last_seen_ms) == (0, 2 * HOUR_MS)


@pytest.mark.parametrize("seed", range(4))
def test_a_table_equals_the_definition_computed_with_a_dictionary(seed):
    truth: dict[int, dict[int, list[int]]] = {}
    counts: dict[int, int] = {}
    for raw in stream(seed):
        message = decode_pair_message(raw)
        row = truth.setdefault(message.item, {})
        counts[message.item] = counts.get(message.item, 0) + round(message.weight * 4096)
        for d, j in enumerate(message.earlier.tolist()):
            if j != message.item:
                cell = row.setdefault(j, [0, 0, 0])
                slow = round(4096 * message.weight * 0.94**d)
                cell[0] += slow
                cell[1] += round(4096 * message.weight * 0.5**d)
                cell[2] += slow if message.sitting >> d & 1 else 0
    table = learned(stream(seed))
    assert {row.item: row.neighbours() for row in table} == {
        item: {j: tuple(cell) for j, cell in row.items()} for item, row in truth.items()
    }
    assert {row.item: row.count for row in table} == counts
    assert len(table) == len(truth)


@given(st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_rows_that_never_evict_do_not_depend_on_the_order_of_messages(random):
    messages = stream(5, events=60)
    shuffled = list(messages)
    random.shuffle(shuffled)
    table, other = learned(messages), learned(shuffled)
    assert {row.item: (row.neighbours(), row.count, row.events, row.value_sum) for row in table} == {
        row.item: (row.neighbours(), row.count, row.events, row.value_sum) for row in other
    }
    for row in table:
        twin = other.row(row.item)
        assert (row.pop_fast, row.pop_slow) == pytest.approx((twin.pop_fast, twin.pop_slow))


def test_a_full_row_gives_up_its_lowest_neighbour_and_the_newcomer_starts_at_its_own_weight():
    item_cf = ItemCF(neighbours=8)
    heavy = [pair(9, [j], weight=3.0, sitting=1) for j in (11, 12, 13, 14, 16, 17, 18)]
    table = learned([*heavy, pair(9, [15], weight=2.0, sitting=1), pair(9, [20])], item_cf=item_cf)
    neighbours = table.row(9).neighbours()
    assert neighbours == {j: (3 * 4096,) * 3 for j in (11, 12, 13, 14, 16, 17, 18)} | {20: (4096, 4096, 0)}


def test_a_row_never_holds_more_neighbours_than_its_bound():
    table = learned(stream(6, items=200), item_cf=ItemCF(neighbours=40))
    assert max(row.n for row in table) == 40
    assert all(len(row.neighbours()) == row.n for row in table)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.lists(st.integers(1, 14), max_size=12),
            st.sampled_from([0.5, 1.0, 3.0]),
            st.integers(0, 2**12 - 1),
        ),
        max_size=25,
    )
)
def test_a_table_that_evicts_equals_the_definition_computed_with_lists(events):
    truth: dict[int, list[list[int]]] = {}
    for item, earlier, weight, sitting in events:
        row = truth.setdefault(item, [])
        for d, j in enumerate(earlier):
            if j == item:
                continue
            cell = next((cell for cell in row if cell[0] == j), None)
            if cell is None:
                cell = [j, 0, 0, 0]
                if len(row) < 8:
                    row.append(cell)
                else:
                    row[min(range(8), key=lambda place: row[place][1])] = cell
            slow = round(4096 * weight * 0.94**d)
            cell[1] += slow
            cell[2] += round(4096 * weight * 0.5**d)
            cell[3] += slow if sitting >> d & 1 else 0
    messages = [pair(item, earlier, weight=weight, sitting=sitting) for item, earlier, weight, sitting in events]
    table = learned(messages, item_cf=ItemCF(neighbours=8))
    assert {row.item: row.neighbours() for row in table} == {
        item: {cell[0]: tuple(cell[1:]) for cell in row} for item, row in truth.items()
    }


def test_a_message_with_more_items_than_pair_items_teaches_the_latest_of_them():
    row = learned([pair(9, range(100, 120))], item_cf=ItemCF(pair_items=3)).row(9)
    assert row.neighbours() == {100: (4096, 4096, 0), 101: (3850, 2048, 0), 102: (3619, 1024, 0)}


def test_a_row_grows_to_a_bound_beyond_its_first_allocation():
    table = learned([pair(9, [j]) for j in range(100, 400)], item_cf=ItemCF(neighbours=250))
    assert len(table.row(9).neighbours()) == 250
    assert all(weights == (4096, 4096, 0) for weights in table.row(9).neighbours().values())


def test_a_row_halves_once_for_every_half_life_that_has_passed():
    item_cf = ItemCF(half_life_days=1.0)
    early = [pair(9, [1], sitting=1), pair(9, [1], sitting=1, time_ms=DAY_MS - 1)]
    assert learned(early, item_cf=item_cf).row(9).neighbours() == {1: (8192,) * 3}
    row = learned([*early, pair(9, [2], time_ms=2 * DAY_MS + 5)], item_cf=item_cf).row(9)
    assert row.neighbours() == {1: (2048,) * 3, 2: (4096, 4096, 0)}
    assert (row.count, row.landmark_ms) == (2048 + 4096, 2 * DAY_MS)


def test_the_time_since_the_last_halving_is_not_lost():
    times = [0, int(1.9 * DAY_MS), int(2.1 * DAY_MS)]
    row = learned([pair(9, [1], time_ms=t) for t in times], item_cf=ItemCF(half_life_days=1.0)).row(9)
    assert row.neighbours() == {1: (((4096 // 2) + 4096) // 2 + 4096,) * 2 + (0,)}


def test_without_a_half_life_nothing_ages():
    row = learned([pair(9, [1]), pair(9, [1], time_ms=10_000 * DAY_MS)]).row(9)
    assert row.neighbours() == {1: (8192, 8192, 0)}


@pytest.mark.parametrize("item_id", ["a", "naïve ☃ 品", "\ud800", "x" * 1024])
def test_a_pair_message_comes_back_as_it_went(item_id):
    raw = pair(-5, [1, -(2**63), 2**63 - 1], sitting=2**64 - 1, weight=1.5, time_ms=-7, value=2.5, item_id=item_id)
    message = decode_pair_message(raw)
    assert (message.item, message.item_id, message.event_time_ms, message.weight) == (-5, item_id, -7, 1.5)
    assert (message.value, message.sitting) == (2.5, 2**64 - 1)
    assert message.earlier.tolist() == [1, -(2**63), 2**63 - 1]
    assert encode_pair_message(message) == raw
    assert math.isnan(decode_pair_message(pair(1, [])).value)


@pytest.mark.parametrize("item_id", ["a", "naïve ☃ 品", "\ud800", ""])
def test_a_row_comes_back_as_it_went(item_id):
    table = learned([pair(-9, [j], item_id=item_id, value=3.0, time_ms=j, weight=1.5) for j in range(1, 30)])
    row = table.row(-9)
    back = decode_row(encode_row(row))
    for name in Row.__slots__:
        if name not in ("ids", "weights", "changed"):
            assert getattr(back, name) == getattr(row, name), name
    assert back.neighbours() == row.neighbours()


def test_a_row_without_neighbours_comes_back_and_learns_on():
    raw = encode_row(learned([pair(9, [])]).row(9))
    assert decode_row(raw).neighbours() == {}
    assert encode_row(decode_row(raw)) == raw


def test_a_row_that_rests_for_hundreds_of_half_lives_starts_anew():
    row = learned([pair(9, [1]), pair(9, [2], time_ms=200 * DAY_MS)], item_cf=ItemCF(half_life_days=1.0)).row(9)
    assert row.neighbours() == {1: (0, 0, 0), 2: (4096, 4096, 0)}
    assert row.count == 4096


def test_a_weight_beyond_32_bits_is_saturated_and_does_not_wrap():
    row = learned([pair(9, [1], weight=600_000.0), pair(9, [1], weight=600_000.0)]).row(9)
    assert row.neighbours()[1] == decode_row(encode_row(row)).neighbours()[1] == (2**32 - 1, 2**32 - 1, 0)


def test_bytes_of_another_version_or_kind_are_refused():
    row = encode_row(learned([pair(9, [1])]).row(9))
    for raw in (b"\x02" + row[1:], row[:1] + b"w" + row[2:]):
        with pytest.raises(ValueError, match="this release reads"):
            decode_row(raw)
    with pytest.raises(ValueError, match="pair message of version 9"):
        decode_pair_message(b"\x09" + pair(9, [1])[1:])


@pytest.mark.parametrize("neighbours", [400, 8], ids=["roomy", "evicting"])
def test_a_table_restored_from_snapshots_goes_on_as_if_it_had_never_stopped(neighbours):
    item_cf = ItemCF(neighbours=neighbours, half_life_days=3.0)
    messages = stream(8)
    saved: dict[str, bytes] = {}
    first = CooccurrenceTable(item_cf, Popularity())
    for number, message in enumerate(messages[:250]):
        first.learn_one(message)
        if number in (100, 249):
            saved.update(first.take_snapshot())
    second = CooccurrenceTable(item_cf, Popularity())
    second.load_snapshot(saved.items())
    assert second.take_snapshot() == []
    assert not second.has_updates()
    for message in messages[250:]:
        second.learn_one(message)
    assert bytes_of(second) == bytes_of(learned(messages, item_cf=item_cf))


def test_a_snapshot_holds_only_what_changed_since_the_last_one():
    table = learned([pair(1, []), pair(2, [1])])
    assert {key for key, _ in table.take_snapshot()} == {"row:0000000000000001", "row:0000000000000002"}
    assert table.take_snapshot() == []
    table.learn_one(pair(2, [1]))
    assert table.take_snapshot() == [("row:0000000000000002", encode_row(table.row(2)))]


def test_updates_are_taken_once_each_row_in_its_latest_state():
    table = learned([pair(1, []), pair(-2, [1]), pair(-2, [1])])
    assert table.has_updates()
    assert dict(table.take_updates()) == {
        "row:0000000000000001": encode_row(table.row(1)),
        "row:fffffffffffffffe": encode_row(table.row(-2)),
    }
    assert not table.has_updates()
    assert table.take_updates() == []
    table.take_snapshot()
    table.learn_one(pair(1, []))
    assert [key for key, _ in table.take_updates()] == ["row:0000000000000001"]
    assert [key for key, _ in table.take_snapshot()] == ["row:0000000000000001"]


def test_a_delta_holds_what_changed_since_the_last_one():
    table = learned([pair(1, [10, 11, 12, 13])])
    [first] = [delta for record in table.take_deltas() for delta in decode_deltas(record)]
    assert (first.base, first.item_id, first.positions.tolist()) == (0, b"item-1", [0, 1, 2, 3])
    table.learn_one(pair(1, [12, 14]))
    table.learn_one(pair(1, []))
    [second] = [delta for record in table.take_deltas() for delta in decode_deltas(record)]
    assert (second.base, second.header.events, second.header.neighbours) == (1, 3, 5)
    assert (second.positions.tolist(), second.neighbours.tolist()) == ([2, 4], [12, 14])
    assert second.weights.tolist() == table.row(1).weights[[2, 4]].tolist()
    assert table.take_deltas() == []


def test_a_weight_that_is_as_large_as_it_is_written_grows_no_more_in_memory_either():
    item_cf = ItemCF(half_life_days=1.0)
    table = learned([pair(9, [1], sitting=1, weight=2.0**18)] * 5, item_cf=item_cf)
    restored = CooccurrenceTable(item_cf, Popularity())
    restored.load_snapshot(table.take_snapshot())
    for each in (table, restored):
        each.learn_one(pair(9, [1], time_ms=DAY_MS))
    assert table.row(9).neighbours() == restored.row(9).neighbours()


def test_a_restored_row_begins_its_deltas_with_the_whole_of_it():
    first = learned([pair(1, [10, 11]), pair(2, [10])])
    first.take_deltas()
    second = CooccurrenceTable(ItemCF(), Popularity())
    second.load_snapshot(first.take_snapshot())
    assert second.take_deltas() == []
    second.learn_one(pair(1, [11]))
    [delta] = [delta for record in second.take_deltas() for delta in decode_deltas(record)]
    assert (delta.base, delta.neighbours.tolist()) == (0, [10, 11])


def test_records_of_deltas_are_of_bounded_length():
    table = learned([pair(item, range(1_000, 1_020)) for item in range(1, 800)])
    records = table.take_deltas()
    assert len(records) > 1
    assert max(map(len, records)) <= 131_072
    assert [delta.header.item for record in records for delta in decode_deltas(record)] == list(range(1, 800))


def test_a_delta_of_another_version_is_refused():
    [record] = learned([pair(1, [2])]).take_deltas()
    for broken in (b"\x02" + record[1:], record[:1] + b"r" + record[2:]):
        with pytest.raises(ValueError, match="delta of version"):
            list(decode_deltas(broken))


def test_a_row_that_was_never_learned_is_a_key_error():
    with pytest.raises(KeyError):
        learned([]).row(1)
