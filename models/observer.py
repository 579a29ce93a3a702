"""What an event of a user teaches: the tables of the learn path, the scorer, the memory of answers, and the user's own profile."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numba import njit

from models.answers.asked import Report, lesson_of
from models.answers.lessons import encode_lesson
from models.attribution import Attribution, reward_of
from models.config import Answers, Configuration, EventType
from models.cooccurrence import PairMessage, encode_pair_message
from models.debias import example_weight
from models.events import UNKNOWN_WATERMARK_MS, Event
from models.examples import NO_ITEMS, label_pending, learner_of, missed, pending_propensities
from models.hashes import first_place
from models.identity import hash64, item_hash64, uniform
from models.panel import encode_member, panel_key
from models.profile import UserState, liked
from models.rankers import Ranker, Rankers
from models.replica import Replica
from models.taste import learned_taste
from models.treatments import Treatment, Treatments
from models.user import User

_SITTING_BITS = 64


@njit(cache=True)
def _latest(items, most):  # type: ignore[no-untyped-def]
    """A user's last items that are no dislikes, int64[n], the latest first, and a bit for each that is of the latest sitting."""
    latest, n, same_sitting = np.empty(min(most, len(items)), np.int64), 0, np.uint64(0)
    sitting = items[-1].sitting if len(items) else 0
    for p in range(len(items) - 1, -1, -1):
        if n == len(latest):
            break
        if items[p].weight <= 0:
            continue
        latest[n] = items[p].item
        if items[p].sitting == sitting and n < _SITTING_BITS:
            same_sitting |= np.uint64(1) << np.uint64(n)
        n += 1
    return latest[:n], same_sitting


class Observation(msgspec.Struct, frozen=True):
    """What one event taught.

    Attributes
    ----------
    pair : message for the co-occurrence table, None for an event type of weight 0, and where items are not learned
    member : record of the panel, None for most events (`models.panel`)
    example : for a learner, None when the item was no candidate of the last slate, or the event was not sampled
    evaluated : the user had an earlier event, so the last slate can be judged by this one
    position : 1-based place of the item in the last slate, 0 where it was not shown
    shown : length of the last slate
    probabilities : float32[shown], predicted of its items when they were shown; float32[0] where the scorer predicts none
    lesson : for the memory of answered questions (`models.answers.lessons`), None for all but reports on an answer
    treatment : what the user is given
    action : the strategy that made the last slate, empty where it was not evaluated
    previous_ms : event time of the user's latest event before, -1 where there was none
    ranker : scored the candidates of the example, None where there is none
    """

    pair: bytes | None
    member: tuple[str, bytes] | None
    example: bytes | None
    evaluated: bool
    position: int
    shown: int
    probabilities: np.ndarray = msgspec.field(default_factory=lambda: np.zeros(0, np.float32))
    treatment: Treatment | None = None
    action: str = ""
    previous_ms: int = -1
    lesson: bytes | None = None
    ranker: Ranker | None = None


_NO_EXAMPLE: tuple[None, None] = (None, None)
NOTHING_LEARNED = Observation(None, None, None, evaluated=False, position=0, shown=0)
"""Of an event that teaches nothing."""


