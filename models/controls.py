"""Controls: settings that operators of a shop change while the job runs.

A record of `controls` is keyed by the name of the rule; its value is JSON, null takes the rule back. The part of the name before a
colon is its kind: ``boost:summer-sale`` and ``boost`` are two rules of the kind ``boost`` and stand side by side. Of the kinds in
`SINGLE` there is one rule, named like its kind. Accepted rules are published once more to `model-updates`, as ``control:NAME``: a
replica that starts finds the last good one there, whatever came onto the compacted key of `controls` afterwards.

`RULES` has the type of each kind; what the rules do to a slate is in `models.rules` and `models.treatments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from models.config import Experiment, PolicyName
from models.events import Refusal, Rejected, decode_value
from models.fields import Milliseconds

Id = Annotated[str, Meta(min_length=1, max_length=1024)]
Ids = Annotated[list[Id], Meta(max_length=10_000)]
Weight = Annotated[float, Meta(ge=0, le=1e9)]
Unit = Annotated[float, Meta(ge=0, le=1)]

NAME_CHARACTERS = 256
RULES_OF_A_KIND = 64
CAMPAIGNS = 4_096


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the rules. A field that is not known is refused: a rule that is misspelt must not do something else than it says."""


class SourceWeights(Rule, frozen=True, kw_only=True):
    """`sources`: part of each candidate source, of those named; the others are off.

    Attributes
    ----------
    item_cf : what others had before and after the user's items
    user_cf : what similar users have
    content : what the catalogue says is like the user's items
    trending : what many take just now
    new_items : what few have seen
    repeats : what the user has had most, where slate.recommend_seen is on
    """

    item_cf: Weight = 0.0
    user_cf: Weight = 0.0
    content: Weight = 0.0
    trending: Weight = 0.0
    new_items: Weight = 0.0
    repeats: Weight = 0.0


class Include(Rule, frozen=True, kw_only=True):
    """`include`: items that are candidates of every slate; whether they are shown is up to the ranking.

    Attributes
    ----------
    items : their ids; all such rules together fill at most half of the places for candidates
    """

    items: Annotated[list[Id], Meta(min_length=1, max_length=500)]


class Exclude(Rule, frozen=True, kw_only=True):
    """`exclude`: items that are never shown.

    Attributes
    ----------
    items : ids
    categories : every item of one of them
    brands : every item of one of them
    """

    items: Ids = []
    categories: Ids = []
    brands: Ids = []


class Boost(Rule, frozen=True, kw_only=True):
    """`boost`: a factor on the relevance of some items; where several rules match an item, all factors count.

    Attributes
    ----------
    factor : on the scorer's odds, or on the sources' score where there is no scorer; below 1 it lowers them
    items : ids
    categories : every item of one of them
    brands : every item of one of them
    """

    factor: Annotated[float, Meta(ge=0.001, le=1000)]
    items: Ids = []
    categories: Ids = []
    brands: Ids = []


class Pin(Rule, frozen=True, kw_only=True):
    """`pin`: an item at a position, for everybody or for some slates.

    Attributes
    ----------
    item : its id; not shown to who has had it, nor where it is excluded or would break a category cap
    position : from 1; in a shorter slate there is none
    category : only in slates that answer an event on an item of this category
    context : only in slates that answer an event whose context has all of these values
    """

    item: Id
    position: Annotated[int, Meta(ge=1, le=100)]
    category: Id | None = None
    context: dict[str, Any] = {}


class CategoryCaps(Rule, frozen=True, kw_only=True):
    """`category_caps`: at most so many items of a category in one slate; of several rules the lowest counts.

    Attributes
    ----------
    most : of every category; null: any number
    categories : of these categories, by name
    """

    most: Annotated[int, Meta(ge=1, le=100)] | None = None
    categories: dict[str, Annotated[int, Meta(ge=1, le=100)]] = {}


class BrandCaps(Rule, frozen=True, kw_only=True):
    """`brand_caps`: at most so many items of a brand (an artist, a publisher) in one slate; of several rules the lowest counts.

    Attributes
    ----------
    most : of every brand; null: any number
    brands : of these brands, by name
    """

    most: Annotated[int, Meta(ge=1, le=100)] | None = None
    brands: dict[str, Annotated[int, Meta(ge=1, le=100)]] = {}


class Epsilon(Rule, frozen=True, kw_only=True):
    """`epsilon`: the probability that a slot explores, for everybody, in every arm and under every strategy.

    Attributes
    ----------
    epsilon : constant
    """

    epsilon: Unit


class PolicyRule(Rule, frozen=True, kw_only=True):
    """`policy`: what is other in the section `policy`; arms of an experiment change what they change on top of it.

    Attributes
    ----------
    strategy : every slate is made by this strategy, with probability 1, in each arm that has it
    name : another policy chooses among the strategies; it learns from the first slate on, and goes on where it was switched off
    action_epsilon : probability that the strategy is drawn from all alike
    action_epsilon_min : it does not fall below this
    action_epsilon_decay : factor per step learned
    """

    strategy: str | None = None
    name: PolicyName | None = None
    action_epsilon: Unit | None = None
    action_epsilon_min: Unit | None = None
    action_epsilon_decay: Unit | None = None


class PinnedVersion(Rule, frozen=True, kw_only=True):
    """`pinned_version`: the version of the ranker that serves until the rule is taken back.

    Attributes
    ----------
    version : as slates name it under versions.ranker
    """

    version: Annotated[str, Meta(min_length=3, max_length=128, pattern=r"^\d+\.\d+(-[0-9a-f]+)?$")]


