"""The service: what the HTTP API and the console call.

One process, one `Service`. It follows `recommendations` into the store and the catalogue, the published model and the rules into
memory, in threads of its own; whoever calls it does so from the event loop that started it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import msgspec
from confluent_kafka import Message

from models.config import Configuration
from models.controls import kind_of
from models.events import ERASE, UNKNOWN_WATERMARK_MS, Event, EventCleaner, Refusal, Rejected
from models.requests import RequestCleaner, RequestRecord
from models.topics import (
    CONTROLS,
    EVENTS,
    ITEMS,
    MODEL_UPDATES,
    RECOMMENDATIONS,
    REQUESTS,
    CatalogueItem,
    Recommendation,
    topic_name,
)
from serving.answers import (
    Answer,
    Because,
    Control,
    Erasure,
    EventResult,
    Readiness,
    ShownItem,
    SimilarItems,
    answer_of,
    because,
)
from serving.brokers import Place, Record, Sender
from serving.followers import Follower
from serving.health import Health
from serving.model import Model, PopularItem, decode_popular, encode_popular
from serving.store import SlateRecord, SlateStore, StoredSlate, decode_recommendation

POPULAR_KEPT = 200
_PUBLISH_EVERY_S = 0.5
_ACCEPTED_WITHIN_S = 5.0
_MS_A_DAY = 86_400_000
_encode = msgspec.json.Encoder().encode
_Key = TypeVar("_Key")
_Waiting = TypeVar("_Waiting")

Question = tuple[str, str]
"""Of whom, and its id: two users may give their questions the same one."""


class _Timings(msgspec.Struct, gc=False):
    sent_at_ms: int | None = None


class _Head(msgspec.Struct, gc=False):
    """What the follower reads of a record of `recommendations`."""

    user_id: str
    seq: Annotated[int, msgspec.Meta(ge=0)]
    event_id: str = ""
    request_id: str | None = None
    erased: bool = False
    timings: _Timings = msgspec.field(default_factory=_Timings)


_decode_head = msgspec.json.Decoder(_Head).decode


class Watcher(Protocol):
    """Is told, in the threads of the service, of what it reads: so that nobody in its process reads it a second time."""

    def see_slate(self, user_id: str, *, at_ms: int, sent_at_ms: int | None) -> None:
        """A slate came at a time of the broker; when its event or request was sent, None where nobody says."""

    def see_update(self, key: bytes | None, value: bytes | None) -> None:
        """A record of `model-updates`."""


class Service:
    """Slates, events, requests, the model and the rules of one job.

    Parameters
    ----------
    configuration : of the job, whose topics are served
    directory : where the store is, or is made

    Attributes
    ----------
    configuration : as given
    store : the newest slate of each user
    model : catalogue, popular and similar items, rules
    health : of Kafka and the job
    undecodable : records of `recommendations` that were none
    watcher : told of what is read, None where nobody watches; set before the start
    """

    def __init__(self, configuration: Configuration, directory: Path) -> None:
        self.configuration = configuration
        self.store = SlateStore(directory, ttl_ms=int(configuration.serving.store_ttl_days * _MS_A_DAY))
        self.model = Model(configuration, on_accepted=self._accepted)
        self.undecodable = 0
        self.watcher: Watcher | None = None
        kafka = configuration.kafka
        self._topic = {
            name: topic_name(kafka.topic_prefix, name)
            for name in (EVENTS, REQUESTS, ITEMS, CONTROLS, RECOMMENDATIONS, MODEL_UPDATES)
        }
        self._events = EventCleaner(configuration.events)
        self._requests = RequestCleaner(configuration.events)
        self._sender = Sender(kafka)
        self.health = Health(configuration.flink, kafka.topic_prefix, self._sender.brokers_answer)
        self._slates = Follower(
            kafka, (self._topic[RECOMMENDATIONS],), start=self._slates_from, take=self._take_slates, at_once=True
        )
        self._parts = Follower(
            kafka,
            (self._topic[ITEMS], self._topic[MODEL_UPDATES], self._topic[CONTROLS]),
            start=lambda _: {},
            take=self._take_parts,
            tick=self._publish_parts,
            at_once=False,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: dict[Question, list[asyncio.Future[Recommendation]]] = {}
        self._acting: dict[str, asyncio.Future[Recommendation]] = {}
        self._accepting: dict[str, list[asyncio.Future[None]]] = {}
        self._unpublished, self._published_s = False, 0.0
        kept = self.store.popular
        self._popular_before = () if kept is None else decode_popular(kept)

    # ------------------------------------------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin to follow; answers are given from the store at once."""
        self._loop = asyncio.get_running_loop()
        for thread in (self.health, self._slates, self._parts):
            thread.start()

    async def stop(self) -> None:
        """End the threads, and close the store."""
        for thread in (self.health, self._slates, self._parts):
            await asyncio.to_thread(thread.stop)
        await asyncio.to_thread(self._sender.close)
        self.store.close()

    def ready(self) -> Readiness:
        """How the service is, in words too."""
        slates, model = self._slates.caught_up.is_set(), self._parts.caught_up.is_set()
        failures = [failure for failure in (self._slates.failure, self._parts.failure) if failure is not None]
        problems = list(failures)
        if not self.health.kafka_answers:
            problems.append(
                f"Kafka at {self.configuration.kafka.bootstrap_servers} does not answer: slates are those of the store, events are refused"
            )
        elif not (slates and model):
            problems.append("the topics are not read to their end yet")
        if self.health.elsewhere is not None:
            problems.append(
                f"the job {self.configuration.flink.job_name} has other topics, {self.health.elsewhere}NAME and not "
                f"{self.configuration.kafka.topic_prefix}NAME: nothing follows, slates are those of the store"
            )
        elif self.health.job == "down":
            problems.append(f"the job {self.configuration.flink.job_name} does not run: slates are those of the store")
        return Readiness(
            ready=slates and model and not failures and self.health.kafka_answers,
            kafka="up" if self.health.kafka_answers else "down",
            job=self.health.job,
            slates=slates,
            slates_lag=self._slates.lag,
            brokers=self.configuration.kafka.bootstrap_servers,
            topic_prefix=self.configuration.kafka.topic_prefix,
            model=model,
            problems=problems,
        )

    # ------------------------------------------------------------------------------------------------ slates

    def slate(self, user_id: str) -> StoredSlate | None:
        """The newest slate of a user as the job made it, None where there is none."""
        return self.store.get(user_id, now_ms=_now_ms())

    def recommendations(self, user_id: str, *, k: int | None = None, explain: bool = False) -> Answer:
        """The stored slate of a user, or popular items where there is none.

        Parameters
        ----------
        k : at most so many items, None: as many as the slate has
        explain : with reasons, sources, propensities and who made it
        """
        return self._at_hand(user_id, k=k, explain=explain, stale=self.health.job == "down")

    def _at_hand(
        self,
        user_id: str,
        *,
        k: int | None,
        explain: bool,
        stale: bool,
        restrict: Sequence[str] | None = None,
        exclude: Collection[str] = (),
    ) -> Answer:
        """What can be answered without the job."""
        hidden = self.model.hidden
        stored = self.slate(user_id)
        if stored is not None:
            slate = stored.slate
            if restrict is not None or exclude:
                allowed = None if restrict is None else set(restrict)
                items = [i for i in slate.items if i.item_id not in exclude and (allowed is None or i.item_id in allowed)]
                slate = msgspec.structs.replace(slate, items=items)
            answer = answer_of(slate, source="stored", stale=stale, k=k, explain=explain, hidden=hidden)
            if answer.items:
                return answer
        wanted = self.configuration.slate.k if k is None else k
        popular = self._popular(wanted, restrict=restrict, exclude=exclude)
        return Answer(
            user_id=user_id,
            source="popular",
            stale=stale,
            items=[
                ShownItem(
                    item_id=item.item_id,
                    position=place,
                    score=0.0,
                    title=item.title,
                    sources=["popularity"] if explain else None,
                )
                for place, item in enumerate(popular, 1)
            ],
        )

    def popular(self, k: int) -> list[PopularItem]:
        """The most popular items that may be shown."""
        return self._popular(k, restrict=None, exclude=())

    def _popular(self, k: int, *, restrict: Sequence[str] | None, exclude: Collection[str]) -> list[PopularItem]:
        hidden = self.model.hidden
        found = [item for item in self.model.popular or self._popular_before if item.item_id not in exclude]
        if restrict is not None:
            allowed = set(restrict)
            found = [item for item in found if item.item_id in allowed]
            there = {item.item_id for item in found}
            # what may be shown and is not popular follows in the order of the request
            found += [
                PopularItem(item_id, self.model.title(item_id))
                for item_id in dict.fromkeys(restrict)
                if item_id not in there and item_id not in exclude and item_id not in hidden
            ]
        return found[:k]

    def because(self, user_id: str, item_id: str) -> Because | None:
        """Why an item stands in the stored slate of a user, None where it does not."""
        stored = self.slate(user_id)
        item = None if stored is None else next((i for i in stored.slate.items if i.item_id == item_id), None)
        if stored is None or item is None or item_id in self.model.hidden:
            return None
        titles = {reason.item_id: self.model.title(reason.item_id) for reason in item.reasons if reason.item_id is not None}
        return because(stored.slate, item, titles=titles)

    # ------------------------------------------------------------------------------------------------ questions

    async def ask(self, request: RequestRecord, *, deadline_ms: int | None = None, explain: bool = False) -> Answer:
        """A slate made for this request by the job; what is at hand, marked stale, where none comes in time.

        A question in words (`text`, where answers.enabled is on) is handed over to a person then.

        Parameters
        ----------
        deadline_ms : how long to wait, None: serving.deadline_ms
        explain : with reasons, sources, propensities and who made it

        Raises
        ------
        Rejected
            When the job would refuse it.
        """
        raw = _encode(request)
        clean = self._requests.clean(raw, key=None, now_ms=_now_ms(), watermark_ms=UNKNOWN_WATERMARK_MS)
        fresh = None
        if self.health.may_answer():
            deadline_ms = self.configuration.serving.deadline_ms if deadline_ms is None else deadline_ms
            record = Record(self._topic[REQUESTS], clean.user_id.encode(), raw, clean.event_time_ms)
            fresh = await self._answer_of_job((clean.user_id, clean.request_id), record, deadline_ms / 1000)
        if fresh is not None:
            return answer_of(fresh, source="fresh", stale=False, k=clean.k, explain=explain, hidden=self.model.hidden)
        if clean.text is not None and self.configuration.answers.enabled:
            # what is at hand is no answer to a question
            return Answer(user_id=clean.user_id, source="popular", stale=True, items=[], hand_over=True)
        return self._at_hand(
            clean.user_id,
            k=clean.k,
            explain=explain,
            stale=True,
            restrict=clean.restrict,
            exclude=frozenset(clean.hidden),
        )

    async def _answer_of_job(self, question: Question, record: Record, deadline_s: float) -> Recommendation | None:
        waiting: asyncio.Future[Recommendation] = asyncio.get_running_loop().create_future()
        self._asking.setdefault(question, []).append(waiting)
        # not awaited: the answer may be here before the acknowledgement
        sending = asyncio.ensure_future(self._sender.send([record]))
        try:
            async with asyncio.timeout(deadline_s):
                return await waiting
        except TimeoutError:
            return None
        finally:
            sending.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
            _leave(self._asking, question, waiting)

    # ------------------------------------------------------------------------------------------------ events

    async def send(self, events: Sequence[bytes], *, may_erase: bool = False) -> list[EventResult]:
        """Check events as the job does, and send those that pass, byte for byte as they are.

        Parameters
        ----------
        events : JSON of one event each
        may_erase : whether an event of type erase is one of them or is refused

        Raises
        ------
        NotAcknowledged
            When Kafka did not acknowledge all that passed.
        """
        now_ms = _now_ms()
        results, records, erased = [], [], []
        for index, raw in enumerate(events):
            try:
                event = self._events.clean(raw, key=None, now_ms=now_ms, watermark_ms=UNKNOWN_WATERMARK_MS)
            except Rejected as rejected:
                results.append(
                    EventResult(index=index, accepted=False, reason=rejected.reason.value, detail=rejected.detail)
                )
                continue
            if event.type == ERASE and not may_erase:
                results.append(
                    EventResult(index=index, accepted=False, reason="forbidden", detail="type: erase needs the scope admin")
                )
                continue
            if event.type == ERASE:
                erased.append(event.user_id)
            records.append(self._record(event, raw))
            results.append(EventResult(index=index, accepted=True))
        for user_id in erased:
            self.store.erase(user_id, now_ms=now_ms)
        await self._sender.send(records)
        return results

    async def act(self, event: bytes, *, event_id: str, timeout_s: float) -> tuple[EventResult, Recommendation | None]:
        """Send one event, and wait for the slate that answers it.

        Parameters
        ----------
        event : JSON of the event
        event_id : that stands in it
        timeout_s : how long to wait for the slate

        Returns
        -------
        What became of the event, and the slate; None where it was refused, or none came in time.

        Raises
        ------
        NotAcknowledged
            When Kafka did not acknowledge the event.
        """
        waiting: asyncio.Future[Recommendation] = asyncio.get_running_loop().create_future()
        self._acting[event_id] = waiting
        try:
            [result] = await self.send([event])
            if not result.accepted:
                return result, None
            async with asyncio.timeout(timeout_s):
                return result, await waiting
        except TimeoutError:
            return result, None
        finally:
            del self._acting[event_id]

    async def send_as_it_is(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Send a record without a look at it, such as one that was refused and may be good now.

        Parameters
        ----------
        topic : its full name

        Raises
        ------
        NotAcknowledged
            When Kafka did not acknowledge it.
        """
        await self._sender.send([Record(topic, key, value)])

    def erases(self, event: bytes) -> bool:
        """Whether the job would forget a user for this event."""
        try:
            found = self._events.clean(event, key=None, now_ms=_now_ms(), watermark_ms=UNKNOWN_WATERMARK_MS)
        except Rejected:
            return False
        return found.type == ERASE

    def _record(self, event: Event, raw: bytes) -> Record:
        return Record(self._topic[EVENTS], event.user_id.encode(), raw, event.event_time_ms)

    async def erase(self, user_id: str) -> Erasure:
        """Forget a user: here at once, in the job as soon as it reads of it.

        Raises
        ------
        Rejected
            When no user can have this id.
        NotAcknowledged
            When Kafka did not acknowledge it: the store has forgotten the user, the job has not.
        """
        event_id, now_ms = f"erase-{new_id()}", _now_ms()
        raw = _encode(
            {"event_id": event_id, "user_id": user_id, "type": ERASE, "event_time_ms": now_ms, "sent_at_ms": now_ms}
        )
        event = self._events.clean(raw, key=None, now_ms=now_ms, watermark_ms=UNKNOWN_WATERMARK_MS)
        await self.send([raw], may_erase=True)
        return Erasure(user_id=event.user_id, event_id=event_id)

    # ------------------------------------------------------------------------------------------------ items and rules

    def item(self, item_id: str) -> CatalogueItem | None:
        """What the catalogue says of an item, None where it has none."""
        return self.model.item(item_id)

    async def find_items(self, text: str, *, most: int = 20) -> list[tuple[str, str | None]]:
        """Id and title of items whose title or id holds a text; a large catalogue is searched beside what others ask."""
        return await asyncio.to_thread(self.model.find_items, text, most=most)

    def similar(self, item_id: str, k: int) -> SimilarItems | None:
        """Items that go with one, None where nothing is known of it."""
        items = self.model.similar(item_id, k)
        return None if items is None else SimilarItems(item_id=item_id, title=self.model.title(item_id), items=items)

    def controls(self) -> dict[str, Control]:
        """All rules by name, and whether the job keeps them."""
        return self.model.controls()

    async def put_control(self, name: str, value: bytes | None) -> Control:
        """Send a rule, and wait a moment until the job says that it keeps it.

        Parameters
        ----------
        value : JSON of the rule, None takes it back

        Raises
        ------
        Rejected
            When the job would refuse it.
        NotAcknowledged
            When Kafka did not acknowledge it.
        """
        if value is None:
            kind_of(name)
        else:
            self.model.require_acceptable(name, value)
            if kind_of(name) in ("epsilon", "policy", "experiment"):
                await asyncio.to_thread(require_fit, self.configuration, self.model.rules(), name, value)
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._accepting.setdefault(name, []).append(accepted)
        try:
            await self._sender.send([Record(self._topic[CONTROLS], name.encode(), value)])
            if self.health.job != "down":
                async with asyncio.timeout(_ACCEPTED_WITHIN_S):
                    await accepted
        except TimeoutError:
            pass
        finally:
            _leave(self._accepting, name, accepted)
        rule = None if value is None else msgspec.json.decode(value)
        return Control(name=name, rule=rule, in_force=accepted.done() and not accepted.cancelled())

    def _accepted(self, name: str) -> None:
        """Called in the thread that follows the model."""

        def tell() -> None:
            for waiting in self._accepting.get(name, ()):
                if not waiting.done():
                    waiting.set_result(None)

        if self._loop is not None:
            self._loop.call_soon_threadsafe(tell)

    # ------------------------------------------------------------------------------------------------ followers' threads

    def _slates_from(self, cluster: str) -> dict[Place, int]:
        self.store.belong_to(cluster)
        topic = self._topic[RECOMMENDATIONS]
        return {(topic, partition): offset for partition, offset in self.store.offsets().items()}

    def _take_slates(self, messages: list[Message], offsets: dict[Place, int]) -> None:
        records = []
        for message in messages:
            raw = message.value() or b""
            try:
                head = _decode_head(raw)
            except (msgspec.MsgspecError, ValueError):
                self.undecodable += 1
                continue
            at_ms = message.timestamp()[1]
            if self.watcher is not None and not head.erased:
                self.watcher.see_slate(head.user_id, at_ms=at_ms, sent_at_ms=head.timings.sent_at_ms)
            if head.request_id is not None:
                # made for one question: its length, its context and its items are not what a user is given otherwise
                question = (head.user_id, head.request_id)
                if question in self._asking and self._loop is not None:
                    self._loop.call_soon_threadsafe(self._answered, question, raw)
                continue
            if head.event_id in self._acting and self._loop is not None:
                self._loop.call_soon_threadsafe(self._acted, head.event_id, raw)
            records.append(SlateRecord(head.user_id, head.seq, head.erased, at_ms, raw))
        self.store.apply(records, {partition: offset for (_, partition), offset in offsets.items()})

    def _answered(self, question: Question, raw: bytes) -> None:
        waiters = self._asking.get(question, [])
        if waiters:
            answer = decode_recommendation(raw)
            for waiting in waiters:
                if not waiting.done():
                    waiting.set_result(answer)

    def _acted(self, event_id: str, raw: bytes) -> None:
        waiting = self._acting.get(event_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(decode_recommendation(raw))

    def _take_parts(self, messages: list[Message], _offsets: dict[Place, int]) -> None:
        items, updates = self._topic[ITEMS], self._topic[MODEL_UPDATES]
        for message in messages:
            key, value, topic = message.key(), message.value(), message.topic()
            if topic == items:
                self.model.apply_item(key, value)
            elif topic == updates:
                self.model.apply_update(key, value)
                if self.watcher is not None:
                    self.watcher.see_update(key, value)
            else:
                self.model.apply_control(key, value)
        self._unpublished = True

    def _publish_parts(self, at_end: bool) -> None:
        now_s = time.monotonic()
        first = at_end and not self._parts.caught_up.is_set()
        if self._unpublished and (first or now_s - self._published_s >= _PUBLISH_EVERY_S):
            before = self.model.popular
            self.model.publish(popular=POPULAR_KEPT)
            if self.model.popular != before:
                self.store.popular = encode_popular(self.model.popular)
            self._unpublished, self._published_s = False, now_s


def _leave(queues: dict[_Key, list[_Waiting]], key: _Key, waiting: _Waiting) -> None:
    """Wait no more; nothing is kept of what nobody waits for."""
    queues[key].remove(waiting)
    if not queues[key]:
        del queues[key]


def require_fit(configuration: Configuration, rules: dict[str, msgspec.Struct], name: str, value: bytes) -> None:
    """Check a rule about policies against the configuration, as the job does.

    Raises
    ------
    Rejected
        When it does not fit.
    """
    from models.controls import decode_control
    from models.rankers import Rankers  # PyTorch: only where it is asked for
    from models.treatments import Treatments

    together = rules | {name: decode_control(name, value)}
    try:
        Treatments(configuration, Rankers(configuration)).install(
            policy=together.get("policy"),  # type: ignore[arg-type]
            experiment=together.get("experiment"),  # type: ignore[arg-type]
            epsilon=getattr(together.get("epsilon"), "epsilon", None),
        )
    except ValueError as error:
        raise Rejected(Refusal.WRONG_TYPE, str(error)) from None


def new_id() -> str:
    """An id for a request or an event that has none."""
    return uuid.uuid4().hex


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

