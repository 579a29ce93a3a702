"""`flinkrec ope --outcomes`: a job's own outcomes as a log, and policies that learn from its first half."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.errors import UserError
from cli.main import app
from models.config import Policy
from models.ope.outcomes import LoggedChoice, LoggedContext, LoggedOutcome, OutcomeLog

FEATURES = {0: (1.0, 0.0), 1: (1.0, 1.0)}
# what each strategy earns: the best one depends on the state
EARNS = {(0, "calm"): 0.7, (0, "loud"): 0.2, (1, "calm"): 0.1, (1, "loud"): 0.6}
LOGGED = {"calm": 0.75, "loud": 0.25}


def outcome(number, **changes):
    """One record; its user has ten slates."""
    rng = np.random.default_rng(number)
    state = int(rng.random() < 0.5)
    action = "calm" if rng.random() < LOGGED["calm"] else "loud"
    record = {
        "slate_id": f"{number:016x}",
        "revision": "r",
        "user_id": f"u{number // 10}",
        "seq": number % 10,
        "slate_time_ms": 1_000 * number,
        "activated": True,
        "superseded": False,
        "action": action,
        "action_probability": LOGGED[action],
        "context": {"state": state, "features": FEATURES[state]},
        "reward": float(rng.random() < EARNS[state, action]),
        "next": None,
        "terminal": True,
        "something_new": {"a": [1]},
    }
    return record | changes


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))  # without a job whose configuration would be taken

    def write(records):
        path = tmp_path / "outcomes.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


def run(path, policy, *arguments):
    out = path.with_suffix(".json")
    result = CliRunner().invoke(
        app, ["ope", "--outcomes", str(path), "--policy", policy, "--json", str(out), *arguments], catch_exceptions=False
    )
    return result.output, json.loads(out.read_text())


def dr_of(said):
    [figures] = [one["figures"] for one in said["estimates"] if one["name"] == "DR"]
    return figures["student"]["lower"], figures["value"], figures["student"]["upper"]


RECORDS = [outcome(number) for number in range(4_000)]


@pytest.mark.parametrize(
    ("policy", "truth", "rounds"),
    [
        ("uniform", 0.4, 4_000),
        ("constant:calm", 0.4, 4_000),
        ("constant:loud", 0.4, 4_000),
        ("q_learning", 0.65, 2_000),
        ("sarsa", 0.65, 2_000),
        ("linucb", 0.65, 2_000),
    ],
)
def test_policies_are_worth_what_they_earn(written, policy, truth, rounds):
    _, said = run(written(RECORDS), policy)
    lower, value, upper = dr_of(said)
    assert said["rounds"] == rounds
    assert lower < truth < upper
    assert abs(value - truth) < 0.06
    assert said["verdict"] == ""


def test_a_policy_learns_the_first_users_and_acts_without_exploring_in_the_others():
    log = OutcomeLog.of(LoggedOutcome(**typed(record)) for record in RECORDS)
    rounds, target = log.learned(Policy(name="q_learning", learning_rate=0.02))
    assert set(rounds.unit.tolist()) == set(range(200, 400))
    best = np.array([log.actions.index("loud" if features[1] else "calm") for features in rounds.context])
    assert np.array_equal(target.distribution, np.eye(2)[best])


def test_the_next_slate_counts_for_what_looks_ahead():
    """Strategy b earns nothing itself, and leads to a state in which anything earns: worth it only with a discount."""

    def record(number):
        rng = np.random.default_rng(number)
        action = "a" if rng.random() < 0.5 else "b"
        return LoggedOutcome(
            slate_id=str(number), user_id=str(number), seq=0, slate_time_ms=number, activated=True, superseded=False,
            action=action, action_probability=0.5, context=LoggedContext(number % 2, (1.0, float(number % 2))),
            reward=1.0 if number % 2 else 0.1 * (action == "a"),
            next=LoggedChoice(1, (1.0, 1.0), "a") if number % 2 == 0 and action == "b" else None,
        )  # fmt: skip

    log = OutcomeLog.of(map(record, range(2_000)))
    for discount, chosen in ((0.0, "a"), (0.9, "b")):
        rounds, target = log.learned(Policy(name="sarsa", discount=discount))
        first = rounds.context[:, 1] == 0
        assert (target.distribution[first].argmax(axis=1) == log.actions.index(chosen)).all()


def test_what_was_not_seen_or_seen_otherwise_is_left_out_and_counted(written):
    odd = [outcome(5_000, activated=False), outcome(5_001, superseded=True), outcome(5_002, activated=False, superseded=True)]
    path = written([*RECORDS[:300], *odd, RECORDS[0]])
    output, said = run(path, "logged")
    assert "Left out: 1 not activated, 2 superseded, 1 repeated." in output
    assert said["rounds"] == 300
    assert said["left_out"] == {"not activated": 1, "superseded": 2, "repeated": 1}
    assert said["logged"]["value"] == np.mean([record["reward"] for record in RECORDS[:300]])


def test_records_may_come_in_any_order(written):
    forward, backward = (run(written(records), "q_learning")[1] for records in (RECORDS, RECORDS[::-1]))
    assert dr_of(forward) == dr_of(backward)


@pytest.mark.parametrize(
    ("records", "policy", "message"),
    [
        ([outcome(1, activated=False)], "uniform", "none of 1 outcomes is of a slate that was seen: 1 not activated, 0 superseded"),
        ([outcome(1), {"slate_id": "x"}], "uniform", "record 2: Object missing required field"),
        ([outcome(1), outcome(2, action_probability=0)], "uniform", "expected propensity to be above 0"),
        (RECORDS[:20], "constant:shy", "--policy: expected one of .*constant:calm, constant:loud, .*q_learning.*, got 'constant:shy'"),
        (RECORDS[:10], "sarsa", "expected at least two independent rounds to fit a policy on one half"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(written, records, policy, message):
    with pytest.raises(UserError, match=message):
        run(written(records), policy)


def typed(record):
    """The fields that are read, as the types that they are decoded into."""
    known = {name: record[name] for name in LoggedOutcome.__struct_fields__}
    return known | {"context": LoggedContext(record["context"]["state"], record["context"]["features"])}
