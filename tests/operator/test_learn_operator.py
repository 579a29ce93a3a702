"""The learn path's operator: whatever is killed when, what is learned and what is published is exact."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pyflink.common import Row

from models.arm_learner import RankerDefinition, encode_definition
from models.config import Configuration, ItemCF, Learner, Scorer
from models.cooccurrence import CooccurrenceTable, PairMessage, decode_pair_message, decode_row, encode_pair_message
from models.decisions import gate_key
from models.examples import encode_pending, label_pending
from models.feature_table import WIDTH
from models.identity import hash64
from models.learner import Learner as RankerLearner
from models.model_file import started_from
from models.replica import Replica
from models.scorers.gru import GRU
from models.versions import decode_tensors, decode_version, encode_tensors, weights_key
from operators.learn import DELTAS, learn_cooccurrence, learn_ranker
from tests.operator.fakes import FakeBackend, Running

SNAPSHOT_EVERY = 7
DELTAS_MS, ROWS_MS = 200, 1_000
SHARD, OTHER_SHARD = 11, 12
CONFIG = Configuration(
    item_cf=ItemCF(
        neighbours=8, snapshot_every=SNAPSHOT_EVERY, publish_interval_ms=DELTAS_MS, rows_interval_ms=ROWS_MS
    ),
    scorer=Scorer(name="mlp", hidden=(8,), candidates=10),
    learner=Learner(batch_examples=4, snapshot_every=10, publish_every_steps=2, replay_batches=1),
)


def pair_messages(n: int, *, seed: int = 3) -> list[bytes]:
    draw = np.random.default_rng(seed)
    return [
        encode_pair_message(
            PairMessage(
                item=int(item),
                item_id=f"item-{item}",
                event_time_ms=number * 1000,
                weight=1.0,
                value=float("nan"),
                # the first events of users have no earlier items: their rows stay without neighbours
                earlier=draw.integers(1, 20, size=draw.integers(0, 6)) if item > 3 else np.zeros(0, np.int64),
                sitting=int(draw.integers(8)),
            )
        )
        for number, item in enumerate(draw.integers(1, 12, size=n))
    ]


def examples(n: int, *, seed: int = 3) -> list[bytes]:
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        items = np.arange(1, 11)
        pending = encode_pending(draw.normal(size=(10, WIDTH)).astype(np.float16), items)
        made.append(label_pending(pending, int(draw.integers(1, 11))))
    return made


def table_rows(messages: Iterable[bytes]) -> dict[bytes, bytes]:
    """What a table that never stopped would publish for each row."""
    table = CooccurrenceTable(CONFIG.item_cf, CONFIG.popularity)
    for message in messages:
        table.learn_one(message)
    return {key.encode(): value for key, value in table.take_updates()}


def newest(yielded: Iterable[Any]) -> dict[bytes, bytes]:
    """What a reader of the compacted topic ends with."""
    return {record[0]: record[1] for record in yielded if isinstance(record, Row)}


def deltas(yielded: Iterable[Any]) -> list[tuple[bytes, bytes]]:
    """The records for `model-deltas`, with their keys."""
    return [(one[1][0], one[1][1]) for one in yielded if isinstance(one, tuple) and one[0] is DELTAS]


def followed(yielded: Iterable[Any]) -> dict[str, int]:
    """Events of each item as a replica knows them that starts with nothing and follows the deltas."""
    replica = Replica(CONFIG)
    for _, record in deltas(yielded):
        replica.apply_deltas(record)
    return {item_id: int(replica.stats[n, 1]) for n, item_id in enumerate(replica.item_ids) if item_id}


def running(backend: FakeBackend | None = None) -> Running:
    operator = learn_cooccurrence(CONFIG, shard_keys=(SHARD,))
    return Running(operator, backend)


# ------------------------------------------------------------------------------------------------ CO-OCCURRENCE


def test_a_state_of_another_number_of_shards_is_refused_in_words_and_one_of_the_same_number_is_not():
    of_two = (SHARD, OTHER_SHARD)
    before = Running(learn_cooccurrence(CONFIG, shard_keys=of_two))
    messages = pair_messages(40)
    for message in messages:
        before.send(of_two[decode_pair_message(message).item % 2], message)
    state = before.backend.checkpoint()

    again = Running(learn_cooccurrence(CONFIG, shard_keys=of_two), state.checkpoint())
    again.send(of_two[decode_pair_message(messages[0]).item % 2], messages[0])
    for others in ((SHARD, OTHER_SHARD, 13), (SHARD, 13, OTHER_SHARD), (13, SHARD, OTHER_SHARD)):
        moved = Running(learn_cooccurrence(CONFIG, shard_keys=others), state.checkpoint())
        with pytest.raises(ValueError, match=r"item_cf\.shards is 3, and the state .* was written with another number"):
            for message in messages:
                moved.send(others[decode_pair_message(message).item % 3], message)


def test_changed_rows_are_published_together_when_the_interval_has_passed():
    messages = pair_messages(5)
    operator = running()
    assert [operator.send(SHARD, message) for message in messages] == [[]] * 5
    assert newest(operator.fire_timers(ROWS_MS - 1)) == {}
    assert newest(operator.fire_timers(ROWS_MS)) == table_rows(messages)


def test_what_changed_in_rows_is_published_sooner_under_the_key_of_the_shard():
    messages = pair_messages(5)
    operator = running()
    for message in messages[:3]:
        operator.send(SHARD, message)
    assert operator.fire_timers(DELTAS_MS - 1) == []
    first = operator.fire_timers(DELTAS_MS)
    assert [key for key, _ in deltas(first)] == [b"%d" % SHARD]
    assert followed(first) == {row.item_id: row.events for row in map(decode_row, table_rows(messages[:3]).values())}
    for message in messages[3:]:
        operator.send(SHARD, message)
    both = first + operator.fire_timers(2 * DELTAS_MS)
    assert followed(both) == {row.item_id: row.events for row in map(decode_row, table_rows(messages).values())}
    assert newest(both) == {}


def test_a_row_that_changed_several_times_is_one_record():
    messages = pair_messages(6)
    operator = running()
    for message in messages:
        operator.send(SHARD, message)
    records = [one for one in operator.fire_timers(ROWS_MS) if isinstance(one, Row)]
    assert len(records) == len(newest(records)) > 0


def test_a_timer_is_armed_once_until_it_fires():
    operator = running()
    messages = pair_messages(6)
    for now_ms, message in enumerate(messages[:3]):
        operator.backend.now_ms = now_ms
        operator.send(SHARD, message)
    assert operator.backend.registrations == [(DELTAS_MS, SHARD), (ROWS_MS, SHARD)]
    operator.fire_timers(DELTAS_MS)
    for message in messages[3:]:
        operator.send(SHARD, message)
    assert operator.backend.registrations[2:] == [(2 * DELTAS_MS, SHARD)]


def test_each_shard_has_a_timer_and_a_table_of_its_own():
    mine, others = pair_messages(5), pair_messages(5, seed=4)
    operator = running()
    for one, other in zip(mine, others, strict=True):
        operator.send(SHARD, one)
        operator.send(OTHER_SHARD, other)
    assert {key for _, key in operator.backend.registrations} == {SHARD, OTHER_SHARD}
    operator.backend.timers = {timer for timer in operator.backend.timers if timer[1] == SHARD}
    assert newest(operator.fire_timers(ROWS_MS)) == table_rows(mine)


def test_a_timer_without_changes_publishes_nothing():
    operator = running()
    operator.send(SHARD, pair_messages(1)[0])
    operator.fire_timers(ROWS_MS)
    operator.backend.timers.add((2 * ROWS_MS, SHARD))
    assert operator.fire_timers(2 * ROWS_MS) == []


def test_the_log_is_bounded_by_the_snapshot_and_what_is_saved_was_published_before():
    messages = pair_messages(3 * SNAPSHOT_EVERY)
    operator = running()
    for number, message in enumerate(messages, start=1):
        records = operator.send(SHARD, message)
        assert len(operator.backend.cells.get(("log", SHARD), ())) == number % SNAPSHOT_EVERY
        assert bool(records) == (number % SNAPSHOT_EVERY == 0)
    saved = {key.encode(): value for key, value in operator.backend.cells["rows", SHARD].items()}
    assert saved == table_rows(messages)


@pytest.mark.parametrize("killed_after", [0, 1, 6, 7, 8, 13, 14, 15])  # around the snapshots at 7 and 14
@pytest.mark.parametrize("published", [False, True], ids=["before publication", "after publication"])
def test_killed_at_any_message_the_next_life_ends_with_the_exact_table_and_has_published_it(killed_after, published):
    messages = pair_messages(3 * SNAPSHOT_EVERY + 2)
    first = running()
    records = [record for message in messages[:killed_after] for record in first.send(SHARD, message)]
    if published:
        records += first.fire_timers(ROWS_MS)

    second = running(first.backend.checkpoint())
    for message in messages[killed_after:]:
        records += second.send(SHARD, message)
    records += second.fire_timers(10 * ROWS_MS)

    assert newest(records) == table_rows(messages)


def test_what_a_crash_left_unpublished_is_published_by_the_restored_timer_without_a_new_message():
    messages = pair_messages(SNAPSHOT_EVERY - 1)
    first = running()
    for message in messages:
        assert first.send(SHARD, message) == []
    restored = running(first.backend.checkpoint())
    again = restored.fire_timers(ROWS_MS)
    assert newest(again) == table_rows(messages)
    assert followed(again) == {row.item_id: row.events for row in map(decode_row, table_rows(messages).values())}


def test_a_life_that_was_lost_after_the_checkpoint_leaves_no_trace():
    messages = pair_messages(20)
    first = running()
    for message in messages[:9]:
        first.send(SHARD, message)
    checkpoint = first.backend.checkpoint()
    for message in pair_messages(5, seed=8):
        first.send(SHARD, message)
    second = running(checkpoint)
    records = [record for message in messages[9:] for record in second.send(SHARD, message)]
    records += second.fire_timers(10 * ROWS_MS)
    wanted = table_rows(messages)
    assert {key: wanted[key] for key in newest(records)} == newest(records)
    assert second.backend.cells["log", SHARD] == messages[14:]


def test_killed_twice_between_snapshots_the_table_is_exact():
    messages = pair_messages(20)
    operator, records = running(), []
    for number, message in enumerate(messages):
        if number in {3, 5, 12}:
            operator = running(operator.backend.checkpoint())
        records += operator.send(SHARD, message)
    records += operator.fire_timers(10 * ROWS_MS)
    assert newest(records) == table_rows(messages)


def test_bytes_that_are_no_message_stop_the_job():
    with pytest.raises(ValueError, match="pair message of version 9"):
        running().send(SHARD, b"\x09" + pair_messages(1)[0][1:])


def test_a_snapshot_of_another_version_stops_the_job_instead_of_starting_afresh():
    first = running()
    for message in pair_messages(SNAPSHOT_EVERY):
        first.send(SHARD, message)
    checkpoint = first.backend.checkpoint()
    rows = checkpoint.cells["rows", SHARD]
    key = next(iter(rows))
    rows[key] = b"\x09" + rows[key][1:]
    with pytest.raises(ValueError, match="row of version 9"):
        running(checkpoint).send(SHARD, pair_messages(1)[0])


# ------------------------------------------------------------------------------------------------ LEARNER

MODEL = 0


def versions(records: Iterable[Row]) -> list[tuple[tuple[int, int], bytes]]:
    """(epoch, number) and weights of each published version."""
    decoded = [decode_version(record[1]) for record in records if record[0].decode() == weights_key("ranker")]
    return [((version.epoch, version.number), weights) for version, weights in decoded]


ARM_NETWORK = "ranker/s.gru.0"
ARM_SCORER = Scorer(name="gru", hidden=(8,), candidates=10, embedding_rows=64, embedding_dim=4)


def told(scorer: Scorer | None, start: bytes = b"") -> bytes:
    return encode_definition(RankerDefinition(ARM_NETWORK, scorer, start))


def of_arm(count: int) -> list[bytes]:
    """Examples with the columns of the arm's network, and the items that it reads."""
    draw = np.random.default_rng(3)
    made = []
    for _ in range(count):
        matrix, items = draw.normal(size=(10, WIDTH + GRU.columns)).astype(np.float16), draw.choice(99, 10, replace=False) + 1
        made.append(label_pending(encode_pending(matrix, items, draw.choice(99, 5) + 1), int(items[draw.integers(10)])))
    return made


