"""Takes a slate apart while it is made, for whoever asked for a trace of it (`models.traces`)."""

from __future__ import annotations

import math

import msgspec

from models.candidates import CandidateGenerator
from models.controls import SINGLE
from models.feature_table import FEATURES
from models.making import Act, Layout, Scored, Wanted
from models.policies.state import Context
from models.profile import UserState
from models.replica import Replica
from models.rules import Rules
from models.topics import Recommendation
from models.traces import MAX_TRACED_ITEMS, Trace, TracedCandidate, TracedProfileItem


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

    def trace(
        self,
        wanted: Wanted,
        act: Act,
        scored: Scored,
        layout: Layout,
        slate: Recommendation,
        *,
        state: UserState,
        context: Context,
        controls: list[str],
    ) -> Trace:
        """The trace of a slate that was made a moment ago, before the sources are weighed for another.

        Parameters
        ----------
        wanted, act, scored, layout : the steps of its making
        slate : what came of them
        state : of the user
        context : what the policy knew of the user
        controls : names of the rules in force
        """
        policy = act.treatment.policy
        acting = self._acting(wanted, scored, layout)
        on_all = [name for name in controls if name in SINGLE and (name != "sources" or self._weighs(act))]
        on_some = sorted({name for names in acting for name in names})
        values = policy.action_values(context)
        own = scored.matrix.shape[1] - len(FEATURES)
        return Trace(
            slate_id=slate.slate_id,
            user_id=slate.user_id,
            event_id=slate.event_id,
            request_id=slate.request_id,
            event_time_ms=slate.event_time_ms,
            policy=slate.policy,
            action=slate.action,
            action_probability=slate.action_probability,
            action_values=None if values is None else dict(zip(policy.actions, values.tolist(), strict=True)),
            epsilon=layout.epsilon,
            arm=slate.arm,
            versions=slate.versions,
            state=context.state,
            source_weights=self._generator.weights,
            rules=[*on_all, *self._rules.excluding, *on_some],
            feature_names=[*FEATURES, *(f"scorer_{number + 1}" for number in range(own))],
            profile=self._profile(state),
            candidates=self._candidates(scored, layout, slate, acting),
        )

    @staticmethod
    def _weighs(act: Act) -> bool:
        """Whether the weights of everybody counted."""
        return act.strategy.sources is None and act.treatment.sources is None

    def _acting(self, wanted: Wanted, scored: Scored, layout: Layout) -> list[list[str]]:
        items, listed = scored.candidates.items, layout.listed.tolist()
        if layout.asked is None or layout.pinned is None:
            return [[] for _ in range(len(items))]
        pinned_at = {row: place for place, row in enumerate(listed) if layout.pinned[place]}
        ranked, lowest = layout.ranked.tolist(), len(items)
        if len(listed) == wanted.k:
            lowest = max((ranked.index(row) for row in listed if row not in pinned_at), default=0)
        passed_over = [row for row in ranked[:lowest] if row not in listed]
        return self._rules.acting(layout.asked, items, pinned_at=pinned_at, passed_over=passed_over)

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

    def _candidates(
        self, scored: Scored, layout: Layout, slate: Recommendation, acting: list[list[str]]
    ) -> list[TracedCandidate]:
        replica, candidates = self._replica, scored.candidates
        given, base = self._generator.given(candidates), self._generator.blend(candidates).tolist()
        scores, cf_scores = scored.scores.tolist(), candidates.cf_scores.tolist()
        probabilities = None if scored.probabilities is None else scored.probabilities.tolist()
        shown = {slot.item: item for slot, item in zip(layout.slots, slate.items, strict=True)}
        traced = []
        for row in layout.ranked.tolist():
            index, item = int(candidates.items[row]), shown.get(row)
            candidate = TracedCandidate(
                item_id=replica.item_ids[index],
                title=replica.titles[index],
                sources=given[row],
                base=base[row],
                score=scores[row],
                probability=None if probabilities is None else probabilities[row],
                cf_score=cf_scores[row],
                features=scored.matrix[row].tolist(),
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
