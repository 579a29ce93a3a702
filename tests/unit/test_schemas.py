"""Topics and their JSON Schemas: the files in conf/schemas are what the code generates, and say what it accepts."""

from __future__ import annotations

import json

import msgspec
import pytest

from cli.errors import UserError
from cli.schemas import SCHEMA_DIRECTORY, generated_schemas, schemas, stale_schemas
from models import topics
from models.controls import NAMED, RULES, decode_control
from models.events import DeadLetter, Refusal, Rejected
from models.fields import Reason
from models.monitor.alerts import Alert, AlertText
from models.monitor.texts import LabelRecord, TextRecord
from models.requests import RequestRecord
from models.topics import (
    CatalogueItem,
    Metric,
    Recommendation,
    RecommendedItem,
    Timings,
    topic_name,
)
from models.traces import Trace, TracedCandidate, TracedProfileItem

RECOMMENDATION = Recommendation(
    slate_id="1f3827a562ecf717",
    revision="r1",
    seq=3,
    user_id="u1",
    event_id="e1",
    event_time_ms=1_000,
    items=[
        RecommendedItem(
            item_id="i1",
            position=1,
            score=2.5,
            probability=0.25,
            sources=["item_cf"],
            reasons=[Reason(kind="item_cf", item_id="i0", contribution=2.5)],
            propensity=0.95,
            title="Toy Story",
        )
    ],
    policy="epsilon_greedy",
    action="mlp",
    action_probability=0.9,
    versions={"item_cf": "12"},
    timings=Timings(received_at_ms=1_001, emitted_at_ms=1_003, compute_us=800),
)
OUTCOME = topics.Outcome(
    slate_id="1f3827a562ecf717",
    revision="00000000000000a1",
    seq=3,
    user_id="u1",
    event_id="e1",
    slate_time_ms=1_000,
    closed_time_ms=1_801_000,
    closed_by="window",
    activated=True,
    superseded=False,
    policy="sarsa",
    action="mlp",
    action_probability=0.9,
    arm="default",
    versions={"ranker": "7.1-00"},
    context=topics.UserContext(state=5, features=[1.0, 0.25]),
    items=[
        topics.OutcomeItem(
            item_id="i1",
            position=1,
            propensity=0.95,
            probability=None,
            explored=False,
            reward=3.0,
            events=2,
            delay_ms=500,
            features=b"\x00\x3c\x00\xc0",
        )
    ],
    reward=3.0,
    outcomes=2,
    delay_ms=500,
    next=topics.NextChoice(state=7, features=[1.0, 0.5], action="other"),
    terminal=False,
)
TRACE = Trace(
    slate_id="1f3827a562ecf717",
    user_id="u1",
    event_id="",
    request_id="r1",
    event_time_ms=1_000,
    policy="ucb1",
    action="mlp",
    action_probability=0.9,
    action_values={"mlp": 0.5, "blend": 0.25},
    epsilon=0.05,
    arm="default",
    versions={"ranker": "7.1-00"},
    state=5,
    source_weights={"item_cf": 0.75},
    rules=["boost:brand"],
    feature_names=["cf"],
    profile=[TracedProfileItem(item_id="i0", event_time_ms=900, value=4.0)],
    candidates=[
        TracedCandidate(
            item_id="i1",
            sources={"item_cf": 2.5},
            base=0.75,
            score=2.5,
            cf_score=2.5,
            features=[0.5],
            position=1,
            propensity=0.95,
            reasons=[Reason(kind="item_cf", item_id="i0", contribution=2.5)],
            rules=["boost:brand"],
        )
    ],
)
VALUES = {
    topics.EVENTS: topics.EventRecord(event_id="e1", user_id=7, item_id="i1", event_time_ms=1_000),
    topics.REQUESTS: RequestRecord(request_id="r1", user_id=7, event_time_ms=1_000, k=5, restrict=["i1", 2]),
    topics.ITEMS: CatalogueItem(title="Toy Story", year=1995, categories=["Animation"], vector=[0.5, -1.0]),
    topics.RECOMMENDATIONS: RECOMMENDATION,
    topics.OUTCOMES: OUTCOME,
    topics.METRICS: Metric(window_start_ms=0, window_end_ms=60_000, metric="hr_at_k", value=None, n=0),
    topics.TRACES: TRACE,
    topics.CHARGES: topics.Charge(
        charge_id="00000000000000ff-1",
        campaign="cars",
        item_id="i1",
        user_id="u1",
        slate_id="00000000000000ff",
        position=1,
        price_micros=5,
        charged_micros=3,
        left_micros=0,
        time_ms=1_000,
        day=0,
    ),
    topics.TEXTS: TextRecord(text_id=7, text="Profits rose", event_time_ms=1_000, entities=["Norvik Bank"]),
    topics.LABELS: LabelRecord(text_id=7, sentiment="positive"),
    topics.ALERTS: Alert(
        alert_id="1f3827a562ecf717",
        state="raised",
        kind="negative",
        topic="deals",
        raised_window_end_ms=3_000,
        window_start_ms=1_000,
        window_end_ms=3_000,
        texts=9,
        expected_texts=8.5,
        negative_share=0.75,
        expected_negative_share=0.25,
        score=3.2,
        entities=["Norvik Bank"],
        examples=[AlertText(text_id="7", kind="news", text="Profits fell", event_time_ms=1_000, sentiment="negative")],
    ),
    topics.DEAD_LETTER: DeadLetter.of(Rejected(Refusal.BAD_ID, "why"), b"{}", topic="events"),
}


