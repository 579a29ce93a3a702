"""The topics: their names, and the JSON values of those that are JSON.

`conf/schemas/` is generated from the types here (`flinkrec schemas`). Readers ignore fields they do not know, so that a
field may be added; one is never renamed, and never changes its type.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from models.events import DeadLetter, EventRecord
from models.fields import Milliseconds, Probability, Reason
from models.monitor.alerts import Alert
from models.monitor.texts import LabelRecord, TextRecord
from models.requests import RequestRecord
from models.traces import Trace

EVENTS = "events"
REQUESTS = "requests"
ITEMS = "items"
CONTROLS = "controls"
RECOMMENDATIONS = "recommendations"
OUTCOMES = "outcomes"
METRICS = "metrics"
MODEL_UPDATES = "model-updates"
MODEL_DELTAS = "model-deltas"
TRACES = "traces"
CHARGES = "charges"
TEXTS = "texts"
LABELS = "labels"
ALERTS = "alerts"
DEAD_LETTER = "dead-letter"

TOPICS = (
    EVENTS,
    REQUESTS,
    ITEMS,
    CONTROLS,
    RECOMMENDATIONS,
    OUTCOMES,
    METRICS,
    MODEL_UPDATES,
    MODEL_DELTAS,
    TRACES,
    CHARGES,
    TEXTS,
    LABELS,
    ALERTS,
    DEAD_LETTER,
)

KAFKA_NAME_CHARACTERS = 249

DEFAULT_ARM = "default"
"""The arm of everybody where no experiment runs."""


TOPIC_PREFIX_PARAMETER = "flinkrec.topic-prefix"
"""The job's parameter, shown by Flink's REST interface, that says which topics it has."""


def topic_name(prefix: str, name: str) -> str:
    """Name of a topic in Kafka.

    Parameters
    ----------
    prefix : kafka.topic_prefix of the configuration, put in front as it stands; include a separator if you want one
    name : one of `TOPICS`

    Raises
    ------
    ValueError
        When the topic is not one of ours, or its name would be longer than Kafka allows.

    Examples
    --------
    >>> topic_name("shop-", EVENTS)
    'shop-events'
    """
    if name not in TOPICS:
        raise ValueError(f"expected one of {', '.join(TOPICS)}, got {name!r}")
    full = prefix + name
    if len(full) > KAFKA_NAME_CHARACTERS:
        raise ValueError(f"expected a topic name of at most {KAFKA_NAME_CHARACTERS} characters, got {len(full)}")
    return full


def kept_value(raw: bytes | None) -> bytes | None:
    """What a record of `model-updates` keeps of its key; None where the key is gone.

    Flink's sink cannot write a tombstone, and writes an empty value where one is meant.
    """
    return raw or None


MAX_LABELS = 64
Labels = Annotated[list[str], Meta(max_length=MAX_LABELS)]
VectorNumber = Annotated[float, Meta(ge=-1e15, le=1e15)]
CampaignName = Annotated[str, Meta(min_length=1, max_length=200)]
Micros = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class CatalogueItem(Struct, frozen=True, kw_only=True):
    """The value of one record of `items`: what is known about an item. Null instead of it: the item is gone.

    Attributes
    ----------
    item_id : the record's key once more; what counts when the record has no key
    title, brand, text : words for people and for content similarity
    year : of publication
    categories, tags : at most 64 each
    price : in the shop's own currency
    available_from_ms, available_until_ms : recommended only from and before these event times
    vector : content embedding, at most 4,096 numbers of at most 1e15; every item of a catalogue has the same length
    campaign : whose budget pays for the item; it is shown only while that campaign runs and has money (docs/auction.md)
    bid : the most that the campaign pays for one charged event of the item, such as a click
    stock : pieces that are left; an item with none is not recommended. None: any number
    series : that the item is an episode of
    episode : its place in the series, from 1
    """

    item_id: str | int | None = None
    title: str | None = None
    year: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    categories: Labels = []
    tags: Labels = []
    price: Annotated[float, Meta(ge=0)] | None = None
    brand: str | None = None
    text: str | None = None
    available_from_ms: Milliseconds | None = None
    available_until_ms: Milliseconds | None = None
    vector: Annotated[list[VectorNumber], Meta(min_length=1, max_length=4096)] | None = None
    campaign: CampaignName | None = None
    bid: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    stock: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    series: str | None = None
    episode: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None


class RecommendedItem(Struct, frozen=True, kw_only=True, gc=False):
    """One place of a slate.

    Attributes
    ----------
    item_id : what is shown
    position : from 1
    score : what the list was ranked by; comparable within a slate only
    cf_score : item-CF score, 0 where item CF does not know of it
    probability : that the user acts on it, when the scorer predicts one
    sources : the candidate sources that brought it
    reasons : the strongest first
    explored : drawn by the policy instead of taken from the ranking
    propensity : exact marginal probability of this item at this position under the policy
    title : from the catalogue, when known
    campaign : that pays for it; not there where none does
    price_micros : what the campaign pays if the place is charged, in millionths; not there where it is not
    """

    item_id: str
    position: Annotated[int, Meta(ge=1)]
    score: float
    cf_score: float = 0.0
    probability: Probability | None = None
    sources: list[str] = []
    reasons: list[Reason] = []
    explored: bool = False
    propensity: Probability = 1.0
    title: str | None = None
    campaign: str | UnsetType = UNSET
    price_micros: Micros | UnsetType = UNSET


class Timings(Struct, frozen=True, kw_only=True):
    """When the cause of a slate was sent by its producer, received by the job, and answered.

    Attributes
    ----------
    sent_at_ms : the producer's clock, when it said so
    received_at_ms, emitted_at_ms : the job's clock
    compute_us : time spent on the answer, microseconds
    """

    sent_at_ms: Milliseconds | None = None
    received_at_ms: Milliseconds
    emitted_at_ms: Milliseconds
    compute_us: Annotated[int, Meta(ge=0)]


_SEQ_OF_AN_EPOCH = 1 << 20


def seq_of(slate: int, *, epoch: int) -> int:
    """The `seq` of a user's so many-th slate; the epoch is the time of a submission in seconds.

    So a job that begins without state is ahead of those that were submitted before it.
    """
    return epoch * _SEQ_OF_AN_EPOCH + slate


def slate_number(seq: int) -> int:
    """Which slate of its user one is, since the state of the user began."""
    return seq % _SEQ_OF_AN_EPOCH


class Recommendation(Struct, frozen=True, kw_only=True):
    """The value of one record of `recommendations`: the slate that answers one event or request, or word that a user was erased.

    Attributes
    ----------
    slate_id : the same for the same cause, also when it is answered again after a restore
    revision : digest of items, propensities and versions; it differs when the second answer does
    seq : rises per user, also from one submission to the next; consumers keep the highest seq, never the highest offset. It begins anew
        when the user was erased
    user_id : for whom
    event_id : the event that caused it; empty where a request did
    event_time_ms : its time
    items : by position
    policy : name of the policy that acted
    action : the ranking strategy that it chose
    action_probability : exact probability with which it chose it
    arm : of the experiment that the user is in
    versions : version of each model part that was used
    timings : for latency; not part of the revision
    request_id : the request that it answers
    erased : the user was erased: it shows nothing, and whoever keeps slates forgets those of the user
    confidence : probability that one of the answers solves the question of the request; null where none was asked
    hand_over : it is too low for an answer: there are no items, and a person takes over
    suggestions : what would have been answered, for that person
    """

    slate_id: str
    revision: str
    seq: Annotated[int, Meta(ge=0)]
    user_id: str
    event_id: str
    event_time_ms: Milliseconds
    items: list[RecommendedItem]
    policy: str
    action: str
    action_probability: Probability
    arm: str = DEFAULT_ARM
    versions: dict[str, str]
    timings: Timings
    request_id: str | None = None
    erased: bool = False
    confidence: Probability | None = None
    hand_over: bool = False
    suggestions: list[RecommendedItem] = []


class UserContext(Struct, frozen=True, kw_only=True, gc=False):
    """What a policy knows of a user (docs/policies.md).

    Attributes
    ----------
    state : number of the user's state
    features : each between -1 and 1
    """

    state: Annotated[int, Meta(ge=0)]
    features: list[float]


class NextChoice(Struct, frozen=True, kw_only=True, gc=False):
    """Context and action of the slate that followed in the session.

    Attributes
    ----------
    state : number of the user's state then
    features : each between -1 and 1
    action : the ranking strategy that made it
    """

    state: Annotated[int, Meta(ge=0)]
    features: list[float]
    action: str


class OutcomeItem(Struct, frozen=True, kw_only=True, gc=False):
    """What came of one place of a slate.

    Attributes
    ----------
    item_id : what was shown
    position : from 1
    propensity : exact marginal probability of this item at this position, given the action
    probability : that the user acts on it, where the scorer predicted one
    explored : drawn by the policy instead of taken from the ranking
    reward : of its events, outcomes.default_reward without one
    events : that were credited to it
    delay_ms : from the slate to the earliest of them
    features : what the scorer saw of it, float16 little endian in base64, in the order of docs/features.md and then what the
        scorer adds; null where outcomes.features is off
    """

    item_id: str
    position: Annotated[int, Meta(ge=1)]
    propensity: Probability
    probability: Probability | None
    explored: bool
    reward: float
    events: Annotated[int, Meta(ge=0)]
    delay_ms: Annotated[int, Meta(ge=0)] | None
    features: bytes | None


class Outcome(Struct, frozen=True, kw_only=True):
    """The value of one record of `outcomes`: what came of one slate. There is exactly one for each slate.

    Attributes
    ----------
    slate_id, revision, seq, user_id : of the slate, as in `recommendations`
    event_id : the event that caused it
    slate_time_ms : its time
    closed_time_ms : end of the window; of the slate that took its place; or of the clock, by what closed it
    closed_by : window (its time was over), bound (the user had too many open slates), heartbeat (no more events came)
    activated : it was seen, as far as was reported; the others teach the policy nothing
    superseded : an event quoted another revision of it: the user saw that one, and this one teaches the policy nothing
    policy, action, action_probability, arm, versions : of the slate, as in `recommendations`
    context : what the policy knew of the user when it chose the action
    items : by position
    reward : of all events of the slate by outcomes.aggregation, outcomes.default_reward without one
    outcomes : number of these events
    delay_ms : from the slate to the earliest of them
    next : the next activated slate of the session, null where there was none
    terminal : whether there was none
    request_id : the request that it answered, with an empty event_id; null where an event caused it
    """

    slate_id: str
    revision: str
    seq: Annotated[int, Meta(ge=0)]
    user_id: str
    event_id: str
    slate_time_ms: Milliseconds
    closed_time_ms: Milliseconds
    closed_by: Literal["window", "bound", "heartbeat"]
    activated: bool
    superseded: bool
    policy: str
    action: str
    action_probability: Probability
    arm: str
    versions: dict[str, str]
    context: UserContext
    items: list[OutcomeItem]
    reward: float
    outcomes: Annotated[int, Meta(ge=0)]
    delay_ms: Annotated[int, Meta(ge=0)] | None
    next: NextChoice | None
    terminal: bool
    request_id: str | None = None


class Metric(Struct, frozen=True, kw_only=True):
    """The value of one record of `metrics`: one number of one window of event time.

    Attributes
    ----------
    window_start_ms, window_end_ms : the window, its end excluded
    metric : its name, such as ``hr_at_k``
    slice : which part of the traffic, such as ``all`` or ``source=item_cf``
    value : the number; null when it is not defined, such as a mean of nothing
    n : how many facts it was computed from
    """

    window_start_ms: Milliseconds
    window_end_ms: Milliseconds
    metric: str
    slice: str = "all"
    value: float | None
    n: Annotated[int, Meta(ge=0)]


class Charge(Struct, frozen=True, kw_only=True):
    """The value of one record of `charges`: one place of a slate that earned a charged event. There is exactly one for each.

    Amounts are millionths of the shop's currency: their sums are exact.

    Attributes
    ----------
    charge_id : the slate and the place
    campaign : that pays
    item_id, user_id, slate_id, position : what was acted on, by whom, where
    price_micros : what the slate promised
    charged_micros : what is charged: the price, or what was left of the budget where that is less; the rest was delivered for nothing
    left_micros : of the budget, after it
    time_ms : of the event that is charged
    day : of the account that it is booked on, in days since 1970 (UTC); the charges of a day sum to no more than a budget per day
    """

    charge_id: str
    campaign: str
    item_id: str
    user_id: str
    slate_id: str
    position: Annotated[int, Meta(ge=1)]
    price_micros: Micros
    charged_micros: Micros
    left_micros: Micros
    time_ms: Milliseconds
    day: Annotated[int, Meta(ge=0)]


JSON_VALUES: dict[str, type[Struct]] = {
    EVENTS: EventRecord,
    REQUESTS: RequestRecord,
    ITEMS: CatalogueItem,
    RECOMMENDATIONS: Recommendation,
    OUTCOMES: Outcome,
    METRICS: Metric,
    TRACES: Trace,
    CHARGES: Charge,
    TEXTS: TextRecord,
    LABELS: LabelRecord,
    ALERTS: Alert,
    DEAD_LETTER: DeadLetter,
}
"""The type of a value, for each topic whose values are JSON and of one type; for `controls` see `models.controls.RULES`."""
