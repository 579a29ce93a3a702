"""The learner of a policy, its messages, and the loop through them: slate, reward, table, next slate."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from models.identity import hash64
from models.pipeline import LocalPipeline
from models.policies.learner import PolicyDefinition, PolicyLearner, action_key, encode_definition, policy_key
from models.policies.state import FEATURES, Context
from models.policies.steps import Choice, decode_step, encode_step
from models.validation import parse_configuration
from models.versions import decode_tensors, decode_version
from tests.synthetic import events

STRATEGIES = {
    "personal": {},
    "unknown": {"scorer_weight": 0.0, "sources": {"item_cf": 0, "user_cf": 0, "content": 0, "trending": 0, "new_items": 1}},
}


def settings(name, **policy):
    quiet = {"epsilon": 0.0, "epsilon_min": 0.0}
    at_the_next_slate = {"max_open": 1, "window_ms": 10**9}
    sections = {"policy": {"name": name, "strategies": STRATEGIES} | quiet | policy, "outcomes": at_the_next_slate}
    return parse_configuration(sections, "test.yaml")


def choice(action, reward=0.0, state=5):
    return Choice(Context(state, np.linspace(0, 1, FEATURES)), hash64(action), reward)


def learner(name="ucb1", steps=(), **policy):
    made = PolicyLearner(settings(name, **policy).policy, epoch=7)
    for step in steps:
        made.learn_one(step)
    return made


def steps(n, seed=1):
    draw = np.random.default_rng(seed)
    names = list(STRATEGIES)
    made = []
    for _ in range(n):
        one = choice(names[draw.integers(2)], float(draw.random()), int(draw.integers(81)))
        other = choice(names[draw.integers(2)], 0.0, int(draw.integers(81)))
        made.append(encode_step(one, other if draw.random() < 0.8 else None))
    return made


def bits(policy):
    return {name: table.tobytes() for name, table in policy.tables().items()}


@pytest.mark.parametrize("following", [None, choice("unknown", 0.0, 80)])
def test_a_step_is_read_as_it_was_written(following):
    one, after = decode_step(encode_step(choice("personal", 2.5), following))
    assert (one.context.state, one.action, one.reward) == (5, hash64("personal"), 2.5)
    assert one.context.features.tolist() == np.linspace(0, 1, FEATURES).tolist()
    assert (after is None) == (following is None)
    assert after is None or (after.context.state, after.action) == (80, hash64("unknown"))


def test_another_version_is_refused():
    with pytest.raises(ValueError, match="choice of version 9, this release reads 1"):
        decode_step(b"\x09" + encode_step(choice("personal"), None)[1:])


@pytest.mark.parametrize("name", ["ucb1", "q_learning", "sarsa", "linucb"])
@pytest.mark.parametrize("cut", [0, 1, 37])
def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(name, cut):
    stream = steps(80)
    second = learner(name)
    second.load_snapshot(learner(name, stream[:cut]).take_snapshot())
    for step in stream[cut:]:
        second.learn_one(step)
    assert bits(second.policy) == bits(learner(name, stream).policy)


def test_published_tables_are_those_that_were_learned_and_every_life_publishes_newer_ones():
    made = learner("ucb1", steps(10))
    [(key, raw)] = made.take_updates()
    version, tables = decode_version(raw)
    assert key == policy_key("ucb1")
    assert {name: tensor.numpy().tobytes() for name, tensor in decode_tensors(tables).items()} == bits(made.policy)
    assert made.take_updates() == []
    restored = learner("ucb1")
    restored.load_snapshot(made.take_snapshot())
    restored.learn_one(steps(1)[0])
    assert decode_version(restored.take_updates()[0][1])[0] > version


def test_a_step_of_a_strategy_that_is_gone_teaches_nothing():
    made = learner("ucb1", [encode_step(choice("gone", 1.0), choice("personal"))])
    assert not made.has_updates()
    made.learn_one(encode_step(choice("personal", 1.0), choice("gone")))
    assert made.policy.tables()["counts"].sum() == 1


def defined(key, name, **policy):
    return encode_definition(PolicyDefinition(key=key, settings=settings(name, **policy).policy))


def test_a_learner_that_is_defined_learns_what_it_is_told_and_goes_on_after_a_restore():
    key = "policy:softmax@s.b"
    mine = encode_step(Choice(Context(3, np.zeros(FEATURES)), action_key("personal", key), 1.0), None)
    made = learner("ucb1", [defined(key, "softmax"), mine, encode_step(choice("personal", 1.0), None)])
    assert made.policy.name == "softmax"
    assert made.policy.tables()["counts"].sum() == 1, "the configured policy's action of that name is another"
    [(record, _)] = made.take_updates()
    assert record == key
    second = learner("ucb1")
    second.load_snapshot(made.take_snapshot())
    for message in (defined(key, "softmax"), mine):
        second.learn_one(message)
    assert second.policy.tables()["counts"].sum() == 2
    assert second.take_updates()[0][0] == key


def test_other_settings_keep_what_was_learned_where_it_carries_over():
    key = "policy:ucb1@s.b"
    mine = encode_step(Choice(Context(3, np.zeros(FEATURES)), action_key("personal", key), 1.0), None)
    made = learner("ucb1", [defined(key, "ucb1"), mine, defined(key, "ucb1", ucb_width=0.5)])
    assert made.policy.tables()["counts"].sum() == 1
    made.learn_one(defined(key, "ucb1", by_state=True))
    assert made.policy.tables()["counts"].sum() == 0
    assert made.has_updates()


@pytest.mark.parametrize("name", ["epsilon_greedy", "ucb1", "thompson", "softmax", "linucb", "q_learning", "sarsa"])
def test_the_loop_finds_the_strategy_whose_slates_are_taken(name):
    # nothing of what comes later follows from the strategy: it is worth what its own slate earns
    pipeline = LocalPipeline(settings(name, action_epsilon=0.2, discount=0.0), publish_every=1)
    stream = events(1_500, users=15, items=300)
    actions, taken, last = [], Counter(), {}
    for event in stream:
        before = last.get(event.user_id)
        if before is not None and event.item_id in {item.item_id for item in before.items}:
            taken[before.action] += 1
        pipeline.learn(event)
        last[event.user_id] = pipeline.recommend(event)
        actions.append(last[event.user_id].action)
    assert taken["personal"] > 3 * taken["unknown"]
    assert Counter(actions[-500:])["personal"] > 350
    counts = pipeline.policy.policy.tables()["counts"]
    # each slate but the last of a user is one step
    assert counts.sum() == len(stream) - len(last)
    assert pipeline.recommender.versions["policy"].startswith("0.")


def test_the_reward_sums_are_those_of_a_recomputation_from_slates_and_events():
    pipeline = LocalPipeline(settings("ucb1"), publish_every=1)
    expected, last = Counter(), {}
    for event in events(600, users=15, items=40):
        pipeline.learn(event)
        before = last.get(event.user_id)
        if before is not None:
            expected[before.action] += int(event.item_id in {item.item_id for item in before.items})
        last[event.user_id] = pipeline.recommend(event)
    policy = pipeline.policy.policy
    sums = policy.tables()["sums"][:, 0] / 2**30
    assert dict(zip(policy.actions, sums.tolist(), strict=True)) == {name: expected[name] for name in policy.actions}
    assert expected["personal"] > 0
