"""The recommender: what it refuses, what it learns, and that the same past gives the same slates."""

from __future__ import annotations

import copy

import msgspec
import numpy as np
import pytest
import torch

from models.cooccurrence import decode_pair_message
from models.events import Event, Refusal, Rejected
from models.examples import decode_example, missed
from models.identity import hash64, item_hash64
from models.model_file import decode_model, network_shape
from models.pipeline import LocalPipeline
from models.profile import encode_user_state
from models.recommender import Recommender
from models.topics import Timings, slate_number
from models.user import User
from models.validation import parse_configuration
from models.versions import About, decode_version, encode_version, version_key, weights_key
from tests.synthetic import events

STREAM = events(220, users=10, items=50)
SMALL = {
    "scorer": {"hidden": [8]},
    "learner": {"batch_examples": 8, "publish_every_steps": 1},
    "policy": {"epsilon": 0.3},
}
HOUR_MS = 3_600_000


def pipeline_of(stream=(), **sections):
    pipeline = LocalPipeline(parse_configuration(SMALL | sections, "test.yaml"), publish_every=1)
    for event in stream:
        answer(pipeline, event)
    return pipeline


def answer(pipeline, event):
    pipeline.learn(event)
    return pipeline.recommend(event)


def view(number, *, user="u", item="i", time_ms=1_000, kind="view"):
    return Event(f"e{number}", user, f"{item}{number}", kind, time_ms)


def taken_version(stream):
    """The record of the last version that a stream led to."""
    learner = pipeline_of(stream, learner={"batch_examples": 8}).learner
    return weights_key("ranker"), encode_version(0, 1, learner.network.published(), About(shape=network_shape(learner._scorer)))


def packed(user):
    return encode_user_state(user.state), user.seen.encode(), user.pending


def test_a_duplicate_is_rejected_and_changes_nothing():
    pipeline = pipeline_of(STREAM[:100])
    event = STREAM[99]
    user = pipeline.user(event.user_id)
    before = packed(user), pipeline.table.row(hash64(event.item_id)).events, pipeline.learner.examples
    with pytest.raises(Rejected) as caught:
        pipeline.learn(event)
    assert caught.value.reason == Refusal.DUPLICATE
    assert (packed(user), pipeline.table.row(hash64(event.item_id)).events, pipeline.learner.examples) == before


def test_the_same_event_id_of_another_user_is_no_duplicate():
    pipeline = pipeline_of([view(1)])
    pipeline.learn(view(1, user="somebody else"))
    assert pipeline.table.row(hash64("i1")).events == 2


def test_an_event_id_is_forgotten_after_as_many_others_as_the_ring_holds():
    pipeline = pipeline_of([view(number) for number in range(4)], profile={"dedup_events": 4})
    with pytest.raises(Rejected):
        pipeline.learn(view(0))
    pipeline.learn(view(4))
    pipeline.learn(view(0))


def test_one_event_too_many_in_a_minute_is_rejected_and_the_next_minute_begins_anew():
    pipeline = pipeline_of(events={"max_events_per_minute": 3})
    for number in range(3):
        pipeline.learn(view(number, time_ms=60_000 + number))
    with pytest.raises(Rejected) as caught:
        pipeline.learn(view(3, time_ms=119_999))
    assert caught.value.reason == Refusal.TOO_MANY
    assert pipeline.user("u").state.events == 3
    pipeline.learn(view(4, user="somebody else", time_ms=119_999))
    pipeline.learn(view(3, time_ms=120_000))
    assert pipeline.user("u").state.events == 4


def test_a_type_of_weight_zero_teaches_nothing():
    pipeline = pipeline_of(STREAM[:100])
    user = pipeline.user(STREAM[99].user_id)
    # the id and the minute are counted, nothing else
    names = ("seq", "events", "last_event_ms", "value_sum", "value_count")
    before = [getattr(user.state, name) for name in names]
    kept = (user.state.items.tobytes(), user.state.last_slate.tobytes(), user.seen.encode(), user.pending)
    rows = len(pipeline.table)
    pipeline.table.take_snapshot()
    seen = view(1, user=STREAM[99].user_id, kind="impression", time_ms=STREAM[99].event_time_ms + 5)
    observation = pipeline.learn(seen)
    assert (observation.pair, observation.example, observation.evaluated) == (None, None, False)
    assert [getattr(user.state, name) for name in names] == before
    assert (user.state.items.tobytes(), user.state.last_slate.tobytes(), user.seen.encode(), user.pending) == kept
    assert len(pipeline.table) == rows
    assert pipeline.table.take_snapshot() == []


