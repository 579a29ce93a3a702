"""The gate: poisoned networks are not published, or are taken back within the stated number of examples."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import msgspec
import numpy as np
import pytest
import torch

from models.config import Gate as GateConfig
from models.config import Learner as LearnerConfig
from models.config import Scorer
from models.decisions import Decision, GateRecord, Measures
from models.examples import decode_example, encode_pending, label_pending, missed
from models.feature_table import FEATURES, WIDTH
from models.gate import CANDIDATE, GOOD, SERVING, Gate, judge, kept_versions
from models.learner import Learner
from models.pipeline import LocalPipeline
from models.scorers import make_scorer
from models.scorers.base import Lists
from models.validation import parse_configuration
from models.versions import decode_tensors, decode_version, weights_about
from tests.synthetic import events

SCORER = Scorer(name="mlp", hidden=(8,), candidates=16)
BATCH, EVERY = 16, 2
CONFIG = LearnerConfig(batch_examples=BATCH, replay_batches=1, publish_every_steps=EVERY, learning_rate=0.005)
GATE = GateConfig(window=512, sample_rate=1.0, margin=0.03, keep=64)
HEALTHY = 1_600
LIKED = list(FEATURES).index("liked")
BEST, WORST = np.argmax, np.argmin


def examples(n, *, seed=1, which=BEST):
    """Lists of 10 candidates; the one with the largest `liked` comes next, or another."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        matrix = draw.normal(size=(10, WIDTH)).astype(np.float16)
        made.append(label_pending(encode_pending(matrix, np.arange(1, 11)), int(which(matrix[:, LIKED])) + 1))
    return made


class Served:
    """A learner, and what a replica would score with that follows it."""

    def __init__(self, gate=GATE, **changes):
        self.learner = Learner(msgspec.structs.replace(CONFIG, **changes), SCORER, gate=gate)
        self.network = make_scorer(SCORER, seed=CONFIG.seed).eval()
        self.records = {}
        self.verdicts = []
        fresh = np.random.default_rng(99)
        self._lists = [fresh.normal(size=(10, WIDTH)).astype(np.float16) for _ in range(200)]

    def learn(self, stream):
        """Learn examples; how many of them a version served that is right on less than half of the lists."""
        bad = 0
        for raw in stream:
            bad += self.right() < 0.5
            self.learner.learn_one(raw)
            for key, value in self.learner.take_updates():
                self.records[key] = value
                if key == "weights:ranker":
                    self.network.load(decode_tensors(decode_version(value)[1]))
                    self.__dict__.pop("_right", None)
                if key == "gate:ranker":
                    self.verdicts.append(msgspec.json.decode(value, type=GateRecord).decisions[-1])
        return bad

    def right(self):
        if "_right" not in self.__dict__:
            self._right = np.mean([self.network.score(one)[0].argmax() == one[:, LIKED].argmax() for one in self._lists])
        return self._right

    def poison_weights(self):
        for parameter in self.learner.network.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 3)


# ------------------------------------------------------------------------------------------------ what is judged


def lists_of(stream):
    decoded = [decode_example(raw) for raw in stream]
    return Lists.of([one.features for one in decoded]), torch.tensor([one.label for one in decoded])


def test_a_network_is_judged_by_the_loss_of_its_order_of_its_probabilities_and_by_its_hits():
    network = make_scorer(SCORER)
    stream = [*examples(20), missed(encode_pending(np.ones((10, WIDTH), np.float16), np.arange(1, 11)))]
    lists, labels = lists_of(stream)
    measures = judge(network, lists, labels, k=3)
    rank, logit = (part.detach().double().numpy() for part in network(lists))
    for n, label in enumerate(labels.tolist()):
        chances = 1 / (1 + np.exp(-logit[n]))
        came = np.arange(10) == label
        assert measures[1, n] == pytest.approx(-np.log(np.where(came, chances, 1 - chances)).sum(), rel=1e-5)
        if label < 0:
            assert np.isnan(measures[[0, 2], n]).all()
            continue
        assert measures[0, n] == pytest.approx(np.log(np.exp(rank[n]).sum()) - rank[n, label], rel=1e-4, abs=1e-5)
        assert measures[2, n] == ((rank[n] > rank[n, label]).sum() < 3)


