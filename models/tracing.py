"""Takes a slate apart while it is made, for whoever asked for a trace of it (`models.traces`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from models.candidates import CandidateGenerator, Candidates
from models.config import Strategy
from models.controls import SINGLE
from models.features import FEATURES
from models.policies.slots import Slot
from models.policies.state import Context
from models.profile import UserState
from models.replica import Replica
from models.rules import Rules, SlateRules
from models.topics import Recommendation
from models.traces import MAX_TRACED_ITEMS, Trace, TracedCandidate, TracedProfileItem
from models.treatments import Treatment


@dataclass(frozen=True, slots=True)
class Making:
    """How one slate was made.

    Attributes
    ----------
    treatment, strategy : what the user is given
    context : what the policy knew of the user
    epsilon : probability with which a slot explored
    candidates, matrix, scores, probabilities : of all candidates, by row
    ranked : int64[n], rows, the best first
    k : items that were wanted
    listed : int64[k] or fewer, rows of the list before exploration
    slots : by position, of rows
    pinned : bool[len(listed)], positions that a pin has; None where no rule has to do with a slate
    asked : of the rules; None where pinned is
    recommendation : what came of it
    """

    treatment: Treatment
    strategy: Strategy
    context: Context
    epsilon: float
    candidates: Candidates
    matrix: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray | None
    ranked: np.ndarray
    k: int
    listed: np.ndarray
    slots: list[Slot]
    pinned: np.ndarray | None
    asked: SlateRules | None
    recommendation: Recommendation


class Tracer:
    """Writes traces.

    Parameters
    ----------
    replica, generator, rules : those that the slates are made with
    """

    def __init__(self, replica: Replica, generator: CandidateGenerator, rules: Rules) -> None:
        self._replica = replica
        self._generator = generator
        self._rules = rules

    def trace(self, making: Making, state: UserState, *, controls: list[str]) -> Trace:
        """The trace of a slate that was made a moment ago, before the sources are weighed for another.

        Parameters
        ----------
        state : of the user
        controls : names of the rules in force
        """
        slate, treatment = making.recommendation, making.treatment
        acting = self._acting(making)
        on_all = [name for name in controls if name in SINGLE and (name != "sources" or self._weighs(making))]
        on_some = sorted({name for names in acting for name in names})
        values = treatment.policy.action_values(making.context)
        own = making.matrix.shape[1] - len(FEATURES)
        return Trace(
            slate_id=slate.slate_id,
            user_id=slate.user_id,
            event_id=slate.event_id,
            request_id=slate.request_id,
            event_time_ms=slate.event_time_ms,
            policy=slate.policy,
            action=slate.action,
            action_probability=slate.action_probability,
            action_values=None if values is None else dict(zip(treatment.policy.actions, values.tolist(), strict=True)),
            epsilon=making.epsilon,
            arm=slate.arm,
            versions=slate.versions,
            state=making.context.state,
            source_weights=self._generator.weights,
            rules=[*on_all, *self._rules.excluding, *on_some],
            feature_names=[*FEATURES, *(f"scorer_{number + 1}" for number in range(own))],
            profile=self._profile(state),
            candidates=self._candidates(making, acting),
        )

    @staticmethod
    def _weighs(making: Making) -> bool:
        """Whether the weights of everybody counted."""
        return making.strategy.sources is None and making.treatment.sources is None

    def _acting(self, making: Making) -> list[list[str]]:
        items, listed = making.candidates.items, making.listed.tolist()
        if making.asked is None or making.pinned is None:
            return [[] for _ in range(len(items))]
        pinned_at = {row: place for place, row in enumerate(listed) if making.pinned[place]}
        ranked, lowest = making.ranked.tolist(), len(items)
        if len(listed) == making.k:
            lowest = max((ranked.index(row) for row in listed if row not in pinned_at), default=0)
        passed_over = [row for row in ranked[:lowest] if row not in listed]
        return self._rules.acting(making.asked, items, pinned_at=pinned_at, passed_over=passed_over)

    def _profile(self, state: UserState) -> list[TracedProfileItem]:
        replica, traced = self._replica, []
        for item, time_ms, value, *_ in state.items[: -MAX_TRACED_ITEMS - 1 : -1].tolist():
            index = replica.index_of(item)
            traced.append(
                TracedProfileItem(
                    item_id=replica.item_ids[index] if index >= 0 else "",
                    title=replica.titles[index] if index >= 0 else None,
                    event_time_ms=time_ms,
                    value=None if math.isnan(value) else value,
                )
            )
        return traced

    def _candidates(self, making: Making, acting: list[list[str]]) -> list[TracedCandidate]:
        replica, candidates = self._replica, making.candidates
        given, base = self._generator.given(candidates), self._generator.blend(candidates).tolist()
        scores, cf_scores = making.scores.tolist(), candidates.cf_scores.tolist()
        probabilities = None if making.probabilities is None else making.probabilities.tolist()
        shown = {slot.item: item for slot, item in zip(making.slots, making.recommendation.items, strict=True)}
        traced = []
        for row in making.ranked.tolist():
            index, item = int(candidates.items[row]), shown.get(row)
            candidate = TracedCandidate(
                item_id=replica.item_ids[index],
                title=replica.titles[index],
                sources=given[row],
                base=base[row],
                score=scores[row],
                probability=None if probabilities is None else probabilities[row],
                cf_score=cf_scores[row],
                features=making.matrix[row].tolist(),
                rules=acting[row],
            )
            if item is not None:
                candidate = msgspec.structs.replace(
                    candidate,
                    cf_score=item.cf_score,
                    position=item.position,
                    explored=item.explored,
                    propensity=item.propensity,
                    reasons=item.reasons,
                )
            traced.append(candidate)
        return traced
