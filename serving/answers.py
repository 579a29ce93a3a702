"""What the service answers: slates with a word on where they come from, and the rest of the API's JSON.

Fields are only added. The documentation at /docs is generated from the types here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from msgspec import Struct

from models.fields import Reason
from models.topics import Recommendation, RecommendedItem

Source = Literal["fresh", "stored", "popular"]


class ShownItem(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One place of a slate.

    Attributes
    ----------
    item_id : what is shown
    position : from 1, as events on it quote it; one is missing where its item was withdrawn since
    score : what the list was ranked by; comparable within a slate only
    title : from the catalogue, when known
    probability, cf_score, sources, reasons, explored, propensity : as in `recommendations`, where an explanation was asked for
    """

    item_id: str
    position: int
    score: float
    title: str | None = None
    probability: float | None = None
    cf_score: float | None = None
    sources: list[str] | None = None
    reasons: list[Reason] | None = None
    explored: bool | None = None
    propensity: float | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """Who made a slate, and with what.

    Attributes
    ----------
    policy, action, action_probability, versions : as in `recommendations`
    """

    policy: str
    action: str
    action_probability: float
    versions: dict[str, str]


class Answer(Struct, frozen=True, kw_only=True):
    """A slate for a user.

    Attributes
    ----------
    user_id : for whom
    source : fresh (made for this request), stored (the newest that the job made after an event), popular (the user is not known, or
        nothing of the slate may be shown any more)
    stale : something newer was asked for or is due, and could not be had: the job did not answer in time, or does not run
    items : by position; with reasons, sources and propensities where an explanation was asked for
    slate_id, revision : quote them in the events on its items; null for popular items
    arm : of the experiment that the user is in
    event_time_ms : of the event or request that it answers
    emitted_at_ms : when the job made it
    request_id : which request it answers, where it is fresh
    explanation : where it was asked for
    confidence : probability that one of the items solves the question that was asked (`text`); null where none was
    hand_over : it is too low, or nobody could say in time: no items, a person should take over
    suggestions : what would have been answered, for that person
    """

    user_id: str
    source: Source
    stale: bool
    items: list[ShownItem]
    slate_id: str | None = None
    revision: str | None = None
    arm: str | None = None
    event_time_ms: int | None = None
    emitted_at_ms: int | None = None
    request_id: str | None = None
    explanation: Explanation | None = None
    confidence: float | None = None
    hand_over: bool = False
    suggestions: list[ShownItem] = []


class EventResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event of a request.

    Attributes
    ----------
    index : its place in the request, from 0
    accepted : Kafka has it
    reason, detail : why not; `reason` is that of the dead letter which the job would have made of it
    """

    index: int
    accepted: bool
    reason: str | None = None
    detail: str | None = None


class SentEvents(Struct, frozen=True, kw_only=True):
    """The answer to events that are all in Kafka."""

    accepted: int
    results: list[EventResult]


class SimilarItem(Struct, frozen=True, kw_only=True, gc=False):
    """An item that goes with another.

    Attributes
    ----------
    item_id, title : which
    similarity : pairs of the two over how often each is met, both directions together; comparable for one item only
    """

    item_id: str
    similarity: float
    title: str | None = None


class SimilarItems(Struct, frozen=True, kw_only=True):
    """Items that go with one, the closest first."""

    item_id: str
    title: str | None
    items: list[SimilarItem]


class NamedReason(Struct, frozen=True, kw_only=True, gc=False):
    """A reason with the title of the user's own item that caused it.

    Attributes
    ----------
    kind, item_id, contribution : as in `recommendations`
    title : from the catalogue, when known
    """

    kind: str
    item_id: str | None
    contribution: float
    title: str | None


class Because(Struct, frozen=True, kw_only=True):
    """Why an item stands in the stored slate of a user.

    Attributes
    ----------
    user_id, item_id, title, position, score : of what
    slate_id : of the slate
    sources : the candidate sources that brought it
    explored : drawn by the policy instead of taken from the ranking
    propensity : exact marginal probability of this item at this position
    reasons : the strongest first
    """

    user_id: str
    item_id: str
    title: str | None
    position: int
    score: float
    slate_id: str
    sources: list[str]
    explored: bool
    propensity: float
    reasons: list[NamedReason]


class Control(Struct, frozen=True, kw_only=True):
    """A rule, and whether the job keeps it.

    Attributes
    ----------
    name : of the rule
    rule : its value; null: it is taken back
    in_force : the job has accepted it; false while it has not said so, such as when it does not run
    """

    name: str
    rule: Any
    in_force: bool


class Controls(Struct, frozen=True, kw_only=True):
    """All rules, by name."""

    controls: dict[str, Control]


class Erasure(Struct, frozen=True, kw_only=True):
    """A user whose erasure is in Kafka: the store has forgotten them, the job will as soon as it reads of it."""

    user_id: str
    event_id: str


class Readiness(Struct, frozen=True, kw_only=True):
    """How the service is.

    Attributes
    ----------
    ready : it has read what the topics held when it started, and nothing has failed
    kafka : up, down
    job : running; down, also where it has other topics than those that are served; or unknown where Flink was never reached
    brokers, topic_prefix : where the topics are that are served
    slates : whether the store has read `recommendations` to its end
    slates_lag : records of it that are not read yet
    model : whether the catalogue, the published model and the rules are read to their end
    problems : in words
    """

    ready: bool
    kafka: Literal["up", "down"]
    job: Literal["running", "down", "unknown"]
    brokers: str
    topic_prefix: str
    slates: bool
    slates_lag: int
    model: bool
    problems: list[str]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong.

    Attributes
    ----------
    title, status : of HTTP
    detail : one sentence for a person
    type : always about:blank, the status says what kind it is
    reason : a word for programs, such as that of a dead letter
    results : what became of each event of a request
    errors : which parameters are wrong
    """

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    reason: str | None = None
    results: list[Any] | None = None
    errors: list[Any] | None = None


