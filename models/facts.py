"""Facts: one flat record an event or request, from which the windowed metrics are computed.

Only integers and texts: they cross into SQL as they are, and sums of them do not depend on the order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from models.attribution import Tally
from models.config import Configuration
from models.events import Event, Refusal
from models.metrics.score_bins import ScoreBins
from models.metrics.visits import Visit, is_first_of_day, visit_of
from models.requests import Request
from models.topics import DEFAULT_ARM, Recommendation

if TYPE_CHECKING:
    from models.observer import Observation
    from models.treatments import Treatment

NO_LATENCY = -1
NO_DWELL = -1
ANSWERED, HANDED_OVER = "answered", "handed over"
"""What became of a question."""
_MS_A_DAY = 86_400_000
# 10^12 units in thousandths: a thousand such values still fit into the sum of a window.
_DWELL_MAX = 10**15
MICROS = 1_000_000
_MAX_REWARD = 1e9


class Fact(Struct, frozen=True, gc=False):
    """What the metrics need to know of one event.

    Attributes
    ----------
    time_ms : the event time under which it is counted
    kind : ``event``, ``rejected``, ``request``, ``erasure``, or ``outcome`` for slates that closed without an event
    type : of the event, or the reason of the rejection; of a question in words `ANSWERED` or `HANDED_OVER`; empty otherwise
    late : 1 for an event behind the watermark by more than events.late_after_ms
    evaluated : 1 when the event judges the slate before it
    position : of the event's item in that slate, from 1; 0 where it was not shown
    shown : length of that slate
    score_marks : the bin of each of its items' probabilities (`models.metrics.score_bins`), by position; empty where the
        scorer predicted none
    slates : 1 when the event was answered. A request counts where its slate is judged by the user's next event; one that asked for
        less adds neither to what is shown nor to what is hit
    recommended : length of the new slate
    items : ids of the new slate's items, separated by U+001F
    known_items : items that could be shown then
    latency_ms : from the producer's clock to the answer, `NO_LATENCY` where it did not say
    outcomes_joined, outcomes_late, outcomes_orphan : see `models.attribution.Tally`
    slates_closed : slates that closed
    slates_judged : those of them that teach a policy something
    reward_micros : sum of their rewards, each within 1e9, in millionths
    arm : of the experiment that the user is in, empty where the record was rejected
    arms : how many arms users can be in, 0 where no experiment runs
    share_ppm : share of the users that the arm should have, in millionths
    action : the strategy that made the new slate, empty where there is none
    judged_action : the strategy that made the slate that is judged, empty where none is
    reward_milli : weight of the event where its item was in the slate that it judges, in thousandths
    visit : a `models.metrics.visits.Visit`
    first_of_day : 1 for the first event of its user in its day (UTC)
    dwell_milli : time spent, in thousandths of its unit; `NO_DWELL` for an event that tells none
    """

    time_ms: int
    kind: str
    type: str = ""
    late: int = 0
    evaluated: int = 0
    position: int = 0
    shown: int = 0
    score_marks: str = ""
    slates: int = 0
    recommended: int = 0
    items: str = ""
    known_items: int = 0
    latency_ms: int = NO_LATENCY
    outcomes_joined: int = 0
    outcomes_late: int = 0
    outcomes_orphan: int = 0
    slates_closed: int = 0
    slates_judged: int = 0
    reward_micros: int = 0
    arm: str = ""
    arms: int = 0
    share_ppm: int = 0
    action: str = ""
    judged_action: str = ""
    reward_milli: int = 0
    visit: int = 0
    first_of_day: int = 0
    dwell_milli: int = NO_DWELL


def event_fact(
    event: Event,
    observation: Observation,
    recommendation: Recommendation | None,
    tally: Tally,
    *,
    configuration: Configuration,
    bins: ScoreBins,
    late: bool,
    known_items: int,
    arms: int,
    time_ms: int,
) -> Fact:
    """The fact of an event that was learned."""
    kind = configuration.events.types[event.type]
    treatment, taught = observation.treatment, kind.weight != 0
    arm, share = (DEFAULT_ARM, 1.0) if treatment is None else (treatment.arm, treatment.share)
    items = () if recommendation is None else recommendation.items
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
        latency_ms=_latency_ms(event.sent_at_ms, recommendation),
        **_of_outcomes(tally),
        arm=arm,
        arms=arms,
        share_ppm=round(1_000_000 * share),
        action="" if recommendation is None else recommendation.action,
        judged_action=observation.action,
        reward_milli=round(1_000 * kind.weight) if observation.evaluated and observation.position else 0,
        visit=_visit(event, observation, configuration) if taught else Visit.GOES_ON.value,
        first_of_day=int(taught and is_first_of_day(event.event_time_ms, observation.previous_ms)),
        dwell_milli=_dwell_milli(event.value) if kind.dwell else NO_DWELL,
    )


def request_fact(
    request: Request,
    recommendation: Recommendation,
    tally: Tally,
    *,
    treatment: Treatment,
    configuration: Configuration,
    known_items: int,
    arms: int,
    time_ms: int,
) -> Fact:
    """The fact of a request that was answered."""
    is_judged = request.is_plain(configuration.slate.k)
    items = recommendation.items if is_judged else []
    return Fact(
        time_ms=time_ms,
        kind="request",
        type="" if recommendation.confidence is None else HANDED_OVER if recommendation.hand_over else ANSWERED,
        slates=int(is_judged),
        recommended=len(items),
        items="\x1f".join(item.item_id for item in items),
        known_items=known_items,
        latency_ms=_latency_ms(request.sent_at_ms, recommendation),
        **_of_outcomes(tally),
        arm=treatment.arm,
        arms=arms,
        share_ppm=round(1_000_000 * treatment.share),
        action=recommendation.action if is_judged else "",
    )


def erasure_fact(*, time_ms: int) -> Fact:
    """The fact of a user who was erased."""
    return Fact(time_ms, "erasure")


def outcome_fact(tally: Tally, *, time_ms: int) -> Fact:
    """The fact of slates that closed by the passing of time."""
    return Fact(time_ms, "outcome", **_of_outcomes(tally))


def _latency_ms(sent_at_ms: int | None, recommendation: Recommendation | None) -> int:
    if sent_at_ms is None or recommendation is None:
        return NO_LATENCY
    return max(0, recommendation.timings.emitted_at_ms - sent_at_ms)


def _of_outcomes(tally: Tally) -> dict[str, Any]:
    return {
        "outcomes_joined": tally.joined,
        "outcomes_late": tally.late,
        "outcomes_orphan": tally.orphans,
        "slates_closed": len(tally.closed),
        "slates_judged": sum(closed.teaches for closed in tally.closed),
        "reward_micros": _reward_micros(tally),
    }


def _reward_micros(tally: Tally) -> int:
    rewards = (min(_MAX_REWARD, max(-_MAX_REWARD, closed.reward)) for closed in tally.closed if closed.teaches)
    return sum(round(reward * MICROS) for reward in rewards)


def _visit(event: Event, observation: Observation, configuration: Configuration) -> int:
    return visit_of(
        event.event_time_ms,
        observation.previous_ms,
        gap_ms=1_000 * configuration.profile.sitting_gap_s,
        retention_ms=_MS_A_DAY * configuration.metrics.retention_days,
    ).value


def _dwell_milli(value: float | None) -> int:
    return NO_DWELL if value is None or value < 0 else min(_DWELL_MAX, round(1_000 * value))


def rejection_fact(reason: Refusal, *, time_ms: int) -> Fact:
    """The fact of a record that became a dead letter."""
    return Fact(time_ms, "rejected", reason.value)
