"""The configuration of a job: every knob a user may turn, typed, bounded and validated as a whole.

`Configuration` mirrors the YAML files in `conf/` section by section; `models.validation` makes one of what is in such a file. The
dataclasses are frozen: a running job never changes its configuration.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from models.metrics.score_bins import MAX_BINS

# An integer fits 64 bits.
PositiveInt = Annotated[int, Meta(ge=1, le=2**63 - 1)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# The bound keeps infinity out: a time to live of .inf could not be turned into milliseconds.
PositiveFloat = Annotated[float, Meta(gt=0, le=1e9)]
NonNegativeFloat = Annotated[float, Meta(ge=0, le=1e9)]
BoundedFloat = Annotated[float, Meta(ge=-1e9, le=1e9)]
UnitFloat = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class ConfigurationError(ValueError):
    """A configuration that cannot be used, said in one sentence.

    Parameters
    ----------
    file : name of the file the value came from
    key : dotted path of the offending key, ``(top level)`` for the document itself
    expected, got : what would have been accepted, and what was found
    """

    def __init__(self, *, file: str, key: str, expected: str, got: str) -> None:
        super().__init__(f"{file}: {key}: expected {expected}, got {got}")
        self.file, self.key, self.expected, self.got = file, key, expected, got


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: immutable, keyword-only, unknown keys refused."""


class Kafka(Section, frozen=True, kw_only=True):
    bootstrap_servers: Annotated[str, Meta(min_length=3)] = "localhost:19092"
    topic_prefix: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    partitions: Annotated[int, Meta(ge=1, le=1024)] = 8
    replication_factor: Annotated[int, Meta(ge=1, le=7)] = 1
    start_from: Literal["earliest", "latest", "committed"] = "earliest"
    consumer_group: Name = "flinkrec"
    transaction_timeout_ms: PositiveInt = 600_000
    properties: dict[str, str] = {}
    client_properties: dict[str, str | int | float | bool] = {}


class Flink(Section, frozen=True, kw_only=True):
    jobmanager: Annotated[str, Meta(pattern=r"^[^:/]+:\d+$")] = "localhost:18081"
    job_name: Name = "flinkrec"
    parallelism: Annotated[int, Meta(ge=1, le=128)] = 1
    checkpoint_interval_ms: Annotated[int, Meta(ge=100)] = 10_000
    buffer_timeout_ms: NonNegativeInt = 5
    state_backend: Literal["hashmap", "rocksdb"] = "hashmap"
    recommendations_guarantee: Literal["at_least_once", "exactly_once"] = "at_least_once"
    python: Annotated[str, Meta(pattern="^/.+/bin/[^/]+$")] | None = None
    options: dict[str, str] = {}


class EventType(Section, frozen=True, kw_only=True):
    """How much one event of this type counts.

    weight scales the pairs and the profile entry of the event; a weight of 0 makes the type known but teaches nothing. One below 0 says
    that the user did not want the item: it lowers the item and what is like it for this user, and teaches nothing of others. reward is what
    it earns the slate that it is credited to. The value of an event of a type with dwell is the time that the user spent, in whatever
    unit the shop counts it.
    """

    weight: BoundedFloat = 1.0
    makes_slate: bool = True
    reward: BoundedFloat | None = None
    dwell_ms_full: PositiveFloat | None = None
    times_value: bool = False
    dwell: bool = False


DEFAULT_EVENT_TYPES = {
    "view": EventType(weight=1.0),
    "browse": EventType(weight=1.0),
    "click": EventType(weight=1.0),
    "cart": EventType(weight=2.0),
    "purchase": EventType(weight=3.0),
    "play": EventType(weight=1.0),
    "read": EventType(weight=1.0),
    "share": EventType(weight=2.0),
    "comment": EventType(weight=1.5),
    "rating": EventType(weight=1.0),
    "impression": EventType(weight=0.0, makes_slate=False),
}


class Events(Section, frozen=True, kw_only=True):
    types: dict[Name, EventType] = msgspec.field(default_factory=lambda: dict(DEFAULT_EVENT_TYPES))
    default_type: Name = "view"
    max_record_bytes: Annotated[int, Meta(ge=64, le=524_288)] = 65_536
    max_id_bytes: Annotated[int, Meta(ge=8, le=1024)] = 256
    max_age_days: PositiveFloat = 36_500.0
    max_future_ms: NonNegativeInt = 60_000
    late_after_ms: NonNegativeInt = 60_000
    max_events_per_minute: PositiveInt = 6_000

    @property
    def has_dislikes(self) -> bool:
        """Whether there are events that say that a user did not like something."""
        return any(kind.weight < 0 for kind in self.types.values())