class FrequencyCap(Rule, frozen=True, kw_only=True):
    """`frequency_cap`: at most so many impressions of one item, or of one campaign, to a user within a window.

    Attributes
    ----------
    most : impressions; what is in a slate counts as shown
    window_s : length of the window in event time, seconds
    of : what is counted
    """

    most: Annotated[int, Meta(ge=1, le=1000)]
    window_s: Annotated[int, Meta(ge=1, le=31_536_000)]
    of: Literal["item", "campaign"] = "item"


class Campaign(Rule, frozen=True, kw_only=True):
    """`campaign:NAME`: the budget that pays for the items of this campaign. Without it they are not shown.

    Attributes
    ----------
    budget : what may be charged, in the shop's currency
    per : day (of UTC, in event time), or total
    begins_ms, ends_ms : shown from and before these event times
    pacing : even (spent evenly over the time), traffic (in proportion to the traffic of each hour, as far as it is known), or fast
    """

    budget: Annotated[float, Meta(ge=0, le=1e12)]
    per: Literal["day", "total"] = "day"
    begins_ms: Milliseconds | None = None
    ends_ms: Milliseconds | None = None
    pacing: Literal["traffic", "even", "fast"] = "traffic"


RULES: dict[str, type[Struct]] = {
    "sources": SourceWeights,
    "include": Include,
    "exclude": Exclude,
    "boost": Boost,
    "pin": Pin,
    "category_caps": CategoryCaps,
    "brand_caps": BrandCaps,
    "frequency_cap": FrequencyCap,
    "campaign": Campaign,
    "epsilon": Epsilon,
    "policy": PolicyRule,
    "experiment": Experiment,
    "pinned_version": PinnedVersion,
}
"""The type of a value, for each kind of rule."""

NAMED = frozenset({"campaign"})
"""Kinds whose rules are about what their name says, and must have one."""

SINGLE = frozenset({"sources", "epsilon", "policy", "experiment", "pinned_version"})
"""Kinds of which one rule is in force."""

_DECODERS = {kind: msgspec.json.Decoder(rule).decode for kind, rule in RULES.items()}


def control_key(name: str) -> str:
    """Key of an accepted rule in `model-updates`."""
    return f"control:{name}"


def kind_of(name: str | None) -> str:
    """The kind of a rule by its name.

    Raises
    ------
    Rejected
        When no rule can have this name.
    """
    kind, colon, rest = (name or "").partition(":")
    if kind not in RULES or (colon and (kind in SINGLE or not rest)) or (kind in NAMED and not colon) or len(name or "") > NAME_CHARACTERS:
        expected = ", ".join(_named(kind) for kind in RULES)
        raise Rejected(Refusal.UNKNOWN_TYPE, f"there is no control {(name or '')[:80]!r}: expected as the key one of {expected}")
    return kind


def _named(kind: str) -> str:
    """How the name of a rule of a kind is written."""
    if kind in NAMED:
        return f"{kind}:NAME"
    return kind if kind in SINGLE else f"{kind}[:NAME]"


def decode_control(name: str | None, value: bytes) -> Struct:
    """The rule in a record, of the type that `RULES` has for its kind.

    Raises
    ------
    Rejected
        When no rule has this name, or the value is not what it takes.
    """
    kind = kind_of(name)
    rule = decode_value(_DECODERS[kind], value)
    if isinstance(rule, Exclude | Boost) and not (rule.items or rule.categories or rule.brands):
        raise Rejected(Refusal.MISSING_FIELD, f"{kind}: expected items, categories or brands")
    if isinstance(rule, CategoryCaps) and rule.most is None and not rule.categories:
        raise Rejected(Refusal.MISSING_FIELD, f"{kind}: expected most or categories")
    if isinstance(rule, Campaign) and rule.per == "total" and rule.pacing != "fast" and None in (rule.begins_ms, rule.ends_ms):
        raise Rejected(Refusal.MISSING_FIELD, f"{kind}: expected begins_ms and ends_ms, over which a total is to be paced; or pacing fast")
    if isinstance(rule, BrandCaps) and rule.most is None and not rule.brands:
        raise Rejected(Refusal.MISSING_FIELD, f"{kind}: expected most or brands")
    return rule


class InvalidRule(ValueError):
    """A rule of the configuration that is none.

    Attributes
    ----------
    name, expected : of the rule, and what would have been one
    """

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name}: {expected}")
        self.name, self.expected = name, expected


def decode_rules(rules: Mapping[str, Mapping[str, Any]]) -> dict[str, Struct]:
    """The rules of a configuration.

    Raises
    ------
    InvalidRule
        When one is no rule, or there are too many of a kind.
    """
    decoded: dict[str, Struct] = {}
    for name, value in rules.items():
        try:
            rule = decode_control(name, msgspec.json.encode(value))
            require_few(decoded, name)
        except Rejected as rejected:
            raise InvalidRule(name, f"a rule as on the topic controls ({rejected.detail})") from None
        decoded[name] = rule
    return decoded


def require_few(controls: Mapping[str, Struct], name: str) -> None:
    """Bound the rules of one kind: each costs every slate something.

    Raises
    ------
    Rejected
        When a rule of this name would be one too many beside those in force.
    """
    kind = kind_of(name)
    most = CAMPAIGNS if kind in NAMED else RULES_OF_A_KIND
    if name not in controls and len(controls) >= most and sum(kind_of(other) == kind for other in controls) >= most:
        raise Rejected(Refusal.OUT_OF_BOUNDS, f"{kind}: at most {most} rules of one kind may be in force")
