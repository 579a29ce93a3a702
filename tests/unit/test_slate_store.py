"""The store: highest seq, erasure, time to live, restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from serving.store import SlateStore, StoreInUse
from tests.unit.serving_slates import NOW_MS, record, slate

TTL_MS = 1_000_000
Open = Callable[[], SlateStore]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the store, again and again."""
    stores: list[SlateStore] = []

    def reopen() -> SlateStore:
        if stores:
            stores.pop().close()
        stores.append(SlateStore(tmp_path / "store", ttl_ms=TTL_MS))
        return stores[-1]

    yield reopen
    for store in stores:
        store.close()


def seq_of(store: SlateStore, user_id: str = "ann", *, now_ms: int = NOW_MS) -> int | None:
    found = store.get(user_id, now_ms=now_ms)
    return None if found is None else found.slate.seq


def test_the_highest_seq_stays_in_whatever_order_slates_come(opened: Open) -> None:
    store = opened()
    store.apply([record(slate(seq=n)) for n in (2, 5, 3)], {0: 3})
    assert seq_of(store) == 5
    store.apply([record(slate(seq=4)), record(slate("bob", seq=1))], {0: 5})
    assert (seq_of(store), seq_of(store, "bob"), seq_of(store, "eve")) == (5, 1, None)


def test_the_second_answer_to_the_same_event_replaces_the_first(opened: Open) -> None:
    store = opened()
    store.apply([record(slate(seq=5, items=("old",)))], {0: 1})
    store.apply([record(slate(seq=5, items=("new",)))], {0: 2})
    found = store.get("ann", now_ms=NOW_MS)
    assert found is not None
    assert [item.item_id for item in found.slate.items] == ["new"]


def test_an_erased_user_is_forgotten_and_may_begin_anew_with_a_lower_seq(opened: Open) -> None:
    store = opened()
    erased = record(slate(seq=10, items=(), erased=True))
    store.apply([record(slate(seq=9))], {0: 1})
    store.apply([erased], {0: 2})
    assert seq_of(store) is None
    store.apply([record(slate(seq=1))], {0: 3})
    assert seq_of(store) == 1
    # also within one batch
    store.apply([record(slate(seq=9)), erased, record(slate(seq=2))], {0: 6})
    assert seq_of(store) == 2


def test_what_the_job_still_answers_to_a_user_who_asked_to_be_erased_is_not_kept(opened: Open) -> None:
    store = opened()
    store.apply([record(slate(seq=1))], {0: 1})
    store.erase("ann", now_ms=NOW_MS)
    assert seq_of(store) is None
    store.apply([record(slate(seq=2)), record(slate("bob", seq=1))], {0: 3})
    store = opened()
    store.apply([record(slate(seq=3))], {0: 4})
    assert (seq_of(store), seq_of(store, "bob")) == (None, 1)
    store.apply([record(slate(seq=4, items=(), erased=True)), record(slate(seq=1))], {0: 6})
    assert seq_of(store) == 1


def test_an_erasure_that_the_job_never_confirms_does_not_lock_the_user_out_for_ever(opened: Open) -> None:
    store = opened()
    store.erase("ann", now_ms=NOW_MS)
    store.apply([record(slate(seq=1), at_ms=NOW_MS + 600_001)], {0: 1})
    assert seq_of(store) == 1


def test_a_slate_is_given_until_its_time_is_over_and_then_any_seq_is_newer(opened: Open) -> None:
    store = opened()
    store.apply([record(slate(seq=7))], {0: 1})
    assert seq_of(store, now_ms=NOW_MS + TTL_MS) == 7
    assert seq_of(store, now_ms=NOW_MS + TTL_MS + 1) is None
    store.apply([record(slate(seq=1), at_ms=NOW_MS + TTL_MS + 1)], {0: 2})
    assert seq_of(store, now_ms=NOW_MS + TTL_MS + 1) == 1


def test_a_store_that_is_opened_again_has_its_slates_and_knows_where_to_read_on(opened: Open) -> None:
    store = opened()
    store.belong_to("cluster-1")
    store.apply([record(slate(seq=7))], {0: 12, 10: 3})
    store = opened()
    store.belong_to("cluster-1")
    assert (seq_of(store), store.offsets()) == (7, {0: 12, 10: 3})


def test_offsets_of_another_cluster_mean_nothing_and_its_slates_neither(opened: Open) -> None:
    store = opened()
    store.belong_to("cluster-1")
    store.apply([record(slate(seq=7))], {0: 12})
    store.belong_to("cluster-2")
    assert (seq_of(store), store.offsets()) == (None, {})
    store.apply([record(slate(seq=1))], {0: 1})
    assert seq_of(store) == 1


def test_slates_and_offsets_of_a_process_that_is_killed_are_there(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = """
import os, sys
from pathlib import Path
from serving.store import SlateStore
from tests.unit.serving_slates import record, slate
store = SlateStore(Path(sys.argv[1]), ttl_ms=1_000_000)
store.apply([record(slate(seq=7))], {0: 12})
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "store")], check=False)
    assert killed.returncode == -9
    store = SlateStore(tmp_path / "store", ttl_ms=TTL_MS)
    assert (seq_of(store), store.offsets()) == (7, {0: 12})
    store.close()


def test_a_store_is_of_one_process_and_says_so(opened: Open, tmp_path: Path) -> None:
    opened()
    with pytest.raises(StoreInUse, match="in use"):
        SlateStore(tmp_path / "store", ttl_ms=TTL_MS)


def test_ids_are_those_of_the_topic_to_the_byte(opened: Open) -> None:
    store = opened()
    names = ["ann", "ann/x", "Ünal", "日本", "a" * 256]
    store.apply([record(slate(name, seq=n)) for n, name in enumerate(names)], {0: 1})
    assert [seq_of(store, name) for name in names] == list(range(len(names)))
    found = store.get("Ünal", now_ms=NOW_MS)
    assert found is not None
    assert found.slate == msgspec.json.decode(msgspec.json.encode(slate("Ünal", seq=2)), type=type(found.slate))