class Profile(Section, frozen=True, kw_only=True):
    items: Annotated[int, Meta(ge=1, le=200)] = 200
    seen_items: Annotated[int, Meta(ge=16, le=65_536)] = 4_096
    dedup_events: Annotated[int, Meta(ge=1, le=1024)] = 64
    impressions: Annotated[int, Meta(ge=16, le=65_536)] = 512
    ttl_days: PositiveFloat = 365.0
    sitting_gap_s: PositiveFloat = 3_600.0
    taste_rate: Annotated[float, Meta(ge=0, le=10)] = 0.5
    taste_base: Annotated[float, Meta(gt=0, lt=1)] = 0.2


class ItemCF(Section, frozen=True, kw_only=True):
    enabled: bool = True
    pair_items: Annotated[int, Meta(ge=1, le=200)] = 20
    pair_decay: UnitFloat = 0.94
    reverse_weight: UnitFloat = 0.6
    score_items: Annotated[int, Meta(ge=1, le=200)] = 20
    score_decay: UnitFloat = 0.9
    gap_decay: UnitFloat = 0.3
    liked_weight: NonNegativeFloat = 1.5
    disliked_weight: NonNegativeFloat = 0.5
    shrinkage: PositiveFloat = 10.0
    neighbours: Annotated[int, Meta(ge=8, le=4096)] = 400
    served_neighbours: Annotated[int, Meta(ge=8, le=4096)] = 400
    half_life_days: PositiveFloat | None = None
    shards: Annotated[int, Meta(ge=1, le=128)] = 16
    snapshot_every: PositiveInt = 2_000
    publish_interval_ms: PositiveInt = 200
    rows_interval_ms: PositiveInt = 10_000


class UserCF(Section, frozen=True, kw_only=True):
    panel_size: Annotated[int, Meta(ge=0, le=1_000_000)] = 4_096
    similarity: Literal["cosine", "pearson"] = "cosine"
    items: Annotated[int, Meta(ge=1, le=200)] = 20
    decay: UnitFloat = 0.8
    recent: PositiveInt = 200
    neighbours: Annotated[int, Meta(ge=1, le=1000)] = 50
    shared_items: PositiveInt = 5
    publish_every: PositiveInt = 4


class Popularity(Section, frozen=True, kw_only=True):
    fast_half_life_hours: PositiveFloat = 24.0
    slow_half_life_hours: PositiveFloat = 336.0
    pool: PositiveInt = 200


class NewItems(Section, frozen=True, kw_only=True):
    events: PositiveInt = 10
    impressions: PositiveInt = 50
    order: Literal["turn", "latest"] = "turn"


class Freshness(Section, frozen=True, kw_only=True):
    half_life_hours: PositiveFloat | None = None


class Series(Section, frozen=True, kw_only=True):
    in_order: bool = False
    next_factor: Annotated[float, Meta(ge=0.001, le=1000)] = 1.0


class Sources(Section, frozen=True, kw_only=True):
    item_cf: NonNegativeFloat = 0.75
    user_cf: NonNegativeFloat = 0.15
    content: NonNegativeFloat = 0.03
    trending: NonNegativeFloat = 0.04
    new_items: NonNegativeFloat = 0.03
    repeats: NonNegativeFloat = 0.33


MONITOR_SUFFIX = "-monitor"
"""What is put behind flink.job_name for the job that watches what is written, so that it runs beside the recommender."""

BUILT_IN_SCORERS = ("none", "mlp", "fism", "gru", "cnn", "text")


class Scorer(Section, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=256)] = "fism"
    candidates: Annotated[int, Meta(ge=10, le=1000)] = 64
    hidden: Annotated[tuple[PositiveInt, ...], Meta(min_length=1, max_length=8)] = (64, 32)
    ignored_groups: tuple[str, ...] = ()
    history: Annotated[int, Meta(ge=1, le=200)] = 200
    embedding_rows: Annotated[int, Meta(ge=16, le=1_000_000)] = 8_192
    embedding_dim: Annotated[int, Meta(ge=2, le=256)] = 32
    vector_dimension: Annotated[int, Meta(ge=2, le=8192)] = 384
    dropout: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    options: dict[str, Any] = {}


