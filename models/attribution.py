"""What came of each slate: the open slates of one user, the events that are credited to them, and the outcome when one closes.

An event is credited to one slate. It names it (``slate_id``), or it is the latest open slate that showed the event's item, made at most
outcomes.window_ms before it. An event that names a slate which is not there yet waits for it. `docs/outcomes.md` has the rules.

Slates leave in the order in which they were made, so that each knows what followed it: the oldest is a closed outcome as soon as its
window is over (by a clock that is outcomes.window_ms + events.late_after_ms ahead of it) *and* the next activated slate of the session,
or the session's end, is known. The clock is the watermark, or the user's own latest event where that is ahead: the user's own events
come in order, so what closes by them does not depend on how far the watermark has come.

Layout of the packed state, version 3: ``version u8 | MessagePack``, an array of
    ``slates``                arrays of (slate_id u64, revision u64, seq, time_ms, sitting serial, number of items, activated,
                              superseded, number of events, reward, time_ms of the earliest event, ``came``, ``frozen``, whether
                              the next event judges it, ``prices``), in the order in which they were made
    ``items``                 bin, i64 little endian: hashes of the items of all slates, slate by slate, by position
    ``waiting``               arrays of (slate_id u64, revision u64 or nil, item i64, reward, time_ms, is an impression, is charged),
                              the oldest first
    ``closed``                ids u64 of the slates that left last, at most 16
    ``heard_ms``              largest event time of the user
    ``timer_ms``              event-time timer that is armed, 0 without one
    ``heartbeat_ms``          processing-time timer that is armed, 0 without one
    ``heartbeat_watermark_ms``    the watermark when that was armed
``came`` is a bin of `CAME_DTYPE`, one an item, empty before the first event. ``prices`` is a bin i64, what each place costs if it is
charged, in millionths, 0 where it costs nothing or was charged; empty where no place costs anything. ``frozen`` is a bin: the MessagePack
array of
    event_id, policy, action, action_probability, arm, versions, state, context features (bin f64), item ids, propensities (bin f64),
    probabilities (bin f32, empty where the scorer predicts none), explored (bin u8), feature rows (bin f16, empty where they are not
    kept), request_id or nil, campaigns (by position, empty where none pays; not there where prices are empty)

Versions 1 and 2 are still read. Neither has prices, campaigns or charged events; version 1 says neither whether a slate is judged (each
is) nor which request it answers (none does).

Size bound: outcomes.max_open * (about 150 + slate.k * (41 + 2 * columns + length of an id)) bytes + 8 * 40; about 12 kB by default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Struct

from models.auction.ledger import Sale
from models.config import Configuration, EventType
from models.events import UNKNOWN_WATERMARK_MS, Event
from models.identity import hash64
from models.layouts import require_version
from models.policies.state import Context
from models.policies.steps import Choice, encode_step
from models.topics import NextChoice, Outcome, OutcomeItem, Recommendation, UserContext

VERSION = 3
CAME_DTYPE = np.dtype([("reward", "<f8"), ("first_ms", "<i8"), ("events", "<u4")])
IMPRESSION = "impression"
"""The event type that reports that a slate was seen."""
MAX_WAITING = 8
"""Events of one user that may wait for a slate."""
_MAX_REMEMBERED = 16
_NEVER_MS = 2**62

ClosedBy = Literal["window", "bound", "heartbeat"]


class OpenSlate(Struct, array_like=True, gc=False):
    """One slate that waits for what comes of it (fields: module docstring)."""

    slate_id: int
    revision: int
    seq: int
    time_ms: int
    sitting: int
    size: int
    activated: bool
    superseded: bool
    events: int
    reward: float
    first_ms: int
    came: bytes
    frozen: bytes
    is_judged: bool = True
    prices: bytes = b""


class _Frozen(Struct, array_like=True, gc=False):
    """What of a slate does not change any more (fields: module docstring)."""

    event_id: str
    policy: str
    action: str
    action_probability: float
    arm: str
    versions: dict[str, str]
    state: int
    features: bytes
    item_ids: list[str]
    propensities: bytes
    probabilities: bytes
    explored: bytes
    rows: bytes
    request_id: str | None = None
    campaigns: list[str] = []


class _Waiting(Struct, array_like=True, gc=False):
    """An event that names a slate which is not there yet."""

    slate_id: int
    revision: int | None
    item: int
    reward: float
    time_ms: int
    impression: bool
    charged: bool = False


class OpenSlates(Struct, array_like=True):
    """The open slates of one user (fields: module docstring)."""

    slates: list[OpenSlate] = []
    items: bytes = b""
    waiting: list[_Waiting] = []
    closed: list[int] = []
    heard_ms: int = UNKNOWN_WATERMARK_MS
    timer_ms: int = 0
    heartbeat_ms: int = 0
    heartbeat_watermark_ms: int = UNKNOWN_WATERMARK_MS


_encode = msgspec.msgpack.Encoder().encode
_decode_slates = msgspec.msgpack.Decoder(OpenSlates).decode
_decode_frozen = msgspec.msgpack.Decoder(_Frozen).decode


def encode_open_slates(slates: OpenSlates) -> bytes:
    """The packed bytes (layout: module docstring)."""
    return bytes((VERSION,)) + _encode(slates)


def decode_open_slates(raw: bytes | None) -> OpenSlates:
    """The open slates in `raw`, none where there is no state yet.

    Raises
    ------
    ValueError
        When the bytes are of a version that this release does not know.
    """
    if raw is None:
        return OpenSlates()
    require_version(raw, VERSION, what="open slates", oldest=1)
    # fields that earlier versions do not have come last, and have defaults
    return _decode_slates(memoryview(raw)[1:])


class Made(NamedTuple):
    """Who made a slate.

    Attributes
    ----------
    arm, policy, action : see `models.topics.Recommendation`
    """

    arm: str
    policy: str
    action: str


class ClosedSlate(Struct, frozen=True, eq=False):
    """A slate of which nothing more can come.

    Attributes
    ----------
    slate : as it was at the end
    reward : of all its events, outcomes.default_reward without one
    closed_time_ms, closed_by : see `models.topics.Outcome`
    following : the next activated slate of the session, None without one
    """

    slate: OpenSlate
    reward: float
    closed_time_ms: int
    closed_by: ClosedBy
    following: OpenSlate | None

    @property
    def teaches(self) -> bool:
        """Whether it was seen, as far as is known, and is what was seen."""
        return self.slate.activated and not self.slate.superseded


@dataclass(slots=True)
class Tally:
    """What the attribution made of an event, or of the passing of time.

    Attributes
    ----------
    joined : events that were credited to a slate
    repeated : those of them that were not the first of their item
    late : events whose slate had closed, or whose window was over
    orphans : events that name a slate that never came, or one that did not show their item
    superseded : events that quote another revision of their slate
    closed : slates that closed, in the order in which they were made
    sales : places that earned a charged event
    """

    joined: int = 0
    repeated: int = 0
    late: int = 0
    orphans: int = 0
    superseded: int = 0
    closed: list[ClosedSlate] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)


class Attribution:
    """Credits events to slates, and closes them.

    Parameters
    ----------
    configuration : the whole configuration
    """

    def __init__(self, configuration: Configuration) -> None:
        self._outcomes = configuration.outcomes
        self._rewards = {
            name: reward_of(kind)
            for name, kind in configuration.events.types.items()
            if name == IMPRESSION or kind.weight != 0 or kind.reward
        }
        self._charged = frozenset(configuration.auction.charged if configuration.auction.value == "bid" else ())
        self._closes_after_ms = configuration.outcomes.window_ms + configuration.events.late_after_ms
        self._session_ends_after_ms = int(configuration.profile.sitting_gap_s * 1000) + configuration.events.late_after_ms

    # ------------------------------------------------------------------------------------------------ events

    def join(self, open_slates: OpenSlates, event: Event, item: int, *, watermark_ms: int, tally: Tally) -> None:
        """Credit an event to its slate.

        Parameters
        ----------
        item : hash of the event's item
        watermark_ms : `UNKNOWN_WATERMARK_MS` when there is none yet
        tally : counts what became of it
        """
        time_ms = event.event_time_ms
        open_slates.heard_ms = max(open_slates.heard_ms, time_ms)
        reward_of = self._rewards.get(event.type)
        if reward_of is None:
            return
        clock_ms = max(watermark_ms, open_slates.heard_ms)
        impression, charged = event.type == IMPRESSION, event.type in self._charged
        if event.slate_id is None:
            # nearly every event took what no slate shows: this says so sooner than a comparison of numbers
            if item.to_bytes(8, "little", signed=True) not in open_slates.items:
                return
            seen = _Waiting(0, None, item, reward_of(event.value), time_ms, impression, charged)
            self._join_shown(open_slates, seen, event.user_id, clock_ms, tally)
            return
        slate_id = _number(event.slate_id)
        if slate_id is None:
            tally.orphans += 1
            return
        revision = None if event.revision is None else _number(event.revision) or 0
        waiting = _Waiting(slate_id, revision, item, reward_of(event.value), time_ms, impression, charged)
        for place, slate in enumerate(open_slates.slates):
            if slate.slate_id == slate_id:
                self._join_named(open_slates, place, waiting, event.user_id, clock_ms, tally)
                return
        if slate_id in open_slates.closed:
            tally.late += 1
            return
        open_slates.waiting.append(waiting)
        if len(open_slates.waiting) > MAX_WAITING:
            del open_slates.waiting[0]
            tally.orphans += 1

    def _join_named(
        self, open_slates: OpenSlates, place: int, event: _Waiting, user_id: str, clock_ms: int, tally: Tally
    ) -> None:
        slate = open_slates.slates[place]
        if event.time_ms > slate.time_ms + self._outcomes.window_ms or self._is_closed(slate, clock_ms):
            tally.late += 1
        elif event.revision is not None and event.revision != slate.revision:
            slate.superseded = True
            tally.superseded += 1
        elif event.impression:
            slate.activated = True
        else:
            at = sum(other.size for other in open_slates.slates[:place])
            items = np.frombuffer(open_slates.items, "<i8", slate.size, 8 * at)
            places = np.flatnonzero(items == event.item)
            if len(places):
                self._credit(slate, int(places[0]), event, user_id, tally)
            else:
                tally.orphans += 1

    def _join_shown(self, open_slates: OpenSlates, event: _Waiting, user_id: str, clock_ms: int, tally: Tally) -> None:
        """Credit an event that names no slate."""
        time_ms = event.time_ms
        places = np.flatnonzero(np.frombuffer(open_slates.items, "<i8") == event.item)
        if len(places) == 0:
            return
        latest, latest_place = None, 0
        showing = iter(places.tolist())
        shown, end = next(showing), 0
        for slate in open_slates.slates:
            start, end = end, end + slate.size
            if shown >= end:
                continue
            made_before = slate.time_ms <= time_ms and (latest is None or slate.time_ms >= latest.time_ms)
            if made_before:
                latest, latest_place = slate, shown - start
            shown = next(showing, _NEVER_MS)
        if latest is None:
            return
        if time_ms > latest.time_ms + self._outcomes.window_ms or self._is_closed(latest, clock_ms):
            tally.late += 1
        elif event.impression:
            latest.activated = True
        else:
            self._credit(latest, latest_place, event, user_id, tally)

    def _credit(self, slate: OpenSlate, place: int, event: _Waiting, user_id: str, tally: Tally) -> None:
        reward, time_ms = event.reward, event.time_ms
        if event.charged and slate.prices:
            self._sell(slate, place, user_id, time_ms, tally)
        came = np.frombuffer(slate.came, CAME_DTYPE).copy() if slate.came else np.zeros(slate.size, CAME_DTYPE)
        of_item, first_ms, events = came[place].item()
        came[place] = (
            self._aggregated(of_item, first_ms, events, reward, time_ms),
            min(first_ms, time_ms) if events else time_ms,
            events + 1,
        )
        slate.came = came.tobytes()
        slate.reward = self._aggregated(slate.reward, slate.first_ms, slate.events, reward, time_ms)
        slate.first_ms = min(slate.first_ms, time_ms) if slate.events else time_ms
        slate.events += 1
        slate.activated = True
        tally.joined += 1
        tally.repeated += events > 0

    @staticmethod
    def _sell(slate: OpenSlate, place: int, user_id: str, time_ms: int, tally: Tally) -> None:
        """Charge a place, once: a second click on it costs nothing."""
        prices = np.frombuffer(slate.prices, "<i8").copy()
        price = int(prices[place])
        if price == 0:
            return
        prices[place] = 0
        slate.prices = prices.tobytes()
        frozen = _decode_frozen(slate.frozen)
        tally.sales.append(
            Sale(frozen.campaigns[place], frozen.item_ids[place], user_id, f"{slate.slate_id:016x}", place + 1, price, time_ms)
        )

    def _aggregated(self, before: float, first_ms: int, events: int, reward: float, time_ms: int) -> float:
        if events == 0:
            return reward
        if self._outcomes.aggregation == "sum":
            return before + reward
        if self._outcomes.aggregation == "max":
            return max(before, reward)
        return reward if time_ms < first_ms else before

    # ------------------------------------------------------------------------------------------------ slates

    def open(
        self,
        open_slates: OpenSlates,
        recommendation: Recommendation,
        *,
        items: np.ndarray,
        rows: np.ndarray,
        context: Context,
        sitting: int,
        watermark_ms: int,
        tally: Tally,
        is_judged: bool = True,
    ) -> None:
        """Take up a slate, and credit it with the events that have waited for it.

        A slate that answers a request was asked for, and counts as seen. One that is open, or closed a moment ago, is not taken up
        again when its request is answered again: there is one outcome of it.

        Parameters
        ----------
        items : int64[n], hashes of the items by position
        rows : float16[n, columns], what the scorer saw of them
        context : in which the action was chosen
        sitting : serial of the user's sitting
        watermark_ms : as in `join`
        is_judged : whether the user's next event judges it
        """
        slate_id = int(recommendation.slate_id, 16)
        is_requested = recommendation.request_id is not None
        if is_requested and self._knows(open_slates, slate_id):
            return
        shown = recommendation.items
        probabilities = [item.probability for item in shown]
        prices = [0 if item.price_micros is UNSET else item.price_micros for item in shown] if self._charged else []
        campaigns = ["" if item.campaign is UNSET else item.campaign for item in shown] if any(prices) else []
        frozen = _Frozen(
            recommendation.event_id,
            recommendation.policy,
            recommendation.action,
            recommendation.action_probability,
            recommendation.arm,
            recommendation.versions,
            context.state,
            context.features.tobytes(),
            [item.item_id for item in shown],
            np.array([item.propensity for item in shown]).tobytes(),
            b"" if None in probabilities else np.array(probabilities, np.float32).tobytes(),
            bytes([item.explored for item in shown]),
            rows.tobytes() if self._outcomes.features else b"",
            recommendation.request_id,
            campaigns,
        )
        slate = OpenSlate(
            slate_id,
            int(recommendation.revision, 16),
            recommendation.seq,
            recommendation.event_time_ms,
            sitting,
            len(shown),
            is_requested or self._outcomes.served_means_seen,
            False,
            0,
            0.0,
            0,
            b"",
            _encode(frozen),
            is_judged,
            np.array(prices, "<i8").tobytes() if campaigns else b"",
        )
        open_slates.slates.append(slate)
        open_slates.items += items.tobytes()
        if open_slates.waiting:
            clock_ms = max(watermark_ms, open_slates.heard_ms)
            self._expire(open_slates, clock_ms, tally)
            for event in open_slates.waiting:
                if event.slate_id == slate_id:
                    self._join_named(open_slates, len(open_slates.slates) - 1, event, recommendation.user_id, clock_ms, tally)
            open_slates.waiting = [event for event in open_slates.waiting if event.slate_id != slate_id]

    @staticmethod
    def _knows(open_slates: OpenSlates, slate_id: int) -> bool:
        return slate_id in open_slates.closed or any(slate.slate_id == slate_id for slate in open_slates.slates)

    def settle(self, open_slates: OpenSlates, *, watermark_ms: int, tally: Tally) -> None:
        """Close what is due, and what is too much."""
        clock_ms = max(watermark_ms, open_slates.heard_ms)
        if open_slates.waiting:
            self._expire(open_slates, clock_ms, tally)
        slates = open_slates.slates
        while slates:
            closed, too_many = self._is_closed(slates[0], clock_ms), len(slates) > self._outcomes.max_open
            if not (closed or too_many):
                return
            known, following = self._following(open_slates, clock_ms)
            if not (known or too_many):
                return
            if closed:
                self._close(open_slates, slates[0].time_ms + self._outcomes.window_ms, "window", following, tally)
            else:
                self._close(open_slates, slates[-1].time_ms, "bound", following, tally)

    def close_all(self, open_slates: OpenSlates, *, watermark_ms: int, now_ms: int, tally: Tally) -> None:
        """Close all slates, as event time stands still: nothing says when their windows would be over.

        Parameters
        ----------
        now_ms : processing time
        """
        clock_ms = max(watermark_ms, open_slates.heard_ms)
        tally.orphans += len(open_slates.waiting)
        open_slates.waiting = []
        while open_slates.slates:
            slate = open_slates.slates[0]
            _, following = self._following(open_slates, _NEVER_MS)
            if self._is_closed(slate, clock_ms):
                self._close(open_slates, slate.time_ms + self._outcomes.window_ms, "window", following, tally)
            else:
                self._close(open_slates, now_ms, "heartbeat", following, tally)

    def due_ms(self, open_slates: OpenSlates, *, watermark_ms: int) -> int:
        """The event time at which `settle` has something to do without a further event; 0 for never. It lies ahead of the clock."""
        clock_ms = max(watermark_ms, open_slates.heard_ms)
        due_ms = _NEVER_MS
        if open_slates.waiting:
            due_ms = min(event.time_ms for event in open_slates.waiting) + self._outcomes.backward_ms + 1
        if open_slates.slates:
            head, *others = open_slates.slates
            if not self._is_closed(head, clock_ms):
                return min(due_ms, head.time_ms + self._closes_after_ms)
            session_ends_ms = open_slates.heard_ms + self._session_ends_after_ms
            if session_ends_ms > clock_ms:
                due_ms = min(due_ms, session_ends_ms)
            undecided = [slate.time_ms for slate in others if not self._is_closed(slate, clock_ms)]
            if undecided:
                due_ms = min(due_ms, min(undecided) + self._closes_after_ms)
        return due_ms if due_ms < _NEVER_MS else 0

    def _is_closed(self, slate: OpenSlate, clock_ms: int) -> bool:
        return clock_ms >= slate.time_ms + self._closes_after_ms

    def _following(self, open_slates: OpenSlates, clock_ms: int) -> tuple[bool, OpenSlate | None]:
        """Whether it is known what followed the oldest slate in its session, and the slate that did, if any."""
        head, *others = open_slates.slates
        for slate in others:
            if slate.sitting != head.sitting:
                return True, None
            if slate.activated:
                return True, slate
            if not self._is_closed(slate, clock_ms):
                return False, None
        return clock_ms >= open_slates.heard_ms + self._session_ends_after_ms, None

    def _close(
        self,
        open_slates: OpenSlates,
        closed_time_ms: int,
        closed_by: ClosedBy,
        following: OpenSlate | None,
        tally: Tally,
    ) -> None:
        slate = open_slates.slates.pop(0)
        open_slates.items = open_slates.items[8 * slate.size :]
        open_slates.closed = [*open_slates.closed[1 - _MAX_REMEMBERED :], slate.slate_id]
        reward = slate.reward if slate.events else self._outcomes.default_reward
        tally.closed.append(ClosedSlate(slate, reward, closed_time_ms, closed_by, following))

    def _expire(self, open_slates: OpenSlates, clock_ms: int, tally: Tally) -> None:
        kept = [event for event in open_slates.waiting if clock_ms <= event.time_ms + self._outcomes.backward_ms]
        tally.orphans += len(open_slates.waiting) - len(kept)
        open_slates.waiting = kept

    # ------------------------------------------------------------------------------------------------ outcomes

    def outcome(self, closed: ClosedSlate, user_id: str) -> Outcome:
        """The record of a closed slate."""
        slate = closed.slate
        frozen = _decode_frozen(slate.frozen)
        return Outcome(
            slate_id=f"{slate.slate_id:016x}",
            revision=f"{slate.revision:016x}",
            seq=slate.seq,
            user_id=user_id,
            event_id=frozen.event_id,
            request_id=frozen.request_id,
            slate_time_ms=slate.time_ms,
            closed_time_ms=closed.closed_time_ms,
            closed_by=closed.closed_by,
            activated=slate.activated,
            superseded=slate.superseded,
            policy=frozen.policy,
            action=frozen.action,
            action_probability=frozen.action_probability,
            arm=frozen.arm,
            versions=frozen.versions,
            context=UserContext(state=frozen.state, features=_numbers(frozen.features)),
            items=self._items(slate, frozen),
            reward=closed.reward,
            outcomes=slate.events,
            delay_ms=max(0, slate.first_ms - slate.time_ms) if slate.events else None,
            next=None if closed.following is None else _next_choice(closed.following),
            terminal=closed.following is None,
        )

    def _items(self, slate: OpenSlate, frozen: _Frozen) -> list[OutcomeItem]:
        n = len(frozen.item_ids)
        propensities = _numbers(frozen.propensities)
        probabilities = np.frombuffer(frozen.probabilities, "<f4").tolist() or [None] * n
        nothing = (self._outcomes.default_reward, 0, 0)
        came = [each if each[2] else nothing for each in np.frombuffer(slate.came, CAME_DTYPE).tolist()] or [nothing] * n
        row_bytes = len(frozen.rows) // max(1, n)
        return [
            OutcomeItem(
                item_id=frozen.item_ids[place],
                position=place + 1,
                propensity=propensities[place],
                probability=probabilities[place],
                explored=bool(frozen.explored[place]),
                reward=reward,
                events=events,
                delay_ms=max(0, first_ms - slate.time_ms) if events else None,
                features=frozen.rows[place * row_bytes : (place + 1) * row_bytes] if row_bytes else None,
            )
            for place, (reward, first_ms, events) in enumerate(came)
        ]

    @staticmethod
    def made(slate: OpenSlate) -> Made:
        """Who made a slate, and how."""
        frozen = _decode_frozen(slate.frozen)
        return Made(frozen.arm, frozen.policy, frozen.action)

    def last_made(self, open_slates: OpenSlates) -> Made | None:
        """Who made the slate that the next event judges; None where it has closed."""
        newest = _last_judged(open_slates)
        return None if newest is None else self.made(newest)

    def last_was_seen(self, open_slates: OpenSlates) -> bool:
        """Whether the slate that the next event judges was seen, as far as is known; of one that has closed the configuration says."""
        newest = _last_judged(open_slates)
        return self._outcomes.served_means_seen if newest is None else newest.activated

    def step(self, closed: ClosedSlate, action_key: Callable[[str], int] = hash64) -> bytes | None:
        """What a closed slate teaches the policy (`models.policies.steps`); None where it was not seen, or another revision was.

        Parameters
        ----------
        action_key : number by which the policy knows an action; a slate that another policy or arm made is not what follows
        """
        if not closed.teaches:
            return None
        slate, following = _decode_frozen(closed.slate.frozen), None
        if closed.following is not None:
            after = _decode_frozen(closed.following.frozen)
            if (after.arm, after.policy) == (slate.arm, slate.policy):
                following = _choice(after, 0.0, action_key)
        return encode_step(_choice(slate, closed.reward, action_key), following)


def _last_judged(open_slates: OpenSlates) -> OpenSlate | None:
    return next((slate for slate in reversed(open_slates.slates) if slate.is_judged), None)


def reward_of(kind: EventType) -> Callable[[float | None], float]:
    """The reward of an event of this type, from its value."""
    reward = kind.weight if kind.reward is None else kind.reward
    full = kind.dwell_ms_full
    if full is not None:
        return lambda value: reward * min(1.0, max(0.0, (value or 0.0) / full))
    if kind.times_value:
        return lambda value: reward * (value or 0.0)
    return lambda value: reward


def _number(name: str) -> int | None:
    """The number of a slate's id or revision, None for what is none of ours."""
    if len(name) != 16:
        return None
    try:
        return int(name, 16)
    except ValueError:
        return None


def _numbers(packed: bytes) -> list[float]:
    numbers: list[float] = np.frombuffer(packed, "<f8").tolist()
    return numbers


def _next_choice(slate: OpenSlate) -> NextChoice:
    frozen = _decode_frozen(slate.frozen)
    return NextChoice(state=frozen.state, features=_numbers(frozen.features), action=frozen.action)


def _choice(frozen: _Frozen, reward: float, action_key: Callable[[str], int]) -> Choice:
    return Choice(Context(frozen.state, np.frombuffer(frozen.features, "<f8")), action_key(frozen.action), reward)
