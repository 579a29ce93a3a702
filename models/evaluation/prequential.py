"""Prequential evaluation: every event first tests the slate that was there before it, then it may teach.

Gama, Sebastião and Rodrigues, "On evaluating stream learning algorithms", Machine Learning 90, 2013; for
recommenders, Vinagre, Jorge and Gama, "Evaluation of recommender systems in streaming environments", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from models.events import Event
from models.metrics.ranking import f1, hit_at_k, ndcg_at_k, position_of, precision, recall


def cause_before(event: Event) -> Event:
    """What a slate just before an event is made for: of the event itself is known whose it is and when, and not yet what it is about."""
    return Event(event.event_id, event.user_id, "", event.type, event.event_time_ms)


class PrequentialReport(Struct, frozen=True, kw_only=True):
    """What an evaluator found so far; every ratio is 0 when nothing was evaluated.

    Attributes
    ----------
    events : judged, whether evaluated or not
    evaluated : of these, events that tested a slate
    hr_at_k : share of the evaluated events whose item was in the slate
    ndcg_at_k : mean of 1 / log2(position + 1), 0 for a miss
    precision_at_k : hits / items shown
    recall_at_k : hits / evaluated events, as each has one relevant item; so it equals hr_at_k
    f1_at_k : of these two
    coverage : distinct items in evaluated slates / distinct items in the stream so far or in these slates
    avg_recommendations : items shown / evaluated events
    """

    events: int
    evaluated: int
    hr_at_k: float
    ndcg_at_k: float
    precision_at_k: float
    recall_at_k: float
    f1_at_k: float
    coverage: float
    avg_recommendations: float


class Judgement(Struct, frozen=True):
    """How one event judged the slate before it.

    Attributes
    ----------
    position : 1-based place of the event's item in the slate, None for a miss
    shown : length of the slate
    """

    position: int | None
    shown: int


class PrequentialEvaluator:
    """Judges the slates of a stream of events.

    The first event of each user tests nothing: there was nobody yet to recommend to.

    Parameters
    ----------
    k : longest slate, at least 1
    every : test only each N-th of the events that could be evaluated, the N-th being the first
    repeats : whether an event whose item the same user had before is evaluated; what recommends only new items
        cannot hit it

    Examples
    --------
    >>> evaluator = PrequentialEvaluator(k=2)
    >>> evaluator.judge("u", "a", None)
    >>> evaluator.judge("u", "b", ["c", "b"])
    >>> evaluator.report().hr_at_k
    1.0
    """

    def __init__(self, k: int, every: int = 1, *, repeats: bool = True) -> None:
        if k < 1 or every < 1:
            raise ValueError(f"expected k and every to be at least 1, got k={k} and every={every}")
        self._k, self._every, self._repeats = k, every, repeats
        self._items_by_user: dict[str, set[str]] = {}
        self._stream_items: set[str] = set()
        self._recommended_items: set[str] = set()
        self._events = self._evaluatable = self._evaluated = self._shown = 0
        self._hits = self._ndcg = 0.0

    def needs_slate(self, user_id: str, item_id: str) -> bool:
        """Whether `judge` of this event, if it is the next, will look at the slate; a caller may else save making it.

        `judge` has to be called all the same.
        """
        return self._can_evaluate(user_id, item_id) and (self._evaluatable + 1) % self._every == 0

    def judge(self, user_id: str, item_id: str, slate_items: Sequence[str] | None) -> Judgement | None:
        """Take the next event of the stream.

        Parameters
        ----------
        user_id, item_id : of the event
        slate_items : distinct item ids, at most k, best first, as they were recommended to this user before the event
            arrived; none or no items counts as a miss with nothing shown

        Returns
        -------
        Judgement or None
            None where this event is not evaluated.

        Raises
        ------
        ValueError
            When the slate is longer than k or holds an item twice.
        """
        judgement = None
        if self._can_evaluate(user_id, item_id):
            self._evaluatable += 1
            if self._evaluatable % self._every == 0:
                judgement = self._evaluate(item_id, slate_items or ())
        self._events += 1
        self._stream_items.add(item_id)
        history = self._items_by_user.setdefault(user_id, set())
        if not self._repeats:
            history.add(item_id)
        return judgement

    def report(self) -> PrequentialReport:
        """The figures so far."""
        hit_rate = recall(self._hits, self._evaluated)
        hits_a_shown = precision(self._hits, self._shown)
        evaluated = self._evaluated or 1
        return PrequentialReport(
            events=self._events,
            evaluated=self._evaluated,
            hr_at_k=hit_rate,
            ndcg_at_k=self._ndcg / evaluated,
            precision_at_k=hits_a_shown,
            recall_at_k=hit_rate,
            f1_at_k=f1(hits_a_shown, hit_rate),
            coverage=len(self._recommended_items) / (len(self._stream_items | self._recommended_items) or 1),
            avg_recommendations=self._shown / evaluated,
        )

    def _can_evaluate(self, user_id: str, item_id: str) -> bool:
        history = self._items_by_user.get(user_id)
        return history is not None and item_id not in history

    def _evaluate(self, item_id: str, slate_items: Sequence[str]) -> Judgement:
        if len(slate_items) > self._k:
            raise ValueError(f"expected at most {self._k} items in a slate, got {len(slate_items)}")
        if len(set(slate_items)) < len(slate_items):
            raise ValueError(f"expected distinct items in a slate, got {list(slate_items)}")
        position = position_of(item_id, slate_items)
        self._evaluated += 1
        self._shown += len(slate_items)
        self._hits += hit_at_k(position, self._k)
        self._ndcg += ndcg_at_k(position, self._k)
        self._recommended_items.update(slate_items)
        return Judgement(position, len(slate_items))