class Learner(Section, frozen=True, kw_only=True):
    enabled: bool = True
    mode: Literal["online", "apprentice", "logging"] = "online"
    device: Literal["cpu", "cuda"] = "cpu"
    loss: Literal["both", "listwise", "bce"] = "both"
    learning_rate: PositiveFloat = 0.002
    embedding_learning_rate: PositiveFloat = 0.001
    projection_learning_rate: PositiveFloat = 0.0001
    weight_decay: NonNegativeFloat = 0.0
    embedding_decay: NonNegativeFloat = 0.1
    clip_norm: NonNegativeFloat = 0.0
    batch_examples: PositiveInt = 64
    replay_batches: NonNegativeInt = 1
    replay_bytes: PositiveInt = 33_554_432
    sample_rate: UnitFloat = 1.0
    miss_rate: UnitFloat = 0.125
    probability_of: Literal["candidate", "shown"] = "candidate"
    debias: Literal["none", "ips", "position", "both"] = "none"
    position_eta: Annotated[float, Meta(ge=0, le=4)] = 1.0
    max_weight: Annotated[float, Meta(ge=1, le=1000)] = 10.0
    publish_every_steps: PositiveInt = 4
    weigh_by_reward: bool = False
    snapshot_every: PositiveInt = 256
    seed: Seed = 7


class Gate(Section, frozen=True, kw_only=True):
    enabled: bool = True
    window: Annotated[int, Meta(ge=16, le=65_536)] = 1_024
    sample_rate: Annotated[float, Meta(gt=0, le=1)] = 0.5
    margin: PositiveFloat = 0.03
    probability_margin: PositiveFloat = 0.1
    hit_margin: Annotated[float, Meta(gt=0, le=1)] = 0.05
    keep: Annotated[int, Meta(ge=2, le=64)] = 8


class Strategy(Section, frozen=True, kw_only=True):
    """One way to rank, an action of the policies; what is null is as the sections sources and policy say."""

    sources: Sources | None = None
    scorer_weight: UnitFloat = 1.0
    diversity: UnitFloat = 0.0
    epsilon: UnitFloat | None = None


PolicyName = Literal["epsilon_greedy", "ucb1", "thompson", "linucb", "softmax", "q_learning", "sarsa"]


StatePart = Literal["activity", "recency", "depth", "outcome"]


class Policy(Section, frozen=True, kw_only=True):
    name: PolicyName = "epsilon_greedy"
    epsilon: UnitFloat = 0.05
    epsilon_min: UnitFloat = 0.01
    epsilon_decay: UnitFloat = 1.0
    seed: Seed = 7
    strategies: Annotated[dict[Name, Strategy], Meta(min_length=1, max_length=16)] = msgspec.field(
        default_factory=lambda: {"exploit": Strategy()}
    )
    action_epsilon: UnitFloat = 0.1
    action_epsilon_min: UnitFloat = 0.02
    action_epsilon_decay: UnitFloat = 0.999
    by_state: bool = False
    state_parts: Annotated[list[StatePart], Meta(min_length=1)] = msgspec.field(default_factory=lambda: list(get_args(StatePart)))
    reward_max: PositiveFloat = 1.0
    ucb_width: NonNegativeFloat = 1.0
    ridge: PositiveFloat = 1.0
    posterior: Literal["beta", "gaussian"] = "beta"
    prior_successes: Annotated[float, Meta(ge=0.01, le=1e9)] = 1.0
    prior_failures: Annotated[float, Meta(ge=0.01, le=1e9)] = 1.0
    reward_sd: PositiveFloat = 0.5
    temperature: PositiveFloat = 0.1
    values: Literal["tabular", "linear"] = "tabular"
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.1
    discount: UnitFloat = 0.9


class Arm(Section, frozen=True, kw_only=True):
    """One arm of an experiment: what differs for its users from the rest of the configuration.

    Attributes
    ----------
    weight : its share of the users is weight / sum of all weights; nobody is in an arm of weight 0
    policy : values of the section `policy` that are others here, such as ``{"name": "ucb1"}``; the arm's policy learns by itself
    sources : values of the section `sources` that are others here
    scorer : values of the section `scorer` that are others here; the arm's network learns by itself, from the slates of the arm
    """

    weight: Annotated[float, Meta(ge=0, le=1e6)] = 1.0
    policy: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    scorer: dict[str, Any] = {}


class Experiment(Section, frozen=True, kw_only=True):
    """A split of the users into arms; without arms there is no experiment.

    Attributes
    ----------
    salt : names the experiment: another salt splits the users anew and independently, and its policies begin anew
    arms : by name, at most 8
    """

    salt: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = ""
    arms: Annotated[dict[Name, Arm], Meta(max_length=8)] = {}


