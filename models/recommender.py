"""The recommender: everything that happens between an event of a user, or a request, and the slate that answers it.

A `Recommender` is handed the state of one user and one event; it never looks at a clock, draws no random number that is not
a function of the slate's id, and keeps nothing of a user. In the job it runs inside RECOMMEND, in `flinkrec evaluate` inside
a plain loop: the same object, the same order of calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, cast

import msgspec
import numpy as np

from models.answers.asked import AskedQuestion, Report, lesson_of
from models.answers.desk import AnswerDesk, Question
from models.answers.lessons import encode_lesson
from models.answers.memory import ANSWER_PREFIX
from models.attribution import Attribution, ClosedSlate, OpenSlates, Tally, reward_of
from models.auction.auction import Auction
from models.auction.ledger import ACCOUNT_PREFIX, Message
from models.board import USER_CF
from models.candidates import CandidateGenerator, Candidates
from models.catalogue import decode_catalogue_entry
from models.config import Configuration, EventType, Experiment, Sources, Strategy
from models.controls import PolicyRule, control_key, decode_control, decode_rules, kind_of, require_few
from models.cooccurrence import ROW_PREFIX, PairMessage, encode_pair_message
from models.debias import example_weight
from models.events import UNKNOWN_WATERMARK_MS, Event, Refusal, Rejected
from models.examples import NO_ITEMS, encode_pending, label_pending, missed, pending_propensities
from models.frequency import Impressions
from models.identity import hash64, item_hash64, slate_id, uniform
from models.learner import weights_key
from models.model_file import ModelFile
from models.panel import PANEL_PREFIX, encode_member, panel_key, user_of_key
from models.policies.learner import POLICY_PREFIX
from models.policies.slots import Slot, explore_slots
from models.policies.state import Context, context_of
from models.policies.strategies import order, relevance
from models.profile import SeenItems, UserState
from models.reasons import USER_CF as USER_CF_SOURCE
from models.reasons import item_cf_reasons, user_cf_reason
from models.replica import Replica
from models.requests import Request
from models.rules import Rules
from models.scorers import make_scorer
from models.scorers.text import TextFISM
from models.served import ServedNetwork
from models.text.encoder import TextEncoder
from models.text.vectors import VECTOR_PREFIX
from models.topics import Recommendation, RecommendedItem, Timings, kept_value
from models.traces import Trace
from models.tracing import Making, Tracer
from models.treatments import Treatment, Treatments
from models.versions import Version

_CONTROL = control_key("")
_RANKER = weights_key("ranker")
_EVENTS, _FIRST_SEEN_MS = Replica.STATS.index("events"), Replica.STATS.index("first_seen_ms")
_NO_PROBABILITIES = np.zeros(0, np.float32)


@dataclass(slots=True)
class User:
    """The keyed state of one user.

    Attributes
    ----------
    state : profile, counters, last slate
    seen : items that are not recommended again
    pending : candidates of the last slate (`models.examples`), waiting for the next event
    slates : those that wait for what comes of them
    impressions : what was shown lately, where a frequency cap is in force
    tally : what was made of the events since the caller took it last
    trace : of the slate that was made last, where it was asked for; the caller takes it
    asked : questions that the user asked last, where answers.enabled is on
    """

    state: UserState = field(default_factory=UserState)
    seen: SeenItems = field(default_factory=SeenItems)
    pending: bytes | None = None
    slates: OpenSlates = field(default_factory=OpenSlates)
    impressions: Impressions = field(default_factory=Impressions)
    tally: Tally = field(default_factory=Tally)
    trace: Trace | None = None
    asked: list[AskedQuestion] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one event taught.

    Attributes
    ----------
    pair : message for the co-occurrence table, None for an event type of weight 0, and where items are not learned
    member : record of the panel, None for most events (`models.panel`)
    example : for the learner, None when the item was no candidate of the last slate, or the event was not sampled
    evaluated : the user had an earlier event, so the last slate can be judged by this one
    position : 1-based place of the item in the last slate, 0 where it was not shown
    shown : length of the last slate
    probabilities : float32[shown], predicted of its items when they were shown; float32[0] where the scorer predicts none
    lesson : for the memory of answered questions (`models.answers.lessons`), None for all but reports on an answer
    treatment : what the user is given
    action : the strategy that made the last slate, empty where it was not evaluated
    previous_ms : event time of the user's latest event before, -1 where there was none
    """

    pair: bytes | None
    member: tuple[str, bytes] | None
    example: bytes | None
    evaluated: bool
    position: int
    shown: int
    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    treatment: Treatment | None = None
    action: str = ""
    previous_ms: int = -1
    lesson: bytes | None = None