def test_an_event_teaches_the_pairs_with_the_items_before_it():
    pipeline = pipeline_of([view(1, time_ms=0), view(2, time_ms=2 * HOUR_MS), view(3, time_ms=2 * HOUR_MS + 1)])
    raw = pipeline.learn(Event("e4", "u", "i4", "purchase", 2 * HOUR_MS + 2, value=9.5)).pair
    message = decode_pair_message(raw)
    assert message.earlier.tolist() == [hash64(f"i{number}") for number in (3, 2, 1)]
    assert (message.item, message.item_id, message.weight, message.value) == (hash64("i4"), "i4", 3.0, 9.5)
    assert (message.event_time_ms, message.sitting) == (2 * HOUR_MS + 2, 0b011)
    after_a_pause = decode_pair_message(pipeline.learn(view(5, time_ms=9 * HOUR_MS)).pair)
    assert after_a_pause.sitting == 0


def test_what_was_not_wanted_between_two_events_does_not_join_their_sittings():
    types = {"view": {}, "skip": {"weight": -0.5}}
    pipeline = pipeline_of([view(1, time_ms=0), view(2, kind="skip", time_ms=2 * HOUR_MS)], events={"types": types})
    message = decode_pair_message(pipeline.learn(view(3, time_ms=2 * HOUR_MS + 1)).pair)
    assert (message.earlier.tolist(), message.sitting) == ([hash64("i1")], 0)


def test_no_more_pairs_are_taught_than_configured():
    pipeline = pipeline_of([view(number) for number in range(10)], item_cf={"pair_items": 4})
    earlier = decode_pair_message(pipeline.learn(view(10)).pair).earlier.tolist()
    assert earlier == [hash64(f"i{number}") for number in (9, 8, 7, 6)]


def test_the_next_event_judges_the_last_slate_and_labels_its_candidates():
    pipeline, hits, labelled = pipeline_of(), 0, 0
    shown: dict[str, list[str]] = {}
    for event in STREAM:
        last = shown.get(event.user_id)
        observation = pipeline.learn(event)
        assert observation.evaluated == (last is not None)
        expected = last.index(event.item_id) + 1 if last and event.item_id in last else 0
        assert (observation.position, observation.shown) == (expected, len(last or ()))
        hits += expected > 0
        # what was shown was a candidate
        assert not expected or observation.example is not None
        if observation.example is not None:
            labelled += 1
            assert decode_example(observation.example).label < 64
        shown[event.user_id] = [item.item_id for item in pipeline.recommend(event).items]
    assert hits > 20
    assert labelled > hits


def test_the_next_event_is_told_the_probabilities_that_were_shown():
    pipeline, told = pipeline_of(), 0
    shown: dict[str, list[float]] = {}
    for event in STREAM:
        observation = pipeline.learn(event)
        assert observation.probabilities.tolist() == shown.get(event.user_id, [])
        told += len(observation.probabilities)
        shown[event.user_id] = [item.probability for item in pipeline.recommend(event).items]
    assert told > 1_000


def test_without_a_scorer_no_probability_is_told():
    pipeline = pipeline_of(STREAM[:100], scorer={"name": "none"})
    observation = pipeline.learn(STREAM[100])
    assert observation.shown > 0
    assert len(observation.probabilities) == 0


def test_a_slate_makes_one_example_at_most():
    pipeline = pipeline_of(STREAM[:180])
    event = STREAM[179]
    candidate = pipeline.recommend(event).items[0].item_id
    again = Event("again", event.user_id, candidate, "view", event.event_time_ms + 1)
    assert pipeline.learn(again).example is not None
    assert pipeline.learn(msgspec.structs.replace(again, event_id="once more")).example is None


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0), (0.5, 0.3, 0.7)])
def test_only_a_sample_of_the_examples_is_learned_where_the_configuration_says_so(rate, low, high):
    every = pipeline_of(STREAM, scorer={"hidden": [8]}).learner.examples
    learner = SMALL["learner"] | {"sample_rate": rate}
    assert low * every <= pipeline_of(STREAM, learner=learner).learner.examples <= high * every
    assert every > 25


