"""Slates that were asked for, slates taken apart, and users who are erased: what the recommender makes of them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.events import ERASE, Event
from models.examples import decode_example
from models.feature_table import FEATURES
from models.identity import hash64, slate_id
from models.pipeline import LocalPipeline
from models.profile import encode_user_state
from models.reasons import REQUEST
from models.requests import Request
from models.validation import parse_configuration
from tests.synthetic import events

STREAM = events(260, users=10, items=60)
LAST_MS = STREAM[-1].event_time_ms
SMALL = {"scorer": {"hidden": [8]}, "learner": {"batch_examples": 8, "publish_every_steps": 1}, "policy": {"epsilon": 0.3}}
NO_EXPLORATION = {"policy": {"epsilon": 0.0, "epsilon_min": 0.0}}


def pipeline_of(stream=STREAM, **sections):
    pipeline = LocalPipeline(parse_configuration(SMALL | sections, "test.yaml"), publish_every=1)
    for event in stream:
        pipeline.learn(event)
        pipeline.recommend(event)
    return pipeline


def request(name="r1", *, user="user-1", **more):
    return Request(request_id=name, user_id=user, event_time_ms=LAST_MS + 1_000, **more)


def ids(slate):
    return [item.item_id for item in slate.items]


def learned(pipeline, user_id):
    state = pipeline.user(user_id).state
    return (state.items.tobytes(), state.events, state.last_event_ms, state.value_count, pipeline.user(user_id).seen.encode())


def test_an_answer_is_what_the_next_event_would_be_answered_with_and_teaches_nothing():
    pipeline = pipeline_of(**NO_EXPLORATION)
    before, rows, examples = learned(pipeline, "user-1"), len(pipeline.table), pipeline.learner.examples
    last = next(event for event in reversed(STREAM) if event.user_id == "user-1")
    as_event = pipeline.recommend(msgspec.structs.replace(last, event_id="again"))
    answer = pipeline.answer(request())
    assert answer.slate_id == slate_id("request:r1", "user-1")
    assert (answer.request_id, answer.event_id, answer.event_time_ms, answer.erased) == ("r1", "", LAST_MS + 1_000, False)
    assert answer.seq == as_event.seq + 1
    assert ids(answer) == ids(as_event) != []
    assert (learned(pipeline, "user-1"), len(pipeline.table), pipeline.learner.examples) == (before, rows, examples)


def test_the_same_request_is_answered_with_a_slate_of_the_same_id_and_has_one_outcome():
    pipeline = pipeline_of()
    first, again = pipeline.answer(request()), pipeline.answer(request())
    assert (again.slate_id, again.seq) == (first.slate_id, first.seq + 1)
    assert pipeline.answer(request("r2")).slate_id != first.slate_id
    named = [slate.slate_id for slate in pipeline.user("user-1").slates.slates]
    assert named.count(int(first.slate_id, 16)) == 1


def test_only_what_a_request_restricts_itself_to_is_shown_also_what_no_source_brings():
    pipeline = pipeline_of(sources={"new_items": 0.0})
    pipeline.recommender.apply_catalogue("unheard of", b"{}")
    seen = {event.item_id for event in STREAM if event.user_id == "user-1"}
    known = sorted({event.item_id for event in STREAM} - seen)[:3]
    asked = (*known, "unheard of", "no such item", next(iter(seen)))
    answer = pipeline.answer(request("few", restrict=asked))
    assert set(ids(answer)) == {*known, "unheard of"}
    assert all(np.isfinite(item.score) and item.probability is not None for item in answer.items)
    [unheard] = [item for item in answer.items if item.item_id == "unheard of"]
    assert (unheard.sources, [reason.kind for reason in unheard.reasons]) == ([REQUEST], [REQUEST])
    assert all(REQUEST not in item.sources for item in pipeline.answer(request("all")).items)
    assert pipeline.answer(request("none", restrict=())).items == []


def test_what_a_request_excludes_is_neither_ranked_nor_explored():
    pipeline = pipeline_of(policy={"epsilon": 1.0, "epsilon_min": 1.0})
    everything = sorted({event.item_id for event in STREAM})
    banned = tuple(everything[::2])
    for number in range(20):
        assert not set(ids(pipeline.answer(request(f"r{number}", exclude=banned)))) & set(banned)


@pytest.mark.parametrize("user", ["user-1", "stranger"])
def test_a_slate_that_goes_on_from_a_list_is_made_for_whoever_had_just_that_list(user):
    pipeline = pipeline_of(**NO_EXPLORATION, sources={"item_cf": 1.0})
    other = [event.item_id for event in STREAM if event.user_id == "user-2"][-4:]
    before = learned(pipeline, user)
    own, answer = pipeline.answer(request("own", user=user)), pipeline.answer(request("list", user=user, seed_items=tuple(other)))
    assert (learned(pipeline, user), answer.seq) == (before, own.seq + 1)
    assert ids(answer) not in ([], ids(own))
    assert not set(ids(answer)) & set(other)
    reasons = {reason.item_id for item in answer.items for reason in item.reasons if reason.item_id is not None}
    assert reasons and reasons <= set(other)
    # the next event judges what the user was shown of their own, not the list's
    assert pipeline.user(user).state.last_slate.tolist() == [hash64(item) for item in ids(own)]


@pytest.mark.parametrize("k", [1, 3, 25])
def test_a_request_has_as_many_items_as_it_asks_for(k):
    assert len(pipeline_of().answer(request(k=k)).items) == k


def test_a_user_whom_nobody_knows_is_answered_with_what_is_popular():
    pipeline = pipeline_of(**NO_EXPLORATION, scorer={"name": "none"})
    answer = pipeline.answer(request(user="stranger"))
    assert len(answer.items) == 10
    told = {source for item in answer.items for source in item.sources}
    assert told <= {"popularity", "trending", "new_items"}
    assert all(item.reasons for item in answer.items)
    traced = pipeline.answer(request("r2", user="stranger", trace=True))
    assert traced.seq == 2
    rows = np.array([c.features for c in pipeline.user("stranger").trace.candidates])
    # aged at the time of the request: at that of an event that never was, popularity would be infinite
    assert np.abs(rows).max() < 1_000


def test_rules_hold_for_answers_and_a_pin_sees_the_context_of_the_request():
    pipeline = pipeline_of(**NO_EXPLORATION)
    last = ids(pipeline.answer(request("before")))[-1]
    pipeline.recommender.apply_control("pin", b'{"item": "%s", "position": 1, "context": {"page": "home"}}' % last.encode())
    pipeline.recommender.apply_control("pin:c", b'{"item": "%s", "position": 2, "category": "c"}' % last.encode())
    assert ids(pipeline.answer(request("r1", context={"page": "home"})))[0] == last
    assert ids(pipeline.answer(request("r2", context={"page": "cart"})))[0] != last
    pipeline.recommender.apply_control("exclude", b'{"items": ["%s"]}' % last.encode())
    assert last not in ids(pipeline.answer(request("r3", restrict=(last,))))


def test_the_next_event_judges_a_plain_answer_and_is_an_example_of_its_candidates():
    pipeline = pipeline_of()
    answer = pipeline.answer(request())
    third = answer.items[2].item_id
    observation = pipeline.learn(Event("next", "user-1", third, "view", LAST_MS + 2_000))
    assert (observation.position, observation.shown) == (3, 10)
    assert hash64(third) in decode_example(observation.example).items.tolist()


@pytest.mark.parametrize("narrowed", [{"k": 3}, {"restrict": tuple(f"item-{n}" for n in range(60))}, {"exclude": ("item-1",)}])
def test_an_answer_to_less_is_followed_by_its_outcome_alone(narrowed):
    policy = {"strategies": {"a": {}, "b": {"scorer_weight": 0}}, "action_epsilon": 1.0}
    pipeline = pipeline_of(policy=policy)
    user = pipeline.user("user-1")
    made = pipeline.recommender.attribution.last_made(user.slates)
    last, probabilities, pending = user.state.last_slate.tolist(), user.state.last_probabilities.tolist(), user.pending
    for number in range(4):
        answer = pipeline.answer(request(f"r{number}", **narrowed))
    assert (user.state.last_slate.tolist(), user.state.last_probabilities.tolist(), user.pending) == (last, probabilities, pending)
    assert user.state.seq == answer.seq
    assert pipeline.recommender.attribution.last_made(user.slates) == made
    taken = pipeline.learn(Event("next", "user-1", answer.items[0].item_id, "cart", LAST_MS + 2_000))
    assert taken.action == made.action
    newest = user.slates.slates[-1]
    assert (newest.slate_id, newest.events, newest.reward) == (int(answer.slate_id, 16), 1, 2.0)


def test_what_was_asked_for_counts_as_seen():
    pipeline = pipeline_of(outcomes={"served_means_seen": False})
    pipeline.answer(request())
    assert [slate.activated for slate in pipeline.user("user-1").slates.slates][-2:] == [False, True]


# ------------------------------------------------------------------------------------------------ traces


def test_nothing_is_traced_that_does_not_ask_for_it():
    pipeline = pipeline_of()
    pipeline.answer(request())
    assert {user.trace for user in pipeline.users.values()} == {None}


CHOICES = {"strategies": {"a": {}, "b": {"scorer_weight": 0.5}}, "epsilon": 0.4}


@pytest.mark.parametrize("policy", ["epsilon_greedy", "ucb1", "thompson", "linucb", "softmax", "q_learning", "sarsa"])
def test_a_trace_agrees_with_its_slate(policy):
    pipeline = pipeline_of(policy=CHOICES | {"name": policy})
    slate = pipeline.answer(request(trace=True))
    trace = pipeline.user("user-1").trace
    same = ("slate_id", "user_id", "event_id", "request_id", "event_time_ms", "policy", "action", "action_probability", "arm", "versions")
    assert [getattr(trace, name) for name in same] == [getattr(slate, name) for name in same]
    shown = sorted((c for c in trace.candidates if c.position is not None), key=lambda c: c.position)
    assert [(c.item_id, c.position, c.propensity, c.explored, c.score, c.cf_score, c.probability, c.reasons, c.title) for c in shown] == [
        (i.item_id, i.position, i.propensity, i.explored, i.score, i.cf_score, i.probability, i.reasons, i.title) for i in slate.items
    ]
    assert [list(c.sources) for c in shown] == [i.sources for i in slate.items]
    assert all((c.propensity, c.reasons) == (None, []) for c in trace.candidates if c.position is None)
    assert trace.epsilon == 0.4
    assert any(item.explored for item in slate.items)
    assert trace.action_values.keys() == {"a", "b"}
    assert any(trace.action_values.values())


def test_a_trace_has_all_candidates_best_first_with_what_the_scorer_saw_and_the_sources_gave():
    pipeline = pipeline_of(**NO_EXPLORATION)
    slate = pipeline.answer(request(trace=True))
    trace = pipeline.user("user-1").trace
    assert len(trace.candidates) > len(slate.items)
    scores = [c.score for c in trace.candidates]
    assert scores == sorted(scores, reverse=True)
    assert [c.item_id for c in trace.candidates[: len(slate.items)]] == ids(slate)
    assert trace.feature_names[: len(FEATURES)] == list(FEATURES)
    assert trace.feature_names[len(FEATURES) :] == ["scorer_1", "scorer_2"]
    assert {len(c.features) for c in trace.candidates} == {len(trace.feature_names)}
    for candidate in trace.candidates:
        assert ("item_cf" in candidate.sources) == (candidate.cf_score > 0)
        if candidate.position is not None and "item_cf" in candidate.sources:
            assert candidate.sources["item_cf"] == pytest.approx(candidate.cf_score, rel=1e-4)
            assert sum(r.contribution for r in candidate.reasons if r.kind == "item_cf") == pytest.approx(candidate.cf_score)
    assert trace.source_weights == {"item_cf": 0.75, "user_cf": 0.15, "content": 0.03, "trending": 0.04, "new_items": 0.03}
    own = [event for event in STREAM if event.user_id == "user-1"][::-1]
    assert [(item.item_id, item.event_time_ms) for item in trace.profile] == [(e.item_id, e.event_time_ms) for e in own][:50]
    assert pipeline.recommender.treatments.everybody.policy.name == trace.policy


def test_without_a_scorer_a_candidate_is_ranked_by_its_base():
    pipeline = pipeline_of(**NO_EXPLORATION, scorer={"name": "none"})
    pipeline.answer(request(trace=True))
    trace = pipeline.user("user-1").trace
    assert [c.base for c in trace.candidates] == [c.score for c in trace.candidates]
    assert trace.feature_names == list(FEATURES)


def test_an_event_that_asks_for_it_is_traced_like_a_request():
    pipeline = pipeline_of()
    event = Event("e", "user-1", "item-1", "view", LAST_MS + 1, trace=True)
    pipeline.learn(event)
    slate = pipeline.recommend(event)
    trace = pipeline.user("user-1").trace
    assert (trace.slate_id, trace.event_id, trace.request_id) == (slate.slate_id, "e", None)
    assert trace.profile[0].item_id == "item-1"


def test_a_trace_names_the_rules_that_acted_and_on_what():
    pipeline = pipeline_of(**NO_EXPLORATION)
    first, second, third, fourth, *_ = ids(pipeline.answer(request("before")))
    seen = next(event.item_id for event in STREAM if event.user_id == "user-1")
    far = next(c.item_id for c in traced(pipeline, "r0").candidates[::-1])
    rules = {
        "pin:last": b'{"item": "%s", "position": 10}' % first.encode(),
        "pin:seen": b'{"item": "%s", "position": 1}' % seen.encode(),
        "boost:some": b'{"factor": 1.5, "items": ["%s", "%s"]}' % (second.encode(), third.encode()),
        "include:more": b'{"items": ["%s"]}' % far.encode(),
        "exclude:recall": b'{"items": ["%s"]}' % fourth.encode(),
        "epsilon": b'{"epsilon": 0}',
    }
    for name, rule in rules.items():
        pipeline.recommender.apply_control(name, rule)
    trace = traced(pipeline, "r1")
    assert trace.rules == ["epsilon", "exclude:recall", "boost:some", "include:more", "pin:last"]
    acted = {c.item_id: c.rules for c in trace.candidates if c.rules}
    assert acted == {first: ["pin:last"], second: ["boost:some"], third: ["boost:some"], far: ["include:more"]}
    assert next(c.position for c in trace.candidates if c.item_id == first) == 10


def test_a_category_cap_acted_on_what_it_kept_off_the_list():
    catalogue = {f"item-{n}": ["even" if n % 2 == 0 else "odd"] for n in range(60)}
    pipeline = pipeline_of(**NO_EXPLORATION, slate={"k": 4})
    for item_id, categories in catalogue.items():
        pipeline.recommender.apply_catalogue(item_id, msgspec.json.encode({"categories": categories}))
    pipeline.recommender.apply_control("category_caps:few", b'{"categories": {"even": 1}}')
    trace = traced(pipeline, "r1")
    lowest = max(place for place, c in enumerate(trace.candidates) if c.position is not None)
    over = [c for c in trace.candidates[:lowest] if c.position is None]
    assert over
    assert all(c.rules == ["category_caps:few"] and catalogue[c.item_id] == ["even"] for c in over)
    assert all(c.rules == [] for c in trace.candidates if c not in over)


def traced(pipeline, name, **more):
    pipeline.answer(request(name, trace=True, **more))
    return pipeline.user("user-1").trace


# ------------------------------------------------------------------------------------------------ erasure


def erase(pipeline, user="user-1"):
    return pipeline.learn(Event("erase", user, "", ERASE, LAST_MS + 1))


def test_an_erased_user_is_as_one_who_never_came_and_the_table_keeps_its_counts():
    pipeline = pipeline_of()
    kept = {row.item_id: row.events for row in pipeline.table}
    assert pipeline.recommender.replica.panel.member(hash64("user-1")) >= 0
    observation = erase(pipeline)
    assert (observation.pair, observation.member, observation.evaluated) == (None, None, False)
    assert "user-1" not in pipeline.users
    assert pipeline.recommender.replica.panel.member(hash64("user-1")) == -1
    assert {row.item_id: row.events for row in pipeline.table} == kept
    answer = pipeline.answer(request())
    stranger = pipeline.answer(request(user="stranger"))
    assert answer.seq == 1
    assert not any("item_cf" in item.sources for item in answer.items)
    assert encode_user_state(pipeline.user("user-1").state)[:9] == encode_user_state(pipeline.user("stranger").state)[:9]
    assert len(answer.items) == len(stranger.items)


def test_an_erased_user_is_no_longer_anybodys_neighbour():
    pipeline = pipeline_of()
    twin = [Event(f"t{n}", "twin", event.item_id, "view", LAST_MS + n) for n, event in
            enumerate(event for event in STREAM if event.user_id == "user-1")]
    for event in twin:
        pipeline.learn(event)
    panel = pipeline.recommender.replica.panel
    size = len(panel)
    erase(pipeline)
    assert len(panel) == size - 1
    gone = np.flatnonzero(panel.lengths[:size] == 0)
    assert len(gone) == 1
    linked = {entry >> panel.bits for entry in panel.heads[panel.heads >= 0].tolist()}
    assert int(gone[0]) not in linked


def test_slates_of_an_erased_user_close_without_an_outcome_and_their_timers_find_nothing():
    closed = []
    pipeline = LocalPipeline(parse_configuration(SMALL, "t"), on_closed=lambda user_id, slate: closed.append(user_id))
    for event in STREAM:
        pipeline.learn(event)
        pipeline.recommend(event)
    erase(pipeline)
    closed.clear()
    # a day later every timer is due
    pipeline.learn(Event("late", "user-2", "item-1", "view", LAST_MS + 86_400_000))
    pipeline.learn(Event("later", "user-2", "item-2", "view", LAST_MS + 86_400_001))
    assert "user-2" in closed
    assert "user-1" not in closed


def test_erasing_a_stranger_changes_nothing():
    pipeline = pipeline_of()
    members = len(pipeline.recommender.replica.panel)
    erase(pipeline, "stranger")
    assert "stranger" not in pipeline.users
    assert len(pipeline.recommender.replica.panel) == members
