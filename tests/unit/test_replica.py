"""The replica: whatever the order and number of publications, the brute-force inversion of the published rows."""

from __future__ import annotations

import numpy as np
import pytest

from models.config import ItemCF, Popularity
from models.cooccurrence import CooccurrenceTable, PairMessage, encode_pair_message, encode_row
from models.identity import hash64
from models.replica import Replica
from models.topics import CatalogueItem
from models.validation import parse_configuration

DAY_MS = 86_400_000


def new_replica(max_neighbours=4096):
    return Replica(parse_configuration({"item_cf": {"served_neighbours": max_neighbours}}, "test.yaml"))


def pair(number, earlier, *, weight=1.0, time_ms=0):
    return encode_pair_message(
        PairMessage(
            item=hash64(f"i{number}"),
            item_id=f"i{number}",
            event_time_ms=time_ms,
            weight=weight,
            value=float(number % 5),
            earlier=np.array([hash64(f"i{other}") for other in earlier], np.int64),
            sitting=0b1011,
        )
    )


def learn_randomly(table, replica, *, seed, events, items, publish_every=7, most_earlier=20):
    draw = np.random.default_rng(seed)
    for number in range(events):
        earlier = draw.integers(items, size=draw.integers(0, most_earlier + 1)).tolist()
        table.learn_one(pair(int(draw.integers(items)), earlier, time_ms=number * DAY_MS // 20))
        if number % publish_every == 0:
            publish(table, replica)
    publish(table, replica)


def publish(table, replica):
    for record in table.take_deltas():
        replica.apply_deltas(record)


def inverted(rows):
    """``{item: {neighbour: six weights}}`` by the definition: A[item, neighbour], then A[neighbour, item]."""
    a = {
        (row.item, j): np.array(w, np.float64) / 4096
        for row in rows
        for j, w in row.neighbours().items()
        if w[0] > 0
    }
    lists: dict[int, dict[int, tuple[float, ...]]] = {}
    nothing = np.zeros(3)
    for pairing in a:
        for item, other in (pairing, pairing[::-1]):
            both = np.concatenate((a.get((item, other), nothing), a.get((other, item), nothing)))
            lists.setdefault(item, {})[other] = tuple(both.astype(np.float32).tolist())
    return lists


def held(replica):
    """The same mapping, read from the replica's arrays."""
    lists = {}
    for index in range(len(replica)):
        offset, length, capacity = replica.lists[index].tolist()
        assert length <= capacity
        slots = slice(offset, offset + length)
        others = replica.hashes[replica.neighbour[slots]].tolist()
        assert len(set(others)) == length
        if length:
            weights = map(tuple, replica.weights[slots].tolist())
            lists[int(replica.hashes[index])] = dict(zip(others, weights, strict=True))
    return lists


def slabs(replica):
    return sorted((offset, offset + capacity) for offset, _, capacity in replica.lists.tolist() if capacity)


@pytest.mark.parametrize("publish_every", [1, 7, 1000])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_replica_is_the_inversion_of_the_rows(seed, publish_every):
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    learn_randomly(table, replica, seed=seed, events=300, items=40, publish_every=publish_every)
    assert held(replica) == inverted(table)


def test_weights_inward_come_first_and_outward_behind():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    table.learn_one(pair(2, [1]))
    publish(table, replica)
    one, two = hash64("i1"), hash64("i2")
    assert held(replica) == {two: {one: (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)}, one: {two: (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)}}


@pytest.mark.parametrize("half_life_days", [None, 1.0], ids=["evicting", "evicting and ageing"])
def test_neighbours_that_left_a_row_leave_the_replica(half_life_days):
    table = CooccurrenceTable(ItemCF(neighbours=8, half_life_days=half_life_days), Popularity())
    replica = new_replica()
    learn_randomly(table, replica, seed=3, events=500, items=60)
    assert max(row.n for row in table) == 8
    assert held(replica) == inverted(table)


def test_a_row_that_shrinks_to_nothing_leaves_nothing_behind():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    table.learn_one(pair(1, range(2, 20)))
    table.learn_one(pair(2, [1]))
    publish(table, replica)
    bare = CooccurrenceTable(ItemCF(), Popularity())
    bare.learn_one(pair(1, []))
    publish(bare, replica)
    assert held(replica) == inverted([bare.row(hash64("i1")), table.row(hash64("i2"))])


def test_rows_may_come_in_any_order_and_any_number_of_times():
    table, replica, other = CooccurrenceTable(ItemCF(neighbours=12), Popularity()), new_replica(), new_replica()
    learn_randomly(table, replica, seed=4, events=300, items=50)
    rows = [encode_row(row) for row in table]
    for raw in [*rows[::-1], *rows[::3], *rows]:
        other.apply_row(raw)
    assert held(other) == held(replica) == inverted(table)
    before = (replica.stats.copy(), replica.weights.copy(), replica.neighbour.copy(), replica.lists.copy())
    known = (len(replica), replica.known_items)
    for raw in rows:
        replica.apply_row(raw)
    after = (replica.stats, replica.weights, replica.neighbour, replica.lists)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert (len(replica), replica.known_items) == known


def test_a_replica_that_starts_from_rows_carries_on_with_the_deltas_behind_them():
    table, follower, latecomer = CooccurrenceTable(ItemCF(neighbours=12), Popularity()), new_replica(), new_replica()
    draw = np.random.default_rng(8)
    rows: list[bytes] = []
    deltas: list[bytes] = []
    for number in range(200):
        table.learn_one(pair(number % 5, draw.integers(30, size=3).tolist()))
        if number % 3 == 0:
            deltas += table.take_deltas()
        if number == 121:  # not where a delta ends
            rows = [raw for _, raw in table.take_updates()]
    deltas += table.take_deltas()
    for record in deltas:
        follower.apply_deltas(record)
    for raw in rows:
        latecomer.apply_row(raw)
    # those that it reads once more, from before the rows, are passed over until one begins where its row ends
    for record in deltas[10:]:
        latecomer.apply_deltas(record)
    assert held(follower) == held(latecomer) == inverted(table)


def test_a_delta_of_another_life_leaves_no_gap_of_unknown_neighbours():
    ours, theirs = (CooccurrenceTable(ItemCF(), Popularity()) for _ in range(2))
    replica = new_replica()
    ours.learn_one(pair(1, [2]))
    publish(ours, replica)
    theirs.learn_one(pair(1, [3, 4, 5, 6]))
    theirs.take_deltas()
    theirs.learn_one(pair(1, [7]))
    publish(theirs, replica)
    one = held(replica)[hash64("i1")]
    assert set(one) == {hash64("i2"), hash64("i7")}
    replica.apply_row(encode_row(theirs.row(hash64("i1"))))
    assert held(replica) == inverted(theirs)


def test_a_replica_grows_beyond_its_first_items_and_its_first_pool():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    learn_randomly(table, replica, seed=5, events=2_500, items=1_500, publish_every=100)
    assert len(replica) > 1_024
    assert len(replica.neighbour) > 1 << 14
    assert held(replica) == inverted(table)
    assert all(end <= start for (_, end), (start, _) in zip(slabs(replica)[:-1], slabs(replica)[1:], strict=True))


def test_the_symmetric_list_of_an_item_is_cut_at_its_bound_and_keeps_the_strongest():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica(max_neighbours=8)
    for number in range(1, 21):
        table.learn_one(pair(number, [0], weight=float(number)))
    publish(table, replica)
    assert set(held(replica)[hash64("i0")]) == {hash64(f"i{number}") for number in range(13, 21)}


def test_what_a_cut_list_holds_is_in_the_rows_and_nothing_that_left_them():
    table, replica = CooccurrenceTable(ItemCF(neighbours=8), Popularity()), new_replica(max_neighbours=8)
    learn_randomly(table, replica, seed=6, events=500, items=40)
    true, nothing = inverted(table), (0.0, 0.0, 0.0)
    assert max(map(len, true.values())) > 8
    for item, others in held(replica).items():
        for other, weights in others.items():
            assert other in true[item]
            # a direction that came while the list was full of stronger ones may be missing; none may be outdated
            assert weights[:3] in (true[item][other][:3], nothing)
            assert weights[3:] in (true[item][other][3:], nothing)


def test_the_columns_of_an_item_are_those_of_its_latest_row():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    learn_randomly(table, replica, seed=6, events=200, items=20)
    assert replica.known_items == len(table)
    for row in table:
        index = replica.index_of(row.item)
        assert replica.item_ids[index] == row.item_id
        assert replica.stats[index].tolist() == [
            row.count / 4096,
            *(getattr(row, name) for name in Replica.STATS[1:]),
        ]


def test_an_item_that_is_only_a_neighbour_is_not_known_yet():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    table.learn_one(pair(2, [1]))
    publish(table, replica)
    assert (len(replica), replica.known_items) == (2, 1)
    assert [replica.item_ids[index] for index in replica.pools().popular[:10]] == ["i2"]


def test_an_unknown_item_has_no_index():
    assert new_replica().index_of(hash64("never seen")) == -1


def test_popular_items_are_ordered_by_popularity_at_the_time_of_the_newest_event():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    for number, weight, day in [(1, 8.0, 0), (2, 1.0, 28), (3, 3.0, 14), (4, 1.7, 28)]:
        table.learn_one(pair(number, [], weight=weight, time_ms=day * DAY_MS))
    publish(table, replica)
    # after 28 days: 8 / 4, 1, 3 / 2 and 1.7
    assert [replica.item_ids[index] for index in replica.pools().popular[:3]] == ["i1", "i4", "i3"]


def test_a_withdrawn_item_is_not_popular_any_more_and_what_was_learned_of_it_stays():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    learn_randomly(table, replica, seed=7, events=300, items=30)
    before = held(replica)
    gone = replica.item_ids[replica.pools().popular[:5][0]]
    replica.withdraw(gone)
    replica.withdraw("never seen")
    assert not replica.available[replica.index_of(hash64(gone))]
    assert gone not in [replica.item_ids[index] for index in replica.pools().popular[:5]]
    assert held(replica) == before
    replica.apply_catalogue_item(gone, CatalogueItem(title="Back"))
    assert gone in [replica.item_ids[index] for index in replica.pools().popular[:5]]


def test_a_catalogue_entry_is_kept_with_what_was_learned():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    replica.apply_catalogue_item("i1", CatalogueItem(title="One", categories=["a", "b"], year=1999))
    replica.apply_catalogue_item("i3", CatalogueItem())
    table.learn_one(pair(1, [2]))
    publish(table, replica)
    one, three = replica.index_of(hash64("i1")), replica.index_of(hash64("i3"))
    assert (replica.item_ids[one], replica.titles[one], replica.year[one]) == ("i1", "One", 1999)
    assert int(replica.categories[one]) == 1 << hash64("a") % 64 | 1 << hash64("b") % 64
    assert (replica.item_ids[three], replica.titles[three], int(replica.categories[three])) == ("i3", None, 0)
    assert np.isnan(replica.year[three])
    assert replica.known_items == 2


def test_a_row_of_another_version_is_refused():
    table = CooccurrenceTable(ItemCF(), Popularity())
    table.learn_one(pair(1, []))
    raw = encode_row(table.row(hash64("i1")))
    for broken in (b"\x02" + raw[1:], raw[:1] + b"w" + raw[2:]):
        with pytest.raises(ValueError, match="row record of version"):
            new_replica().apply_row(broken)


def test_what_may_be_shown_is_counted_once_whether_from_events_or_from_the_catalogue():
    table, replica = CooccurrenceTable(ItemCF(), Popularity()), new_replica()
    table.learn_one(pair(1, [2]))
    table.learn_one(pair(2, [1]))
    publish(table, replica)
    assert replica.known_items == 2
    for item_id in ("i2", "i3", "i3"):
        replica.apply_catalogue_item(item_id, CatalogueItem())
    assert replica.known_items == 3
    for _ in range(2):
        replica.withdraw("i3")
        assert replica.known_items == 2
    publish(table, replica)
    assert replica.known_items == 2


def test_the_memory_that_a_replica_says_it_needs_grows_with_its_items():
    empty, full = (Replica(parse_configuration({}, "test.yaml")) for _ in range(2))
    for number in range(5_000):
        full.apply_catalogue_item(f"item-{number}", CatalogueItem())
    # what the docstring of the module says an item costs, within a factor of the room that is kept for more
    assert 100 * 5_000 < full.nbytes - empty.nbytes < 600 * 8_192