def test_the_same_state_model_and_event_give_the_same_slate_and_revision():
    pipeline = pipeline_of(STREAM[:180])
    user, event = pipeline.user(STREAM[180].user_id), STREAM[180]
    twin = copy.deepcopy(user)
    stamp = Timings(received_at_ms=1, emitted_at_ms=2, compute_us=3)
    first = pipeline.recommender.recommend(user, event, lambda: stamp)
    second = pipeline.recommender.recommend(twin, event, lambda: stamp)
    assert first == second
    assert first.items
    assert packed(user) == packed(twin)
    other = pipeline.recommender.recommend(user, msgspec.structs.replace(event, event_id="other"), lambda: stamp)
    assert other.slate_id != first.slate_id
    assert other.seq == first.seq + 1


def test_a_revision_changes_with_what_is_shown_and_by_which_version():
    revisions, shown = set(), set()
    pipeline = pipeline_of()
    for event in STREAM[:150]:
        slate = answer(pipeline, event)
        revisions.add(slate.revision)
        shown.add((tuple((i.item_id, i.propensity) for i in slate.items), tuple(slate.versions.values())))
    assert len(revisions) == len(shown) > 100


def test_timings_are_no_part_of_the_revision():
    pipeline = pipeline_of(STREAM[:100])
    user, twin = pipeline.user("user-1"), copy.deepcopy(pipeline.user("user-1"))
    one = pipeline.recommender.recommend(
        user, STREAM[100], lambda: Timings(received_at_ms=1, emitted_at_ms=2, compute_us=3)
    )
    two = pipeline.recommender.recommend(
        twin, STREAM[100], lambda: Timings(received_at_ms=4, emitted_at_ms=5, compute_us=6)
    )
    assert one.revision == two.revision
    assert one.timings != two.timings


@pytest.mark.parametrize("cut", [50, 150])
def test_no_slate_depends_on_the_future(cut):
    past, future = STREAM[:cut], STREAM[cut:]
    order = np.random.default_rng(cut).permutation(len(future))
    pipelines = pipeline_of(), pipeline_of()
    slates = [
        [answer(pipeline, event) for event in stream]
        for pipeline, stream in zip(pipelines, (STREAM, past + [future[place] for place in order]), strict=True)
    ]
    assert slates[0][:cut] == slates[1][:cut]
    assert slates[0][cut:] != slates[1][cut:]


def test_who_has_had_all_of_the_popular_pool_gets_whole_slates_of_what_comes_next_in_popularity():
    few = {"popularity": {"pool": 12}, "scorer": {"name": "none", "candidates": 12}, "policy": {"epsilon": 0.0, "epsilon_min": 0.0}}
    pipeline = pipeline_of(**few, sources=dict.fromkeys(("user_cf", "trending", "new_items", "content"), 0.0))
    for item in range(60):
        for taker in range(60 - item):
            pipeline.learn(Event(f"{item} {taker}", f"taker {item} {taker}", f"i{item:02}", "view", 1_000))
    for item in range(50):
        slate = answer(pipeline, Event(f"mine {item}", "u", f"i{item:02}", "view", 1_000))
    assert [item.item_id for item in slate.items] == [f"i{item:02}" for item in range(50, 60)]


def test_explored_items_come_from_outside_the_list_with_the_propensity_of_the_policy():
    pipeline, explored = pipeline_of(), 0
    for event in STREAM:
        slate = answer(pipeline, event)
        for item in slate.items:
            explored += item.explored
            assert 0 < item.propensity <= 1
            assert item.explored == (item.propensity <= 0.3)
        assert slate.action_probability == 1.0
    assert explored > 150


def test_a_network_of_another_shape_is_passed_over_with_what_differs():
    key, raw = taken_version(STREAM[:150])
    other = pipeline_of(scorer={"hidden": [9]}).recommender
    assert "scorer.hidden [8], ours [9]" in other.apply_update(key, raw)
    assert other.version is None
    # a release that said nothing of the shape
    bare = encode_version(0, 1, pipeline_of().learner.network.published())
    assert "other tensors" in other.apply_update(key, bare)
    assert other.version is None


def test_a_damaged_network_stops_the_recommender():
    key, raw = taken_version(STREAM[:150])
    recommender = pipeline_of().recommender
    with pytest.raises(ValueError, match="damaged"):
        recommender.apply_update(key, raw[:-1] + bytes([raw[-1] ^ 1]))
    tensors = pipeline_of().learner.network.published()
    tensors.pop("slope")
    broken = encode_version(0, 2, tensors, About(shape=network_shape(pipeline_of().learner._scorer)))
    with pytest.raises(ValueError, match="has not the tensors"):
        recommender.apply_update(key, broken)


