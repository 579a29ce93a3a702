"""The state of a user that policies see: its levels, its bounds, and where it is read from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Profile
from models.policies.state import FEATURES, LEVELS, PARTS, STATES, Context, Outcome, context_of, make_context, stand_ins
from models.profile import UserState

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def test_every_combination_of_levels_is_a_state_of_its_own():
    combinations = itertools.product((4, 5, 50), (5 * MINUTE_MS, DAY_MS, None), (1, 2, 5), Outcome)
    found = [make_context(events=n, gap_ms=gap, depth=depth, outcome=o).state for n, gap, depth, o in combinations]
    assert found == list(range(STATES))


@pytest.mark.parametrize("parts", [PARTS, PARTS[::-1], ("recency", "outcome"), ("depth",)])
def test_states_that_differ_in_what_counts_alone_have_one_stand_in(parts):
    levels = list(itertools.product(range(LEVELS), repeat=len(PARTS)))
    found = stand_ins(parts)
    for state, stand_in in enumerate(found):
        kept = [level if part in parts else 0 for part, level in zip(PARTS, levels[state], strict=True)]
        assert levels[stand_in] == tuple(kept)
    assert len(set(found)) == LEVELS ** len(parts)


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ({"events": 4}, {"events": 5}),
        ({"events": 49}, {"events": 50}),
        ({"gap_ms": 5 * MINUTE_MS}, {"gap_ms": 5 * MINUTE_MS + 1}),
        ({"gap_ms": DAY_MS}, {"gap_ms": DAY_MS + 1}),
        ({"depth": 1}, {"depth": 2}),
        ({"depth": 4}, {"depth": 5}),
    ],
)
def test_levels_change_where_the_table_says(lower, upper):
    usual = {"events": 10, "gap_ms": HOUR_MS, "depth": 3, "outcome": Outcome.NOTHING}
    assert make_context(**usual | lower).state < make_context(**usual | upper).state


@given(
    events=st.integers(0, 2**62),
    gap_ms=st.none() | st.integers(-(2**62), 2**62),
    depth=st.integers(0, 200),
    outcome=st.sampled_from(Outcome),
)
def test_whatever_a_user_did_the_context_is_bounded(events, gap_ms, depth, outcome):
    context = make_context(events=events, gap_ms=gap_ms, depth=depth, outcome=outcome)
    assert 0 <= context.state < STATES
    assert context.features.shape == (FEATURES,)
    assert ((context.features >= 0) & (context.features <= 1)).all()


@pytest.mark.parametrize("feature", [1.01, -1.01, np.inf, np.nan])
def test_a_context_out_of_bounds_is_refused(feature):
    with pytest.raises(ValueError, match="must lie within"):
        Context(0, np.array([1.0, feature]))


def test_a_new_user_has_no_slate_and_no_earlier_event():
    context = context_of(UserState())
    assert context.state == make_context(events=0, gap_ms=None, depth=0, outcome=Outcome.NO_SLATE).state
    assert context.features.tolist() == [1, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("slate", "outcome"), [([8, 3], Outcome.SOMETHING), ([8, 9], Outcome.NOTHING), ([], Outcome.NO_SLATE)])
def test_the_context_is_read_from_the_profile(slate, outcome):
    state = UserState(last_slate=np.array(slate, np.int64))
    for item, time_ms in ((1, 0), (2, 10 * HOUR_MS), (3, 10 * HOUR_MS + 2 * MINUTE_MS)):
        state.add_item(item, time_ms=time_ms, value=float("nan"), weight=1.0, config=Profile())
    expected = make_context(events=3, gap_ms=2 * MINUTE_MS, depth=2, outcome=outcome)
    found = context_of(state)
    assert found.state == expected.state
    assert found.features.tolist() == expected.features.tolist()


@pytest.mark.parametrize(
    ("pause_ms", "item", "outcome"),
    [(MINUTE_MS, 3, Outcome.SOMETHING), (MINUTE_MS, 4, Outcome.NOTHING), (10 * HOUR_MS, 3, Outcome.NOTHING)],
)
def test_more_about_the_same_item_in_the_same_sitting_is_something_that_came_of_the_slates(pause_ms, item, outcome):
    state = UserState(last_slate=np.array([8, 9], np.int64))
    for which, time_ms in ((3, HOUR_MS), (item, HOUR_MS + pause_ms)):
        state.add_item(which, time_ms=time_ms, value=float("nan"), weight=1.0, config=Profile())
    assert context_of(state).state % 3 == outcome
