"""Facts: one flat record an event, from which the windowed metrics are computed.

Only integers and texts: they cross into SQL as they are.
"""

from __future__ import annotations

from msgspec import Struct

from models.events import Event, Refusal
from models.metrics.score_bins import ScoreBins
from models.recommender import Observation
from models.topics import Recommendation

NO_LATENCY = -1


class Fact(Struct, frozen=True, gc=False):
    """What the metrics need to know of one event.

    Attributes
    ----------
    time_ms : the event time under which it is counted
    kind : ``event`` or ``rejected``
    type : of the event, or the reason of the rejection
    late : 1 for an event behind the watermark by more than events.late_after_ms
    evaluated : 1 when the event judges the slate before it
    position : of the event's item in that slate, from 1; 0 where it was not shown
    shown : length of that slate
    score_marks : the bin of each of its items' probabilities (`models.metrics.score_bins`), by position; empty where the
        scorer predicted none
    slates : 1 when the event was answered
    recommended : length of the new slate
    items : ids of the new slate's items, separated by U+001F
    known_items : items that could be shown then
    latency_ms : from the producer's clock to the answer, `NO_LATENCY` where it did not say
    """

    time_ms: int
    kind: str
    type: str
    late: int
    evaluated: int
    position: int
    shown: int
    score_marks: str
    slates: int
    recommended: int
    items: str
    known_items: int
    latency_ms: int


def event_fact(
    event: Event,
    observation: Observation,
    recommendation: Recommendation | None,
    *,
    bins: ScoreBins,
    late: bool,
    known_items: int,
    time_ms: int,
) -> Fact:
    """The fact of an event that was learned."""
    items = () if recommendation is None else recommendation.items
    latency_ms = NO_LATENCY
    if recommendation is not None and event.sent_at_ms is not None:
        latency_ms = max(0, recommendation.timings.emitted_at_ms - event.sent_at_ms)
    return Fact(
        time_ms=time_ms,
        kind="event",
        type=event.type,
        late=int(late),
        evaluated=int(observation.evaluated),
        position=observation.position,
        shown=observation.shown,
        score_marks=bins.marks(observation.probabilities) if observation.evaluated else "",
        slates=int(recommendation is not None),
        recommended=len(items),
        items="\x1f".join(item.item_id for item in items),
        known_items=known_items,
        latency_ms=latency_ms,
    )


def rejection_fact(reason: Refusal, *, time_ms: int) -> Fact:
    """The fact of a record that became a dead letter."""
    return Fact(time_ms, "rejected", reason.value, 0, 0, 0, 0, "", 0, 0, "", 0, NO_LATENCY)