def test_the_schema_files_are_what_the_code_generates():
    assert stale_schemas() == [], "run `flinkrec schemas` and look at the difference: readers may depend on it"
    assert {path.stem for path in SCHEMA_DIRECTORY.iterdir()} == {*topics.JSON_VALUES, topics.CONTROLS}


@pytest.mark.parametrize("name", generated_schemas())
def test_every_field_of_a_schema_says_what_it_means(name):
    definitions = json.loads(generated_schemas()[name])["$defs"]
    undescribed = [
        f"{title}.{field}"
        for title, definition in definitions.items()
        for field, value in definition["properties"].items()
        if not value.get("description")
    ]
    assert undescribed == [], "describe them under Attributes in the docstring of the class"


def test_check_names_the_files_that_are_changed_missing_or_left_over(tmp_path):
    schemas(directory=tmp_path)
    schemas(check=True, directory=tmp_path)
    (tmp_path / "events.json").write_text("{}")
    (tmp_path / "items.json").unlink()
    (tmp_path / "gone.json").write_text("{}")
    with pytest.raises(UserError, match=r"events\.json, gone\.json, items\.json; run `flinkrec schemas`"):
        schemas(check=True, directory=tmp_path)


@pytest.mark.parametrize("topic", topics.JSON_VALUES)
def test_a_value_keeps_everything_through_json_and_passes_its_schema(topic):
    jsonschema = pytest.importorskip("jsonschema")
    encoded = msgspec.json.encode(VALUES[topic])
    assert msgspec.json.decode(encoded, type=topics.JSON_VALUES[topic]) == VALUES[topic]
    jsonschema.Draft202012Validator(json.loads(generated_schemas()[f"{topic}.json"])).validate(json.loads(encoded))


@pytest.mark.parametrize("topic", topics.JSON_VALUES)
def test_a_field_that_is_not_known_is_no_error(topic):
    extended = msgspec.json.encode({**msgspec.to_builtins(VALUES[topic]), "of_next_year": {"a": 1}})
    assert msgspec.json.decode(extended, type=topics.JSON_VALUES[topic]) == VALUES[topic]


RULE_VALUES = {
    "sources": {"item_cf": 0.7, "trending": 0.3},
    "include": {"items": ["a"]},
    "exclude": {"categories": ["c"]},
    "boost": {"factor": 2.5, "brands": ["b"]},
    "frequency_cap": {"most": 2, "window_s": 86400, "of": "campaign"},
    "campaign": {"budget": 20.5, "per": "total", "begins_ms": 0, "ends_ms": 86400000, "pacing": "even"},
    "pin": {"item": "a", "position": 2, "context": {"page": "home"}},
    "category_caps": {"most": 3, "categories": {"c": 1}},
    "brand_caps": {"most": 2, "brands": {"b": 1}},
    "epsilon": {"epsilon": 0.1},
    "policy": {"strategy": "exploit"},
    "experiment": {"salt": "s", "arms": {"a": {}, "b": {"weight": 0.5, "policy": {"name": "ucb1"}}}},
    "pinned_version": {"version": "1700000000.3"},
}


@pytest.mark.parametrize("kind", RULES)
def test_the_schema_of_the_controls_has_a_part_for_every_kind_of_rule(kind):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(generated_schemas()["controls.json"])
    [part] = [part for part in schema["anyOf"] if part["title"].split(",")[0].split(":")[0] == kind]
    validator = jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]})
    validator.validate(RULE_VALUES[kind])
    name = f"{kind}:x" if kind in NAMED else kind
    assert decode_control(name, json.dumps(RULE_VALUES[kind]).encode()) is not None
    # a rule that is misspelt must not do something else than it says
    assert not validator.is_valid(RULE_VALUES[kind] | {"of_next_year": 1})
    with pytest.raises(Rejected, match="of_next_year"):
        decode_control(name, json.dumps(RULE_VALUES[kind] | {"of_next_year": 1}).encode())


def test_a_position_starts_at_one():
    with pytest.raises(msgspec.ValidationError, match="position"):
        msgspec.json.decode(b'{"item_id":"i","position":0,"score":1}', type=RecommendedItem)


def test_a_topic_is_named_by_prefix_and_name():
    assert topic_name("", topics.DEAD_LETTER) == "dead-letter"
    assert topic_name("shop-", topics.EVENTS) == "shop-events"


def test_a_topic_that_is_not_ours_or_too_long_is_refused():
    with pytest.raises(ValueError, match=r"expected one of events, .* got 'event'"):
        topic_name("", "event")
    with pytest.raises(ValueError, match="at most 249 characters, got 256"):
        topic_name("x" * 250, topics.EVENTS)
