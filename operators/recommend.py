"""RECOMMEND: cleans an event, learns from it, and answers it with a slate; answers requests for slates; erases users.

Key
    the user's id: the key of the Kafka record, or the payload's where the record has none
Input
    Row(value bytes, partition, offset) of `events`, and of `requests` with the partition as `request_mark` gives it;
    Row(topic, key, value, the broker's time in ms) of the broadcast topics
State (all ValueState of packed bytes, layouts in `models.profile`, `models.examples`, `models.attribution`;
    TTL profile.ttl_days since the last write, except for ``slates``)
    ``user``     profile, counters, last slate, event ids seen, taste; about 6 kB
    ``seen``     hashes of the user's items; at most 8 bytes * profile.seen_items
    ``pending``  frozen features of the last slate's candidates; at most about 10 kB
    ``slates``   the open slates, where outcomes.enabled is on; about 12 kB. It has no TTL: a slate leaves by a timer, and by no
                 clock of Flink's after an outage. It is cleared when nothing is open, and what is left is
    ``settled``  which slates closed last; about 200 bytes
    ``impressions``  what the user was shown lately (`models.frequency`), read and written while a frequency cap is in force; at most
                 24 bytes * profile.impressions
    ``waiting``  requests that wait for an event (`models.requests`); cleared when they are answered
    ``asked``    questions that were asked last (`models.answers.asked`), where answers.enabled is on; about 4 kB
    Of users who did something a moment ago it is not read but written (`operators.kept_users`).
    The model itself is a replica in memory: filled in `open`, followed through the broadcast stream, never in a checkpoint.
Timers
    one of event time a user, for the next slate that closes, and one of processing time, at which slates close if the watermark has
    stood still since it was armed; both are armed only while a slate is open. One of processing time for each request that waits: it
    is answered then, as things are. All are part of a checkpoint; after a restore a request is answered at once
Outputs
    main: Row(user id, JSON) for `recommendations`; side: `outcomes`, `traces`, pair messages, examples, lessons, steps (and what the
    learners of other policies and networks than everybody's learn, before the first, and that a network has ended), facts, dead letters,
    messages to the ledger where campaigns pay, and for `model-updates` what the other replicas must know: profiles of panel members,
    tombstones of those who were erased, accepted controls
Late, duplicate and malformed events
    A malformed event, a duplicate, and one too many become one dead letter each, and nothing else. A late event is
    learned like any other and counted. Nothing that arrives stops the job. A catalogue entry or a control that cannot be read
    becomes a dead letter when it arrives; the bootstrap, which meets it again at every start, only counts and logs it. A request that
    comes twice is answered twice. An `erase` clears all state of its key: timers that are armed find nothing, open slates leave without
    an outcome, requests that wait without an answer.
Flink metrics
    `operators.recommend_metrics`; and ``outcomes_joined``, ``_repeated``, ``_late``, ``_orphan``, ``_superseded``
    (`models.attribution.Tally`) and ``slates_closed_window``, ``_bound``, ``_heartbeat``, ``_erased``;
    ``requests_answered``, and of them ``requests_waited`` for an event that came, and ``requests_waited_in_vain``; ``users_erased``;
    ``versions_passed_over``: published versions of a network, or of a policy's tables, of another shape, as `model-updates` holds them
    from before a change of the configuration
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from pyflink.common import Row, Types
from pyflink.common.time import Time
from pyflink.datastream import KeyedBroadcastProcessFunction, OutputTag, RuntimeContext, TimerService
from pyflink.datastream.state import StateTtlConfig, ValueState, ValueStateDescriptor

from models.answers.asked import decode_asked, encode_asked
from models.attribution import OpenSlates, Tally, decode_open_slates, encode_open_slates
from models.auction.ledger import encode_message
from models.config import Configuration
from models.controls import control_key
from models.events import ERASE, UNKNOWN_WATERMARK_MS, DeadLetter, Event, EventCleaner, Refusal, Rejected
from models.facts import Fact, erasure_fact, event_fact, outcome_fact, rejection_fact, request_fact
from models.frequency import Impressions
from models.identity import hash64, item_hash64
from models.log_lines import Seldom
from models.metrics.score_bins import ScoreBins
from models.policies.learner import learner_of
from models.profile import SeenItems, decode_user_state, encode_user_state
from models.requests import MAX_WAITING, Request, RequestCleaner, WaitingRequest, decode_waiting, encode_waiting
from models.topics import CONTROLS, EVENTS, ITEMS, MODEL_DELTAS, MODEL_UPDATES, REQUESTS, Recommendation, Timings, topic_name
from models.user import User
from operators.bootstrap import read_records
from operators.kept_users import KeptUsers
from operators.logs import Log
from operators.recommend_metrics import RecommendMetrics
from operators.threads import prefer_this_thread, use_one_thread
from operators.timers import let_timers_yield_side_outputs
from operators.warm import be_warm

if TYPE_CHECKING:
    from models.observer import Observation
    from models.treatments import Treatment

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
RECORD = Types.ROW([BYTES, BYTES])
MESSAGE = Types.ROW([Types.LONG(), BYTES])
FACT = Types.ROW_NAMED(
    list(Fact.__struct_fields__),
    [Types.STRING() if field.type is str else Types.LONG() for field in msgspec.structs.fields(Fact)],
)
PAIRS = OutputTag("pairs", MESSAGE)
EXAMPLES = OutputTag("examples", MESSAGE)
LESSONS = OutputTag("lessons", MESSAGE)
STEPS = OutputTag("steps", MESSAGE)
ACCOUNTS = OutputTag("accounts", MESSAGE)
CLOSED = OutputTag("closed", RECORD)
TRACED = OutputTag("traced", RECORD)
REPLICAS = OutputTag("replicas", RECORD)
FACTS = OutputTag("facts", FACT)
DEAD_LETTERS = OutputTag("dead-letters", RECORD)

# A slate that took so long is logged, and of a kind of refusal or of such slates one line in so many ms.
_SLOW_US = 500_000
_LOG_EVERY_MS = 10_000
# Of the unreadable records that a bootstrap meets so many are logged.
_LOGGED_UNREADABLE = 100
_LOGGED_OF_A_SLATE = ("slate_id", "user_id", "event_id", "request_id", "action", "arm", "versions")
_COUNTED = {
    "joined": "outcomes_joined",
    "repeated": "outcomes_repeated",
    "late": "outcomes_late",
    "orphans": "outcomes_orphan",
    "superseded": "outcomes_superseded",
}
LAST_WATERMARK_MS = 2**63 - 1
"""Flink's watermark when no event will ever come."""
_CLOSED_BY = ("window", "bound", "heartbeat", "erased")

