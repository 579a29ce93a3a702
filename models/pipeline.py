"""The whole loop in one process: what the job does across operators, in the same order, with the same objects.

Used by ``flinkrec evaluate --engine local``; a test holds it to what the Flink job learns and serves.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

import msgspec

from models.answers.memory import AnswerMemory
from models.arm_learner import ArmLearner
from models.attribution import ClosedSlate
from models.auction.ledger import Account
from models.catalogue import decode_catalogue_entry
from models.config import Configuration, ConfigurationError
from models.cooccurrence import CooccurrenceTable
from models.events import ERASE, UNKNOWN_WATERMARK_MS, Event
from models.identity import hash64
from models.learner import Learner
from models.model_file import ModelFile
from models.observer import NOTHING_LEARNED, Observation
from models.policies.learner import PolicyLearner
from models.profile import SeenItems, decode_user_state, encode_user_state
from models.recommender import Recommender
from models.requests import Request
from models.text.encoder import TextEncoder, make_encoder
from models.text.vectors import VectorMaker, gone, vector_key
from models.text.words import HashedWords
from models.topics import Charge, Recommendation, Timings
from models.treatments import Treatment
from models.user import User

_WARM_UP_EVENTS = 300
_PUBLISH_EVERY = 16
# One of each kind that lays out a slate: the first rule that is sent must not wait for the compiler.
_WARM_UP_RULES = {
    "boost": b'{"factor": 2, "items": ["item 1"]}',
    "category_caps": b'{"most": 5}',
    "pin": b'{"item": "item 2", "position": 1}',
}
_NO_TIMINGS = Timings(received_at_ms=0, emitted_at_ms=0, compute_us=0)


def _no_timings() -> Timings:
    return _NO_TIMINGS


class LocalPipeline:
    """Recommends to, and learns from, a stream of events.

    Parameters
    ----------
    configuration : the whole configuration
    publish_every : events between two publications of changed rows to the recommender; 1 is the freshest. None: the first at once, and
        each an event later than the one before, until they are 16 apart
    start : a trained network to begin with
    on_closed : is told of each slate that closes, and whose it was
    on_charge : is told of each charge
    encoder : of texts, instead of the configured one, which is made otherwise

    Attributes
    ----------
    watermark_ms : largest event time that was learned
    accounts : of campaigns, by name
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        publish_every: int | None = None,
        start: ModelFile | None = None,
        on_closed: Callable[[str, ClosedSlate], None] = lambda user_id, closed: None,
        on_charge: Callable[[Charge], None] = lambda charge: None,
        encoder: TextEncoder | None = None,
    ) -> None:
        self.watermark_ms = UNKNOWN_WATERMARK_MS
        self._on_closed, self._on_charge = on_closed, on_charge
        self._auction_settings = configuration.auction
        self.accounts: dict[str, Account] = {}
        self._standings: dict[str, bytes] = {}
        self._timers: list[tuple[int, str]] = []
        self._publish_every = publish_every
        self._since_publication = self._publications = 0
        if encoder is None and configuration.text.encoder != "none":
            encoder = make_encoder(configuration.text)
        self._config = configuration
        self.recommender = Recommender(configuration, start=start, encoder=encoder)
        self.answers = AnswerMemory(configuration.answers)
        self.table = CooccurrenceTable(configuration.item_cf, configuration.popularity)
        self.learner = Learner(
            configuration.learner, configuration.scorer, gate=configuration.gate, k=configuration.slate.k, start=start
        )
        self._arm_learners: dict[int, ArmLearner] = {}
        self._vectors: VectorMaker | None = None
        if configuration.text.makes_vectors:
            self._vectors = vector_maker(configuration, encoder)
        self._digests: dict[str, int] = {}
        self.policy = PolicyLearner(configuration.policy)
        self._policy_settings = configuration.policy
        self._other_policies: dict[str, tuple[PolicyLearner, bytes]] = {}
        self._members: list[tuple[str, bytes | None]] = []
        self.users: dict[str, User] = {}

    def apply_catalogue(self, key: str | None, value: bytes | None) -> None:
        """Take one record of `items`, and make its vector where the configuration asks for one.

        Raises
        ------
        Rejected
            As of `models.recommender.Recommender.apply_catalogue`.
        """
        self.recommender.apply_catalogue(key, value)
        if self._vectors is None:
            return
        item_id, item = decode_catalogue_entry(key, value)
        if item is None:
            self._digests.pop(item_id, None)
            self.recommender.apply_update(vector_key(item_id), None)
            self.learner.learn_one(gone(hash64(item_id)))
            return
        self._digests[item_id], record = self._vectors.make(item_id, item, known=self._digests.get(item_id, 0))
        if record is not None:
            self.recommender.apply_update(vector_key(item_id), record)
            self.learner.learn_one(record)

    def user(self, user_id: str) -> User:
        """The state of a user, new where there is none."""
        found = self.users.get(user_id)
        if found is None:
            found = self.users[user_id] = User()
        return found

    def recommend(self, event: Event) -> Recommendation:
        """The slate for the user of an event as things stand, without learning from it; the policy hears of slates that close by it."""
        user = self.user(event.user_id)
        slate = self.recommender.recommend(user, event, _no_timings, watermark_ms=self.watermark_ms)
        self._settle(event.user_id, user)
        return slate

    def answer(self, request: Request) -> Recommendation:
        """The slate that a user asks for, as things stand."""
        user = self.user(request.user_id)
        slate = self.recommender.answer(user, request, _no_timings, watermark_ms=self.watermark_ms)
        self._settle(request.user_id, user)
        return slate

    def _learner_of(self, treatment: Treatment) -> PolicyLearner:
        if treatment.definition is None:
            return self.policy
        learner, told = self._other_policies.get(treatment.key) or (PolicyLearner(self._policy_settings), b"")
        if told is not treatment.definition:
            learner.learn_one(treatment.definition)
            self._other_policies[treatment.key] = learner, treatment.definition
        return learner

    def _learner_of_network(self, number: int | None) -> Learner | ArmLearner:
        if number is None:
            return self.learner
        found = self._arm_learners.get(number)
        if found is None:
            found = self._arm_learners[number] = ArmLearner(self._config)
        return found

    def learn(self, event: Event) -> Observation:
        """Learn from an event, and publish what was learned when it is time; forget the user whom it erases.

        Raises
        ------
        Rejected
            When the recommender does not admit the event.
        """
        self._fire_timers()
        if event.type == ERASE:
            return self._erase(event)
        user = self.user(event.user_id)
        self.recommender.admit(user, event, now_ms=event.event_time_ms)
        observation = self.recommender.observe(user, event, watermark_ms=self.watermark_ms)
        self._settle(event.user_id, user)
        self.watermark_ms = max(self.watermark_ms, event.event_time_ms)
        if observation.pair is not None:
            self.table.learn_one(observation.pair)
        if observation.member is not None:
            self._members.append(observation.member)
        for number, message in self.recommender.examples(observation):
            self._learner_of_network(number).learn_one(message)
        if observation.lesson is not None:
            self.answers.learn_one(observation.lesson)
        self._publish_in_turn()
        return observation

    def _erase(self, event: Event) -> Observation:
        _, tombstone = self.recommender.erase(self.user(event.user_id), event, _no_timings)
        del self.users[event.user_id]
        self.watermark_ms = max(self.watermark_ms, event.event_time_ms)
        self._members.append(tombstone)
        self._publish_in_turn()
        return NOTHING_LEARNED

    def close_all(self, *, now_ms: int) -> None:
        """Close all slates, as the job does when no more events come."""
        if self.recommender.attribution is not None:
            for user_id, user in self.users.items():
                self.recommender.attribution.close_all(
                    user.slates, watermark_ms=self.watermark_ms, now_ms=now_ms, tally=user.tally
                )
                self._take_closed(user_id, user)

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.watermark_ms:
            time_ms, user_id = heappop(self._timers)
            user = self.users.get(user_id)
            if user is None:  # erased since
                continue
            if user.slates.timer_ms == time_ms:
                user.slates.timer_ms = 0
            self._settle(user_id, user)

    def _settle(self, user_id: str, user: User) -> None:
        if self.recommender.attribution is not None:
            self.recommender.attribution.settle(user.slates, watermark_ms=self.watermark_ms, tally=user.tally)
            self._take_closed(user_id, user)
            self._arm(user_id, user)

    def _arm(self, user_id: str, user: User) -> None:
        """Keep one timer a user, as the job does."""
        if self.recommender.attribution is not None:
            due_ms = self.recommender.attribution.due_ms(user.slates, watermark_ms=self.watermark_ms)
            if due_ms and (user.slates.timer_ms == 0 or due_ms < user.slates.timer_ms):
                user.slates.timer_ms = due_ms
                heappush(self._timers, (due_ms, user_id))

    def _take_closed(self, user_id: str, user: User) -> None:
        for closed in user.tally.closed:
            taught = self.recommender.step_of(closed)
            if taught is not None:
                treatment, step = taught
                self._learner_of(treatment).learn_one(step)
            self._on_closed(user_id, closed)
        user.tally.closed.clear()
        self._keep_accounts(user)

    def _keep_accounts(self, user: User) -> None:
        for message in self.recommender.take_ledger_messages(user.tally):
            account = self.accounts.get(message.campaign)
            if account is None:
                account = self.accounts[message.campaign] = Account(self._auction_settings)
            charge, tells = account.take(message)
            if charge is not None:
                self._on_charge(charge)
            if tells:
                key, value = account.record(message.campaign)
                self._standings[key] = value

    def _publish_in_turn(self) -> None:
        self._since_publication += 1
        if self._since_publication >= (self._publish_every or min(_PUBLISH_EVERY, 1 + self._publications)):
            self._since_publication = 0
            self._publications += 1
            self._publish()

    def _publish(self) -> None:
        for deltas in self.table.take_deltas():
            self.recommender.replica.apply_deltas(deltas)
        updates: list[tuple[str, bytes | None]] = [*self.policy.take_updates(), *self.answers.take_updates()]
        for learner, _ in self._other_policies.values():
            updates += learner.take_updates()
        for number, message in self.recommender.rankers.take_endings():
            self._learner_of_network(number).learn_one(message)
        networks: list[Learner | ArmLearner] = [self.learner, *self._arm_learners.values()]
        for network in networks:
            updates += network.take_updates()
        self._arm_learners = {number: learner for number, learner in self._arm_learners.items() if not learner.has_ended}
        members, self._members = self._members, []
        standings, self._standings = self._standings, {}
        for key, value in (*updates, *members, *standings.items()):
            self.recommender.apply_update(key, value)


