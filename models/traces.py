"""The `traces` topic: a slate taken apart, for events and requests that ask for it with ``trace: true``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from models.fields import Milliseconds, Probability, Reason

MAX_TRACED_ITEMS = 50
"""At most so many of the user's items stand in a trace."""


class TracedProfileItem(Struct, frozen=True, kw_only=True, gc=False):
    """One of the user's own items.

    Attributes
    ----------
    item_id : empty where the model does not know it (any more)
    title : from the catalogue, when known
    event_time_ms : when the user had it
    value : rating, price or dwell time that came with it
    """

    item_id: str
    title: str | None = None
    event_time_ms: Milliseconds
    value: float | None = None


class TracedCandidate(Struct, frozen=True, kw_only=True):
    """One item that could have been shown.

    Attributes
    ----------
    item_id : what it is
    title : from the catalogue, when known
    sources : the sources that brought it, with the score that each gave it; 0 from those that only choose
    base : blend of these scores by the sources' weights, what it would be ranked by without a scorer
    score : what it was ranked by, comparable within a slate only
    probability : that the user acts on it, when the scorer predicts one
    cf_score : item-CF score, 0 where item CF does not know of it
    features : what the scorer saw of it, in the order of the trace's feature_names
    position : where it was shown, from 1; null where it was not
    explored : drawn by the policy instead of taken from the ranking
    propensity : exact marginal probability of this item at this position under the policy; null where it was not shown
    reasons : why it was recommended, the strongest first; empty where it was not shown
    rules : names of the rules of `controls` that acted on it
    """

    item_id: str
    title: str | None = None
    sources: dict[str, float]
    base: float
    score: float
    probability: Probability | None = None
    cf_score: float
    features: list[float]
    position: Annotated[int, Meta(ge=1)] | None = None
    explored: bool = False
    propensity: Probability | None = None
    reasons: list[Reason] = []
    rules: list[str] = []


class Trace(Struct, frozen=True, kw_only=True):
    """The value of one record of `traces`: how one slate came about. It is the slate's own account, nothing is computed anew.

    Attributes
    ----------
    slate_id, user_id, event_id, request_id, event_time_ms : of the slate, as in `recommendations`
    policy, action, action_probability, arm, versions : likewise
    action_values : what the policy holds of each action for this user now, where it holds such values
    epsilon : probability with which a slot explored
    state : number of the user's state, by which policies know the user (docs/policies.md)
    source_weights : weight of each source in this slate
    rules : names of the rules of `controls` that acted on this slate
    feature_names : of each candidate's features, see docs/features.md; what the scorer adds is scorer_1 and so on
    profile : the user's last items, the newest first; at most 50
    candidates : all of them, the best first
    """

    slate_id: str
    user_id: str
    event_id: str
    request_id: str | None = None
    event_time_ms: Milliseconds
    policy: str
    action: str
    action_probability: Probability
    action_values: dict[str, float] | None = None
    epsilon: Probability
    arm: str
    versions: dict[str, str]
    state: Annotated[int, Meta(ge=0)] | None = None
    source_weights: dict[str, float]
    rules: list[str]
    feature_names: list[str]
    profile: list[TracedProfileItem]
    candidates: list[TracedCandidate]
