"""Quality by group of events: how active the user was, how well known the item, each beside baselines on the same events."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.uncertainty import Mean, mean_of

Positions = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]

USER_ACTIVITY = (1, 4, 11, 51)
"""First number of each group of users, by events so far."""
ITEM_WARMTH = (0, 1, 11, 101, 1001)
"""First number of each group of items, by events so far."""


class Against(Struct, frozen=True, kw_only=True):
    """A baseline on the same events.

    Attributes
    ----------
    hit_rate, ndcg : of the baseline
    gain : paired difference of the hit rates, the recommender's less the baseline's
    """

    hit_rate: Mean
    ndcg: Mean
    gain: Mean


class Slice(Struct, frozen=True, kw_only=True):
    """One group of judged events.

    Attributes
    ----------
    name : of the group
    hit_rate, ndcg : of the recommender
    baselines : by name
    """

    name: str
    hit_rate: Mean
    ndcg: Mean
    baselines: dict[str, Against]

    @property
    def best_baseline(self) -> Against:
        """The one of the highest hit rate."""
        return max(self.baselines.values(), key=lambda one: one.hit_rate.value)


def hits(positions: Positions) -> npt.NDArray[np.float64]:
    """1 for a hit, 0 for a miss, float64[n]."""
    return (positions > 0).astype(np.float64)


def gains(positions: Positions) -> npt.NDArray[np.float64]:
    """1 / log2(position + 1) for a hit, 0 for a miss, float64[n]: as `models.metrics.ranking.ndcg_at_k`."""
    at = np.where(positions > 0, positions, 1).astype(np.float64)
    return np.where(positions > 0, 1.0 / np.log2(at + 1.0), 0.0)


def slice_of(
    name: str, mask: Mask, *, users: npt.NDArray[np.int32], positions: Positions, baselines: Mapping[str, Positions]
) -> Slice:
    """Judge one group of events.

    Parameters
    ----------
    mask : bool[n], the group; all of its events have to be judged
    users, positions : of all n events
    baselines : positions of each baseline for all n events
    """
    who, ours = users[mask], positions[mask]
    return Slice(
        name=name,
        hit_rate=mean_of(hits(ours), who),
        ndcg=mean_of(gains(ours), who),
        baselines={
            baseline: Against(
                hit_rate=mean_of(hits(theirs[mask]), who),
                ndcg=mean_of(gains(theirs[mask]), who),
                gain=mean_of(hits(ours) - hits(theirs[mask]), who),
            )
            for baseline, theirs in baselines.items()
        },
    )


def events_so_far(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Of each event, how many before it had the same id.

    Examples
    --------
    >>> events_so_far(np.array([5, 6, 5, 5], np.int32)).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(ids, kind="stable")
    grouped = ids[order]
    first = np.r_[True, grouped[1:] != grouped[:-1]][: len(ids)]
    numbers = np.arange(len(ids))
    out = np.empty(len(ids), np.int64)
    out[order] = numbers - np.maximum.accumulate(np.where(first, numbers, 0))
    return out


def groups(counts: npt.NDArray[np.int64], starts: tuple[int, ...]) -> list[tuple[str, Mask]]:
    """Names and masks of the groups of counts that begin at `starts`, rising; the last is open.

    Examples
    --------
    >>> [name for name, _ in groups(np.array([1]), (0, 1, 4, 11))]
    ['0', '1–3', '4–10', '> 10']
    """
    ends = (*starts[1:], None)
    found = []
    for start, end in zip(starts, ends, strict=True):
        if end is None:
            found.append((f"> {start - 1:,}", counts >= start))
        else:
            name = f"{start:,}" if end == start + 1 else f"{start:,}–{end - 1:,}"
            found.append((name, (counts >= start) & (counts < end)))
    return found
