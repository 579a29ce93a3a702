"""The state of a user: bounded, and the same after it was packed and unpacked."""

from __future__ import annotations

import numpy as np
import pytest

from models.config import Profile
from models.profile import SeenItems, UserState, decode_user_state, encode_user_state, sitting_length
from models.taste import WEIGHTS

NO_VALUE = float("nan")
HOUR_MS = 3_600_000


def with_items(times, *, config=None, values=None):
    state = UserState()
    for number, time_ms in enumerate(times):
        value = NO_VALUE if values is None else values[number]
        state.add_item(number + 1, time_ms=time_ms, value=value, weight=1.5, config=config or Profile())
    return state


def test_the_latest_item_stands_last_and_beyond_the_bound_the_oldest_leaves():
    state = with_items(range(5), config=Profile(items=3))
    assert state.items["item"].tolist() == [3, 4, 5]
    assert state.items["weight"].tolist() == [1.5] * 3
    assert state.events == 5


def test_a_profile_of_one_item_holds_the_latest():
    assert with_items(range(4), config=Profile(items=1)).items["item"].tolist() == [4]


def test_a_gap_longer_than_the_bound_begins_a_new_sitting():
    state = with_items([0, HOUR_MS, 2 * HOUR_MS + 1, 2 * HOUR_MS + 2])
    assert state.items["sitting"].tolist() == [1, 1, 2, 2]
    assert state.sitting_start_ms == 2 * HOUR_MS + 1


def test_a_sitting_is_as_long_as_the_items_since_its_first():
    times = [0, 1, 3 * HOUR_MS, 3 * HOUR_MS + 1, 3 * HOUR_MS + 2]
    assert sitting_length(with_items(times).items) == 3
    assert sitting_length(UserState().items) == 0


def test_a_late_event_begins_no_sitting_and_turns_no_clock_back():
    state = with_items([5 * HOUR_MS, 0, 5 * HOUR_MS + 1])
    assert state.items["sitting"].tolist() == [1, 1, 1]
    assert state.last_event_ms == 5 * HOUR_MS + 1


def test_the_serial_of_sittings_goes_round_after_256():
    state = with_items([number * 2 * HOUR_MS for number in range(257)])
    assert state.items["sitting"][-3:].tolist() == [255, 0, 1]


def test_values_are_summed_and_missing_ones_are_not():
    state = with_items(range(3), values=[4.0, NO_VALUE, 1.0])
    assert (state.value_sum, state.value_count) == (5.0, 2)


def test_the_ring_of_event_ids_forgets_the_oldest_first():
    state = UserState()
    for event in range(1, 7):
        state.remember_event(event, capacity=4)
    assert [state.is_duplicate(event) for event in range(1, 8)] == [False, False, True, True, True, True, False]
    assert len(state.dedup) == 4


def test_events_are_counted_by_the_minute():
    state = UserState()
    assert [state.count_in_minute(now) for now in (60_000, 119_999, 120_000, 120_001, 240_000)] == [1, 2, 1, 2, 1]


def test_a_state_comes_back_as_it_went_and_goes_on_alike():
    state = with_items([0, 5 * HOUR_MS, 6 * HOUR_MS], values=[4.0, NO_VALUE, 1.0], config=Profile(items=2))
    for event in range(6):
        state.remember_event(event * 1_000_003 - 5, capacity=4)
    state.last_slate = np.array([2**63 - 1, -(2**63), 3], np.int64)
    state.last_probabilities = np.array([0.1, 0.0, 1.0], np.float32)
    state.taste = np.array([0.5, -2.0, 0.0], np.float16)
    state.seq = 17
    state.count_in_minute(1_700_000_000_000)
    back = decode_user_state(encode_user_state(state))
    assert encode_user_state(back) == encode_user_state(state)
    assert back.items["item"].tolist() == [2, 3]
    assert back.items["sitting"].tolist() == [2, 2]
    assert back.last_slate.tolist() == state.last_slate.tolist()
    assert back.last_probabilities.tolist() == state.last_probabilities.tolist()
    assert back.taste.tolist() == state.taste.tolist()
    names = ("dedup_at", "seq", "events", "last_event_ms", "sitting_start_ms", "value_sum", "value_count")
    for name in (*names, "minute", "minute_events"):
        assert getattr(back, name) == getattr(state, name), name
    for one in (state, back):
        one.remember_event(99, capacity=4)
        one.add_item(9, time_ms=7 * HOUR_MS, value=2.0, weight=1.0, config=Profile(items=2))
    assert encode_user_state(back) == encode_user_state(state)


def test_a_fresh_state_comes_back_fresh():
    raw = encode_user_state(UserState())
    back = decode_user_state(raw)
    assert (len(back.items), len(back.dedup), len(back.last_slate), back.last_event_ms) == (0, 0, 0, -1)
    assert encode_user_state(back) == raw


def test_a_packed_state_keeps_to_its_size_bound():
    config = Profile(items=50, dedup_events=64)
    state = with_items(range(500), config=config)
    for event in range(500):
        state.remember_event(event, capacity=config.dedup_events)
    state.last_slate = np.arange(10)
    state.last_probabilities = np.zeros(10, np.float32)
    state.taste = np.zeros(WEIGHTS, np.float16)
    assert len(encode_user_state(state)) <= 80 + 25 * 50 + 8 * 64 + 12 * 10 + 2 * WEIGHTS


def test_seen_items_are_remembered_once_and_forgotten_oldest_first():
    seen = SeenItems()
    for item in [1, 2, 1, 3, 4, 5]:
        seen.add(item, capacity=4)
    assert seen.hashes.tolist() == [2, 3, 4, 5]


def test_seen_items_know_whether_they_changed():
    seen = SeenItems.decode(SeenItems(np.array([5, -6], np.int64)).encode())
    assert seen.hashes.tolist() == [5, -6]
    seen.add(5, capacity=16)
    assert not seen.changed
    seen.add(7, capacity=16)
    assert seen.changed
    assert seen.hashes.tolist() == [5, -6, 7]


def test_a_user_without_state_has_seen_nothing():
    assert len(SeenItems.decode(None).hashes) == 0
    assert len(SeenItems.decode(SeenItems().encode()).hashes) == 0


def test_bytes_of_another_version_are_refused():
    with pytest.raises(ValueError, match="user state of version 4"):
        decode_user_state(b"\x04" + encode_user_state(UserState())[1:])
    with pytest.raises(ValueError, match="seen items of version 2"):
        SeenItems.decode(b"\x02")