class _Answered(NamedTuple):
    """What a question is answered with (fields: `models.topics.Recommendation`)."""

    items: list[RecommendedItem]
    suggestions: list[RecommendedItem]
    confidence: float
    hand_over: bool


NOTHING_LEARNED = Observation(None, None, None, evaluated=False, position=0, shown=0)
"""Of an event that teaches nothing."""


class Recommender:
    """Observes events and answers with slates.

    Parameters
    ----------
    configuration : the whole configuration
    start : a network to score with until the learner has published one
    epoch : of `start`, later than what earlier lives of a learner published
    encoder : of questions, instead of the configured one; only where answers.enabled is on

    Attributes
    ----------
    replica : the model
    attribution : what follows the slates; None where outcomes.enabled is off

    Raises
    ------
    ValueError
        When `start` does not fit the configuration.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        start: ModelFile | None = None,
        epoch: int = 0,
        encoder: TextEncoder | None = None,
    ) -> None:
        self._config = configuration
        self.replica = Replica(configuration)
        self.attribution = Attribution(configuration) if configuration.outcomes.enabled else None
        self._generator = CandidateGenerator(configuration, self.replica)
        self._network = None
        self._served: ServedNetwork | None = None
        # what only logs ranks as the sources do, and only what is online explores
        self._logs = configuration.learner.mode == "logging"
        self._explores = configuration.learner.mode == "online"
        self._versions: dict[str, str] = {}
        self.treatments = Treatments(configuration)
        self._sources = configuration.sources
        self._auction = Auction(configuration, self.replica.offers) if configuration.auction.value != "none" else None
        self._campaigns = None if self._auction is None else self._auction.campaigns
        self._rules = Rules(
            self.replica,
            candidates=configuration.scorer.candidates,
            campaigns=self._campaigns,
            impressions=configuration.profile.impressions,
        )
        self._desk = AnswerDesk(configuration, encoder) if configuration.answers.enabled else None
        answers = configuration.answers
        self._reports: dict[str, Report] = {}
        if self._desk is not None:
            self._reports = {
                answers.solved_type: "solved",
                answers.not_solved_type: "not_solved",
                answers.handed_over_type: "handed_over",
            }
        self._tracer = Tracer(self.replica, self._generator, self._rules)
        self._configured = decode_rules(configuration.rules)
        self._controls: dict[str, msgspec.Struct] = {}
        self._worth = _worth(configuration)
        self._dislikes = any(kind.weight < 0 for kind in configuration.events.types.values())
        self._freshness_ms = 3_600_000 * (configuration.freshness.half_life_hours or 0.0)
        self._next_factor = configuration.series.next_factor if configuration.series.in_order else 1.0
        if configuration.scorer.name != "none" and not self._logs:
            self._network = make_scorer(configuration.scorer, seed=configuration.learner.seed).eval()
            if isinstance(self._network, TextFISM):
                self._network.vectors = self.replica.vectors
                if self._network.is_tuned:
                    self.replica.told = self._network.told
            version = None
            if start is not None:
                start.require_fit(configuration.scorer)
                self._network.load(start.network)
                version = Version(epoch, 0, start.content)
            self._served = ServedNetwork(self._network, configuration, version=version)
            self._name_version()
        for kind in dict.fromkeys(kind_of(name) for name in self._configured):
            self._install(self._configured, kind)

    @property
    def version(self) -> Version | None:
        """The version of the network that scores, None before the first one."""
        return None if self._served is None else self._served.version

    @property
    def caps_impressions(self) -> bool:
        """Whether a frequency cap is in force, and `User.impressions` is looked at."""
        return self._rules.window_ms > 0

    def take_ledger_messages(self, tally: Tally | None = None) -> list[Message]:
        """What campaigns' accounts must be told, with the charged events of a tally (`models.auction.ledger`)."""
        if self._campaigns is None:
            return []
        if tally is not None:
            self._campaigns.sell(tally.sales)
            tally.sales = []
        return self._campaigns.take_messages() if self._campaigns.outbox else []

    @property
    def versions(self) -> dict[str, str]:
        """Version of each model part that answers with it."""
        return self.treatments.everybody.versions(self._versions)

    def apply_update(self, key: str, value: bytes | None) -> str | None:
        """Apply one record of `model-updates`; the newest of a key wins, applying it twice changes nothing.

        Returns
        -------
        Why it was passed over, where it is the version of a network, or of a policy's tables, of another shape; None otherwise.

        Raises
        ------
        ValueError
            When the record is of a version that this release cannot read, or damaged.
        """
        value = kept_value(value)
        if key.startswith(_RANKER) and self._served is not None:
            passed_over = self._served.apply(key, value)
            self._name_version()
            return passed_over
        if key.startswith(_CONTROL):
            self.apply_control(key.removeprefix(_CONTROL), value)
        elif key.startswith(ACCOUNT_PREFIX):
            if self._campaigns is not None and self._campaigns.apply(key, value):
                self._rules.reconsider()
        elif key.startswith(VECTOR_PREFIX):
            item = hash64(key.removeprefix(VECTOR_PREFIX))
            self.replica.apply_vector(item, value)
            if self._desk is not None and value is not None:
                self._desk.book.put_template(item, self.replica.vectors.of(np.array([item]))[0])
        elif key.startswith(PANEL_PREFIX) and value is None:
            self.replica.panel.forget(user_of_key(key))
        elif value is None:
            return None
        elif key.startswith(ROW_PREFIX):
            self.replica.apply_row(value)
        elif key.startswith(PANEL_PREFIX):
            self.replica.panel.apply(value)
        elif key.startswith(POLICY_PREFIX):
            return self.treatments.apply_tables(key, value)
        elif key.startswith(ANSWER_PREFIX) and self._desk is not None:
            self._desk.book.apply(key, value)
        return None

    def pin(self, version: str | None) -> None:
        """Score with one version of the network, ``EPOCH.NUMBER``, whatever is published; None: with the newest once more.

        While that version is not among those that `model-updates` keeps, the newest scores.
        """
        if self._served is not None:
            self._served.pin(version)
            self._name_version()

    def _name_version(self) -> None:
        version = self.version
        if version is not None:
            self._versions = self._versions | {"ranker": str(version)}

    def apply_control(self, name: str | None, value: bytes | None) -> None:
        """Apply one record of `controls` (`models.controls`); None takes the rule back, to the one of the configuration where there is one.

        Raises
        ------
        Rejected
            When it is no rule; the one before stays.
        """
        if value is None:
            if name is None:
                raise Rejected(Refusal.TOMBSTONE_KEY, "a tombstone without a key names no rule")
            if name in self._controls and self._controls[name] is not self._configured.get(name):
                left = {other: rule for other, rule in self._controls.items() if other != name}
                if name in self._configured:
                    left[name] = self._configured[name]
                self._install(left, kind_of(name))
            return
        rule = decode_control(name, value)
        if name is not None and self._controls.get(name) != rule:
            require_few(self._controls, name)
            self._install(self._controls | {name: rule}, kind_of(name))

    def _install(self, controls: dict[str, msgspec.Struct], kind: str) -> None:
        """Let these rules be in force, of which those of one kind are others than before."""
        if kind == "sources":
            weights = controls.get(kind)
            self._sources = self._config.sources if weights is None else Sources(**msgspec.structs.asdict(weights))
        elif kind == "pinned_version":
            self.pin(getattr(controls.get(kind), "version", None))
        elif kind in ("epsilon", "policy", "experiment"):
            try:
                self.treatments.install(
                    policy=cast(PolicyRule | None, controls.get("policy")),
                    experiment=cast(Experiment | None, controls.get("experiment")),
                    epsilon=getattr(controls.get("epsilon"), "epsilon", None),
                )
            except ValueError as error:
                raise Rejected(Refusal.WRONG_TYPE, str(error)) from None
        elif kind == "campaign":
            if self._campaigns is not None:
                self._campaigns.install(controls)
                self._rules.reconsider()
        else:
            self._rules.install(controls)
        self._controls = controls

    def apply_catalogue(self, key: str | None, value: bytes | None) -> None:
        """Apply one record of `items`; a tombstone takes the item off the slates.

        Raises
        ------
        Rejected
            When the record has neither key nor item_id, or its value is not a catalogue entry.
        """
        item_id, item = decode_catalogue_entry(key, value)
        if item is None:
            self.replica.withdraw(item_id)
            return
        try:
            self.replica.apply_catalogue_item(item_id, item)
        except ValueError as error:
            raise Rejected(Refusal.WRONG_TYPE, str(error)) from None

    def admit(self, user: User, event: Event, *, now_ms: int) -> None:
        """Let an event through to `observe`, and remember its id.

        Parameters
        ----------
        now_ms : processing time, for the rate limit

        Raises
        ------
        Rejected
            When it is a duplicate, or one too many of this user in this minute.
        """
        event_hash = hash64(event.event_id)
        if user.state.is_duplicate(event_hash):
            raise Rejected(Refusal.DUPLICATE, f"event_id {event.event_id!r} was seen before")
        self._admit_one_more(user, event.user_id, now_ms)
        user.state.remember_event(event_hash, capacity=self._config.profile.dedup_events)

    def admit_request(self, user: User, request: Request, *, now_ms: int) -> None:
        """Let a request through to `answer`; the parameter and the error are those of `admit`, but none is a duplicate."""
        self._admit_one_more(user, request.user_id, now_ms)

    def _admit_one_more(self, user: User, user_id: str, now_ms: int) -> None:
        limit = self._config.events.max_events_per_minute
        if user.state.count_in_minute(now_ms) > limit:
            raise Rejected(Refusal.TOO_MANY, f"more than {limit} events and requests of user {user_id!r} in one minute")

    def observe(self, user: User, event: Event, *, watermark_ms: int = UNKNOWN_WATERMARK_MS) -> Observation:
        """Judge the last slate by an event, learn from it, and make it the latest of the user's profile."""
        state, config = user.state, self._config
        item = item_hash64(event.item_id)
        if self.attribution is not None:
            self.attribution.join(user.slates, event, item, watermark_ms=watermark_ms, tally=user.tally)
        weight = config.events.types[event.type].weight
        treatment = self.treatments.of(event.user_id)
        lesson = self._lesson(user, event, item) if event.type in self._reports else None
        if weight <= 0:
            taught = self._disliked(user, event, item, weight) if weight else None
            return Observation(None, None, taught, evaluated=False, position=0, shown=0, treatment=treatment, lesson=lesson)
        places = np.flatnonzero(state.last_slate == item)
        previous_ms = state.last_event_ms
        action = self._action_of_last(user, treatment)
        pair = self._pair(state, event, item, weight) if config.item_cf.enabled else None
        example = self._example(user, event, item, place=int(places[0]) + 1 if len(places) else 0)
        evaluated = state.events > 0
        user.pending = None
        value = float("nan") if event.value is None else event.value
        state.add_item(item, time_ms=event.event_time_ms, value=value, weight=weight, config=config.profile)
        user.seen.add(item, capacity=config.profile.seen_items)
        return Observation(
            pair=pair,
            member=self._member(state, event.user_id),
            example=example,
            evaluated=evaluated,
            position=int(places[0]) + 1 if len(places) else 0,
            shown=len(state.last_slate),
            probabilities=state.last_probabilities,
            treatment=treatment,
            action=action if evaluated else "",
            previous_ms=previous_ms,
            lesson=lesson,
        )

    def _lesson(self, user: User, event: Event, item: int) -> bytes | None:
        """What a report on an answer teaches the memory of answered questions."""
        try:
            asked = int(event.slate_id or "", 16)
        except ValueError:
            return None
        window_ms = self._config.outcomes.window_ms
        lesson = lesson_of(
            user.asked, self._reports[event.type], slate_id=asked, item=item, time_ms=event.event_time_ms, window_ms=window_ms
        )
        return None if lesson is None else encode_lesson(lesson)

    def _disliked(self, user: User, event: Event, item: int, weight: float) -> bytes | None:
        """Let an item and what is like it count less for a user; returns what the scorer learns from it."""
        places = np.flatnonzero(user.state.last_slate == item)
        example = self._example(user, event, item, place=int(places[0]) + 1 if len(places) else 0)
        user.pending = None
        # what it is worth says the weight: the value of such an event is no liking
        user.state.add_item(item, time_ms=event.event_time_ms, value=float("nan"), weight=weight, config=self._config.profile)
        user.seen.add(item, capacity=self._config.profile.seen_items)
        return example

    def _liked(self, items: np.ndarray) -> np.ndarray:
        """Entries of the profile that are no dislikes."""
        return items[items["weight"] > 0] if self._dislikes else items

    def _member(self, state: UserState, user_id: str) -> tuple[str, bytes] | None:
        if state.events % self._config.user_cf.publish_every:
            return None
        user = hash64(user_id)
        return (panel_key(user), encode_member(user, self._liked(state.items))) if self.replica.panel.wants(user) else None

    def _pair(self, state: UserState, event: Event, item: int, weight: float) -> bytes:
        items = self._liked(state.items)[-self._config.item_cf.pair_items :][::-1]
        same_sitting = (
            len(items) > 0 and event.event_time_ms - state.last_event_ms <= self._config.profile.sitting_gap_s * 1000
        )
        sitting = 0
        if same_sitting:
            for d in np.flatnonzero(items["sitting"][:64] == items["sitting"][0]).tolist():
                sitting |= 1 << d
        return encode_pair_message(
            PairMessage(
                item=item,
                item_id=event.item_id,
                event_time_ms=event.event_time_ms,
                weight=weight,
                value=float("nan") if event.value is None else event.value,
                earlier=np.ascontiguousarray(items["item"]),
                sitting=sitting,
            )
        )

    def _example(self, user: User, event: Event, item: int, *, place: int) -> bytes | None:
        learner = self._config.learner
        if user.pending is None or not learner.enabled or self._logs:
            return None
        if learner.sample_rate < 1 and uniform(hash64(event.event_id), learner.seed, 0) >= learner.sample_rate:
            return None
        example = label_pending(user.pending, item, self._weight(user.pending, event, place))
        if example is not None or learner.loss == "listwise" or self._config.events.types[event.type].weight < 0:
            return example
        # that none of them came next says nothing of their order, but lowers the probability of each
        return missed(user.pending) if uniform(hash64(event.event_id), learner.seed, 1) < learner.miss_rate else None

    def _weight(self, pending: bytes, event: Event, place: int) -> float:
        learner = self._config.learner
        worth = 1.0
        if self._worth is not None:
            worth = min(learner.max_weight, max(-learner.max_weight, self._worth[event.type](event.value)))
        if learner.debias == "none" or place == 0:
            return worth
        propensities = pending_propensities(pending)
        # a slate of before the switch
        propensity = float(propensities[place - 1]) if place <= len(propensities) else 1.0
        weight = worth * example_weight(learner, place=event.position or place, propensity=propensity)
        return min(learner.max_weight, max(-learner.max_weight, weight))

    def recommend(
        self, user: User, event: Event, stamp: Callable[[], Timings], *, watermark_ms: int = UNKNOWN_WATERMARK_MS
    ) -> Recommendation:
        """Answer an event with a slate, and keep it in the user's state.

        Parameters
        ----------
        event : the cause; its item is in the profile when `observe` saw it before
        stamp : called last, gives the timings of the answer

        Returns
        -------
        Recommendation
            Ranked, explained, with the exact propensity of each item at its position. The same state, model and event
            give the same slate, to the last draw.
        """
        return self._slate(user, event, slate_id(event.event_id, event.user_id), stamp, k=self._config.slate.k, watermark_ms=watermark_ms)

    def answer(
        self, user: User, request: Request, stamp: Callable[[], Timings], *, watermark_ms: int = UNKNOWN_WATERMARK_MS
    ) -> Recommendation:
        """Answer a request with a slate, and keep it in the user's state; nothing is learned from it.

        A slate that is like one that answers an event (`Request.is_plain`) takes the place of the user's last one: the next event
        judges it and is an example of its candidates. Another is only followed by its outcome.

        Parameters
        ----------
        stamp, watermark_ms : as for `recommend`

        Returns
        -------
        Recommendation
            The same request gives a slate of the same id, of what is best by then.
        """
        return self._slate(
            user,
            request,
            slate_id(f"request:{request.request_id}", request.user_id),
            stamp,
            k=request.k or self._config.slate.k,
            restrict=None if request.restrict is None else _hashes(request.restrict),
            exclude=_hashes(request.exclude) if request.exclude else None,
            is_judged=request.is_plain(self._config.slate.k),
            text=request.text,
            watermark_ms=watermark_ms,
        )

    def _slate(
        self,
        user: User,
        cause: Event | Request,
        name: str,
        stamp: Callable[[], Timings],
        *,
        k: int,
        restrict: np.ndarray | None = None,
        exclude: np.ndarray | None = None,
        is_judged: bool = True,
        text: str | None = None,
        watermark_ms: int,
    ) -> Recommendation:
        state, config = user.state, self._config
        key = int(name, 16)
        treatment = self.treatments.of(cause.user_id)
        action, action_probability, context = self._act(state, treatment, key=key)
        strategy = treatment.settings.strategies[action]
        if self._campaigns is not None and self._campaigns.pass_time(cause.event_time_ms):
            self._rules.reconsider()
        asked = self._rules.asked_of(cause) if self._rules.active else None
        tired = None
        if self._rules.window_ms:
            tired = self._rules.tired_of(user.impressions, time_ms=cause.event_time_ms)
            exclude = tired.items if exclude is None else np.concatenate((exclude, tired.items))
        self._generator.weigh(strategy.sources or treatment.sources or self._sources)
        question = None if text is None or self._desk is None else self._desk.ask(text, now_ms=cause.event_time_ms)
        candidates = self._generator.generate(
            hash64(cause.user_id),
            state,
            user.seen,
            restrict=restrict,
            exclude=exclude,
            include=None if asked is None else asked.joining,
            offers=None if self._campaigns is None else self._campaigns.items(config.auction.candidates, turn=state.seq),
            answers=None if question is None or self._desk is None else self._desk.best(question),
            now_ms=cause.event_time_ms,
        )
        hashes = self.replica.hashes[candidates.items]
        matrix, history = self._frozen(candidates, hashes, state)
        if question is None or self._desk is None:
            scores, probabilities = self._score(candidates, matrix, hashes, history, strategy)
        else:
            scores, probabilities = self._desk.scores(question, hashes), None
        worth = None
        if self._auction is not None and probabilities is not None:
            worth = self._auction.worth(candidates.items, probabilities, key=key)
            scores = worth.values
        if asked is not None:
            odds = self._network is not None and strategy.scorer_weight == 1 and worth is None
            scores = self._rules.boosted(scores, candidates.items, odds=odds)
        if self._freshness_ms or self._next_factor != 1:
            odds = self._network is not None and strategy.scorer_weight == 1 and worth is None
            scores = self._at_its_time(scores, candidates, cause.event_time_ms, odds=odds)
        ranked = order(strategy, scores, self.replica.categories[candidates.items], k=k)
        prices = None
        if self._auction is not None and worth is not None:
            ranked = self._auction.shown(ranked, scores)
            prices = self._auction.prices(worth, scores, ranked)
        listed, pool, pinned = ranked[:k], ranked[k:], None
        if asked is not None:
            listed, pool, pinned = self._rules.lay_out(asked, ranked, candidates.items, k=k, tired=tired)
        epsilon = self.treatments.epsilon(treatment, strategy, slates=state.seq) if self._explores else 0.0
        slots = explore_slots(listed, pool, epsilon=epsilon, key=key, seed=config.policy.seed, pinned=pinned)
        rows = np.array([slot.item for slot in slots], np.int64)
        items = self._explained(candidates, rows, slots, scores, probabilities)
        if prices is not None:
            items = self._priced(items, candidates.items[rows], prices[rows])
        answer = None
        if question is not None:
            answer = self._answered(user, question, items, key=key, time_ms=cause.event_time_ms, hashes=hashes, rows=rows, scores=scores)
            items = answer.items
            if answer.hand_over:
                rows, slots = rows[:0], []
        context_of_trace = (context or context_of(state)) if cause.trace else None
        state.seq += 1
        shown = hashes[rows]
        self.replica.impressions[candidates.items[rows]] += 1
        if tired is not None:
            self._rules.remember(user.impressions, candidates.items[rows], time_ms=cause.event_time_ms)
        if is_judged:
            state.last_slate = shown
            state.last_probabilities = _NO_PROBABILITIES if probabilities is None else probabilities[rows]
            learns_probability = config.learner.probability_of == "candidate" or len(rows) > 0
            if self._network is not None and config.learner.enabled and len(candidates.items) > 1 and learns_probability:
                weighs = config.learner.debias != "none" or self._worth is not None
                propensities = np.array([slot.propensity for slot in slots], np.float32) if weighs else None
                shown_rows = rows if config.learner.probability_of == "shown" else None
                user.pending = encode_pending(matrix, hashes, history, propensities=propensities, shown=shown_rows)
        versions = treatment.versions(self._versions)
        recommendation = Recommendation(
            slate_id=name,
            revision=self._revision(shown, slots, versions, None if prices is None else prices[rows]),
            seq=state.seq,
            user_id=cause.user_id,
            event_id=cause.event_id if isinstance(cause, Event) else "",
            event_time_ms=cause.event_time_ms,
            items=items,
            policy=treatment.policy.name,
            action=action,
            action_probability=action_probability,
            arm=treatment.arm,
            versions=versions,
            timings=stamp(),
            request_id=None if isinstance(cause, Event) else cause.request_id,
        )
        if answer is not None:
            recommendation = msgspec.structs.replace(
                recommendation, confidence=answer.confidence, hand_over=answer.hand_over, suggestions=answer.suggestions
            )
        if context_of_trace is not None:
            making = Making(
                treatment=treatment,
                strategy=strategy,
                context=context_of_trace,
                epsilon=epsilon,
                candidates=candidates,
                matrix=matrix,
                scores=scores,
                probabilities=probabilities,
                ranked=ranked,
                k=k,
                listed=listed,
                slots=slots,
                pinned=pinned,
                asked=asked,
                recommendation=recommendation,
            )
            user.trace = self._tracer.trace(making, state, controls=sorted(self._controls))
        if self.attribution is not None and context is not None:
            self.attribution.open(
                user.slates,
                recommendation,
                items=shown,
                rows=matrix[rows],
                context=context,
                sitting=int(state.items["sitting"][-1]) if len(state.items) else 0,
                watermark_ms=watermark_ms,
                tally=user.tally,
                is_judged=is_judged,
            )
        return recommendation

    def _answered(
        self,
        user: User,
        question: Question,
        items: list[RecommendedItem],
        *,
        key: int,
        time_ms: int,
        hashes: np.ndarray,
        rows: np.ndarray,
        scores: np.ndarray,
    ) -> _Answered:
        """Whether the slate of a question is shown or a person is asked; the question is remembered until somebody says."""
        assert self._desk is not None
        others = np.ones(len(scores), np.bool_)
        others[rows] = False
        features = self._desk.features(question, hashes[rows], next_best=float(scores[others].max(initial=0.0)))
        confidence = self._desk.book.confidence.predict_one(features)
        hand_over = not self._desk.is_sure(confidence)
        items = self._desk.explained(question, items, hashes[rows])
        self._desk.remember(user.asked, question, slate_id=key, time_ms=time_ms, features=features, items=hashes[rows])
        return _Answered([] if hand_over else items, items if hand_over else [], confidence, hand_over)

    def erase(self, user: User, event: Event, stamp: Callable[[], Timings]) -> tuple[Recommendation, tuple[str, None]]:
        """What says that a user is erased; it is up to the caller that nothing of `user` is kept.

        The user's open slates close without an outcome: an outcome is a record of what the user did.

        Returns
        -------
        The marker for `recommendations`, above all that the user was shown, and the tombstone for `model-updates`: it is sent for
        everybody, as the panel may have been larger once.
        """
        treatment = self.treatments.of(event.user_id)
        marker = Recommendation(
            slate_id=slate_id(event.event_id, event.user_id),
            revision=f"{0:016x}",
            seq=user.state.seq + 1,
            user_id=event.user_id,
            event_id=event.event_id,
            event_time_ms=event.event_time_ms,
            items=[],
            policy=treatment.policy.name,
            action="",
            action_probability=1.0,
            arm=treatment.arm,
            versions={},
            timings=stamp(),
            erased=True,
        )
        return marker, (panel_key(hash64(event.user_id)), None)

    def _act(self, state: UserState, treatment: Treatment, *, key: int) -> tuple[str, float, Context | None]:
        """Name of the strategy that makes this slate, the probability that it had, and what it was chosen by."""
        if len(treatment.policy.actions) == 1 or self._logs:
            return treatment.policy.actions[0], 1.0, None if self.attribution is None else context_of(state)
        context = context_of(state)
        return *(treatment.choose(context, key) if self._explores else treatment.best(context)), context

    def _action_of_last(self, user: User, treatment: Treatment) -> str:
        """The strategy that made the user's last slate; empty where it is not known any more."""
        if len(treatment.policy.actions) == 1 and not self.treatments.choosing:
            return treatment.policy.actions[0]
        made = None if self.attribution is None else self.attribution.last_made(user.slates)
        return "" if made is None else made.action

    def step_of(self, closed: ClosedSlate) -> tuple[Treatment, bytes] | None:
        """What a closed slate teaches (`models.policies.steps`), and whose policy; None where it teaches none.

        That is the policy that made it, whatever arm the user is in by now. A slate that another policy made ends the session.
        """
        if self.attribution is None or not self.treatments.choosing or self._logs:
            return None
        made = self.attribution.made(closed.slate)
        treatment = self.treatments.who_made(made.arm, made.policy)
        if treatment is None or len(treatment.policy.actions) == 1:
            return None
        step = self.attribution.step(closed, treatment.action_key)
        return None if step is None else (treatment, step)

    def _frozen(self, candidates: Candidates, hashes: np.ndarray, state: UserState) -> tuple[np.ndarray, np.ndarray]:
        """The matrix that the scorer sees, and the latest items that it reads."""
        network = self._network
        if network is None or network.history == 0 or len(candidates.items) == 0:
            return candidates.features, NO_ITEMS
        history = np.ascontiguousarray(self._liked(state.items)["item"][: -network.history - 1 : -1])
        return network.freeze(candidates.features, hashes, history), history

    def _score(
        self, candidates: Candidates, matrix: np.ndarray, hashes: np.ndarray, history: np.ndarray, strategy: Strategy
    ) -> tuple[np.ndarray, np.ndarray | None]:
        if self._network is None or len(candidates.items) == 0:
            return self._generator.blend(candidates), None
        items = hashes if self._network.history else NO_ITEMS
        scores, probabilities = self._network.score(matrix, items, history)
        if strategy.scorer_weight < 1:
            scores = relevance(strategy, scores, self._generator.blend(candidates))
        return scores, probabilities

    def _at_its_time(self, scores: np.ndarray, candidates: Candidates, now_ms: int, *, odds: bool) -> np.ndarray:
        """Scores with the factors of freshness and of the next episode: logarithms of odds, or scores that are multiplied."""
        items, logs = candidates.items, np.zeros(len(candidates.items))
        if self._freshness_ms:
            came_ms = self.replica.from_ms[items].astype(np.float64)
            first_ms = np.where(self.replica.stats[items, _EVENTS] > 0, self.replica.stats[items, _FIRST_SEEN_MS], now_ms)
            age_ms = np.maximum(0.0, now_ms - np.where(came_ms > 0, came_ms, first_ms))
            logs -= np.log(2) / self._freshness_ms * age_ms
        if self._next_factor != 1:
            logs[self._generator.is_next_episode(candidates)] += np.log(self._next_factor)
        timely: np.ndarray = scores + logs if odds else scores * np.exp(logs)
        return timely.astype(np.float32)

    def _explained(
        self,
        candidates: Candidates,
        rows: np.ndarray,
        slots: list[Slot],
        scores: np.ndarray,
        probabilities: np.ndarray | None,
    ) -> list[RecommendedItem]:
        """The items of a slate, which stand in these rows of the candidates."""
        replica = self.replica
        shown = candidates.items[rows]
        told = [self._generator.told_of(bits) for bits in candidates.origins[rows].tolist()]
        owners = [replica.item_ids[index] for index in candidates.profile.tolist()]
        parts = self._generator.contributions(candidates, shown)
        reasons = item_cf_reasons(parts, owners, most=self._config.slate.reasons)
        for of_item, (names, others), score in zip(reasons, told, candidates.sums[rows, USER_CF].tolist(), strict=True):
            if USER_CF_SOURCE in names:
                of_item.append(user_cf_reason(score))
            of_item.extend(others)
        indices, cf_scores = shown.tolist(), parts.sum(1).tolist()
        chances = [None] * len(rows) if probabilities is None else probabilities[rows].tolist()
        return [
            RecommendedItem(
                item_id=replica.item_ids[indices[place]],
                position=place + 1,
                score=score,
                cf_score=cf_scores[place],
                probability=chances[place],
                sources=told[place][0],
                reasons=reasons[place],
                explored=slot.explored,
                propensity=slot.propensity,
                title=replica.titles[indices[place]],
            )
            for place, (slot, score) in enumerate(zip(slots, scores[rows].tolist(), strict=True))
        ]

    def _priced(self, items: list[RecommendedItem], indices: np.ndarray, prices: np.ndarray) -> list[RecommendedItem]:
        """The items of a slate with what their campaigns pay if they are charged."""
        assert self._auction is not None
        priced = []
        for item, index, price in zip(items, indices.tolist(), prices.tolist(), strict=True):
            campaign = self._auction.campaign_of(index)
            unpaid = campaign is None
            priced.append(item if unpaid else msgspec.structs.replace(item, campaign=campaign, price_micros=price))
        return priced

    @staticmethod
    def _revision(shown: np.ndarray, slots: list[Slot], versions: dict[str, str], prices: np.ndarray | None = None) -> str:
        """Digest of the items, their propensities, what they cost, and the versions behind them."""
        propensities = np.array([slot.propensity for slot in slots])
        said = "\x1f".join(versions.values()).encode()
        cost = b"" if prices is None else prices.tobytes()
        return blake2b(shown.tobytes() + propensities.tobytes() + said + cost, digest_size=8).hexdigest()


def _worth(configuration: Configuration) -> dict[str, Callable[[float | None], float]] | None:
    """How much an example counts by the type and value of its event; None where all count alike."""
    types = configuration.events.types
    if configuration.learner.weigh_by_reward:
        return {name: reward_of(kind) for name, kind in types.items()}
    if all(kind.weight >= 0 for kind in types.values()):
        return None
    return {name: reward_of(EventType(weight=min(kind.weight, 0.0) or 1.0)) for name, kind in types.items()}


def _hashes(item_ids: tuple[str, ...]) -> np.ndarray:
    return np.array([item_hash64(item_id) for item_id in item_ids], np.int64)
