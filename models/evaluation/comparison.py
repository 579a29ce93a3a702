"""The recommender beside others on the same events, with the errors of what lies between them."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.recorder import UNJUDGED, Recording
from models.evaluation.splits import gains, hits
from models.evaluation.uncertainty import Mean, mean_of


class Rival(Struct, frozen=True, kw_only=True):
    """A baseline on the events on which the recommender was judged.

    Attributes
    ----------
    name : of its module in `models.evaluation.baselines`
    title, settings : for people
    hit_rate, ndcg : of the baseline
    hit_rate_gain, ndcg_gain : paired differences, the recommender's less the baseline's
    hit_rate_lift_percent, ndcg_lift_percent : by how much the recommender's mean is above the baseline's, in percent of the
        latter; None where that is 0
    events_per_s : events a second, over the whole run
    """

    name: str
    title: str
    settings: str
    hit_rate: Mean
    ndcg: Mean
    hit_rate_gain: Mean
    ndcg_gain: Mean
    hit_rate_lift_percent: float | None
    ndcg_lift_percent: float | None
    events_per_s: float


class Comparison(Struct, frozen=True, kw_only=True):
    """What ``flinkrec evaluate --compare`` writes as JSON.

    Attributes
    ----------
    k : longest slate
    every : each so-many-th of the events that could be judged was
    slate : which slate an event tested, ``before`` or ``served``
    hit_rate, ndcg, events_per_s : of the recommender
    rivals : the baselines, the one with the highest hit rate first
    versions : of everything that the baselines depend on
    """

    k: int
    every: int
    slate: str
    hit_rate: Mean
    ndcg: Mean
    events_per_s: float
    rivals: list[Rival]
    versions: dict[str, str]

    def encode(self) -> bytes:
        """The JSON of this comparison, indented, in UTF-8 with a newline at its end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def rival_of(
    recording: Recording,
    positions: npt.NDArray[np.int16],
    *,
    name: str,
    title: str,
    settings: str,
    events_per_s: float,
) -> Rival:
    """Compare a baseline with the recommender, event by event.

    Parameters
    ----------
    recording : of the recommender
    positions : of the baseline, as `Recording.positions`

    Raises
    ------
    ValueError
        When the two did not judge the same events.
    """
    judged = recording.judged
    if len(positions) != len(judged) or ((positions != UNJUDGED) != judged).any():
        raise ValueError(f"{name}: expected the same judged events as of the recommender")
    users, ours, theirs = recording.users[judged], recording.positions[judged], positions[judged]
    hit_rate, ndcg = mean_of(hits(theirs), users), mean_of(gains(theirs), users)
    return Rival(
        name=name,
        title=title,
        settings=settings,
        hit_rate=hit_rate,
        ndcg=ndcg,
        hit_rate_gain=mean_of(hits(ours) - hits(theirs), users),
        ndcg_gain=mean_of(gains(ours) - gains(theirs), users),
        hit_rate_lift_percent=_lift_percent(mean_of(hits(ours), users), hit_rate),
        ndcg_lift_percent=_lift_percent(mean_of(gains(ours), users), ndcg),
        events_per_s=events_per_s,
    )


def comparison_of(
    recording: Recording,
    rivals: list[Rival],
    *,
    every: int,
    slate: str,
    events_per_s: float,
    versions: dict[str, str],
) -> Comparison:
    """Put the recommender and its rivals together; see `Comparison` for the parameters."""
    judged = recording.judged
    users, ours = recording.users[judged], recording.positions[judged]
    return Comparison(
        k=recording.k,
        every=every,
        slate=slate,
        hit_rate=mean_of(hits(ours), users),
        ndcg=mean_of(gains(ours), users),
        events_per_s=events_per_s,
        rivals=sorted(rivals, key=lambda rival: -rival.hit_rate.value),
        versions=versions,
    )


def _lift_percent(ours: Mean, theirs: Mean) -> float | None:
    return 100.0 * (ours.value / theirs.value - 1.0) if theirs.value > 0 else None