def test_examples_weigh_as_in_training_and_one_on_the_average():
    network = make_scorer(SCORER)
    stream = [*examples(3), missed(encode_pending(np.ones((10, WIDTH), np.float16), np.arange(1, 11)))]
    lists, labels = lists_of(stream)
    plain = judge(network, lists, labels, k=3)
    lists = replace(lists, weights=torch.tensor([1.0, 5.0, 1.0, 1.0]))
    weighted = judge(network, lists, labels, k=3, miss_weight=9.0)
    assert weighted[0, :3] == pytest.approx(plain[0, :3] * np.array([0.5, 2.5, 0.5]))
    assert weighted[1] == pytest.approx(plain[1] * np.array([1, 1, 1, 9]) / 3)
    assert np.isnan(weighted[[0, 2], 3]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_network_whose_scores_are_no_numbers_has_a_bounded_loss_and_no_hit(value):
    network = make_scorer(SCORER)
    network.rank.bias.data.fill_(value)
    network.rank.weight.data.fill_(value)
    measures = judge(network, *lists_of(examples(10)), k=3)
    assert np.isfinite(measures).all()
    assert measures[0].max() <= 20
    if value != 1e30:
        assert measures[2].sum() == 0


def observed(candidate, serving, good, *, n=64):
    """Measures with these losses of the order, and nothing else to tell the networks apart."""
    measures = np.ones((3, 3, n), np.float32)
    measures[[CANDIDATE, SERVING, GOOD], 0] = np.array([candidate, serving, good])[:, None]
    return measures


def test_a_candidate_may_be_worse_by_the_margin_over_the_window_and_no_more():
    gate = Gate(GateConfig(window=128, margin=0.02), loss="both")
    gate.observe(observed(1.019, 1.0, 1.0, n=128))
    assert gate.candidate_is_worse() is None
    gate.observe(observed(1.022, 1.0, 1.0, n=128))
    assert "0.022 nats of the order's loss" in gate.candidate_is_worse()


def test_what_the_window_does_not_hold_yet_counts_as_equal():
    gate = Gate(GateConfig(window=1024, margin=0.02), loss="both")
    gate.observe(observed(1.3, 1.0, 1.0, n=64))
    assert gate.candidate_is_worse() is None
    gate.observe(observed(1.3, 1.0, 1.0, n=64))
    assert gate.candidate_is_worse() is not None


@pytest.mark.parametrize("lost", [0.05, 0.2, 1.0])
def test_a_serving_version_is_found_worse_after_the_stated_number_of_examples(lost):
    gate = Gate(GateConfig(window=1024, margin=0.02), loss="both")
    # however good it was before
    for _ in range(50):
        gate.observe(observed(1.0, 0.5, 1.0, n=8))
    bound = 0.02 * 1024 / (lost - 0.02)
    seen = 0
    while gate.serving_is_worse() is None:
        gate.observe(observed(1.0, 1.0 + lost, 1.0, n=8))
        seen += 8
    assert bound - 8 <= seen <= bound + 8


def test_a_loss_that_is_not_trained_is_not_judged():
    for loss, worse in (("both", True), ("listwise", True), ("bce", False)):
        gate = Gate(GateConfig(window=64), loss=loss)
        gate.observe(observed(3.0, 1.0, 1.0))
        assert (gate.candidate_is_worse() is not None) is worse


def test_a_gate_comes_back_from_its_bytes_and_a_window_of_another_length_starts_anew():
    gate = Gate(GateConfig(window=128), loss="both")
    nothing = Measures(None, None, None)
    for number in range(60):
        gate.remember(
            Decision(
                version=f"1.{number}", verdict="published", reason="", examples=number, judged=0, candidate=nothing, serving=nothing
            )
        )
    gate.observe(observed(1.5, 1.2, 1.0, n=100))
    raw = gate.encode()
    again = Gate(GateConfig(window=128), loss="both")
    again.restore(raw)
    for one in (gate, again):
        one.observe(observed(1.5, 1.1, 1.0, n=60))
    assert again.encode() == gate.encode()
    assert [decision.version for decision in again.decisions] == [f"1.{number}" for number in range(10, 60)]
    other = Gate(GateConfig(window=64), loss="both")
    other.restore(raw)
    assert (len(other.decisions), other.judged) == (50, 0)
    with pytest.raises(ValueError, match="gate of version 9"):
        again.restore(b"\x09" + raw[1:])


def test_the_versions_that_are_kept_grow_older_geometrically():
    kept = []
    for number in range(1, 5_000):
        kept = kept_versions([*kept, (256 * number, 3, number)], most=8)
    ages = [4_999 - number for _, _, number in kept]
    assert len(ages) == 8
    assert ages[-1] == 0
    assert all(older > 1.5 * younger for older, younger in pairwise(ages))


# ------------------------------------------------------------------------------------------------ the learner


def test_a_healthy_learner_publishes_every_version():
    served = Served()
    served.learn(examples(HEALTHY))
    assert [decision.verdict for decision in served.verdicts] == ["published"] * (HEALTHY // (EVERY * BATCH))
    assert served.right() > 0.7


def test_poisoned_weights_are_never_served_and_the_learner_returns_to_the_good_version():
    served = Served()
    served.learn(examples(HEALTHY))
    healthy = served.learner.gate.decisions[-1]
    served.poison_weights()
    assert served.learn(examples(400, seed=2)) == 0
    decisions = served.learner.gate.decisions
    after = decisions[decisions.index(healthy) + 1 :]
    assert [decision.verdict for decision in after[:3]] == ["held", "held", "rolled_back"]
    assert {decision.verdict for decision in after[3:]} == {"published"}
    assert after[2].rollback_of == healthy.version
    assert served.right() > 0.7


def test_poisoned_examples_are_served_no_longer_than_the_stated_number_of_healthy_ones():
    served = Served(replay_batches=0)
    served.learn(examples(HEALTHY))
    # long enough to be published: what is poisoned is better at predicting poison
    served.learn(examples(640, seed=2, which=WORST))
    assert served.right() < 0.5
    lists, labels = lists_of(examples(200, seed=4))
    good, bad = (judge(one, lists, labels, k=5) for one in (served.learner._good_network, served.network))
    lost = float((bad - good)[0].mean())
    assert lost > 0.3
    bound = GATE.margin * GATE.window / (lost - GATE.margin)
    # to the end of its batch, and one more for the luck of so few examples
    assert 0 < served.learn(examples(400, seed=3)) <= bound + 2 * BATCH
    [*_, back] = [decision for decision in served.learner.gate.decisions if decision.verdict == "rolled_back"]
    about, _ = weights_about(decode_version(served.records[f"weights:ranker@{back.version}"])[1])
    assert about.rollback_of == back.rollback_of is not None
    assert served.right() > 0.7


def test_what_was_learned_since_the_good_version_leaves_the_replay():
    served = Served()
    served.learn(examples(HEALTHY))
    good = served.learner._good.moment.batches
    assert 0 < good < HEALTHY // BATCH
    served.poison_weights()
    served.learn(examples(2 * EVERY * BATCH, seed=2))
    assert served.verdicts[-1].verdict == "rolled_back"
    saved = dict(served.learner.take_snapshot())
    assert all(saved[f"batch:{slot}"] == b"" for slot in range(good, HEALTHY // BATCH + 2 * EVERY))
    assert all(saved[f"batch:{slot}"] != b"" for slot in range(good))


def test_weights_that_are_not_finite_are_not_published():
    served = Served()
    served.learn(examples(HEALTHY))
    served.learner.network.rank.bias.data.fill_(float("nan"))
    served.learn(examples(200, seed=2))
    assert all(torch.isfinite(tensor).all() for tensor in served.network.state_dict().values())
    assert served.right() > 0.7


def test_without_a_gate_everything_is_published():
    served = Served(GateConfig(enabled=False))
    served.learn(examples(320))
    served.poison_weights()
    assert served.learn(examples(320, seed=2)) > 100
    assert {decision.verdict for decision in served.verdicts} == {"published"}


def bits(learner):
    return {name: tensor.numpy().tobytes() for name, tensor in learner.network.state_dict().items()}


POISONED = [*examples(1_000), *examples(320, seed=2, which=WORST), *examples(240, seed=3)]


@cache
def whole_run():
    whole = Served(GATE)
    whole.learn(POISONED)
    return whole


@pytest.mark.parametrize("cut", [650, 1_000, 1_150, 1_320, 1_340, 1_440])
def test_a_restored_learner_takes_the_same_decisions(cut):
    """Also when it died in the poison, or just before or after it returned."""
    whole = whole_run()
    first = Served(GATE)
    saved = {}
    for start in range(0, cut, 50):
        first.learn(POISONED[start : min(start + 50, cut)])
        saved.update(first.learner.take_snapshot())
    second = Served(GATE)
    second.learner.load_snapshot(saved.items())
    second.learn(POISONED[cut:])
    assert bits(second.learner) == bits(whole.learner)
    assert "rolled_back" in {decision.verdict for decision in whole.learner.gate.decisions}

    def told(served):
        return [(decision.verdict, decision.version.split(".")[1], decision.candidate) for decision in served.learner.gate.decisions]

    assert told(second) == told(whole)


def test_a_snapshot_of_before_there_was_a_gate_is_loaded():
    first = Served()
    first.learn(examples(400))
    saved = dict(first.learner.take_snapshot())
    for name in ("gate", "serving", "good", "next"):
        del saved[name]
    meta = msgspec.json.decode(saved["meta"])
    saved["meta"] = msgspec.json.encode({name: meta[name] for name in ("epoch", "number", "steps", "batches", "examples", "normal_count")})
    second = Served()
    second.learner.load_snapshot(saved.items())
    assert bits(second.learner) == bits(first.learner)
    second.learn(examples(400, seed=2))
    assert {decision.verdict for decision in second.verdicts} == {"published"}
    assert second.verdicts[0].version == "1.13"


def test_versions_that_fall_out_of_those_kept_are_taken_back():
    served = Served(msgspec.structs.replace(GATE, keep=4))
    served.learn(examples(HEALTHY))
    kept = {key for key, value in served.records.items() if key.startswith("weights:ranker@") and value is not None}
    record = msgspec.json.decode(served.records["gate:ranker"], type=GateRecord)
    assert kept == {f"weights:ranker@{version}" for version in record.kept}
    assert len(kept) == 4
    assert record.kept[-1] == record.serving == "0.50"
    assert len(record.decisions) == 50


# ------------------------------------------------------------------------------------------------ the pipeline


def test_slates_of_a_poisoned_version_are_no_more_than_stated_and_healthy_ones_follow():
    """The last step before a publication spoils the weights, so that nobody has judged them when they are served."""
    sections = {
        "scorer": {"name": "mlp", "hidden": [8], "candidates": 20},
        "learner": {"batch_examples": 16, "publish_every_steps": 2, "learning_rate": 0.005},
        "gate": {"window": 256, "sample_rate": 1.0, "margin": 0.1},
        "slate": {"k": 5},
    }
    pipeline = LocalPipeline(parse_configuration(sections, "test.yaml"), publish_every=1)
    learner = pipeline.learner
    decide = learner._decide
    poisoned = []

    def spoil_once():
        if learner.examples > 500 and not poisoned:
            for parameter in learner.network.parameters():
                parameter.data.mul_(-5)
            poisoned.append(f"0.{learner._meta.number + 1}")
        decide()

    learner._decide = spoil_once
    made_by, examples_then = [], []
    for event in events(2_500, users=40, items=100):
        pipeline.learn(event)
        made_by.append(pipeline.recommend(event).versions.get("ranker", "").partition("-")[0])
        examples_then.append(learner.examples)
    served = [n for version, n in zip(made_by, examples_then, strict=True) if version in poisoned]
    # it loses more than two nats an example: 0.1 * 256 of them are one batch
    assert served
    assert served[-1] - served[0] < 16
    decisions = learner.gate.decisions
    [place] = [n for n, decision in enumerate(decisions) if decision.verdict == "rolled_back"]
    assert [decisions[place].rollback_of] == poisoned
    assert {decision.verdict for decision in decisions[place + 1 :]} == {"published"}
    assert decisions[-1].version == made_by[-1] != decisions[place].version