def trained() -> bytes:
    """A network of the arm's shape that has learned something."""
    learner = RankerLearner(CONFIG.learner, ARM_SCORER)
    for message in of_arm(20):
        learner.learn_one(message)
    return encode_tensors(learner.network.published())


@cache
def untouched(begins_with: bytes) -> dict[str, torch.Tensor]:
    """What a network of the arm's shape has learned that nothing happened to."""
    start = started_from(ARM_SCORER, decode_tensors(begins_with), name="everybody's network") if begins_with else None
    learner = RankerLearner(CONFIG.learner, ARM_SCORER, start=start)
    for message in of_arm(40):
        learner.learn_one(message)
    return learner.network.published()


@pytest.mark.parametrize("begins_with", [b"", trained()], ids=["untrained", "from everybody's"])
@pytest.mark.parametrize("killed_after", [0, 5, 9, 10, 13, 21])
def test_the_network_of_an_arm_learns_beside_everybodys_and_is_exact_after_a_crash(killed_after, begins_with):
    key, stream = hash64(ARM_NETWORK), of_arm(40)
    first = Running(learn_ranker(CONFIG, learner_key=MODEL))
    assert first.send(key, stream[0]) == [], "nobody has said what it learns"
    assert first.backend.cells == {}
    records = [record for message in (told(ARM_SCORER, begins_with), *stream[:killed_after]) for record in first.send(key, message)]
    second = Running(learn_ranker(CONFIG, learner_key=MODEL), first.backend.checkpoint())
    for own, other in zip(stream[killed_after:], examples(40), strict=False):
        records += second.send(key, own)
        assert not any(ARM_NETWORK in record[0].decode() for record in second.send(MODEL, other))
    # not pinnable: no version of it stays under a key of its own
    assert {record[0].decode() for record in records} == {weights_key(ARM_NETWORK), gate_key(ARM_NETWORK)}
    last = decode_tensors(decode_version([r for r in records if r[0].decode() == weights_key(ARM_NETWORK)][-1][1])[1])
    for name, tensor in untouched(begins_with).items():
        assert torch.equal(last[name], tensor), name
    # a definition again, as each life of a recommender sends it, changes nothing
    assert second.send(key, told(ARM_SCORER)) == []
    assert second.operator._log.model(key).learner.examples == 40