def vector_maker(configuration: Configuration, encoder: TextEncoder | None = None) -> VectorMaker:
    """What makes the vectors of items; its encoder is the configured one unless one is given.

    Raises
    ------
    ConfigurationError
        When the encoder cannot be used, or makes vectors of another dimension than the scorer projects.
    """
    settings, scorer = configuration.text, configuration.scorer
    if encoder is None and settings.encoder != "none":
        encoder = make_encoder(settings)
    maker = VectorMaker(settings, encoder)
    if scorer.name == "text" and maker.dimension != scorer.vector_dimension:
        raise ConfigurationError(
            file="the configuration",
            key="scorer.vector_dimension",
            expected=f"{maker.dimension}, the numbers of the vectors that section text makes",
            got=repr(scorer.vector_dimension),
        )
    return maker


def warm_up(configuration: Configuration) -> None:
    """Run a few made-up events through a pipeline that is thrown away.

    It compiles the kernels (seconds, the first time on a machine) and starts PyTorch, so that the first real event is answered
    as fast as any other.
    """
    # what a language model says is not needed for that
    words = HashedWords(max(16, configuration.scorer.vector_dimension - configuration.text.catalogue_dimension))
    pipeline = LocalPipeline(configuration, publish_every=1, encoder=words)
    if configuration.text.makes_vectors:
        for n in range(31):
            pipeline.apply_catalogue(f"item {n * n % 31}", b'{"title": "item"}')
    event_type = next(name for name, kind in configuration.events.types.items() if kind.weight > 0)
    for n in range(_WARM_UP_EVENTS):
        if n == _WARM_UP_EVENTS // 2:
            for name, rule in _WARM_UP_RULES.items():
                pipeline.recommender.apply_control(name, rule)
        event = Event(f"{n}", f"user {n % 3}", f"item {n * n % 31}", event_type, 60_000 * n, value=float(n % 5))
        pipeline.learn(event)
        pipeline.recommend(event)
    _warm_up_requests(pipeline)


def _warm_up_requests(pipeline: LocalPipeline) -> None:
    """Ask for slates of each kind for somebody who is known and for a stranger.

    What is known of them is read from packed state each time, as in the job: its arrays are read-only, which is a type of its own to
    the compiler, and no event has written to them. So are those of a stranger who asks again, which are empty.
    """
    some = ("item 1", "item 2")
    for user_id in ("user 0", "a stranger"):
        user = pipeline.user(user_id)
        for number, (restrict, exclude) in enumerate(((None, None), (some, None), (None, some), (some, some))):
            asked = Request(request_id=f"{number}", user_id=user_id, event_time_ms=0, restrict=restrict, exclude=exclude)
            pipeline.answer(asked)
            user.state, user.seen = decode_user_state(encode_user_state(user.state)), SeenItems.decode(user.seen.encode())
            pipeline.answer(msgspec.structs.replace(asked, request_id=f"{number} again"))
