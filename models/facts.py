"""Facts: one flat record an event, from which the windowed metrics are computed.

Only integers and texts: they cross into SQL as they are.
"""

from __future__ import annotations

from msgspec import Struct

from models.attribution import Tally
from models.events import Event, Refusal
from models.metrics.score_bins import ScoreBins
from models.recommender import Observation
from models.topics import Recommendation

NO_LATENCY = -1
MICROS = 1_000_000
_MAX_REWARD = 1e9


class Fact(Struct, frozen=True, gc=False):
    """What the metrics need to know of one event.

    Attributes
    ----------
    time_ms : the event time under which it is counted
    kind : ``event``, ``rejected``, or ``outcome`` for slates that closed without an event
    type : of the event, or the reason of the rejection; empty otherwise
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
    outcomes_joined, outcomes_late, outcomes_orphan : see `models.attribution.Tally`
    slates_closed : slates that closed
    slates_judged : those of them that teach a policy something
    reward_micros : sum of their rewards, each within 1e9, in millionths
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
    outcomes_joined: int = 0
    outcomes_late: int = 0
    outcomes_orphan: int = 0
    slates_closed: int = 0
    slates_judged: int = 0
    reward_micros: int = 0


def event_fact(
    event: Event,
    observation: Observation,
    recommendation: Recommendation | None,
    tally: Tally,
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
        outcomes_joined=tally.joined,
        outcomes_late=tally.late,
        outcomes_orphan=tally.orphans,
        slates_closed=len(tally.closed),
        slates_judged=sum(closed.teaches for closed in tally.closed),
        reward_micros=_reward_micros(tally),
    )


def outcome_fact(tally: Tally, *, time_ms: int) -> Fact:
    """The fact of slates that closed by the passing of time."""
    return Fact(
        time_ms,
        "outcome",
        "",
        *(0, 0, 0, 0, "", 0, 0, "", 0, NO_LATENCY),
        tally.joined,
        tally.late,
        tally.orphans,
        len(tally.closed),
        sum(closed.teaches for closed in tally.closed),
        _reward_micros(tally),
    )


def _reward_micros(tally: Tally) -> int:
    rewards = (min(_MAX_REWARD, max(-_MAX_REWARD, closed.reward)) for closed in tally.closed if closed.teaches)
    return sum(round(reward * MICROS) for reward in rewards)


def rejection_fact(reason: Refusal, *, time_ms: int) -> Fact:
    """The fact of a record that became a dead letter."""
    return Fact(time_ms, "rejected", reason.value, 0, 0, 0, 0, "", 0, 0, "", 0, NO_LATENCY)
