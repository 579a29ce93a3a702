"""Experiments: the split is right, stays, and is independent of others; arms learn by themselves."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import numpy as np
import pytest
import torch
from scipy import stats

from cli.split import problem_of
from models.arm_learner import ArmLearner
from models.config import ConfigurationError
from models.events import Event, Rejected
from models.examples import decode_example
from models.experiments import Split, chi_square_tail, srm_p_value
from models.feature_table import WIDTH
from models.identity import hash64
from models.pipeline import LocalPipeline
from models.policies.learner import PolicyLearner
from models.policies.steps import decode_step
from models.scorers.gru import GRU
from models.topics import Metric
from models.validation import parse_configuration
from models.versions import decode_version
from tests.synthetic import events

USERS = [hash64(f"user-{number}") for number in range(10_000)]
# a slate closes when its user's next one is made: policies hear of it at once
QUIET = {"scorer": {"name": "none"}, "learner": {"enabled": False}, "outcomes": {"max_open": 1}}


def arms_of(salt: str, weights: dict[str, float]) -> list[str]:
    split = Split(salt, weights)
    return [split.arm_of(user) for user in USERS]


@pytest.mark.parametrize("weights", [{"a": 1, "b": 1}, {"a": 0.9, "b": 0.1}, {"a": 3, "b": 2, "c": 5, "nobody": 0}])
@pytest.mark.parametrize("salt", ["", "spring", "summer"])
def test_every_arm_gets_its_share_of_the_users(salt, weights):
    counts = Counter(arms_of(salt, weights))
    assert counts["nobody"] == 0
    names = [name for name, weight in weights.items() if weight]
    expected = np.array([weights[name] for name in names]) / sum(weights.values()) * len(USERS)
    assert stats.chisquare([counts[name] for name in names], expected).pvalue > 0.001
    assert Split(salt, weights).shares == {name: weight / sum(weights.values()) for name, weight in weights.items()}


def test_a_user_stays_in_the_arm_whatever_order_the_arms_are_named_in():
    assert arms_of("s", {"a": 1, "b": 2, "c": 3}) == arms_of("s", {"c": 30, "a": 10, "b": 20})


def test_only_the_share_that_moves_moves_when_weights_change():
    before, after = arms_of("s", {"a": 0.5, "b": 0.5}), arms_of("s", {"a": 0.6, "b": 0.4})
    moves = Counter((was, now) for was, now in zip(before, after, strict=True) if was != now)
    assert moves.keys() == {("b", "a")}
    assert moves["b", "a"] / len(USERS) == pytest.approx(0.1, abs=0.015)


def test_an_arm_that_is_added_takes_its_share_from_each_and_nobody_else_moves():
    before, after = arms_of("s", {"a": 2, "b": 1}), arms_of("s", {"a": 2, "b": 1, "new": 1})
    moves = Counter((was, now) for was, now in zip(before, after, strict=True) if was != now)
    assert moves.keys() == {("a", "new"), ("b", "new")}
    assert moves["a", "new"] / moves["b", "new"] == pytest.approx(2, rel=0.15)


def test_splits_of_two_salts_are_independent():
    one, other = arms_of("one", {"a": 1, "b": 2}), arms_of("other", {"a": 1, "b": 2})
    table = [[sum((o, p) == (x, y) for o, p in zip(one, other, strict=True)) for y in "ab"] for x in "ab"]
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_the_split_is_what_it_was_in_every_process_and_release():
    assert arms_of("spring", {"a": 1, "b": 1})[:12] == list("aababaaaabaa")


@pytest.mark.parametrize("freedom", range(1, 8))
@pytest.mark.parametrize("statistic", [0.0, 0.4, 3.0, 15.0, 80.0])
def test_the_tail_of_the_chi_square_is_that_of_scipy(freedom, statistic):
    assert chi_square_tail(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-9)


def test_the_mismatch_test_is_the_chi_square_test():
    assert srm_p_value([520, 480], [0.5, 0.5]) == pytest.approx(stats.chisquare([520, 480]).pvalue)
    assert srm_p_value([520, 480, 0], [0.5, 0.5, 0.0]) == pytest.approx(stats.chisquare([520, 480]).pvalue)
    assert srm_p_value([5_300, 4_700], [0.5, 0.5]) < 1e-8
    assert srm_p_value([0, 0], [0.5, 0.5]) == srm_p_value([7], [1.0]) == 1.0


def metric(window, name, arm, value):
    return Metric(window_start_ms=window, window_end_ms=window + 60_000, metric=name, slice=f"arm={arm}", value=value, n=1)


def day(windows, shares):
    records = [metric(start, "users", arm, count) for start, users in windows.items() for arm, count in users.items()]
    return records + [metric(start, "expected_share", arm, shares[arm]) for start, users in windows.items() for arm in users]


def test_a_broken_split_is_said_in_words_once_enough_users_of_a_day_say_so():
    half = {"a": 0.5, "b": 0.5}
    broken = {60_000 * number: {"a": 12, "b": 5} for number in range(20)}
    said = problem_of(day(broken, half))
    assert "of 340, a has 70.6% of them and should have 50.0%, b has 29.4%" in said
    assert problem_of(day({0: {"a": 12, "b": 5}}, half)) is None, "too few to say"
    assert problem_of(day({60_000 * number: {"a": 9, "b": 8} for number in range(20)}, half)) is None
    assert problem_of([]) is None
    assert "others has 0.0%" in problem_of(day({0: {"a": 300}}, half)), "an arm that nobody is in is in no record"
    assert problem_of(day({0: {"a": 300, "b": 1}, 60_000: {"a": 200}}, half)) is not None


def test_only_the_last_day_and_only_the_present_weights_count():
    half, tenth = {"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}
    yesterday = day({0: {"a": 900, "b": 10}}, half)
    assert problem_of(yesterday) is not None
    assert problem_of(yesterday + day({86_400_000: {"a": 150, "b": 160}}, half)) is None
    before = day({86_400_000: {"a": 900, "b": 100}}, tenth)
    assert problem_of(before + day({86_460_000: {"a": 150, "b": 160}}, half)) is None


# ------------------------------------------------------------------------------------------------ arms at work

STRATEGIES = {"popular": {"sources": {"item_cf": 0, "user_cf": 0, "content": 0, "trending": 1}}, "personal": {}}
EXPERIMENT = {
    "salt": "s",
    "arms": {
        "plain": {},
        "bandit": {"policy": {"name": "ucb1", "strategies": STRATEGIES}},
        "trend": {"weight": 2, "sources": {"item_cf": 0, "user_cf": 0, "content": 0, "new_items": 0}},
    },
}


def pipeline_of(experiment=EXPERIMENT, **sections) -> LocalPipeline:
    return LocalPipeline(parse_configuration(QUIET | {"experiment": experiment} | sections, "test.yaml"), publish_every=1)


def run(pipeline: LocalPipeline, stream):
    slates = []
    for event in stream:
        pipeline.learn(event)
        slates.append(pipeline.recommend(event))
    return slates


STREAM = events(900, users=40, items=60)


@pytest.fixture(scope="module")
def done():
    pipeline = pipeline_of()
    return pipeline, run(pipeline, STREAM)


def test_every_slate_says_the_arm_of_its_user_and_the_arm_says_how_it_is_made(done):
    _, slates = done
    split = Split("s", {"plain": 1, "bandit": 1, "trend": 2})
    seen = Counter()
    for slate in slates:
        assert slate.arm == split.arm_of(hash64(slate.user_id))
        seen[slate.arm] += 1
        assert slate.policy == {"bandit": "ucb1"}.get(slate.arm, "epsilon_greedy")
        assert slate.action in STRATEGIES if slate.arm == "bandit" else slate.action == "exploit"
        if slate.arm == "trend":
            assert not {source for item in slate.items for source in item.sources} & {"item_cf", "user_cf"}
    assert min(seen.values()) > 50
    personal = [slate for slate in slates[-300:] if slate.arm == "plain"]
    assert any("item_cf" in item.sources for slate in personal for item in slate.items)


def test_an_arm_learns_from_its_own_slates_and_they_name_the_version(done):
    pipeline, slates = done
    mine = [slate for slate in slates if slate.arm == "bandit"]
    users = {slate.user_id for slate in mine}
    treatment = pipeline.recommender.treatments.of(mine[0].user_id)
    assert treatment.key == "policy:ucb1@s.bandit"
    assert treatment.policy.tables()["counts"].sum() == len(mine) - len(users)
    assert "policy" in mine[-1].versions
    assert not any("policy" in slate.versions for slate in slates if slate.arm != "bandit")


def test_the_hit_of_an_arm_is_told_with_the_strategy_that_made_the_slate():
    pipeline, last = pipeline_of(), {}
    for event in STREAM[:300]:
        observation = pipeline.learn(event)
        before = last.get(event.user_id)
        if before is not None:
            assert (observation.action, observation.treatment.arm) == (before.action, before.arm)
        else:
            assert observation.action == ""
        last[event.user_id] = pipeline.recommend(event)


def test_an_experiment_may_begin_change_and_end_while_everything_runs():
    pipeline = pipeline_of({})
    assert {slate.arm for slate in run(pipeline, STREAM[:100])} == {"default"}
    control = pipeline.recommender.apply_control
    control("experiment", b'{"salt":"live","arms":{"a":{},"b":{"policy":{"strategies":{"x":{},"y":{"diversity":0.5}}}}}}')
    slates = run(pipeline, STREAM[100:400])
    assert {slate.arm for slate in slates} == {"a", "b"}
    assert {slate.action for slate in slates if slate.arm == "b"} == {"x", "y"}
    before = {slate.user_id: slate.arm for slate in slates}
    learned = pipeline.recommender.treatments._plan.arms["b"].policy.tables()["counts"].sum()
    assert learned > 50
    # more weight for a: some come over from b, and what b has learned stays
    control("experiment", b'{"salt":"live","arms":{"a":{"weight":2},"b":{"policy":{"strategies":{"x":{},"y":{"diversity":0.5}}}}}}')
    assert pipeline.recommender.treatments._plan.arms["b"].policy.tables()["counts"].sum() == learned
    moves = {(before[slate.user_id], slate.arm) for slate in run(pipeline, STREAM[400:600]) if slate.user_id in before}
    assert moves == {("a", "a"), ("b", "b"), ("b", "a")}
    control("experiment", None)
    assert {slate.arm for slate in run(pipeline, STREAM[600:700])} == {"default"}


SCORED = {"salt": "s", "arms": {"control": {}, "gru": {"scorer": {"name": "gru", "candidates": 40}}, "none": {"scorer": {"name": "none"}}}}
LEARNING = {"scorer": {"name": "mlp", "hidden": [8], "candidates": 30}, "learner": {"batch_examples": 8, "publish_every_steps": 1}}


def ranker_of(pipeline: LocalPipeline, arm: str):
    return pipeline.recommender.treatments._plan.arms[arm].ranker


def test_an_arm_may_have_its_own_scorer_that_learns_from_its_own_slates():
    pipeline, taught = pipeline_of(SCORED, **LEARNING), Counter()
    arms = {user: Split("s", {"control": 1, "gru": 1, "none": 1}).arm_of(hash64(user)) for user in {event.user_id for event in STREAM}}
    widths, slates = {}, []
    for event in STREAM:
        observation = pipeline.learn(event)
        if observation.example is not None:
            arm = arms[event.user_id]
            taught[arm] += 1
            assert observation.ranker is ranker_of(pipeline, arm)
            widths[arm] = decode_example(observation.example).features.shape
        slates.append(pipeline.recommend(event))
    assert min(taught["control"], taught["gru"]) > 100 and taught["none"] == 0
    assert (widths["control"], widths["gru"]) == ((30, WIDTH), (40, WIDTH + GRU.columns))
    gru = ranker_of(pipeline, "gru")
    assert isinstance(gru.network, GRU) and gru.name.startswith("ranker/s.gru.")
    assert pipeline.learner.examples == taught["control"]
    assert pipeline._arm_learners[gru.learner].learner.examples == taught["gru"]
    last = {arms[slate.user_id]: slate.versions.get("ranker") for slate in slates}
    assert last["none"] is None and None not in (last["control"], last["gru"]) and last["control"] != last["gru"]
    unscored = [slate for slate in slates if slate.arm == "none"]
    assert all(item.probability is None for slate in unscored for item in slate.items)


def test_what_an_arm_has_learned_stays_while_it_has_that_scorer_and_nothing_is_left_of_it_after_it():
    pipeline = pipeline_of({}, **LEARNING)
    control = pipeline.recommender.apply_control
    control("experiment", json.dumps(SCORED).encode())
    run(pipeline, STREAM[:300])
    before = ranker_of(pipeline, "gru")
    # other weights, and other epsilons for everybody: the same network learns on
    moved = json.loads(json.dumps(SCORED))
    moved["arms"]["gru"]["weight"] = 2
    control("experiment", json.dumps(moved).encode())
    control("epsilon", b'{"epsilon": 0.5}')
    assert ranker_of(pipeline, "gru") is before
    learned = pipeline._arm_learners[before.learner].learner.examples
    run(pipeline, STREAM[300:500])
    assert pipeline._arm_learners[before.learner].learner.examples > learned
    # another section is another network, which begins anew
    moved["arms"]["gru"]["scorer"]["candidates"] = 50
    control("experiment", json.dumps(moved).encode())
    run(pipeline, STREAM[500:700])
    other = ranker_of(pipeline, "gru")
    assert other.name != before.name and set(pipeline._arm_learners) == {other.learner}
    assert set(pipeline.recommender.rankers._records) == {other.name}
    control("experiment", None)
    run(pipeline, STREAM[700:720])
    assert not pipeline._arm_learners and not pipeline.recommender.rankers._records


def test_the_network_of_an_arm_goes_on_from_everybodys_where_its_weights_mean_the_same():
    pipeline = pipeline_of({}, **LEARNING)
    run(pipeline, STREAM[:300])
    arms = {"more": {"scorer": {"candidates": 50}}, "gru": {"scorer": {"name": "gru"}}}
    pipeline.recommender.apply_control("experiment", json.dumps({"salt": "s", "arms": arms}).encode())
    everybody, more, gru = pipeline.recommender.rankers.everybody, ranker_of(pipeline, "more"), ranker_of(pipeline, "gru")
    assert more.version == everybody.version is not None and gru.version is None
    learner = ArmLearner(pipeline.recommender._config)
    [(_, definition), _] = pipeline.recommender.rankers.messages(more, b"")
    learner.learn_one(definition)
    begun = learner.learner.network.state_dict()
    for name, tensor in everybody.network.state_dict().items():
        assert torch.equal(more.network.state_dict()[name], tensor) and torch.equal(begun[name], tensor), name
    assert learner.learner.gate.decisions[0].reason == "what was learned before: everybody's network"
    pipeline._arm_learners[more.learner] = learner
    run(pipeline, STREAM[300:])
    assert len({everybody.version, more.version, gru.version, None}) == 4


def test_the_network_of_an_arm_that_comes_before_the_rule_that_wants_it_is_kept_for_it():
    pipeline = pipeline_of(SCORED, **LEARNING)
    updates = []
    apply = pipeline.recommender.apply_update
    pipeline.recommender.apply_update = lambda key, value: updates.append((key, value)) or apply(key, value)
    run(pipeline, STREAM[:300])
    later = pipeline_of({}, **LEARNING).recommender
    for key, value in updates:
        assert later.apply_update(key, value) is None
    later.apply_control("experiment", json.dumps(SCORED).encode())
    ours, theirs = ranker_of(pipeline, "gru"), later.treatments._plan.arms["gru"].ranker
    assert ours.version == theirs.version is not None
    for name, tensor in ours.network.state_dict().items():
        assert torch.equal(tensor, theirs.network.state_dict()[name]), name
    assert later.rankers.take_endings() == []
    later.apply_control("experiment", None)
    assert [number for number, _ in later.rankers.take_endings()] == [ours.learner]


def test_the_step_of_a_user_who_moved_goes_to_the_arm_whose_slate_it_was_and_ends_there():
    two = '{{"policy": {{"strategies": {{"x": {{}}, "y": {{"diversity": 0.5}}}}}}, "weight": {}}}'
    experiment = '{{"salt": "live", "arms": {{"a": {}, "b": {}}}}}'
    closed = []
    configuration = parse_configuration(QUIET, "test.yaml")
    pipeline = LocalPipeline(configuration, publish_every=1, on_closed=lambda user, slate: closed.append(slate))
    apply = pipeline.recommender.apply_control
    for number, weights in enumerate([(1, 0), (1, 0), (0, 1), (0, 1)]):
        apply("experiment", experiment.format(*(two.format(weight) for weight in weights)).encode())
        run(pipeline, [Event(f"e{number}", "u", f"i{number}", "view", number)])
    taught = [pipeline.recommender.step_of(slate) for slate in closed]
    assert [treatment.arm for treatment, _ in taught] == ["a", "a", "b"]
    assert [decode_step(step)[1] is not None for _, step in taught] == [True, False, True], "another arm's slate is not what follows"
    learners = {key: learner.policy.tables()["counts"].sum() for key, (learner, _) in pipeline._other_policies.items()}
    assert learners == {"policy:epsilon_greedy@live.a": 2, "policy:epsilon_greedy@live.b": 1}
    other = PolicyLearner(configuration.policy)
    other.learn_one(taught[0][0].definition)
    other.learn_one(taught[2][1])
    assert other.policy.tables()["counts"].sum() == 0, "an action of the same name of another arm is another action"


# ------------------------------------------------------------------------------------------------ policy and epsilon, live


def two_strategies(**policy) -> LocalPipeline:
    return pipeline_of({}, policy={"strategies": STRATEGIES, "epsilon": 0.3} | policy)


def test_epsilon_is_what_the_control_says_in_every_slot_at_once():
    pipeline = two_strategies()
    assert any(item.explored for slate in run(pipeline, STREAM[:100]) for item in slate.items)
    pipeline.recommender.apply_control("epsilon", b'{"epsilon": 0}')
    assert {item.propensity for slate in run(pipeline, STREAM[100:200]) for item in slate.items} == {1.0}
    pipeline.recommender.apply_control("epsilon", None)
    assert any(item.explored for slate in run(pipeline, STREAM[200:300]) for item in slate.items)


def test_a_forced_strategy_makes_every_slate_with_probability_one_and_still_teaches():
    pipeline = two_strategies()
    run(pipeline, STREAM[:100])
    before = pipeline.policy.policy.tables()["counts"].copy()
    pipeline.recommender.apply_control("policy", b'{"strategy": "popular"}')
    slates = run(pipeline, STREAM[100:200])
    assert {(slate.action, slate.action_probability) for slate in slates} == {("popular", 1.0)}
    assert pipeline.policy.policy.tables()["counts"][0].sum() > before[0].sum() + 50
    pipeline.recommender.apply_control("policy", None)
    assert {slate.action for slate in run(pipeline, STREAM[200:300])} == set(STRATEGIES)


@pytest.mark.parametrize("ended", [None, b"{}"])
def test_an_experiment_ends_although_a_strategy_is_forced_that_its_arm_alone_has(ended):
    pipeline = pipeline_of({}, policy={"strategies": {"personal": {}}})
    apply = pipeline.recommender.apply_control
    apply("experiment", json.dumps(EXPERIMENT).encode())
    apply("policy", b'{"strategy": "popular"}')
    assert {slate.action for slate in run(pipeline, STREAM[:100]) if slate.arm == "bandit"} == {"popular"}
    apply("experiment", ended)
    assert {slate.action for slate in run(pipeline, STREAM[100:200])} == {"personal"}
    with pytest.raises(Rejected, match="strategy: expected one of personal, got 'popular'"):
        apply("policy", b'{"strategy": "popular", "name": "ucb1"}')


def test_another_policy_learns_from_its_first_slate_on_and_the_configured_one_keeps_what_it_knows():
    pipeline = two_strategies(name="ucb1")
    run(pipeline, STREAM[:200])
    known = pipeline.policy.policy.tables()["counts"].copy()
    pipeline.recommender.apply_control("policy", b'{"name": "softmax", "action_epsilon": 1, "action_epsilon_min": 1}')
    slates = run(pipeline, STREAM[200:400])
    assert {slate.policy for slate in slates} == {"softmax"}
    assert {slate.action_probability for slate in slates} == {0.5}
    everybody = pipeline.recommender.treatments.everybody
    assert everybody.key == "policy:softmax"
    learned = int(everybody.policy.tables()["counts"].sum())
    assert learned > 100
    # the slates before the switch that were still open are steps of the policy that made them
    assert 0 < pipeline.policy.policy.tables()["counts"].sum() - known.sum() <= 40
    pipeline.recommender.apply_control("policy", None)
    assert {slate.policy for slate in run(pipeline, STREAM[400:450])} == {"ucb1"}
    pipeline.recommender.apply_control("policy", b'{"name": "softmax"}')
    assert pipeline.recommender.treatments.everybody.policy.tables()["counts"].sum() >= learned, "it goes on where it was"


def test_tables_that_come_before_the_rule_that_wants_them_are_kept_for_it():
    pipeline = pipeline_of()
    slates = run(pipeline, STREAM[:400])
    mine = next(slate for slate in slates if slate.arm == "bandit").user_id
    treatment = pipeline.recommender.treatments.of(mine)
    record = pipeline.recommender.treatments._records[treatment.key]
    other = pipeline_of({}).recommender
    other.apply_update(treatment.key, record)
    other.apply_control("experiment", msgspec.json.encode(EXPERIMENT))
    found = other.treatments.of(mine)
    assert str(found.version) == str(decode_version(record)[0])
    assert (found.policy.tables()["counts"] == treatment.policy.tables()["counts"]).all()


@pytest.mark.parametrize(("name", "changed"), [("ucb1", {"by_state": True}), ("q_learning", {"values": "linear"})])
def test_tables_of_before_a_change_of_the_policy_do_not_keep_the_job_from_starting(name, changed):
    settings = {"name": name, "strategies": {"a": {}, "b": {"diversity": 0.5}}}
    before = LocalPipeline(parse_configuration(QUIET | {"policy": settings}, file="test"))
    run(before, STREAM[:50])
    [(key, record)] = before.recommender.treatments._records.items()
    now = LocalPipeline(parse_configuration(QUIET | {"policy": settings | changed}, file="test")).recommender
    assert now.treatments.everybody.key == key
    passed_over = now.apply_update(key, record)
    assert passed_over is not None and "expected" in passed_over
    assert now.treatments.everybody.version is None


# ------------------------------------------------------------------------------------------------ what does not validate


@pytest.mark.parametrize(
    ("experiment", "key"),
    [
        ({"arms": {"b": {"policy": {"epsilon": 7}}}}, "experiment.arms.b.policy"),
        ({"arms": {"b": {"policy": {"no_such": 7}}}}, "experiment.arms.b.policy"),
        ({"arms": {"b": {"sources": {"item_cf": "much"}}}}, "experiment.arms.b.sources"),
        ({"arms": {"b": {"weight": -1}}}, "experiment.arms.b.weight"),
        ({"arms": {"b": {"scorer": {"name": "no_such"}}}}, "experiment.arms.b.scorer.name"),
        ({"arms": {"b": {"scorer": {"name": "text"}}}}, "experiment.arms.b.scorer.name"),
        ({"arms": {"b": {"scorer": {"name": "a.module:Class"}}}}, "experiment.arms.b.scorer.name"),
        ({"arms": {"b": {"scorer": {"hidden": []}}}}, "experiment.arms.b.scorer"),
        ({"arms": {"b": {"scorer": {"candidates": 999}}}}, "experiment.arms.b.scorer.candidates"),
        ({"arms": {"b": {"scorer": {"embedding_rows": 900_000}}}}, "experiment.arms.b.scorer.embedding_rows"),
        ({"arms": {"b": {"scorer": {"hidden": [4096, 4096]}}}}, "experiment.arms.b.scorer.hidden"),
        ({"arms": {"b": {"scorer": {"hidden": [10**30]}}}}, "experiment.arms.b.scorer"),
        ({"arms": {"b": {"scorer": {"ignored_groups": ["no_such"]}}}}, "experiment.arms.b.scorer.ignored_groups"),
        ({"arms": {"b": {"weight": 0}}}, "experiment.arms"),
        ({"arms": {"b": {}, "default": {}}}, "experiment.arms"),
        ({"arms": {f"{number}": {} for number in range(9)}}, "experiment.arms"),
        ({"salt": "a.b"}, "experiment.salt"),
    ],
)
def test_an_arm_is_validated_like_the_section_that_it_changes(experiment, key):
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration({"experiment": experiment}, "test.yaml")
    assert caught.value.key == key