def versions_of(stream):
    """All records of `model-updates` that a learner published, by version."""
    learner = pipeline_of(stream, learner={"batch_examples": 8, "publish_every_steps": 10_000}).learner
    shape = About(shape=network_shape(learner._scorer))
    made = {}
    for number in range(1, 5):
        learner.network.slope.data += 1.0
        made[f"0.{number}"] = encode_version(0, number, learner.network.published(), shape)
    return made


def test_a_pinned_version_scores_whatever_is_published_and_the_newest_when_it_is_let_go():
    records = versions_of(STREAM[:100])
    recommender = pipeline_of().recommender
    key = weights_key("ranker")
    for name in ("0.1", "0.2"):
        recommender.apply_update(key, records[name])
        recommender.apply_update(version_key("ranker", name), records[name])
    recommender.apply_control("pinned_version", b'{"version": "0.1"}')
    slope = recommender.rankers.everybody.network.slope.item()
    assert (recommender.version.name, recommender.versions["ranker"]) == ("0.1", str(recommender.version))
    recommender.apply_update(key, records["0.3"])
    # what is pinned stays when the learner takes it back
    recommender.apply_update(version_key("ranker", "0.1"), None)
    assert (recommender.version.name, recommender.rankers.everybody.network.slope.item()) == ("0.1", slope)
    recommender.apply_control("pinned_version", None)
    assert (recommender.version.name, recommender.rankers.everybody.network.slope.item()) == ("0.3", pytest.approx(slope + 2))


def test_the_model_that_a_job_was_given_scores_again_when_a_pin_is_taken_back():
    records = versions_of(STREAM[:100])
    given = decode_model(pipeline_of(STREAM[:100]).learner.model(), "the file")
    recommender = Recommender(pipeline_of().recommender._config, start=given, epoch=2_000)
    begun = recommender.version
    recommender.apply_update(version_key("ranker", "0.1"), records["0.1"])
    recommender.apply_control("pinned_version", b'{"version": "0.1"}')
    assert recommender.version.name == "0.1"
    recommender.apply_control("pinned_version", None)
    assert recommender.version == begun
    weights = recommender.rankers.everybody.network.state_dict()
    assert all(torch.equal(weights[name].float(), tensor.float()) for name, tensor in given.network.items())


def test_a_pin_that_is_known_before_its_version_takes_effect_when_that_comes():
    records = versions_of(STREAM[:100])
    recommender = pipeline_of().recommender
    recommender.pin("0.2-0123456789abcdef")
    recommender.apply_update(weights_key("ranker"), records["0.4"])
    assert recommender.version.name == "0.4"
    recommender.apply_update(version_key("ranker", "0.2"), records["0.2"])
    assert recommender.version == decode_version(records["0.2"])[0]


def test_the_slates_of_a_job_that_begins_without_state_are_newer_than_those_of_the_job_before():
    config, stamp, seqs = pipeline_of()._config, lambda: Timings(received_at_ms=0, emitted_at_ms=0, compute_us=0), []
    for submitted_s in (1_700_000_000, 1_700_000_060):
        recommender, user = Recommender(config, epoch=submitted_s), User()
        for number in range(3):
            seqs.append(recommender.recommend(user, view(number), stamp, watermark_ms=0).seq)
    assert seqs == sorted(set(seqs))
    assert [slate_number(seq) for seq in seqs] == [1, 2, 3, 1, 2, 3]


def test_a_pinned_version_of_another_network_is_none_and_the_newest_scores():
    records, other = versions_of(STREAM[:100]), {"batch_examples": 8}
    foreign = pipeline_of(STREAM[:100], learner=other, scorer={"hidden": [16]}).learner
    record = encode_version(0, 2, foreign.network.published(), About(shape=network_shape(foreign._scorer)))
    for rule_first in (True, False):
        recommender = pipeline_of().recommender
        if rule_first:
            recommender.pin("0.2")
        recommender.apply_update(version_key("ranker", "0.2"), record)
        recommender.apply_update(weights_key("ranker"), records["0.4"])
        recommender.pin("0.2")
        assert recommender.version.name == "0.4"


def test_a_replica_keeps_a_bounded_number_of_versions_and_the_pinned_one():
    records = versions_of(STREAM[:100])
    recommender = pipeline_of(gate={"keep": 2}).recommender
    recommender.pin("0.1")
    for name in ("0.1", *(f"7.{number}" for number in range(20))):
        recommender.apply_update(version_key("ranker", name), records["0.1"])
    assert set(recommender.rankers.everybody.served._kept) == {"0.1", "7.18", "7.19"}


STRATEGIES = {"one": {}, "two": {"scorer_weight": 0.0}, "three": {"diversity": 0.5}}