_encode = msgspec.json.Encoder().encode


class Recommend(KeyedBroadcastProcessFunction):  # type: ignore[misc]
    """The adapter of `models.recommender.Recommender`.

    Parameters
    ----------
    configuration : the whole configuration
    shard_keys : key of each co-occurrence shard
    learner_key : key of the learner, and of the configured policy's; other policies' learners have keys of their own
    bootstrap : read the compacted topics in `open`; off where there is no Kafka
    model : a file to score with until the learner has published a network (`models.model_file`)
    submitted_s : time of the submission; networks of earlier lives of the learner do not replace `model`, and slates of
        earlier jobs have a lower `seq`
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        shard_keys: tuple[int, ...],
        learner_key: int,
        bootstrap: bool,
        model: bytes | None = None,
        submitted_s: int = 0,
    ) -> None:
        self._config = configuration
        self._shard_keys = shard_keys
        self._learner_key = learner_key
        self._bootstrap = bootstrap
        self._model = model
        self._submitted_s = submitted_s

    def open(self, runtime_context: RuntimeContext) -> None:
        from models.model_file import decode_model
        from models.recommender import Recommender

        use_one_thread()
        prefer_this_thread()
        let_timers_yield_side_outputs()
        be_warm(self._config)
        prefix = self._config.kafka.topic_prefix
        self._events_topic = topic_name(prefix, EVENTS)
        self._requests_topic = topic_name(prefix, REQUESTS)
        self._items_topic = topic_name(prefix, ITEMS)
        self._controls_topic = topic_name(prefix, CONTROLS)
        self._deltas_topic = topic_name(prefix, MODEL_DELTAS)
        self._cleaner = EventCleaner(self._config.events)
        self._request_cleaner = RequestCleaner(self._config.events)
        self._score_bins = ScoreBins(self._config.metrics.pr_bins)
        start = None if self._model is None else decode_model(self._model, "the model that was submitted")
        self._recommender = Recommender(self._config, start=start, epoch=self._submitted_s)
        self._user = self._value_state(runtime_context, "user")
        self._seen = self._value_state(runtime_context, "seen")
        self._pending = self._value_state(runtime_context, "pending")
        self._waiting = self._value_state(runtime_context, "waiting")
        self._impressions = self._value_state(runtime_context, "impressions")
        self._asked = self._value_state(runtime_context, "asked") if self._config.answers.enabled else None
        # Until when a request of anybody may wait, so that events need not look: those of before a restore are answered at once.
        self._opened_ms = time.time_ns() // 1_000_000
        self._someone_waits_until_ms = self._opened_ms + self._config.requests.wait_ms
        self._attribution = self._recommender.attribution
        self._defined: dict[str, bytes] = {}
        metrics = runtime_context.get_metrics_group()
        self._passed_over = metrics.counter("versions_passed_over")
        self._metrics = RecommendMetrics(
            metrics, types=self._config.events.types, recommender=self._recommender, started_ms=1_000 * self._submitted_s
        )
        self._log, self._seldom = Log("recommend"), Seldom(_LOG_EVERY_MS)
        self._answered, self._waited, self._in_vain = (
            metrics.counter(f"requests_{name}") for name in ("answered", "waited", "waited_in_vain")
        )
        self._erased = metrics.counter("users_erased")
        if self._attribution is not None:
            self._slates = runtime_context.get_state(ValueStateDescriptor("slates", Types.PICKLED_BYTE_ARRAY()))
            self._settled = self._value_state(runtime_context, "settled")
            self._counted = {name: metrics.counter(counter) for name, counter in _COUNTED.items()}
            self._closed_by = {name: metrics.counter(f"slates_closed_{name}") for name in _CLOSED_BY}
        self._kept = KeptUsers()
        self._accepted: list[Row] = []
        if self._bootstrap:
            self._fill_replica()
        # of networks that are left from an experiment that ended while no job ran
        self._endings = self._recommender.rankers.take_endings()

    def _fill_replica(self) -> None:
        prefix, kafka, started_ns = self._config.kafka.topic_prefix, self._config.kafka, time.monotonic_ns()
        # `controls` last: what came there while no job ran is newer than what an earlier job accepted
        topics = (self._items_topic, topic_name(prefix, MODEL_UPDATES), self._controls_topic)
        records = unreadable = 0
        for record in read_records(topics, kafka.bootstrap_servers, kafka.client_properties):
            key = None if record.key is None else record.key.decode("utf-8", "replace")
            rejected = self._apply(record.topic, key, record.value, record.timestamp)
            records += 1
            if rejected is not None:
                unreadable += 1
                if unreadable <= _LOGGED_UNREADABLE:
                    self._log.warn(
                        "unreadable record in a compacted topic",
                        topic=record.topic,
                        key=key,
                        partition=record.partition,
                        offset=record.offset,
                        reason=rejected.reason.value,
                        detail=rejected.detail,
                    )
        self._log.info(
            "replica filled",
            records=records,
            unreadable=unreadable,
            items=self._recommender.replica.known_items,
            ranker=None if self._recommender.version is None else str(self._recommender.version),
            took_ms=(time.monotonic_ns() - started_ns) // 1_000_000,
        )

    def _publish_accepted(self) -> Iterator[Any]:
        """The rules that were accepted since the last call; while the replica is filled there is nowhere to write them to."""
        accepted, self._accepted = self._accepted, []
        for row in accepted:
            yield REPLICAS, row

    def _end_networks(self) -> Iterator[Any]:
        """Let the learners of networks that nobody is scored by any more end."""
        endings, self._endings = self._endings, []
        for number, message in endings:
            yield EXAMPLES, Row(number, message)

    def _value_state(self, context: RuntimeContext, name: str) -> ValueState:
        descriptor = ValueStateDescriptor(name, Types.PICKLED_BYTE_ARRAY())
        descriptor.enable_time_to_live(
            StateTtlConfig.new_builder(Time.milliseconds(int(self._config.profile.ttl_days * 86_400_000)))
            .set_update_type(StateTtlConfig.UpdateType.OnCreateAndWrite)
            .set_state_visibility(StateTtlConfig.StateVisibility.NeverReturnExpired)
            # Flink's defaults, said one by one: to find them out PyFlink starts a JVM beside each TaskManager
            .disable_cleanup_in_background()
            .cleanup_incrementally(5, False)
            .cleanup_in_rocksdb_compact_filter(1_000, Time.days(30))
            .build()
        )
        return context.get_state(descriptor)

    # ------------------------------------------------------------------------------------------------ events

    def process_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator[Any]:
        if self._accepted:
            yield from self._publish_accepted()
        if self._endings:
            yield from self._end_networks()
        if value[1] < 0:
            yield from self._process_request(value, ctx)
            return
        raw = value[0]
        raw = None if raw is None else bytes(raw)
        started_ns = time.perf_counter_ns()
        now_ms = time.time_ns() // 1_000_000
        watermark_ms = ctx.timer_service().current_watermark()
        key = ctx.get_current_key()
        try:
            event = self._cleaner.clean(raw, key=key or None, now_ms=now_ms, watermark_ms=watermark_ms)
            user = self._load(key)
            if event.type == ERASE:
                yield from self._erase(user, event, now_ms=now_ms, started_ns=started_ns, watermark_ms=watermark_ms)
                return
            self._recommender.admit(user, event, now_ms=now_ms)
        except Rejected as rejected:
            yield from self._refuse(rejected, value, self._events_topic, key=key, now_ms=now_ms, watermark_ms=watermark_ms)
            if rejected.reason is Refusal.TOO_MANY:
                self._user.update(encode_user_state(user.state))
            return
        yield from self._answer(
            user, event, ctx.timer_service(), now_ms=now_ms, started_ns=started_ns, watermark_ms=watermark_ms
        )
        if now_ms <= self._someone_waits_until_ms:
            after = hash64(event.event_id)
            yield from self._answer_waiting(
                key, lambda waiting: waiting.after == after, ctx.timer_service(), self._waited, watermark_ms=watermark_ms
            )

    def _refuse(
        self, rejected: Rejected, record: Row, topic: str, *, key: str, now_ms: int, watermark_ms: int
    ) -> Iterator[Any]:
        self._metrics.refusal(rejected.reason)
        self._metrics.tell()
        raw, partition, offset = record
        place = {"partition": partition if partition >= 0 else request_mark(partition), "offset": offset}
        self._say_refused(rejected, topic=topic, now_ms=now_ms, **place, user_id=key)
        letter = DeadLetter.of(
            rejected, None if raw is None else bytes(raw), topic=topic, **place, key=key, rejected_at_ms=now_ms
        )
        yield DEAD_LETTERS, Row(rejected.reason.value.encode(), letter.encode())
        yield FACTS, _row(rejection_fact(rejected.reason, time_ms=_fact_time_ms(now_ms, watermark_ms)))

    def _answer(
        self, user: User, event: Event, timers: TimerService, *, now_ms: int, started_ns: int, watermark_ms: int
    ) -> Iterator[Any]:
        observation = self._recommender.observe(user, event, watermark_ms=watermark_ms)
        recommendation = None
        if self._config.events.types[event.type].makes_slate:
            recommendation = self._recommender.recommend(
                user,
                event,
                lambda: _timings(event.sent_at_ms, now_ms, started_ns),
                watermark_ms=watermark_ms,
            )
            yield from self._emit(user, recommendation)
        self._metrics.event(event.type)
        self._metrics.tell()
        self._settle(user, timers, now_ms=now_ms, watermark_ms=watermark_ms)
        yield from self._teach(event, observation)
        yield from self._report(event.user_id, user.tally)
        late = event.event_time_ms < watermark_ms - self._config.events.late_after_ms
        fact = event_fact(
            event,
            observation,
            recommendation,
            user.tally,
            configuration=self._config,
            bins=self._score_bins,
            late=late,
            known_items=self._recommender.replica.known_items,
            arms=self._recommender.treatments.arms,
            # A fact behind the watermark would be dropped by the windows: it counts in the oldest open one.
            time_ms=max(event.event_time_ms, watermark_ms + 1),
        )
        yield FACTS, _row(fact)

    def _emit(self, user: User, recommendation: Recommendation) -> Iterator[Any]:
        key = recommendation.user_id.encode()
        yield Row(key, _encode(recommendation))
        if not recommendation.erased:
            self._note(recommendation)
        if user.trace is not None:
            yield TRACED, Row(key, _encode(user.trace))

    def _settle(self, user: User, timers: TimerService, *, now_ms: int, watermark_ms: int) -> None:
        if self._attribution is not None:
            self._attribution.settle(user.slates, watermark_ms=watermark_ms, tally=user.tally)
            self._arm(user.slates, timers, now_ms=now_ms, watermark_ms=watermark_ms)
        self._save(user)

    def _teach(self, event: Event, observation: Observation) -> Iterator[Any]:
        if observation.pair is not None:
            shard = self._shard_keys[item_hash64(event.item_id) % len(self._shard_keys)]
            yield PAIRS, Row(shard, observation.pair)
        if observation.member is not None:
            key, profile = observation.member
            yield REPLICAS, Row(key.encode(), profile)
        for number, message in self._recommender.examples(observation):
            yield EXAMPLES, Row(self._learner_key if number is None else number, message)
        if observation.lesson is not None:
            yield LESSONS, Row(self._learner_key, observation.lesson)

    def _step(self, taken_by: Treatment, step: bytes) -> Iterator[Any]:
        """A step for its learner; one that is not the configured policy's is told first what it learns, once in each life."""
        if taken_by.definition is None:
            yield STEPS, Row(self._learner_key, step)
            return
        key = learner_of(taken_by.key)
        if self._defined.get(taken_by.key) is not taken_by.definition:
            self._defined[taken_by.key] = taken_by.definition
            yield STEPS, Row(key, taken_by.definition)
        yield STEPS, Row(key, step)

    def _load(self, key: str) -> User:
        kept = self._kept.take(key)
        if kept is not None:
            kept.tally, kept.trace = Tally(), None
            return kept
        raw = self._user.value()
        known = raw is not None
        user = User(decode_user_state(raw), SeenItems.decode(self._seen.value()), self._pending.value()) if known else User()
        if self._attribution is not None:
            # also of a user who is forgotten: their slates are not
            user.slates = decode_open_slates(self._slates.value() or self._settled.value())
        if self._recommender.caps_impressions:
            user.impressions = Impressions.decode(self._impressions.value())
        if self._asked is not None:
            user.asked = decode_asked(self._asked.value())
        return user

    def _save(self, user: User) -> None:
        self._user.update(encode_user_state(user.state))
        if user.seen.changed:
            self._seen.update(user.seen.encode())
            user.seen.changed = False
        if user.pending is not None:
            self._pending.update(user.pending)
        else:
            self._pending.clear()
        if user.impressions.changed:
            self._impressions.update(user.impressions.encode())
            user.impressions.changed = False
        if self._asked is not None and user.asked:
            self._asked.update(encode_asked(user.asked))
        if self._attribution is not None:
            self._save_slates(user.slates)
        self._kept.keep(user)

    # ------------------------------------------------------------------------------------------------ requests

    def _process_request(self, record: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator[Any]:
        raw = record[0]
        now_ms = time.time_ns() // 1_000_000
        timers, key = ctx.timer_service(), ctx.get_current_key()
        watermark_ms = timers.current_watermark()
        try:
            request = self._request_cleaner.clean(
                None if raw is None else bytes(raw), key=key or None, now_ms=now_ms, watermark_ms=watermark_ms
            )
            user = self._load(key)
            self._recommender.admit_request(user, request, now_ms=now_ms)
        except Rejected as rejected:
            yield from self._refuse(rejected, record, self._requests_topic, key=key, now_ms=now_ms, watermark_ms=watermark_ms)
            if rejected.reason is Refusal.TOO_MANY:
                self._user.update(encode_user_state(user.state))
            return
        wait_ms = self._config.requests.wait_ms
        if request.after_event_id is not None and wait_ms > 0:
            after = hash64(request.after_event_id)
            if not user.state.is_duplicate(after):
                self._user.update(encode_user_state(user.state))
                yield from self._let_wait(key, WaitingRequest(now_ms + wait_ms, now_ms, after, request), timers, watermark_ms)
                return
        yield from self._respond(user, request, timers, received_ms=now_ms, watermark_ms=watermark_ms)

    def _let_wait(self, key: str, request: WaitingRequest, timers: TimerService, watermark_ms: int) -> Iterator[Any]:
        waiting = decode_waiting(self._waiting.value())
        if len(waiting) == MAX_WAITING:
            oldest = waiting[0]
            yield from self._answer_waiting(key, lambda other: other == oldest, timers, self._in_vain, watermark_ms=watermark_ms)
            waiting = waiting[1:]
        self._waiting.update(encode_waiting([*waiting, request]))
        self._someone_waits_until_ms = max(self._someone_waits_until_ms, request.due_ms)
        timers.register_processing_time_timer(request.due_ms)

    def _answer_waiting(
        self, key: str, is_ready: Callable[[WaitingRequest], bool], timers: TimerService, counter: Any, *, watermark_ms: int
    ) -> Iterator[Any]:
        """Answer those of the user's waiting requests that are ready, and keep the others."""
        waiting = decode_waiting(self._waiting.value())
        ready = [request for request in waiting if is_ready(request)]
        if not ready:
            return
        left = [request for request in waiting if request not in ready]
        if left:
            self._waiting.update(encode_waiting(left))
        else:
            self._waiting.clear()
        for request in ready:
            counter.inc()
            user = self._load(key)
            yield from self._respond(
                user, request.request, timers, received_ms=request.received_ms, watermark_ms=watermark_ms
            )

    def _respond(
        self, user: User, request: Request, timers: TimerService, *, received_ms: int, watermark_ms: int
    ) -> Iterator[Any]:
        started_ns, now_ms = time.perf_counter_ns(), time.time_ns() // 1_000_000
        recommendation = self._recommender.answer(
            user,
            request,
            lambda: _timings(request.sent_at_ms, received_ms, started_ns),
            watermark_ms=watermark_ms,
        )
        self._answered.inc()
        self._metrics.tell()
        yield from self._emit(user, recommendation)
        self._settle(user, timers, now_ms=now_ms, watermark_ms=watermark_ms)
        yield from self._report(request.user_id, user.tally)
        fact = request_fact(
            request,
            recommendation,
            user.tally,
            treatment=self._recommender.treatments.of(request.user_id),
            configuration=self._config,
            known_items=self._recommender.replica.known_items,
            arms=self._recommender.treatments.arms,
            time_ms=_fact_time_ms(now_ms, watermark_ms),
        )
        yield FACTS, _row(fact)

    # ------------------------------------------------------------------------------------------------ erasure

    def _erase(self, user: User, event: Event, *, now_ms: int, started_ns: int, watermark_ms: int) -> Iterator[Any]:
        marker, (key, tombstone) = self._recommender.erase(
            user, event, lambda: _timings(event.sent_at_ms, now_ms, started_ns)
        )
        for state in (self._user, self._seen, self._pending, self._waiting, self._impressions):
            state.clear()
        if self._asked is not None:
            self._asked.clear()
        if self._attribution is not None:
            self._slates.clear()
            self._settled.clear()
            self._closed_by["erased"].inc(len(user.slates.slates))
        self._erased.inc()
        self._log.info("user erased", event_id=event.event_id)
        yield from self._emit(user, marker)
        yield REPLICAS, Row(key.encode(), tombstone)
        yield FACTS, _row(erasure_fact(time_ms=max(event.event_time_ms, watermark_ms + 1)))

    # ------------------------------------------------------------------------------------------------ outcomes

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator[Any]:
        timers = ctx.timer_service()
        watermark_ms, now_ms = timers.current_watermark(), timers.current_processing_time()
        key = ctx.get_current_key()
        raw = None if self._attribution is None else self._slates.value()
        slates, tally = decode_open_slates(raw), Tally()
        if timestamp != slates.timer_ms or timestamp > watermark_ms:
            yield from self._answer_waiting(
                key, lambda waiting: waiting.due_ms <= timestamp, timers, self._in_vain, watermark_ms=watermark_ms
            )
            raw = None if self._attribution is None else self._slates.value()
            slates = decode_open_slates(raw)
        if self._attribution is None or raw is None:
            return
        # which of the two it is: PyFlink's own ctx.time_domain() fails in thread mode
        if timestamp == slates.heartbeat_ms and timestamp <= now_ms:
            slates.heartbeat_ms = 0
            # one of before a restore is due at once, when the sources have not even begun to go on
            armed_in_this_life = timestamp - self._config.outcomes.idle_ms >= self._opened_ms
            if armed_in_this_life and watermark_ms == slates.heartbeat_watermark_ms:
                self._attribution.close_all(slates, watermark_ms=watermark_ms, now_ms=timestamp, tally=tally)
        if timestamp == slates.timer_ms and timestamp <= watermark_ms:
            slates.timer_ms = 0
        self._attribution.settle(slates, watermark_ms=watermark_ms, tally=tally)
        self._arm(slates, timers, now_ms=now_ms, watermark_ms=watermark_ms)
        self._save_slates(slates)
        self._kept.drop(key)
        yield from self._report(key, tally)
        if tally != Tally():
            yield FACTS, _row(outcome_fact(tally, time_ms=_fact_time_ms(now_ms, watermark_ms)))

    def _arm(self, slates: OpenSlates, timers: TimerService, *, now_ms: int, watermark_ms: int) -> None:
        """See to it that there is a timer of each kind while there is something to close."""
        assert self._attribution is not None
        due_ms = self._attribution.due_ms(slates, watermark_ms=watermark_ms)
        if due_ms == 0:
            return
        if slates.timer_ms == 0 or due_ms < slates.timer_ms:
            timers.register_event_time_timer(due_ms)
            slates.timer_ms = due_ms
        if slates.heartbeat_ms == 0:
            slates.heartbeat_ms, slates.heartbeat_watermark_ms = now_ms + self._config.outcomes.idle_ms, watermark_ms
            timers.register_processing_time_timer(slates.heartbeat_ms)

    def _save_slates(self, slates: OpenSlates) -> None:
        if slates.slates or slates.waiting:
            self._slates.update(encode_open_slates(slates))
            return
        # a timer that fires from now on finds nothing: the next slate arms its own
        slates.timer_ms = slates.heartbeat_ms = 0
        self._slates.clear()
        self._settled.update(encode_open_slates(slates))

    def _report(self, user_id: str, tally: Tally) -> Iterator[Any]:
        """Send what came of slates to its topic, to the policy and to the ledger, and count it."""
        for message in self._recommender.take_ledger_messages(tally):
            yield ACCOUNTS, Row(hash64(message.campaign), encode_message(message))
        if self._attribution is None:
            return
        for name, counter in self._counted.items():
            n = getattr(tally, name)
            if n:
                counter.inc(n)
        for closed in tally.closed:
            self._closed_by[closed.closed_by].inc()
            outcome = self._attribution.outcome(closed, user_id)
            yield CLOSED, Row(user_id.encode(), _encode(outcome))
            if self._log.debugs:
                self._log.debug(
                    "slate closed", slate_id=outcome.slate_id, user_id=user_id, closed_by=closed.closed_by, reward=outcome.reward
                )
            taught = self._recommender.step_of(closed)
            if taught is not None:
                yield from self._step(*taught)

    # ------------------------------------------------------------------------------------------------ model updates

    def process_broadcast_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator[Any]:
        topic, key, raw, time_ms = value
        raw, now_ms = None if raw is None else bytes(raw), time.time_ns() // 1_000_000
        rejected = self._apply(topic, key, raw, time_ms)
        yield from self._publish_accepted()
        if rejected is not None:
            letter = DeadLetter.of(rejected, raw, topic=topic, key=key)
            self._say_refused(rejected, topic=topic, now_ms=now_ms, key=key)
            yield DEAD_LETTERS, Row(rejected.reason.value.encode(), letter.encode())
        elif topic == self._controls_topic and key is not None:
            self._log.info("control accepted" if raw is not None else "control taken back", key=key)
            for message in self._recommender.take_ledger_messages():
                yield ACCOUNTS, Row(hash64(message.campaign), encode_message(message))
            self._endings += self._recommender.rankers.take_endings()
            yield from self._end_networks()
        elif topic == self._deltas_topic:
            self._metrics.delta(time_ms, now_ms)
        self._metrics.tell()

    def _apply(self, topic: str, key: str | None, value: bytes | None, time_ms: int) -> Rejected | None:
        """Apply one record of a broadcast topic; the refusal when it cannot be read."""
        try:
            if topic == self._items_topic:
                self._recommender.apply_catalogue(key, value)
            elif topic == self._controls_topic:
                self._recommender.apply_control(key, value)
                # a cap of impressions wants more of a user than was read without one
                self._kept.clear()
                self._metrics.versions_changed(time_ms)
                if key is not None:
                    self._accepted.append(Row(control_key(key).encode(), value))
            elif topic == self._deltas_topic:
                if value is not None:
                    self._recommender.replica.apply_deltas(value)
            elif key is not None:
                passed_over = self._recommender.apply_update(key, value)
                self._metrics.update(key, value, time_ms)
                if passed_over is not None:
                    self._passed_over.inc()
                    self._log.warn("version passed over", key=key, detail=passed_over)
        except Rejected as rejected:
            self._metrics.refusal(rejected.reason)
            return rejected
        return None

    # ------------------------------------------------------------------------------------------------ logs

    def _say_refused(self, rejected: Rejected, *, topic: str, now_ms: int, **place: Any) -> None:
        left_out = 0 if self._log.debugs else self._seldom.admit(rejected.reason.value, now_ms)
        if left_out is not None:
            more = {"reason": rejected.reason.value, "detail": rejected.detail, "left_out": left_out or None}
            self._log.warn("record refused", topic=topic, **place, **more)

    def _note(self, recommendation: Recommendation) -> None:
        """Count a slate, and log it where it is asked for or was slow."""
        self._metrics.slate(recommendation)
        timings = recommendation.timings
        left_out = None if timings.compute_us < _SLOW_US else self._seldom.admit("slow slate", timings.emitted_at_ms)
        if left_out is None and not self._log.debugs:
            return
        said = {name: getattr(recommendation, name) for name in _LOGGED_OF_A_SLATE}
        said |= {"items": len(recommendation.items), "compute_us": timings.compute_us}
        if left_out is None:
            self._log.debug("slate", **said)
        else:
            self._log.warn("slow slate", **said, left_out=left_out or None)


def request_mark(partition: int) -> int:
    """What stands in the place of the partition in a record of `requests`: such a number tells it from an event. It is its own inverse."""
    return -1 - partition


def _timings(sent_at_ms: int | None, received_at_ms: int, started_ns: int) -> Timings:
    return Timings(
        sent_at_ms=sent_at_ms,
        received_at_ms=received_at_ms,
        emitted_at_ms=time.time_ns() // 1_000_000,
        compute_us=(time.perf_counter_ns() - started_ns) // 1_000,
    )


def _fact_time_ms(now_ms: int, watermark_ms: int) -> int:
    """The event time of what has none: in the oldest window that is open."""
    return now_ms if watermark_ms == UNKNOWN_WATERMARK_MS else min(watermark_ms, LAST_WATERMARK_MS - 1) + 1


def _row(fact: Fact) -> Row:
    return Row(*msgspec.structs.astuple(fact))
