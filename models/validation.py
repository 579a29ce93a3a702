"""What a file of the configuration says, as a `Configuration`, or in one sentence why it cannot be one.

`parse_configuration` takes a mapping, already read from YAML by the caller (`models` does no I/O): first each value by itself, then those
that must fit one another.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args, get_type_hints

import msgspec

from models.config import BUILT_IN_SCORERS, Configuration, ConfigurationError, Experiment, Policy
from models.controls import InvalidRule, decode_rules
from models.experiments import InvalidArm, TreatmentSettings, treatment_settings
from models.feature_table import GROUPS, WIDTH

_Require = Callable[[bool, str, str, object], None]
_OWN_SCORER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
# A version is published in one record, which a broker and a producer take at their defaults up to 1 MiB: embeddings as float16,
# the layers over the features as float32.
_MAX_EMBEDDING_NUMBERS = 480_000
_MAX_PUBLISHED_BYTES = 1_000_000
_PATH = re.compile(r"^(?P<message>.*?)(?: - at (?P<in_key>`key` in )?`\$?(?P<path>[^`]*)`)?$", re.DOTALL)
_TYPE_ERROR = re.compile(r"^Expected (?P<expected>.*?)(?:, got (?P<got>.*))?$", re.DOTALL)


def parse_configuration(mapping: object, file: str) -> Configuration:
    """Validate a mapping read from YAML.

    Parameters
    ----------
    mapping : what the YAML parser returned (``None`` for an empty file means all defaults)
    file : its name, for the error

    Raises
    ------
    ConfigurationError
        When a key is unknown, a value has another type or lies outside its bounds, or two values contradict.
    """
    try:
        configuration = msgspec.convert({} if mapping is None else mapping, Configuration)
    except msgspec.ValidationError as error:
        raise _explained(error, mapping, file) from None
    _check_consistency(configuration, file)
    return configuration


def _explained(error: msgspec.ValidationError, mapping: object, file: str) -> ConfigurationError:
    match = _PATH.match(str(error))
    assert match is not None
    key = (match["path"] or "").lstrip(".")
    if "[...]" in key or match["in_key"]:
        inside, _, rest = key.partition("[...]")
        name = _entry_at_fault(error, mapping, inside)
        # The entry's own name may hold dots, as Flink's options do.
        found = repr(name) if match["in_key"] else repr(_lookup(_lookup(mapping, inside)[name], rest))
        key = key.replace("[...]", f".{name}", 1)
    else:
        found = repr(_lookup(mapping, key))
    message = match["message"]
    unknown = re.match(r"Object contains unknown field `(.*)`", message)
    if unknown:
        key = f"{key}.{unknown[1]}" if key else unknown[1]
        return ConfigurationError(file=file, key=key, expected="a known key", got="an unknown one")
    typed = _TYPE_ERROR.match(message)
    if message.startswith("Invalid enum value"):
        expected = "one of " + ", ".join(_choices(key))
    else:
        expected = typed["expected"].replace("`", "") if typed else message
    return ConfigurationError(file=file, key=key or "(top level)", expected=expected, got=found)


def _entry_at_fault(error: msgspec.ValidationError, mapping: object, key: str) -> Any:
    """The entry of the mapping at `key` that an error is about: msgspec says only that it is one of them."""
    path = key.split(".") if key else []
    for name, value in _lookup(mapping, key).items():
        alone: Any = {name: value}
        for part in reversed(path):
            alone = {part: alone}
        try:
            msgspec.convert(alone, Configuration)
        except msgspec.ValidationError as again:
            if str(again) == str(error):
                return name
    raise error


def _choices(key: str) -> tuple[str, ...]:
    found: Any = Configuration
    for part in key.split("."):
        found = get_type_hints(found)[part]
    return get_args(found)


def _lookup(mapping: object, key: str) -> Any:
    found: Any = mapping
    for part in re.findall(r"[^.\[\]]+", key):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError):
            return found
    return found


def _check_consistency(configuration: Configuration, file: str) -> None:
    def require(holds: bool, key: str, expected: str, got: object) -> None:
        if not holds:
            raise ConfigurationError(file=file, key=key, expected=expected, got=repr(got))

    for check in (_check_events, _check_scorer, _check_answers, _check_slates, _check_auction):
        check(configuration, require)
    _check_arms_and_rules(configuration, file)
    for check in (_check_tokens, _check_monitor, _check_kafka):
        check(configuration, require)


def _check_events(c: Configuration, require: _Require) -> None:
    require(
        c.events.default_type in c.events.types, "events.default_type", "one of events.types", c.events.default_type
    )
    lowered = [name.lower() for name in c.events.types]
    require(
        len(set(lowered)) == len(lowered), "events.types", "names that differ in more than case", list(c.events.types)
    )
    require("erase" not in lowered, "events.types", "no type named erase: that one is built in", list(c.events.types))
    require(
        any(kind.weight > 0 for kind in c.events.types.values()),
        "events.types",
        "at least one type with a weight above 0",
        list(c.events.types),
    )
    for name, kind in c.events.types.items():
        require(
            kind.dwell_ms_full is None or not kind.times_value,
            f"events.types.{name}.times_value",
            "false where dwell_ms_full says that the value is a dwell time",
            True,
        )
    require(
        c.outcomes.enabled or len(c.policy.strategies) == 1,
        "outcomes.enabled",
        "true where policy.strategies has several: a policy learns from outcomes",
        c.outcomes.enabled,
    )


def _check_scorer(c: Configuration, require: _Require) -> None:
    require(
        c.scorer.name in BUILT_IN_SCORERS or _OWN_SCORER.fullmatch(c.scorer.name) is not None,
        "scorer.name",
        f"one of {', '.join(BUILT_IN_SCORERS)}, or MODULE:CLASS of a class of your own",
        c.scorer.name,
    )
    require(
        c.scorer.name != "text" or c.text.makes_vectors,
        "scorer.name",
        "another one than text, unless section text makes vectors (text.encoder, text.catalogue_dimension)",
        c.scorer.name,
    )
    projected = c.scorer.vector_dimension if c.scorer.name == "text" else 0
    most_rows = _MAX_EMBEDDING_NUMBERS // (c.scorer.embedding_dim + 1) - projected
    require(
        c.scorer.embedding_rows <= most_rows,
        "scorer.embedding_rows",
        f"at most {most_rows:,} with scorer.embedding_dim {c.scorer.embedding_dim}",
        c.scorer.embedding_rows,
    )
    embedded = 0 if c.scorer.name in ("none", "mlp") else (c.scorer.embedding_rows + projected) * (c.scorer.embedding_dim + 1)
    sizes = (2 * WIDTH, *c.scorer.hidden)
    most_weights = (_MAX_PUBLISHED_BYTES - 2 * embedded) // 4
    require(
        sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes)) <= most_weights,
        "scorer.hidden",
        f"layers of at most {most_weights:,} weights, which fit one record beside the embeddings",
        list(c.scorer.hidden),
    )
    unknown = sorted(set(c.scorer.ignored_groups) - set(GROUPS))
    require(not unknown, "scorer.ignored_groups", f"some of {', '.join(GROUPS)}", unknown)


def _check_answers(c: Configuration, require: _Require) -> None:
    if not c.answers.enabled:
        return
    require(c.text.encoder != "none", "text.encoder", "an encoder where answers.enabled is on: questions are compared by meaning", "none")
    reports = ("solved_type", "not_solved_type", "handed_over_type")
    for name in reports:
        kind = getattr(c.answers, name)
        require(kind in c.events.types, f"answers.{name}", f"one of events.types: {', '.join(c.events.types)}", kind)
    given = [getattr(c.answers, name) for name in reports]
    require(len(set(given)) == len(given), "answers.solved_type", "an event type of its own for each report", given)


def _check_slates(c: Configuration, require: _Require) -> None:
    require(
        c.slate.k <= c.scorer.candidates, "slate.k", f"at most scorer.candidates = {c.scorer.candidates}", c.slate.k
    )
    require(
        max(c.item_cf.pair_items, c.item_cf.score_items) <= c.profile.items,
        "profile.items",
        "at least item_cf.pair_items and item_cf.score_items",
        c.profile.items,
    )


def _check_auction(c: Configuration, require: _Require) -> None:
    if c.auction.value != "none":
        require(
            c.scorer.name != "none" and c.learner.mode != "logging",
            "auction.value",
            "none where no scorer predicts probabilities: scorer.name none, learner.mode logging",
            c.auction.value,
        )
    if c.auction.value == "bid":
        require(
            c.outcomes.enabled, "outcomes.enabled", "true where auction.value is bid: a charge follows from an outcome", False
        )
        for name in c.auction.charged:
            charged = c.events.types.get(name)
            require(
                charged is not None and name != "impression" and (charged.weight > 0 or bool(charged.reward)),
                "auction.charged",
                "names of events.types with a weight or a reward, other than impression",
                name,
            )


def _check_arms_and_rules(c: Configuration, file: str) -> None:
    try:
        arm_settings(c, c.policy, c.experiment)
    except InvalidArm as error:
        raise ConfigurationError(file=file, key=f"experiment.{error.key}", expected=error.expected, got=error.got) from None
    try:
        decode_rules(c.rules)
    except InvalidRule as error:
        raise ConfigurationError(file=file, key=f"rules.{error.name}", expected=error.expected, got=repr(c.rules[error.name])) from None


def arm_settings(configuration: Configuration, policy: Policy, experiment: Experiment) -> dict[str, TreatmentSettings]:
    """What the users of each arm are given, which fits the rest of the configuration.

    Parameters
    ----------
    policy, experiment : those in force, instead of the configured ones

    Raises
    ------
    InvalidArm
        When it does not fit (`models.experiments.treatment_settings` too).
    """
    arms = treatment_settings(policy, configuration.sources, configuration.scorer, experiment)
    for name, arm in arms.items():
        if arm.scorer is None:
            continue

        def require(holds: bool, key: str, expected: str, got: object, *, name: str = name) -> None:
            if not holds:
                raise InvalidArm(f"arms.{name}.{key}", expected=expected, got=repr(got))

        # the vectors of items go to one network, and the module of a class of one's own is sent with the job
        known = {*BUILT_IN_SCORERS, configuration.scorer.name} - {"text"}
        require(arm.scorer.name in known, "scorer.name", f"one of {', '.join(sorted(known))}", arm.scorer.name)
        most = max(configuration.popularity.pool, configuration.scorer.candidates)
        require(arm.scorer.candidates <= most, "scorer.candidates", f"at most {most}, as popularity.pool", arm.scorer.candidates)
        own = msgspec.structs.replace(configuration, scorer=arm.scorer)
        for check in (_check_scorer, _check_slates, _check_auction):
            check(own, require)
    return arms


def _check_tokens(c: Configuration, require: _Require) -> None:
    for number, token in enumerate(c.serving.tokens):
        require(
            (token.token is None) != (token.token_env is None),
            f"serving.tokens[{number}]",
            "either token or token_env",
            token.name,
        )
    names = [token.name for token in c.serving.tokens]
    require(len(set(names)) == len(names), "serving.tokens", "a name of its own for each", names)


def _check_monitor(c: Configuration, require: _Require) -> None:
    require(86_400 % c.monitor.window_s == 0, "monitor.window_s", "a divisor of a day, 86400", c.monitor.window_s)
    require(
        c.monitor.min_days <= c.monitor.history_days, "monitor.min_days", "at most monitor.history_days", c.monitor.min_days
    )


def _check_kafka(c: Configuration, require: _Require) -> None:
    require(
        c.kafka.transaction_timeout_ms > c.flink.checkpoint_interval_ms,
        "kafka.transaction_timeout_ms",
        "more than flink.checkpoint_interval_ms",
        c.kafka.transaction_timeout_ms,
    )
