"""The keyed state of one user, as a recommender is handed it and hands it back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from models.answers.asked import AskedQuestion
from models.attribution import OpenSlates, Tally
from models.frequency import Impressions
from models.profile import SeenItems, UserState
from models.traces import Trace


@dataclass(slots=True)
class User:
    """One user.

    Attributes
    ----------
    state : profile, counters, last slate
    seen : items that are not recommended again
    pending : candidates of the last slate (`models.examples`), waiting for the next event
    slates : those that wait for what comes of them
    impressions : what was shown lately, where a frequency cap is in force
    asked : questions that the user asked last, where answers.enabled is on
    tally : what was made of the events since the caller took it last
    trace : of the slate that was made last, where it was asked for; the caller takes it
    """

    state: UserState = field(default_factory=UserState)
    seen: SeenItems = field(default_factory=SeenItems)
    pending: bytes | None = None
    slates: OpenSlates = field(default_factory=OpenSlates)
    impressions: Impressions = field(default_factory=Impressions)
    asked: list[AskedQuestion] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    trace: Trace | None = None

    def having(self, items: np.ndarray, *, time_ms: int) -> User:
        """The same user, known by other items (`UserState.having`)."""
        return replace(self, state=self.state.having(items, time_ms=time_ms))