def test_the_network_of_an_arm_leaves_with_all_its_state():
    key, stream = hash64(ARM_NETWORK), of_arm(25)
    operator = Running(learn_ranker(CONFIG, learner_key=MODEL))
    for message in (told(ARM_SCORER), *stream):
        operator.send(key, message)
    assert {state for state, of in operator.backend.cells if of == key} == {"log", "rows"}
    ending = {record[0].decode(): record[1] for record in operator.send(key, told(None))}
    assert ending == {weights_key(ARM_NETWORK): None, gate_key(ARM_NETWORK): None}
    assert operator.backend.cells == {} and key not in operator.operator._log.models
    # what another recommender sends that has not heard of it keeps nothing alive
    assert operator.send(key, stream[0]) == [] and operator.backend.cells == {}
    operator.send(key, told(ARM_SCORER))
    assert operator.operator._log.model(key).learner.examples == 0


def test_a_version_is_published_as_soon_as_enough_batches_were_learned():
    operator = Running(learn_ranker(CONFIG, learner_key=MODEL))
    published = [bool(operator.send(MODEL, example)) for example in examples(17)]
    # 4 examples a batch, 2 batches a version
    assert [number for number, any_ in enumerate(published, start=1) if any_] == [8, 16]
    assert operator.backend.registrations == []