def _plain(item: RecommendedItem) -> ShownItem:
    return ShownItem(item_id=item.item_id, position=item.position, score=item.score, title=item.title)


def _explained(item: RecommendedItem) -> ShownItem:
    return ShownItem(
        item_id=item.item_id,
        position=item.position,
        score=item.score,
        title=item.title,
        probability=item.probability,
        cf_score=item.cf_score,
        sources=item.sources,
        reasons=item.reasons,
        explored=item.explored,
        propensity=item.propensity,
    )


def answer_of(
    slate: Recommendation, *, source: Source, stale: bool, k: int | None, explain: bool, hidden: Collection[str]
) -> Answer:
    """The answer that a slate makes.

    Parameters
    ----------
    k : at most so many items, None: all
    explain : with everything that is known of how it was made
    hidden : items that may not be shown any more
    """
    def shown(items: list[RecommendedItem]) -> list[ShownItem]:
        if hidden:
            items = [item for item in items if item.item_id not in hidden]
        return [_explained(item) if explain else _plain(item) for item in (items if k is None else items[:k])]

    return Answer(
        user_id=slate.user_id,
        source=source,
        stale=stale,
        items=shown(slate.items),
        slate_id=slate.slate_id,
        revision=slate.revision,
        arm=slate.arm,
        event_time_ms=slate.event_time_ms,
        emitted_at_ms=slate.timings.emitted_at_ms,
        request_id=slate.request_id,
        explanation=Explanation(
            policy=slate.policy, action=slate.action, action_probability=slate.action_probability, versions=slate.versions
        )
        if explain
        else None,
        confidence=slate.confidence,
        hand_over=slate.hand_over,
        suggestions=shown(slate.suggestions),
    )


def because(slate: Recommendation, item: RecommendedItem, *, titles: dict[str, str | None]) -> Because:
    """Why an item stands in a slate.

    Parameters
    ----------
    titles : of the items that its reasons name
    """
    return Because(
        user_id=slate.user_id,
        item_id=item.item_id,
        title=item.title,
        position=item.position,
        score=item.score,
        slate_id=slate.slate_id,
        sources=item.sources,
        explored=item.explored,
        propensity=item.propensity,
        reasons=[_named(reason, titles) for reason in item.reasons],
    )


def _named(reason: Reason, titles: dict[str, str | None]) -> NamedReason:
    title = None if reason.item_id is None else titles.get(reason.item_id)
    return NamedReason(kind=reason.kind, item_id=reason.item_id, contribution=reason.contribution, title=title)