TextField = Literal["title", "brand", "categories", "tags", "year", "text"]


class Text(Section, frozen=True, kw_only=True):
    """How texts become vectors; without an encoder no text is read.

    Attributes
    ----------
    encoder : none, words, ``package:NAME`` of an installed model, a directory of sentence-transformers, or an ONNX file; several
        of them stand side by side, such as ``package:NAME + words``
    fields : of a catalogue entry, what its text is made of, in this order
    fields_apart : each is encoded by itself, and the vector is the mean of theirs: a title counts as much as the text below it
    """

    encoder: Annotated[str, Meta(min_length=1, max_length=4096)] = "none"
    words_dimension: Annotated[int, Meta(ge=16, le=4096)] = 384
    max_tokens: Annotated[int, Meta(ge=8, le=512)] = 128
    fields: Annotated[tuple[TextField, ...], Meta(min_length=1)] = ("title", "brand", "categories", "tags", "text")
    fields_apart: bool = False
    catalogue_dimension: Annotated[int, Meta(ge=0, le=4096)] = 0

    @property
    def makes_vectors(self) -> bool:
        """Whether items have vectors that are compared and projected: of their texts, or those that come with them."""
        return self.encoder != "none" or self.catalogue_dimension > 0


class Slate(Section, frozen=True, kw_only=True):
    k: Annotated[int, Meta(ge=1, le=100)] = 10
    recommend_seen: bool = False
    repeat_after_s: NonNegativeFloat = 0.0
    reasons: Annotated[int, Meta(ge=0, le=20)] = 3


class Auction(Section, frozen=True, kw_only=True):
    """Slates that are ranked by expected value: the probability of an event times what it is worth."""

    value: Literal["none", "bid", "price"] = "none"
    candidates: Annotated[int, Meta(ge=0, le=1000)] = 32
    floor: NonNegativeFloat = 0.0
    price: Literal["second", "first"] = "second"
    charged: Annotated[tuple[Name, ...], Meta(min_length=1)] = ("click",)
    pacing: Literal["shade", "throttle"] = "shade"
    pacing_interval_s: Annotated[int, Meta(ge=1, le=86_400)] = 300
    pacing_step: Annotated[float, Meta(gt=0, lt=1)] = 0.1


class Requests(Section, frozen=True, kw_only=True):
    wait_ms: Annotated[int, Meta(ge=0, le=60_000)] = 50


# A year: sums of such times and an event time stay far within 64 bits.
Wait = Annotated[int, Meta(ge=1, le=31_536_000_000)]


class Answers(Section, frozen=True, kw_only=True):
    """Questions in words (the text of a request) and the items that answer them."""

    enabled: bool = False
    min_confidence: UnitFloat = 0.5
    solved_type: Name = "solved"
    not_solved_type: Name = "not_solved"
    handed_over_type: Name = "handed_over"
    text_weight: PositiveFloat = 1.0
    ridge: NonNegativeFloat = 5.0
    near_similarity: Annotated[float, Meta(ge=0, lt=1)] = 0.4
    same_similarity: Annotated[float, Meta(gt=0, le=1)] = 0.8
    memory: Annotated[int, Meta(ge=1, le=65_536)] = 4096
    half_life_days: PositiveFloat = 90.0
    snapshot_every: PositiveInt = 256


class Outcomes(Section, frozen=True, kw_only=True):
    enabled: bool = True
    features: bool = True
    window_ms: Wait = 1_800_000
    max_open: Annotated[int, Meta(ge=1, le=64)] = 8
    backward_ms: Annotated[int, Meta(ge=0, le=31_536_000_000)] = 60_000
    idle_ms: Wait = 1_800_000
    aggregation: Literal["earliest", "sum", "max"] = "max"
    default_reward: BoundedFloat = 0.0
    served_means_seen: bool = True


class Metrics(Section, frozen=True, kw_only=True):
    window_s: PositiveInt = 60
    pr_bins: Annotated[int, Meta(ge=2, le=MAX_BINS)] = 40
    retention_days: PositiveFloat = 7.0
    by_arm: bool | None = None


SENTIMENT_PHRASES: dict[Literal["negative", "neutral", "positive"], list[str]] = {
    "positive": ["a good result, better than expected", "strong growth and record profit", "they did very well, I am delighted"],
    "neutral": ["the company will publish its report on Tuesday", "it remains to be seen, nothing has changed"],
    "negative": ["a bad result, worse than expected", "heavy losses and a sharp decline", "a failure, I am angry and worried"],
}


