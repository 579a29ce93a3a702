"""Configuration: what is wrong is said by file, key, expectation and finding, before anything is submitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import conf
from models.config import Configuration, ConfigurationError
from models.feature_table import GROUPS
from models.scorers import make_scorer
from models.validation import parse_configuration
from models.versions import encode_tensors

DEFAULT_YAML = Path(conf.__file__).parent / "default.yaml"


def flat(values: object, key: str = "") -> dict[str, Any]:
    """Dotted keys of a nested mapping, with their values."""
    if not isinstance(values, dict) or not values:
        return {key: values}
    return {
        inner: value
        for name, nested in values.items()
        for inner, value in flat(nested, f"{key}.{name}" if key else name).items()
    }


def error(mapping: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(mapping, "shop.yaml")
    return caught.value


def test_an_empty_file_means_all_defaults():
    assert parse_configuration(None, "shop.yaml") == parse_configuration({}, "shop.yaml") == Configuration()


def test_what_a_file_says_replaces_the_default_and_nothing_else():
    changed = parse_configuration({"slate": {"k": 5}, "kafka": {"topic_prefix": "shop-"}}, "shop.yaml")
    before, after = flat(msgspec.to_builtins(Configuration())), flat(msgspec.to_builtins(changed))
    assert {key: after[key] for key in after if after[key] != before[key]} == {
        "slate.k": 5,
        "kafka.topic_prefix": "shop-",
    }


@pytest.mark.parametrize(
    ("mapping", "key", "expected", "got"),
    [
        ([], "(top level)", "object", "[]"),
        ("kafka", "(top level)", "object", "'kafka'"),
        ({"kafka": None}, "kafka", "object", "None"),
        ({"kafak": {}}, "kafak", "a known key", "an unknown one"),
        ({"kafka": {"partitons": 1}}, "kafka.partitons", "a known key", "an unknown one"),
        ({"kafka": {"partitions": "8"}}, "kafka.partitions", "int", "'8'"),
        ({"kafka": {"partitions": 8.0}}, "kafka.partitions", "int", "8.0"),
        ({"kafka": {"partitions": True}}, "kafka.partitions", "int", "True"),
        ({"kafka": {"partitions": 0}}, "kafka.partitions", "int >= 1", "0"),
        ({"kafka": {"bootstrap_servers": ""}}, "kafka.bootstrap_servers", "str of length >= 3", "''"),
        ({"flink": {"jobmanager": "x"}}, "flink.jobmanager", r"str matching regex '^[^:/]+:\\d+$'", "'x'"),
        ({"policy": {"epsilon": 2}}, "policy.epsilon", "float <= 1.0", "2"),
        ({"policy": {"epsilon": float("nan")}}, "policy.epsilon", "float >= 0.0", "nan"),
        (
            {"policy": {"name": "greedy"}},
            "policy.name",
            "one of epsilon_greedy, ucb1, thompson, linucb, softmax, q_learning, sarsa",
            "'greedy'",
        ),
        ({"policy": {"strategies": {}}}, "policy.strategies", "object of length >= 1", "{}"),
        (
            {"policy": {"strategies": {"one": {}, "two": {"sources": {"item_cf": -1}}}}},
            "policy.strategies.two.sources.item_cf",
            "float >= 0.0",
            "-1",
        ),
        ({"item_cf": {"half_life_days": 0}}, "item_cf.half_life_days", "float > 0.0", "0"),
        ({"scorer": {"hidden": [64, 0]}}, "scorer.hidden[1]", "int >= 1", "0"),
        ({"events": {"default_type": "levitate"}}, "events.default_type", "one of events.types", "'levitate'"),
        (
            {"events": {"types": {"view": {"weight": 0}}}},
            "events.types",
            "at least one type with a weight above 0",
            "['view']",
        ),
        ({"scorer": {"candidates": 50}, "slate": {"k": 60}}, "slate.k", "at most scorer.candidates = 50", "60"),
        (
            {"scorer": {"ignored_groups": ["content", "moods"]}},
            "scorer.ignored_groups",
            f"some of {', '.join(GROUPS)}",
            "['moods']",
        ),
        (
            {"events": {"types": {"view": {}, "play": {"dwell_ms_full": 9, "times_value": True}}}},
            "events.types.play.times_value",
            "false where dwell_ms_full says that the value is a dwell time",
            "True",
        ),
        (
            {"outcomes": {"enabled": False}, "policy": {"strategies": {"one": {}, "two": {}}}},
            "outcomes.enabled",
            "true where policy.strategies has several: a policy learns from outcomes",
            "False",
        ),
        (
            {"profile": {"items": 10}},
            "profile.items",
            "at least item_cf.pair_items and item_cf.score_items",
            "10",
        ),
        (
            {"flink": {"checkpoint_interval_ms": 700_000}},
            "kafka.transaction_timeout_ms",
            "more than flink.checkpoint_interval_ms",
            "600000",
        ),
    ],
)
def test_an_error_names_file_key_expectation_and_finding(mapping, key, expected, got):
    found = error(mapping)
    assert (found.file, found.key, found.expected, found.got) == ("shop.yaml", key, expected, got)
    assert str(found) == f"shop.yaml: {key}: expected {expected}, got {got}"


@pytest.mark.parametrize("scorer", [{"hidden": [512, 144]}, {"name": "mlp", "hidden": [512, 408]}, {"embedding_rows": 14_545}])
def test_the_largest_network_that_is_allowed_is_published_in_one_record(scorer):
    config = parse_configuration({"scorer": scorer}, "shop.yaml").scorer
    size = len(encode_tensors(make_scorer(config).published()))
    assert 900_000 < size < 1_048_576 - 10_000
    if "hidden" in scorer:
        first, last = scorer["hidden"]
        assert error({"scorer": scorer | {"hidden": [first, last + 1]}}).key == "scorer.hidden"


@pytest.mark.parametrize(
    ("mapping", "key"),
    [
        ({"kafka": {"start_from": "latet"}}, "kafka.start_from"),
        ({"events": {"types": {"view": {"weight": -1}}}}, "events.types"),
        ({"events": {"types": {"view": {"wieght": 1}}}}, "events.types"),
        ({"flink": {"options": {"a": 1}}}, "flink.options"),
    ],
)
def test_an_error_inside_a_choice_or_a_mapping_names_at_least_its_key(mapping, key):
    found = error(mapping)
    assert found.key.startswith(key)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "8", "2024-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([1, None, "k", "types", "view"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*Configuration.__struct_fields__, "kafak", 1]), ANYTHING, max_size=3) | ANYTHING
)
def test_whatever_a_file_holds_it_is_a_configuration_or_a_configuration_error(mapping):
    try:
        parse_configuration(mapping, "shop.yaml")
    except ConfigurationError as found:
        assert str(found).startswith("shop.yaml: ")


@pytest.mark.parametrize("section", Configuration.__struct_fields__)
def test_one_wrong_value_in_any_key_is_found_and_named(section):
    values = getattr(Configuration(), section)
    for key in ["any name"] if isinstance(values, dict) else values.__struct_fields__:
        assert error({section: {key: object()}}).key == f"{section}.{key}"


def test_the_default_file_says_exactly_what_the_code_defaults_to():
    in_file = flat(yaml.safe_load(DEFAULT_YAML.read_text(encoding="utf-8")))
    in_code = flat(msgspec.json.decode(msgspec.json.encode(Configuration())))
    differences = [
        f"{key}: the code says {in_code.get(key, 'nothing')!r}, conf/default.yaml says {in_file.get(key, 'nothing')!r}"
        for key in sorted(in_code.keys() | in_file.keys())
        if in_code.get(key, "nothing") != in_file.get(key, "nothing")
    ]
    assert not differences, "make conf/default.yaml follow models/config.py:\n" + "\n".join(differences)
    assert parse_configuration(yaml.safe_load(DEFAULT_YAML.read_text(encoding="utf-8")), "x") == Configuration()


def test_every_key_of_the_default_file_has_a_comment_that_says_what_it_means():
    lines = DEFAULT_YAML.read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if re.match(r"^\s+\w+:", line)]
    assert [line for line in keys if not re.search(r"  # \w", line)] == []