def modal(mode):
    return pipeline_of(learner={"mode": mode, "batch_examples": 8}, policy={"epsilon": 0.3, "strategies": STRATEGIES})


def test_an_apprentice_learns_and_ranks_but_never_explores():
    pipeline = modal("apprentice")
    slates = [answer(pipeline, event) for event in STREAM]
    assert pipeline.learner.examples > 50
    assert slates[-1].versions.keys() == {"ranker", "policy"}
    assert {slate.action_probability for slate in slates} == {1.0}
    assert {(item.explored, item.propensity) for slate in slates for item in slate.items} == {(False, 1.0)}


def test_what_only_logs_serves_the_sources_order_and_teaches_nobody():
    pipeline, plain = modal("logging"), pipeline_of(scorer={"name": "none"}, policy={"epsilon": 0.0, "epsilon_min": 0.0})
    for event in STREAM:
        logged, sources = answer(pipeline, event), answer(plain, event)
        assert logged.items == sources.items
        assert (logged.action, logged.action_probability, logged.versions) == ("one", 1.0, {})
        assert pipeline.user(event.user_id).pending is None
    assert pipeline.learner.examples == 0
    assert not pipeline.learner.has_updates()
    assert not pipeline.policy.has_updates()


def test_each_slate_explores_slots_of_its_own():
    pipeline = pipeline_of()
    explored = {tuple(item.explored for item in answer(pipeline, event).items) for event in STREAM}
    assert len(explored) > 50


def test_the_weights_of_an_older_version_do_not_replace_newer_ones():
    pipeline = pipeline_of(STREAM[:150])
    key, old = taken_version(STREAM[:120])
    for event in STREAM[150:]:
        answer(pipeline, event)
    version, event = pipeline.recommender.version, STREAM[-1]
    twin = copy.deepcopy(pipeline.user(event.user_id))
    stamp = Timings(received_at_ms=1, emitted_at_ms=2, compute_us=3)
    before = pipeline.recommender.recommend(copy.deepcopy(twin), event, lambda: stamp)
    pipeline.recommender.apply_update(key, old)
    assert pipeline.recommender.version == version
    assert pipeline.recommender.recommend(twin, event, lambda: stamp) == before


DEBIASED = {"batch_examples": 8, "publish_every_steps": 1, "debias": "both", "max_weight": 25.0}


def test_an_example_of_a_shown_item_carries_the_weight_of_its_place_and_propensity():
    pipeline = pipeline_of(STREAM[:200], learner=DEBIASED)
    slates = ((event, pipeline.recommend(event)) for event in STREAM[200:])
    event, slate = next(both for both in slates if any(item.explored for item in both[1].items))
    weights = {}
    for item in slate.items:
        user = copy.deepcopy(pipeline.user(event.user_id))
        taken = msgspec.structs.replace(event, event_id=f"took {item.item_id}", item_id=item.item_id)
        example = decode_example(pipeline.recommender.observe(user, taken).example)
        assert example.weight == pytest.approx(min(25.0, item.position / item.propensity), rel=1e-6)
        weights[item.explored] = example.weight
    assert weights[True] == 25.0
    # where the client says that it showed it elsewhere
    user = copy.deepcopy(pipeline.user(event.user_id))
    moved = msgspec.structs.replace(event, event_id="moved", item_id=slate.items[0].item_id, position=3)
    expected = min(25.0, 3 / slate.items[0].propensity)
    assert decode_example(pipeline.recommender.observe(user, moved).example).weight == pytest.approx(expected, rel=1e-6)


def test_an_example_of_an_item_that_was_not_shown_weighs_one():
    pipeline = pipeline_of(STREAM[:200], learner=DEBIASED)
    event = STREAM[200]
    slate = pipeline.recommend(event)
    user = pipeline.user(event.user_id)
    shown = {item_hash64(item.item_id) for item in slate.items}
    candidates = decode_example(missed(user.pending)).items
    other = next(hashed for hashed in candidates.tolist() if hashed not in shown)
    [name] = [one for one in pipeline.recommender.replica.item_ids if one and item_hash64(one) == other]
    taken = msgspec.structs.replace(event, event_id="found", item_id=name, position=7)
    assert decode_example(pipeline.recommender.observe(user, taken).example).weight == 1.0


def test_without_the_switch_examples_have_no_weights_and_the_bytes_of_before():
    pipeline = pipeline_of(STREAM[:50])
    assert {user.pending[0] for user in pipeline.users.values() if user.pending} == {2}
