"""What is kept of a judged stream, so that curves and splits can be drawn when it has ended.

Columns of machine numbers, no object an event: 20 bytes an event, 8 more for each item of a judged slate, and what the
ids take (each user and each item once). A million events with slates of ten are 100 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from models.evaluation.prequential import Judgement

UNJUDGED = -1
MISS = 0
NEVER = -1


class SlateItem(Protocol):
    """One place of a slate, as far as the recorder looks at it; `models.topics.RecommendedItem` is one."""

    @property
    def item_id(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def sources(self) -> Sequence[str]: ...


class Shown(Struct, frozen=True, gc=False):
    """A `SlateItem` without all the rest, for slates that wait long for their event."""

    item_id: str
    score: float
    probability: float | None
    sources: Sequence[str]

    @classmethod
    def of(cls, item: SlateItem) -> Shown:
        """What the recorder needs of an item."""
        return cls(item.item_id, item.score, item.probability, item.sources)


class SourceCount(Struct):
    """How often items that exactly these sources brought were shown and hit."""

    shown: int = 0
    hits: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A judged stream in columns; n events, m places in judged slates, s items.

    Attributes
    ----------
    users, items : int32[n], dense indices by first occurrence
    times_ms : int64[n], event time
    positions : int16[n], 1-based place of the event's item in the slate before it, `MISS`, or `UNJUDGED`
    shown : int16[n], length of that slate, 0 where it was not judged
    scores, probabilities : float32[m], of the judged slates one after the other, by position; NaN: no probability
    shown_counts : int64[s], how often an item was in a judged slate
    first_shown : int64[s], the number (from 0) of the event that judged the first such slate, or `NEVER`
    sources : by the sources that brought an item
    k : longest slate
    repeats : whether a user's earlier items are recommended again
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    times_ms: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int16]
    shown: npt.NDArray[np.int16]
    scores: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]
    shown_counts: npt.NDArray[np.int64]
    first_shown: npt.NDArray[np.int64]
    sources: dict[tuple[str, ...], SourceCount]
    k: int
    repeats: bool

    @property
    def judged(self) -> npt.NDArray[np.bool_]:
        """bool[n], the events that judged a slate."""
        return self.positions != UNJUDGED

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """bool[m], whether the item of a place was the one that came next."""
        judged = self.judged
        starts = np.cumsum(self.shown[judged], dtype=np.int64) - self.shown[judged]
        positions = self.positions[judged].astype(np.int64)
        labels = np.zeros(len(self.scores), np.bool_)
        labels[(starts + positions - 1)[positions > 0]] = True
        return labels


class Recorder:
    """Takes the judged events of a stream, one at a time.

    Parameters
    ----------
    k : longest slate
    repeats : whether a user's earlier items are recommended again

    Examples
    --------
    >>> recorder = Recorder(k=2)
    >>> recorder.record("u", "a", 0, None, ())
    >>> slate = [Shown("c", 2.0, 0.1, ["cf"]), Shown("b", 1.0, 0.05, ["cf"])]
    >>> recorder.record("u", "b", 1, Judgement(position=2, shown=2), slate)
    >>> recording = recorder.recording()
    >>> recording.positions.tolist(), recording.labels.tolist()
    ([-1, 2], [False, True])
    """

    def __init__(self, k: int, *, repeats: bool = False) -> None:
        self._k, self._repeats = k, repeats
        self._user_index: dict[str, int] = {}
        self._item_index: dict[str, int] = {}
        self._users, self._items, self._times_ms = array("i"), array("i"), array("q")
        self._positions, self._shown = array("h"), array("h")
        self._scores, self._probabilities = array("f"), array("f")
        self._shown_counts, self._first_shown = array("q"), array("q")
        self._sources: dict[tuple[str, ...], SourceCount] = {}

    def record(
        self,
        user_id: str,
        item_id: str,
        event_time_ms: int,
        judgement: Judgement | None,
        slate: Sequence[SlateItem],
    ) -> None:
        """Take the next event.

        Parameters
        ----------
        judgement : of `models.evaluation.prequential.PrequentialEvaluator.judge`, None where it did not evaluate
        slate : what was judged, by position; not looked at without a judgement

        Raises
        ------
        ValueError
            When judgement and slate do not fit together.
        """
        number = len(self._users)
        self._users.append(self._user_index.setdefault(user_id, len(self._user_index)))
        self._items.append(self._index_of(item_id))
        self._times_ms.append(event_time_ms)
        if judgement is None:
            self._positions.append(UNJUDGED)
            self._shown.append(0)
            return
        if judgement.shown != len(slate):
            raise ValueError(f"expected the judged slate of {judgement.shown} items, got {len(slate)}")
        position = judgement.position or MISS
        self._positions.append(position)
        self._shown.append(len(slate))
        for place, item in enumerate(slate, start=1):
            self._show(item, number, hit=place == position)

    def _show(self, item: SlateItem, number: int, *, hit: bool) -> None:
        index = self._index_of(item.item_id)
        self._shown_counts[index] += 1
        if self._first_shown[index] == NEVER:
            self._first_shown[index] = number
        self._scores.append(item.score)
        self._probabilities.append(float("nan") if item.probability is None else item.probability)
        key = tuple(item.sources)
        count = self._sources.get(key)
        if count is None:
            count = self._sources[key] = SourceCount()
        count.shown += 1
        count.hits += hit

    def _index_of(self, item_id: str) -> int:
        index = self._item_index.setdefault(item_id, len(self._item_index))
        if index == len(self._shown_counts):
            self._shown_counts.append(0)
            self._first_shown.append(NEVER)
        return index

    def recording(self) -> Recording:
        """The stream so far, in copies."""
        return Recording(
            users=np.array(self._users, np.int32),
            items=np.array(self._items, np.int32),
            times_ms=np.array(self._times_ms, np.int64),
            positions=np.array(self._positions, np.int16),
            shown=np.array(self._shown, np.int16),
            scores=np.array(self._scores, np.float32),
            probabilities=np.array(self._probabilities, np.float32),
            shown_counts=np.array(self._shown_counts, np.int64),
            first_shown=np.array(self._first_shown, np.int64),
            sources={key: SourceCount(count.shown, count.hits) for key, count in self._sources.items()},
            k=self._k,
            repeats=self._repeats,
        )