class Observer:
    """Learns from events.

    Parameters
    ----------
    configuration : the whole configuration
    replica : whose panel it is
    treatments : who acts for whom
    rankers : who scores
    attribution : what follows the slates; None where outcomes.enabled is off
    """

    def __init__(
        self,
        configuration: Configuration,
        replica: Replica,
        treatments: Treatments,
        rankers: Rankers,
        attribution: Attribution | None,
    ) -> None:
        self._config, self._replica, self._treatments, self._rankers = configuration, replica, treatments, rankers
        self._attribution = attribution
        self._learns = configuration.learner.enabled and configuration.learner.mode != "logging"
        self._dislikes = configuration.events.has_dislikes
        self._reports = _reports(configuration.answers)
        base = configuration.profile.taste_base
        self._taste_base = math.log(base / (1.0 - base))
        self._worth = _worth(configuration)

    def observe(self, user: User, event: Event, *, watermark_ms: int = UNKNOWN_WATERMARK_MS) -> Observation:
        """Judge the last slate by an event, learn from it, and make it the latest of the user's profile."""
        state, config = user.state, self._config
        item = item_hash64(event.item_id)
        if self._attribution is not None:
            self._attribution.join(user.slates, event, item, watermark_ms=watermark_ms, tally=user.tally)
        weight = config.events.types[event.type].weight
        treatment = self._treatments.of(event.user_id)
        lesson = self._lesson(user, event, item) if event.type in self._reports else None
        if weight <= 0:
            ranker, taught = self._disliked(user, event, item, weight) if weight else _NO_EXAMPLE
            return msgspec.structs.replace(NOTHING_LEARNED, example=taught, ranker=ranker, treatment=treatment, lesson=lesson)
        position = first_place(state.last_slate, item) + 1
        previous_ms = state.last_event_ms
        action = self._action_of_last(user, treatment)
        pair = self._pair(state, event, item, weight) if config.item_cf.enabled else None
        ranker, example = self._example(user, event, item, place=position)
        evaluated = state.events > 0
        self._learn_taste(user, item, taken=True)
        user.pending = None
        value = float("nan") if event.value is None else event.value
        state.add_item(item, time_ms=event.event_time_ms, value=value, weight=weight, config=config.profile)
        user.seen.add(item, capacity=config.profile.seen_items)
        return Observation(
            pair=pair,
            member=self._member(state, event.user_id),
            example=example,
            evaluated=evaluated,
            position=position,
            shown=len(state.last_slate),
            probabilities=state.last_probabilities,
            treatment=treatment,
            action=action if evaluated else "",
            previous_ms=previous_ms,
            lesson=lesson,
            ranker=ranker,
        )

    def _action_of_last(self, user: User, treatment: Treatment) -> str:
        """The strategy that made the user's last slate; empty where it is not known any more."""
        if len(treatment.policy.actions) == 1 and not self._treatments.choosing:
            return treatment.policy.actions[0]
        made = None if self._attribution is None else self._attribution.last_made(user.slates)
        return "" if made is None else made.action

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

    def _disliked(self, user: User, event: Event, item: int, weight: float) -> tuple[Ranker | None, bytes | None]:
        """Let an item and what is like it count less for a user; returns what the scorer learns from it."""
        example = self._example(user, event, item, place=first_place(user.state.last_slate, item) + 1)
        self._learn_taste(user, item, taken=False)
        user.pending = None
        # what it is worth says the weight: the value of such an event is no liking
        user.state.add_item(item, time_ms=event.event_time_ms, value=float("nan"), weight=weight, config=self._config.profile)
        user.seen.add(item, capacity=self._config.profile.seen_items)
        return example

    def _learn_taste(self, user: User, item: int, *, taken: bool) -> None:
        """Let what the user took or refused, and what they passed over on the slate before, say what they make of labels and vectors."""
        state, profile = user.state, self._config.profile
        # a cart behind a click says nothing new, and nobody looked at what answered the click
        if profile.taste_rate == 0 or (len(state.items) and state.items["item"][-1] == item):
            return
        state.taste = learned_taste(
            state.taste,
            state.last_slate if taken and self._was_seen(user) else NO_ITEMS,
            item,
            taken=taken,
            replica=self._replica,
            rate=profile.taste_rate,
            base=self._taste_base,
            eta=self._config.learner.position_eta,
        )

    def _was_seen(self, user: User) -> bool:
        """Whether the user is taken to have seen the slate that the next event judges."""
        return self._attribution is None or self._attribution.last_was_seen(user.slates)

    def _member(self, state: UserState, user_id: str) -> tuple[str, bytes] | None:
        if state.events % self._config.user_cf.publish_every:
            return None
        user = hash64(user_id)
        if not self._replica.panel.wants(user):
            return None
        return panel_key(user), encode_member(user, liked(state.items, dislikes=self._dislikes))

    def _pair(self, state: UserState, event: Event, item: int, weight: float) -> bytes:
        earlier, sitting = _latest(state.items, self._config.item_cf.pair_items)
        goes_on = event.event_time_ms - state.last_event_ms <= self._config.profile.sitting_gap_s * 1000
        return encode_pair_message(
            PairMessage(
                item=item,
                item_id=event.item_id,
                event_time_ms=event.event_time_ms,
                weight=weight,
                value=float("nan") if event.value is None else event.value,
                earlier=earlier,
                sitting=sitting if goes_on else 0,
            )
        )

    def _example(self, user: User, event: Event, item: int, *, place: int) -> tuple[Ranker | None, bytes | None]:
        """What the learner of the last slate's ranker is to know, and that ranker."""
        learner = self._config.learner
        if user.pending is None or not self._learns:
            return _NO_EXAMPLE
        if learner.sample_rate < 1 and uniform(hash64(event.event_id), learner.seed, 0) >= learner.sample_rate:
            return _NO_EXAMPLE
        number, pending = learner_of(user.pending)
        ranker = self._rankers.by_learner(number)
        if ranker is None:  # of an experiment that has ended
            return _NO_EXAMPLE
        example = label_pending(pending, item, self._weight(pending, event, place))
        if example is not None or learner.loss == "listwise" or self._config.events.types[event.type].weight < 0:
            return ranker, example
        # that none of them came next says nothing of their order, but lowers the probability of each
        sampled = uniform(hash64(event.event_id), learner.seed, 1) < learner.miss_rate
        return ranker, missed(pending) if sampled else None

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


def _reports(answers: Answers) -> dict[str, Report]:
    """What a report on an answer says, by the type of the event."""
    if not answers.enabled:
        return {}
    return {answers.solved_type: "solved", answers.not_solved_type: "not_solved", answers.handed_over_type: "handed_over"}


def _worth(configuration: Configuration) -> dict[str, Callable[[float | None], float]] | None:
    """How much an example counts by the type and value of its event; None where all count alike."""
    types = configuration.events.types
    if configuration.learner.weigh_by_reward:
        return {name: reward_of(kind) for name, kind in types.items()}
    if not configuration.events.has_dislikes:
        return None
    return {name: reward_of(EventType(weight=min(kind.weight, 0.0) or 1.0)) for name, kind in types.items()}