@pytest.mark.parametrize("killed_after", [3, 9, 10, 13, 21])
def test_killed_at_any_example_the_next_life_has_the_same_weights_and_its_versions_go_on_rising(killed_after, monkeypatch):
    starts = iter((1_000, 1_005))
    monkeypatch.setattr("operators.learn.time", SimpleNamespace(time=lambda: next(starts)))
    stream = examples(40)  # the last batch of 40 makes a version
    untouched = RankerLearner(CONFIG.learner, CONFIG.scorer)
    for example in stream:
        untouched.learn_one(example)
    first = Running(learn_ranker(CONFIG, learner_key=MODEL))
    records = [record for example in stream[:killed_after] for record in first.send(MODEL, example)]
    second = Running(learn_ranker(CONFIG, learner_key=MODEL), first.backend.checkpoint())
    records += [record for example in stream[killed_after:] for record in second.send(MODEL, example)]

    published = versions(records)
    numbers = [number for number, _ in published]
    assert numbers == sorted(numbers)
    assert len(set(published)) == len(set(numbers)), "one number, two contents"
    assert (numbers[0][0], numbers[-1][0]) == (1_000 if killed_after >= 8 else 1_005, 1_005)
    last = decode_tensors(published[-1][1])
    assert set(last) == set(untouched.network.state_dict())
    for name, tensor in untouched.network.state_dict().items():
        assert last[name].numpy().tobytes() == tensor.numpy().tobytes(), name
