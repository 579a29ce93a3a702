"""What the policies know of a user when a slate is made: one of 81 states, and a vector of 6 bounded features.

State = ((activity * 3 + recency) * 3 + depth) * 3 + outcome, each level 0, 1 or 2:

=========  ==============================================  ==================  ====================  =================
part       measures                                        0                   1                     2
=========  ==============================================  ==================  ====================  =================
activity   events of the user so far                       below 5             5 to 49               50 and more
recency    time between the latest event and the one       up to 5 minutes     up to a day           more, or no
           before                                                                                    earlier event
depth      events of the current sitting                   1                   2 to 4                5 and more
outcome    what came of the last slate                     no slate yet        nothing               something
=========  ==============================================  ==================  ====================  =================

Features, each within [0, 1]: 1 (the intercept); activity as log(1 + events) / log(1001); recency as log(1 + hours) / log(721);
depth as log(events of the sitting) / log(50); and two that are 1 where the last slate came to nothing, and to something.
What is larger than the scale counts as 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from enum import IntEnum
from itertools import product
from math import log, log1p
from operator import mul
from typing import get_args

import numpy as np
from msgspec import Struct

from models.config import StatePart
from models.profile import UserState, sitting_length

LEVELS = 3
PARTS = get_args(StatePart)
STATES = LEVELS ** len(PARTS)
FEATURES = 6

_ACTIVE_EVENTS = (5, 50)
_RECENT_MS = (300_001, 86_400_001)
_DEEP_EVENTS = (2, 5)
_HOUR_MS = 3_600_000


def stand_ins(parts: Sequence[str]) -> list[int]:
    """For each state the one that stands for it where only some parts are told apart: the others are at level 0.

    Parameters
    ----------
    parts : of `PARTS`, those that count
    """
    weights = [LEVELS**place if part in parts else 0 for place, part in enumerate(reversed(PARTS))][::-1]
    return [sum(map(mul, levels, weights)) for levels in product(range(LEVELS), repeat=len(PARTS))]


class Outcome(IntEnum):
    """What came of the user's last slate."""

    NO_SLATE = 0
    NOTHING = 1
    SOMETHING = 2


class Context(Struct, frozen=True, eq=False):
    """What an action is chosen by.

    Parameters
    ----------
    state : number of the user's state, from 0
    features : float64[n], each within [-1, 1]

    Raises
    ------
    ValueError
        When a feature is outside its bounds.
    """

    state: int
    features: np.ndarray

    def __post_init__(self) -> None:
        # a loop over six numbers is cheaper than one of numpy's; NaN is not within either
        for value in self.features.tolist():
            if not -1 <= value <= 1:
                raise ValueError(f"features of a context must lie within [-1, 1], got {self.features}")


def make_context(*, events: int, gap_ms: int | None, depth: int, outcome: Outcome) -> Context:
    """The context of a user.

    Parameters
    ----------
    events : of the user so far
    gap_ms : between the latest event and the one before, None where there was none; below 0 counts as 0
    depth : events of the current sitting
    outcome : of the last slate
    """
    gap = max(0, gap_ms) if gap_ms is not None else None
    recency = LEVELS - 1 if gap is None else bisect_right(_RECENT_MS, gap)
    levels = (bisect_right(_ACTIVE_EVENTS, events), recency, bisect_right(_DEEP_EVENTS, depth), int(outcome))
    state = 0
    for level in levels:
        state = state * LEVELS + level
    features = np.array([
        1.0,
        min(1.0, log1p(events) / log(1001)),
        1.0 if gap is None else min(1.0, log1p(gap / _HOUR_MS) / log(721)),
        min(1.0, log(max(1, depth)) / log(50)),
        float(outcome == Outcome.NOTHING),
        float(outcome == Outcome.SOMETHING),
    ])
    return Context(state, features)


def context_of(state: UserState) -> Context:
    """The context of a user whose latest event is in the profile, and answers the slate that is in the state.

    Its item among those of the last slate is something that came of it; so is more about the item of the event before, as when a click
    becomes a purchase: the slate between the two was hardly looked at.
    """
    items = state.items
    gap_ms, depth, outcome = None, 0, Outcome.NOTHING if len(state.last_slate) else Outcome.NO_SLATE
    if len(items):
        item, time_ms, *_ = items[-1].item()
        went_on = False
        if len(items) > 1:
            item_before, time_before_ms, *_ = items[-2].item()
            gap_ms = time_ms - time_before_ms
            went_on = item == item_before and not state.began_sitting
        depth = sitting_length(items)
        if len(state.last_slate) and (went_on or item in state.last_slate.tolist()):
            outcome = Outcome.SOMETHING
    return make_context(events=state.events, gap_ms=gap_ms, depth=depth, outcome=outcome)
