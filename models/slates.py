"""How a slate is made: the policy acts, the sources bring candidates, they are scored, ranked, laid out and explained.

A question in words (`models.answers`), campaigns and prices (`models.auction`), rules (`models.rules`), frequency caps and the time
(`models.timeliness`) take part where the configuration asks for them; where it does not, each is one comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit

from models.answers.desk import AnswerDesk, Question
from models.attribution import Attribution
from models.auction.auction import Auction
from models.candidates import CandidateGenerator, Candidates
from models.config import Configuration
from models.events import Event
from models.examples import NO_ITEMS, encode_pending, of_arm
from models.explained import Explainer
from models.identity import hash64
from models.making import Act, Layout, Scored, Wanted
from models.policies.slots import Slot, explore_slots
from models.policies.state import context_of
from models.policies.strategies import order, relevance
from models.profile import UserState, liked
from models.rankers import Ranker
from models.replica import Replica
from models.rules import Rules, SlateRules, Tired
from models.scorers.base import Scorer
from models.timeliness import Timeliness
from models.topics import Recommendation, RecommendedItem, Timings, seq_of
from models.tracing import Tracer
from models.treatments import Treatments
from models.user import User

_NO_PROBABILITIES = np.zeros(0, np.float32)


@njit(cache=True)
def _count(impressions, items, rows):  # type: ignore[no-untyped-def]
    for row in rows:
        impressions[items[row]] += 1


class _Answer(NamedTuple):
    """What a question is answered with (fields: `models.topics.Recommendation`)."""

    items: list[RecommendedItem]
    suggestions: list[RecommendedItem]
    confidence: float
    hand_over: bool


class SlateMaker:
    """Makes slates.

    Parameters
    ----------
    configuration : the whole configuration
    replica : the model
    epoch : of the slates' `seq`
    treatments : who acts for whom
    rules : those in force
    attribution : what follows the slates; None where outcomes.enabled is off
    auction : None where slates are not ranked by value
    desk : that answers questions; None where answers.enabled is off

    Attributes
    ----------
    generator : of the candidates
    sources : weights of the candidate sources, where neither strategy nor arm has its own
    controls : names of the rules in force, for traces
    """

    def __init__(
        self,
        configuration: Configuration,
        replica: Replica,
        *,
        epoch: int,
        treatments: Treatments,
        rules: Rules,
        attribution: Attribution | None,
        auction: Auction | None,
        desk: AnswerDesk | None,
    ) -> None:
        self._config, self._replica, self._epoch = configuration, replica, epoch
        self._treatments, self._rules, self._attribution = treatments, rules, attribution
        self._auction, self._desk = auction, desk
        self._campaigns = None if auction is None else auction.campaigns
        self.generator = CandidateGenerator(configuration, replica)
        self._explainer = Explainer(configuration, replica, self.generator)
        self._timeliness = Timeliness(configuration, replica, self.generator)
        self._tracer = Tracer(replica, self.generator, rules)
        # what only logs ranks as the sources do, and only what is online explores
        self._logs = configuration.learner.mode == "logging"
        self._explores = configuration.learner.mode == "online"
        self._dislikes = configuration.events.has_dislikes
        self._weighs_examples = (
            configuration.learner.debias != "none" or configuration.learner.weigh_by_reward or self._dislikes
        )
        self.sources = configuration.sources
        self.controls: Mapping[str, msgspec.Struct] = {}

    def make(self, user: User, wanted: Wanted, stamp: Callable[[], Timings], *, watermark_ms: int) -> Recommendation:
        """Make a slate, and keep it in the user's state.

        Parameters
        ----------
        stamp : called last, gives the timings of the answer
        watermark_ms : for the outcome's window
        """
        cause = wanted.cause
        known = user if wanted.seeds is None else user.having(wanted.seeds, time_ms=cause.event_time_ms)
        state = known.state
        if self._campaigns is not None and self._campaigns.pass_time(cause.event_time_ms):
            self._rules.reconsider()
        act = self._act(user.state, cause.user_id, wanted.key)
        asked = self._rules.asked_of(cause) if self._rules.active else None
        tired = self._rules.tired_of(user.impressions, time_ms=cause.event_time_ms) if self._rules.window_ms else None
        question = None
        if self._desk is not None and wanted.question is not None:
            question = self._desk.ask(wanted.question, now_ms=cause.event_time_ms)
        candidates = self._candidates(known, wanted, act, asked, tired, question)
        scored = self._scored(state, wanted, act, asked, candidates, question)
        layout = self._laid_out(state, wanted, act, asked, tired, scored)
        items = self._explainer.items(scored, layout)
        answer = None
        if question is not None:
            answer = self._answered(user, wanted, question, items, scored, layout)
            items = answer.items
            if answer.hand_over:
                layout = msgspec.structs.replace(layout, slots=[], rows=layout.rows[:0])
        # of the state that the policy saw, before this slate counts
        context = (act.context or context_of(user.state)) if cause.trace else None
        self._remember(user, wanted, act.treatment.ranker, scored, layout, tired)
        recommendation = self._recommendation(user, wanted, act, scored, layout, items, answer, stamp)
        if context is not None:
            user.trace = self._tracer.trace(
                wanted, act, scored, layout, recommendation, state=state, context=context, controls=sorted(self.controls)
            )
        if self._attribution is not None and act.context is not None:
            self._attribution.open(
                user.slates,
                recommendation,
                items=scored.hashes[layout.rows],
                rows=scored.matrix[layout.rows],
                context=act.context,
                sitting=user.state.sitting,
                watermark_ms=watermark_ms,
                tally=user.tally,
                is_judged=wanted.is_judged,
            )
        return recommendation

    # ------------------------------------------------------------------------------------------------ the steps

    def _act(self, state: UserState, user_id: str, key: int) -> Act:
        treatment = self._treatments.of(user_id)
        policy, strategies = treatment.policy, treatment.settings.strategies
        if len(policy.actions) == 1 or self._logs:
            action, context = policy.actions[0], None if self._attribution is None else context_of(state)
            return Act(treatment, strategies[action], action, 1.0, context)
        context = context_of(state)
        action, probability = treatment.choose(context, key) if self._explores else treatment.best(context)
        return Act(treatment, strategies[action], action, probability, context)

    def _candidates(
        self, user: User, wanted: Wanted, act: Act, asked: SlateRules | None, tired: Tired | None, question: Question | None
    ) -> Candidates:
        exclude = wanted.exclude
        if tired is not None:
            exclude = tired.items if exclude is None else np.concatenate((exclude, tired.items))
        offers = None
        if self._campaigns is not None:
            offers = self._campaigns.items(self._config.auction.candidates, turn=user.state.seq)
        self.generator.prepare(act.strategy.sources or act.treatment.sources or self.sources, act.treatment.ranker.scorer)
        return self.generator.generate(
            hash64(wanted.cause.user_id),
            user.state,
            user.seen,
            restrict=wanted.restrict,
            exclude=exclude,
            include=None if asked is None else asked.joining,
            offers=offers,
            answers=None if question is None or self._desk is None else self._desk.best(question),
            now_ms=wanted.cause.event_time_ms,
        )

    def _scored(
        self,
        state: UserState,
        wanted: Wanted,
        act: Act,
        asked: SlateRules | None,
        candidates: Candidates,
        question: Question | None,
    ) -> Scored:
        """The candidates as the scorer sees them, and what they are ranked by: its relevance, or their worth, with all factors."""
        hashes = self._replica.hashes[candidates.items]
        network = act.treatment.ranker.network
        matrix, history = self._frozen(network, candidates, hashes, state)
        probabilities, worth = None, None
        if question is not None and self._desk is not None:
            scores = self._desk.scores(question, hashes)
        elif network is None or len(hashes) == 0:
            scores = self.generator.blend(candidates)
        else:
            scores, probabilities = network.score(matrix, hashes if network.history else NO_ITEMS, history)
            if act.strategy.scorer_weight < 1:
                scores = relevance(act.strategy, scores, self.generator.blend(candidates))
        if self._auction is not None and probabilities is not None:
            worth = self._auction.worth(candidates.items, probabilities, key=wanted.key)
            scores = worth.values
        odds = network is not None and act.strategy.scorer_weight == 1 and worth is None
        if asked is not None:
            scores = self._rules.boosted(scores, candidates.items, odds=odds)
        if self._timeliness.matters:
            scores = self._timeliness.applied(scores, candidates, wanted.cause.event_time_ms, odds=odds)
        return Scored(candidates, hashes, matrix, history, scores, probabilities, worth)

    def _frozen(
        self, network: Scorer | None, candidates: Candidates, hashes: np.ndarray, state: UserState
    ) -> tuple[np.ndarray, np.ndarray]:
        """The matrix that the scorer sees, and the latest items that it reads."""
        if network is None or network.history == 0 or len(hashes) == 0:
            return candidates.features, NO_ITEMS
        read = liked(state.items, dislikes=self._dislikes)["item"]
        history = read[: -network.history - 1 : -1].copy()
        return network.freeze(candidates.features, hashes, history), history

    def _laid_out(
        self, state: UserState, wanted: Wanted, act: Act, asked: SlateRules | None, tired: Tired | None, scored: Scored
    ) -> Layout:
        """The list, what each of its places costs, and what is explored in them."""
        items, k = scored.candidates.items, wanted.k
        ranked = order(act.strategy, scored.scores, self._replica.categories, items, k=k)
        prices = None
        if self._auction is not None and scored.worth is not None:
            ranked = self._auction.shown(ranked, scored.worth, scored.scores)
            prices = self._auction.prices(scored.worth, scored.scores, ranked)
        listed, pool, pinned = ranked[:k], ranked[k:], None
        if asked is not None:
            listed, pool, pinned = self._rules.lay_out(asked, ranked, items, k=k, tired=tired)
        epsilon = self._treatments.epsilon(act.treatment, act.strategy, slates=state.seq) if self._explores else 0.0
        slots = explore_slots(listed, pool, epsilon=epsilon, key=wanted.key, seed=self._config.policy.seed, pinned=pinned)
        rows = np.array([slot.item for slot in slots], np.int64)
        return Layout(ranked, prices, asked, listed, pinned, epsilon, slots, rows)

    def _answered(
        self, user: User, wanted: Wanted, question: Question, items: list[RecommendedItem], scored: Scored, layout: Layout
    ) -> _Answer:
        """Whether the slate of a question is shown or a person is asked; the question is remembered until somebody says."""
        assert self._desk is not None
        others = np.ones(len(scored.scores), np.bool_)
        others[layout.rows] = False
        shown = scored.hashes[layout.rows]
        features = self._desk.features(question, shown, next_best=float(scored.scores[others].max(initial=0.0)))
        confidence = self._desk.book.confidence.predict_one(features)
        hand_over = not self._desk.is_sure(confidence)
        items = self._desk.explained(question, items, shown)
        time_ms = wanted.cause.event_time_ms
        self._desk.remember(user.asked, question, slate_id=wanted.key, time_ms=time_ms, features=features, items=shown)
        return _Answer([] if hand_over else items, items if hand_over else [], confidence, hand_over)

    def _remember(
        self, user: User, wanted: Wanted, ranker: Ranker, scored: Scored, layout: Layout, tired: Tired | None
    ) -> None:
        """Let the user's state, and the counts of impressions, know what is shown."""
        state, rows, learner = user.state, layout.rows, self._config.learner
        items = scored.candidates.items
        state.seq += 1
        _count(self._replica.impressions, items, rows)
        if tired is not None:
            self._rules.remember(user.impressions, items[rows], time_ms=wanted.cause.event_time_ms)
        if not wanted.is_judged:
            return
        state.last_slate = scored.hashes[rows]
        state.last_probabilities = _NO_PROBABILITIES if scored.probabilities is None else scored.probabilities[rows]
        learns_probability = learner.probability_of == "candidate" or len(rows) > 0
        if ranker.network is not None and learner.enabled and len(items) > 1 and learns_probability:
            propensities = np.array([slot.propensity for slot in layout.slots], np.float32) if self._weighs_examples else None
            shown = rows if learner.probability_of == "shown" else None
            pending = encode_pending(scored.matrix, scored.hashes, scored.history, propensities=propensities, shown=shown)
            user.pending = pending if ranker.learner is None else of_arm(ranker.learner, pending)

    def _recommendation(
        self,
        user: User,
        wanted: Wanted,
        act: Act,
        scored: Scored,
        layout: Layout,
        items: list[RecommendedItem],
        answer: _Answer | None,
        stamp: Callable[[], Timings],
    ) -> Recommendation:
        cause = wanted.cause
        versions = act.treatment.versions
        prices = None if layout.prices is None else layout.prices[layout.rows]
        recommendation = Recommendation(
            slate_id=wanted.slate_id,
            revision=_revision(scored.hashes[layout.rows], layout.slots, versions, prices),
            seq=seq_of(user.state.seq, epoch=self._epoch),
            user_id=cause.user_id,
            event_id=cause.event_id if isinstance(cause, Event) else "",
            event_time_ms=cause.event_time_ms,
            items=items,
            policy=act.treatment.policy.name,
            action=act.action,
            action_probability=act.probability,
            arm=act.treatment.arm,
            versions=versions,
            timings=stamp(),
            request_id=None if isinstance(cause, Event) else cause.request_id,
        )
        if answer is None:
            return recommendation
        return msgspec.structs.replace(
            recommendation, confidence=answer.confidence, hand_over=answer.hand_over, suggestions=answer.suggestions
        )


def _revision(shown: np.ndarray, slots: list[Slot], versions: dict[str, str], prices: np.ndarray | None) -> str:
    """Digest of the items, their propensities, what they cost, and the versions behind them."""
    propensities = np.array([slot.propensity for slot in slots])
    said = "\x1f".join(versions.values()).encode()
    cost = b"" if prices is None else prices.tobytes()
    return blake2b(shown.tobytes() + propensities.tobytes() + said + cost, digest_size=8).hexdigest()