class Monitor(Section, frozen=True, kw_only=True):
    """Of the job that watches what is written (docs/domains/opinion.md)."""

    topics: Annotated[dict[Name, list[str]], Meta(max_length=1_000)] = {}
    sentiment: dict[Literal["negative", "neutral", "positive"], list[str]] = msgspec.field(
        default_factory=lambda: dict(SENTIMENT_PHRASES)
    )
    entities: dict[Annotated[str, Meta(min_length=1, max_length=256)], list[str]] = {}
    shards: Annotated[int, Meta(ge=1, le=128)] = 1
    batch_texts: Annotated[int, Meta(ge=1, le=1_024)] = 32
    batch_wait_ms: Annotated[int, Meta(ge=1, le=60_000)] = 100
    out_of_order_ms: NonNegativeInt = 1_000
    wall_clock: bool = True
    kept_ids: Annotated[int, Meta(ge=1, le=16_777_216)] = 65_536
    duplicate_bits: Annotated[int, Meta(ge=0, le=127)] = 54
    duplicate_hours: PositiveFloat = 24.0
    duplicate_texts: Annotated[int, Meta(ge=1, le=1_048_576)] = 32_768
    kept_texts: Annotated[int, Meta(ge=1, le=1_048_576)] = 4_096
    learning_rate: PositiveFloat = 1.0
    decay: NonNegativeFloat = 0.0001
    replays: Annotated[int, Meta(ge=0, le=1_000)] = 32
    kept_labels: Annotated[int, Meta(ge=1, le=65_536)] = 2_048
    window_s: Annotated[int, Meta(ge=1, le=86_400)] = 300
    history_days: Annotated[int, Meta(ge=1, le=366)] = 28
    min_days: Annotated[int, Meta(ge=1, le=366)] = 2
    min_texts: PositiveInt = 8
    min_ratio: Annotated[float, Meta(gt=1, le=1_000)] = 3.0
    min_share_rise: Annotated[float, Meta(gt=0, lt=1)] = 0.4
    raise_evidence: PositiveFloat = 11.0
    clear_score: BoundedFloat = 1.5
    clear_windows: PositiveInt = 2
    max_surge_hours: PositiveFloat = 48.0
    sample_texts: Annotated[int, Meta(ge=1, le=4_096)] = 128
    alert_texts: Annotated[int, Meta(ge=0, le=50)] = 5


Scope = Literal["read", "write", "admin"]


class Token(Section, frozen=True, kw_only=True):
    """Who may do what over HTTP: a token is given as it is or, better, by the name of an environment variable that holds it.

    Attributes
    ----------
    name : of its owner, for logs and limits
    scopes : read (slates, answers), write (events), admin (controls, erasure)
    """

    name: Name
    token: Annotated[str, Meta(min_length=16, max_length=512, pattern=r"^[!-~]+$")] | None = None
    token_env: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    scopes: Annotated[list[Scope], Meta(min_length=1)]


class Serving(Section, frozen=True, kw_only=True):
    host: Annotated[str, Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    store_ttl_days: PositiveFloat = 30.0
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] = 500
    max_body_bytes: Annotated[int, Meta(ge=1_024, le=67_108_864)] = 1_048_576
    max_batch: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    rate_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = 1_000.0
    tokens: list[Token] = []


class Configuration(Section, frozen=True, kw_only=True):
    """The whole configuration; every section has defaults, so that ``{}`` is a valid file."""

    kafka: Kafka = Kafka()
    flink: Flink = Flink()
    events: Events = Events()
    profile: Profile = Profile()
    item_cf: ItemCF = ItemCF()
    user_cf: UserCF = UserCF()
    popularity: Popularity = Popularity()
    new_items: NewItems = NewItems()
    freshness: Freshness = Freshness()
    series: Series = Series()
    sources: Sources = Sources()
    scorer: Scorer = Scorer()
    learner: Learner = Learner()
    gate: Gate = Gate()
    policy: Policy = Policy()
    experiment: Experiment = Experiment()
    rules: dict[str, dict[str, Any]] = {}
    text: Text = Text()
    slate: Slate = Slate()
    auction: Auction = Auction()
    requests: Requests = Requests()
    answers: Answers = Answers()
    outcomes: Outcomes = Outcomes()
    metrics: Metrics = Metrics()
    serving: Serving = Serving()
    monitor: Monitor = Monitor()
