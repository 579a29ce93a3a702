"""The recommender: everything that happens between an event of a user, or a request, and the slate that answers it.

A `Recommender` is handed the state of one user and one event; it never looks at a clock, draws no random number that is not
a function of the slate's id, and keeps nothing of a user. In the job it runs inside RECOMMEND, in `flinkrec evaluate` inside
a plain loop: the same object, the same order of calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import msgspec
import numpy as np

from models.answers.desk import AnswerDesk
from models.answers.memory import ANSWER_PREFIX
from models.attribution import Attribution, ClosedSlate, Tally
from models.auction.auction import Auction
from models.auction.ledger import ACCOUNT_PREFIX, Message
from models.catalogue import decode_catalogue_entry
from models.config import Configuration, Experiment, Sources
from models.controls import PolicyRule, control_key, decode_control, decode_rules, kind_of, require_few
from models.cooccurrence import ROW_PREFIX
from models.events import UNKNOWN_WATERMARK_MS, Event, Refusal, Rejected
from models.identity import hash64, slate_id
from models.making import Wanted
from models.model_file import ModelFile
from models.observer import Observation, Observer
from models.panel import PANEL_PREFIX, panel_key, user_of_key
from models.policies.learner import POLICY_PREFIX
from models.rankers import RANKER, Rankers
from models.replica import Replica
from models.requests import Request
from models.rules import Rules
from models.scorers.text import TextFISM
from models.slates import SlateMaker
from models.text.encoder import TextEncoder
from models.text.vectors import VECTOR_PREFIX
from models.topics import Recommendation, Timings, kept_value, seq_of
from models.treatments import Treatment, Treatments
from models.user import User
from models.versions import Version, weights_key

_CONTROL = control_key("")
_RANKERS = weights_key(RANKER)


class Recommender:
    """Observes events and answers with slates.

    Parameters
    ----------
    configuration : the whole configuration
    start : a network to score with until the learner has published one
    epoch : of `start`, later than what earlier lives of a learner published; and of the slates' `seq`
    encoder : of questions, instead of the configured one; only where answers.enabled is on

    Attributes
    ----------
    replica : the model
    rankers : the networks that score
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
        self._config, self._epoch = configuration, epoch
        self.replica = Replica(configuration)
        self.attribution = Attribution(configuration) if configuration.outcomes.enabled else None
        self.rankers = Rankers(configuration, start=start, epoch=epoch)
        self._share_vectors()
        self.treatments = Treatments(configuration, self.rankers)
        # what only logs learns no policy
        self._logs = configuration.learner.mode == "logging"
        auction = Auction(configuration, self.replica.offers) if configuration.auction.value != "none" else None
        self._campaigns = None if auction is None else auction.campaigns
        self._rules = Rules(
            self.replica,
            candidates=configuration.scorer.candidates,
            campaigns=self._campaigns,
            impressions=configuration.profile.impressions,
        )
        self._desk = AnswerDesk(configuration, encoder) if configuration.answers.enabled else None
        self._observer = Observer(configuration, self.replica, self.treatments, self.rankers, self.attribution)
        self._slates = SlateMaker(
            configuration,
            self.replica,
            epoch=epoch,
            treatments=self.treatments,
            rules=self._rules,
            attribution=self.attribution,
            auction=auction,
            desk=self._desk,
        )
        self._configured = decode_rules(configuration.rules)
        self._controls: dict[str, msgspec.Struct] = {}
        for kind in dict.fromkeys(kind_of(name) for name in self._configured):
            self._install(self._configured, kind)

    def _share_vectors(self) -> None:
        """Let everybody's network read the vectors of items, where it projects them."""
        network = self.rankers.everybody.network
        if isinstance(network, TextFISM):
            network.vectors = self.replica.vectors
            if network.is_tuned:
                self.replica.told = network.told

    @property
    def version(self) -> Version | None:
        """The version of everybody's network, None before the first one."""
        return self.rankers.everybody.version

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
        return self.treatments.everybody.versions

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
        if key.startswith(_RANKERS):
            return self.rankers.apply(key, value)
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
        """Score with one version of everybody's network, ``EPOCH.NUMBER``, whatever is published; None: with the newest once more.

        While that version is not among those that `model-updates` keeps, the newest scores.
        """
        served = self.rankers.everybody.served
        if served is not None:
            served.pin(version)

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
            self._slates.sources = self._config.sources if weights is None else Sources(**msgspec.structs.asdict(weights))
        elif kind == "pinned_version":
            self.pin(getattr(controls.get(kind), "version", None))
        elif kind in ("epsilon", "policy", "experiment"):
            try:
                self.treatments.install(
                    policy=cast(PolicyRule | None, controls.get("policy")),
                    experiment=cast(Experiment | None, controls.get("experiment")),
                    epsilon=getattr(controls.get("epsilon"), "epsilon", None),
                    policy_is_new=kind == "policy",
                )
            except ValueError as error:
                raise Rejected(Refusal.WRONG_TYPE, str(error)) from None
        elif kind == "campaign":
            if self._campaigns is not None:
                self._campaigns.install(controls)
                self._rules.reconsider()
        else:
            self._rules.install(controls)
        self._controls = self._slates.controls = controls

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
        return self._observer.observe(user, event, watermark_ms=watermark_ms)

    def examples(self, observation: Observation) -> Iterator[tuple[int | None, bytes]]:
        """What the learners of networks must be told of what was observed (`models.rankers.Rankers.messages`)."""
        if observation.example is not None and observation.ranker is not None:
            yield from self.rankers.messages(observation.ranker, observation.example)

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
        return self._slates.make(user, Wanted.by_event(event, k=self._config.slate.k), stamp, watermark_ms=watermark_ms)

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
        return self._slates.make(user, Wanted.by_request(request, k=self._config.slate.k), stamp, watermark_ms=watermark_ms)

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
            seq=seq_of(user.state.seq + 1, epoch=self._epoch),
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
