"""Layouts that were released stay readable: the bytes in `tests/fixtures/layouts` are never written again.

They were made by `tests/fixtures/make_layouts.py` from the documented layouts, not by the codecs under test. A new
version of a layout gets new files beside the old ones; a test that has to change here means that state or a topic
became unreadable.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.answers.asked import decode_asked, encode_asked
from models.answers.confidence import Confidence
from models.answers.lessons import decode_lesson
from models.answers.memory import decode_remembered
from models.arm_learner import ArmLearner
from models.attribution import Attribution, ClosedSlate, Tally, decode_open_slates, encode_open_slates
from models.auction.ledger import Account, Sale, Slates, Terms, decode_message, decode_standing, encode_message
from models.config import Auction, Configuration
from models.config import Gate as GateConfig
from models.cooccurrence import decode_deltas, decode_pair_message, decode_row, encode_pair_message, encode_row
from models.events import Event
from models.examples import decode_example, encode_pending, label_pending, learner_of, of_arm, pending_propensities
from models.frequency import Impressions
from models.gate import Gate
from models.policies.learner import PolicyLearner, action_key
from models.policies.state import FEATURES, Context
from models.policies.steps import Choice, encode_step
from models.profile import SeenItems, decode_user_state, encode_user_state
from models.replica import Replica
from models.requests import decode_waiting, encode_waiting
from models.text.vectors import VectorRecord
from models.versions import Version, decode_tensors, decode_version
from tests.fixtures.make_layouts import RELEASED

LAYOUTS = Path(__file__).parent.parent / "fixtures" / "layouts"
ITEM_ID = "naïve ☃"


def released(name: str) -> bytes:
    return (LAYOUTS / name).read_bytes()


def test_a_row_of_version_1_is_read():
    row = decode_row(released("row-v1.bin"))
    assert (row.item, row.item_id, row.count, row.events) == (-42, ITEM_ID, 3 * 4096 + 5, 4)
    assert (row.pop_fast, row.pop_slow, row.value_sum, row.value_count) == (1.25, 2.5, 7.5, 2)
    assert row.first_seen_ms == 1_600_000_000_000
    assert row.last_seen_ms == 1_700_000_000_000
    assert row.landmark_ms == 1_650_000_000_000
    assert row.neighbours() == {11: (4096, 2048, 0), -(2**63): (2**32 - 1, 3, 1)}


def test_a_row_of_version_1_is_published_to_replicas():
    replica = Replica(Configuration())
    replica.apply_row(released("row-v1.bin"))
    index = replica.index_of(-42)
    assert replica.item_ids[index] == ITEM_ID
    assert replica.stats[index].tolist() == [3 + 5 / 4096, 4, 1.25, 2.5, 1.6e12, 1.7e12, 7.5, 2]
    assert int(replica.lists[index, 1]) == 2


def test_deltas_of_version_1_are_read():
    first, other = decode_deltas(released("deltas-v1.bin"))
    assert first.header == (
        1, b"d", 10, 2, -42, 3 * 4096 + 5, 4, 1.25, 2.5, 1_600_000_000_000, 1_700_000_000_000, 7.5, 2, 1_650_000_000_000
    )
    assert (first.item_id.decode(), first.base, first.positions.tolist()) == (ITEM_ID, 3, [1])
    assert (first.neighbours.tolist(), first.weights.tolist()) == ([11], [[4096, 2048, 0]])
    assert (other.header.item, other.item_id, other.base, len(other.positions)) == (5, b"x", 0, 0)


def test_a_vector_of_version_1_is_read():
    record = VectorRecord.decode(released("vector-v1.bin"))
    assert (record.item, record.digest, record.scale) == (-42, 2**63 - 1, 0.5)
    assert record.values.tolist() == [127, -127, 0]


def test_a_pair_message_of_version_1_is_read():
    message = decode_pair_message(released("pair-message-v1.bin"))
    assert (message.item, message.item_id, message.event_time_ms) == (-42, ITEM_ID, 1_700_000_000_000)
    assert (message.weight, message.value, message.sitting) == (1.5, 4.5, 2**63 + 5)
    assert message.earlier.tolist() == [7, -8, 2**63 - 1]


@pytest.mark.parametrize(
    ("name", "probabilities", "taste"),
    [
        ("user-state-v1.bin", [], []),
        ("user-state-v2.bin", [0.25, 0.0, 1.0], []),
        ("user-state-v3.bin", [0.25, 0.0, 1.0], [0.5, -2.0] + [0.0] * 318),
    ],
)
def test_a_user_state_of_every_version_is_read(name, probabilities, taste):
    state = decode_user_state(released(name))
    assert state.last_probabilities.tolist() == probabilities
    assert state.taste.tolist() == taste
    assert state.items["item"].tolist() == [5, -6]
    assert state.items["time_ms"].tolist() == [1_700_000_000_000, 1_700_000_001_000]
    assert state.items["value"][0] == 4.0
    assert math.isnan(state.items["value"][1])
    assert state.items["weight"].tolist() == [1.0, 2.0]
    assert state.items["sitting"].tolist() == [255, 0]
    assert (state.dedup.tolist(), state.dedup_at) == ([100, -101], 1)
    assert state.last_slate.tolist() == [1, -2, 3]
    assert (state.seq, state.events) == (17, 20)
    assert (state.last_event_ms, state.sitting_start_ms) == (1_700_000_001_000, 1_700_000_000_500)
    assert (state.value_sum, state.value_count) == (9.5, 3)
    assert (state.minute, state.minute_events) == (28_333_333, 4)


def test_seen_items_of_version_1_are_read():
    assert SeenItems.decode(released("seen-items-v1.bin")).hashes.tolist() == [5, -6, 2**63 - 1]


def test_an_example_of_version_1_is_read():
    example = decode_example(released("example-v1.bin"))
    assert example.features.tolist() == [[0.5, -1.0], [2.0, 65504.0], [0.0, 0.25]]
    assert (example.label, len(example.items), len(example.history)) == (1, 0, 0)


def test_a_pending_example_of_version_1_is_labelled():
    assert label_pending(released("pending-v1.bin"), -10) == released("example-v1.bin")
    assert label_pending(released("pending-v1.bin"), 12) is None


def test_an_example_of_version_2_is_read():
    example = decode_example(released("example-v2.bin"))
    assert example.features.tolist() == [[0.5, -1.0], [2.0, 65504.0], [0.0, 0.25]]
    assert (example.label, example.items.tolist(), example.history.tolist()) == (1, [9, -10, 11], [2**63 - 1, -7])
    bare = decode_example(released("example-without-history-v2.bin"))
    assert bare.features.tobytes() == example.features.tobytes()
    assert (bare.label, len(bare.items), len(bare.history)) == (1, 0, 0)


def test_a_pending_example_of_version_2_is_labelled():
    assert label_pending(released("pending-v2.bin"), -10) == released("example-v2.bin")
    assert label_pending(released("pending-without-history-v2.bin"), -10) == released("example-without-history-v2.bin")
    assert label_pending(released("pending-v2.bin"), 12) is None
    # what stands in the history is no candidate
    assert label_pending(released("pending-v2.bin"), -7) is None


def test_this_release_writes_pending_examples_of_version_2_to_the_byte():
    example = decode_example(released("example-v2.bin"))
    items = example.items
    assert encode_pending(example.features, items, example.history) == released("pending-v2.bin")
    assert encode_pending(example.features, items) == released("pending-without-history-v2.bin")


def test_an_example_of_version_3_is_read_with_its_weight():
    example, unweighted = decode_example(released("example-v3.bin")), decode_example(released("example-v2.bin"))
    assert (example.weight, unweighted.weight) == (2.5, 1.0)
    assert example.features.tobytes() == unweighted.features.tobytes()
    assert (example.label, example.items.tolist(), example.history.tolist()) == (1, [9, -10, 11], [2**63 - 1, -7])
    bare = decode_example(released("example-without-history-v3.bin"))
    assert (bare.weight, bare.label, len(bare.items), len(bare.history)) == (2.5, 1, 0, 0)


def test_a_pending_example_of_version_3_is_labelled_and_weighted():
    for name, labelled in (
        ("pending-v3.bin", "example-v3.bin"),
        ("pending-without-history-v3.bin", "example-without-history-v3.bin"),
    ):
        pending = released(name)
        assert pending_propensities(pending).tolist() == [0.75, 0.125]
        assert label_pending(pending, -10, 2.5) == released(labelled)
        assert label_pending(pending, 12) is None
    assert pending_propensities(released("pending-v2.bin")).tolist() == []


def test_this_release_writes_pending_examples_of_version_3_to_the_byte():
    example = decode_example(released("example-v3.bin"))
    shown = np.array([0.75, 0.125], np.float32)
    written = encode_pending(example.features, example.items, example.history, propensities=shown)
    assert written == released("pending-v3.bin")
    assert encode_pending(example.features, example.items, propensities=shown) == released("pending-without-history-v3.bin")


def test_a_gate_of_version_1_is_read_and_written_to_the_byte():
    gate = Gate(GateConfig(window=16), loss="both")
    gate.restore(released("gate-v1.bin"))
    assert gate.judged == 16
    assert gate.means(1).rank_loss == (48 + 63) / 2 / 8
    assert gate.encode() == released("gate-v1.bin")


def test_weights_of_version_1_are_read():
    version, weights = decode_version(released("weights-v1.bin"))
    assert version == Version(3, 77, "e4709d44d19c6328")
    assert {name: tensor.tolist() for name, tensor in decode_tensors(weights).items()} == {
        "mean": [0.5, -1.5],
        "rank.weight": [[2.0]],
    }


def test_the_definition_of_a_policy_of_version_1_is_read():
    learner = PolicyLearner(Configuration().policy)
    learner.learn_one(released("policy-definition-v1.bin"))
    assert (learner.policy.name, learner.policy.actions) == ("ucb1", ("x", "y"))
    step = encode_step(Choice(Context(3, np.zeros(FEATURES)), action_key("y", "policy:ucb1@s.b"), 1.0), None)
    learner.learn_one(step)
    assert learner.take_updates()[0][0] == "policy:ucb1@s.b"
    assert learner.policy.tables()["counts"][:, 0].tolist() == [0, 1]


def test_open_slates_of_version_1_are_read():
    slates = decode_open_slates(released("open-slates-v1.bin"))
    taken, empty = slates.slates
    assert (taken.slate_id, taken.revision, taken.seq, taken.sitting, taken.size) == (2**64 - 1, 161, 17, 255, 2)
    assert (taken.activated, taken.superseded, empty.activated, empty.superseded) == (True, False, False, True)
    assert slates.items == (9).to_bytes(8, "little") + (-10).to_bytes(8, "little", signed=True)
    assert [(w.slate_id, w.revision, w.item, w.impression) for w in slates.waiting] == [(7, None, -42, False), (8, 161, 43, True)]
    assert slates.closed == [3, 2**64 - 2]
    assert (slates.heard_ms, slates.timer_ms) == (1_700_000_001_000, 1_700_001_860_000)
    assert (slates.heartbeat_ms, slates.heartbeat_watermark_ms) == (1_700_000_000_060, -(2**63))
    outcome = Attribution(Configuration()).outcome(ClosedSlate(taken, 3.5, 1_700_001_800_000, "window", empty), "u")
    assert (outcome.event_id, outcome.policy, outcome.action, outcome.action_probability) == ("e1", "sarsa", "broad", 0.75)
    assert (outcome.arm, outcome.versions, outcome.context.state) == ("default", {"ranker": "7.1-00"}, 80)
    assert (outcome.context.features, outcome.delay_ms, outcome.next.action) == ([1.0, -0.25], 500, "other")
    first, second = outcome.items
    assert (first.item_id, first.propensity, first.probability, first.explored, first.events) == ("i1", 0.95, 0.25, False, 0)
    assert (second.item_id, second.explored, second.reward, second.events, second.delay_ms) == (ITEM_ID, True, 3.5, 2, 500)
    assert (first.features + second.features).hex() == "003800bc0040ff7b"


def test_a_slate_of_version_1_is_judged_and_answers_an_event():
    taken, empty = decode_open_slates(released("open-slates-v1.bin")).slates
    assert (taken.is_judged, empty.is_judged) == (True, True)
    outcome = Attribution(Configuration()).outcome(ClosedSlate(taken, 3.5, 1_700_001_800_000, "window", empty), "u")
    assert outcome.request_id is None


def test_open_slates_of_version_2_say_what_was_asked_for():
    slates = decode_open_slates(released("open-slates-v2.bin"))
    asked, empty = slates.slates
    assert (asked.seq, asked.is_judged, empty.seq, empty.is_judged) == (17, False, 18, True)
    attribution = Attribution(Configuration())
    outcome = attribution.outcome(ClosedSlate(asked, 0.0, 1_700_001_800_000, "window", None), "u")
    assert (outcome.event_id, outcome.request_id, outcome.items[1].item_id) == ("", "r1", ITEM_ID)
    assert attribution.last_made(slates) == ("default", "sarsa", "other")


def test_open_slates_of_version_3_say_what_their_places_cost_and_who_pays():
    slates = decode_open_slates(released("open-slates-v3.bin"))
    configuration = Configuration(auction=Auction(value="bid"))
    attribution, tally = Attribution(configuration), Tally()
    click = Event("e", "u", ITEM_ID, "click", 1_700_000_000_100, slate_id="f" * 16)
    for _ in range(2):
        attribution.join(slates, click, -10, watermark_ms=0, tally=tally)
    attribution.join(slates, msgspec.structs.replace(click, item_id="i1"), 9, watermark_ms=0, tally=tally)
    assert tally.sales == [Sale("pets", ITEM_ID, "u", "f" * 16, 2, 1_250_000, 1_700_000_000_100)]
    assert slates.waiting[0].charged
    earlier = decode_open_slates(released("open-slates-v2.bin"))
    assert [slate.prices for slate in earlier.slates] == [b"", b""]


def test_impressions_of_version_1_are_read():
    rows = Impressions.decode(released("impressions-v1.bin")).rows
    assert rows.tolist() == [(5, -6, 1_700_000_000_000), (2**63 - 1, 0, 1_700_000_000_500)]


def test_accounts_and_messages_of_version_1_are_read():
    account = Account(Auction(value="bid"), released("account-v1.bin"))
    assert account.left_micros == 12_500_000
    standing = decode_standing(account.record("cars")[1])
    assert (standing.spent_micros, standing.beyond_micros, standing.pace, standing.time_ms) == (7_500_000, 250_000, 0.5, 1_700_000_000_000)
    raw, messages = released("ledger-messages-v1.bin"), []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        messages.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    assert [decode_message(message) for message in messages] == [
        Terms("cars", 20_000_000, True, None, 1_800_000_000_000, "even"),
        Sale("cars", ITEM_ID, "u", "00000000000000ff", 3, 1_250_000, 1_700_000_000_000),
        Slates("cars", 40, 1_700_000_000_000),
    ]
    assert [encode_message(decode_message(message)) for message in messages] == messages


def test_an_example_of_version_4_says_what_was_shown():
    example, without = decode_example(released("example-v4.bin")), decode_example(released("example-v3.bin"))
    assert example.shown is not None
    assert (example.shown.tolist(), without.shown, example.weight) == ([1, 2], None, 2.5)
    assert (example.items.tolist(), example.history.tolist()) == (without.items.tolist(), without.history.tolist())
    pending = released("pending-v4.bin")
    assert label_pending(pending, -10, 2.5) == released("example-v4.bin")
    assert pending_propensities(pending).tolist() == [0.75, 0.125]


def test_a_pending_example_of_an_arm_of_version_5_says_whose_it_is():
    assert learner_of(released("pending-of-arm-v5.bin")) == (-(2**62), released("pending-v4.bin"))
    assert of_arm(-(2**62), released("pending-v4.bin")) == released("pending-of-arm-v5.bin")
    assert learner_of(released("pending-v1.bin")) == (None, released("pending-v1.bin"))


def test_the_definition_of_an_arms_network_of_version_1_is_read():
    learner = ArmLearner(Configuration())
    learner.learn_one(released("ranker-definition-v1.bin"))
    assert learner.learner is not None
    assert (learner.learner.network.config.hidden, learner.learner._name) == ((4,), "ranker/s.b.0a1b2c3d")


@pytest.mark.parametrize(("name", "seed_items"), [("waiting-requests-v1.bin", None), ("waiting-requests-v2.bin", ("i3",))])
def test_waiting_requests_are_read(name, seed_items):
    [waiting] = decode_waiting(released(name))
    assert (waiting.due_ms, waiting.received_ms, waiting.after) == (1_700_000_000_060, 1_700_000_000_010, -(2**63))
    asked = waiting.request
    assert (asked.request_id, asked.user_id, asked.k, asked.restrict, asked.exclude, asked.after_event_id, asked.trace) == (
        "r1", "u", 3, ("i1", "i2"), None, "e1", True
    )
    assert asked.seed_items == seed_items
    with pytest.raises(ValueError, match="waiting requests of version 3, this release reads 1 to 2"):
        decode_waiting(b"\x03")


@pytest.mark.parametrize(
    ("name", "rewritten"),
    [
        ("row-v1.bin", lambda raw: encode_row(decode_row(raw))),
        ("pair-message-v1.bin", lambda raw: encode_pair_message(decode_pair_message(raw))),
        ("user-state-v3.bin", lambda raw: encode_user_state(decode_user_state(raw))),
        ("seen-items-v1.bin", lambda raw: SeenItems.decode(raw).encode()),
        ("open-slates-v3.bin", lambda raw: encode_open_slates(decode_open_slates(raw))),
        ("impressions-v1.bin", lambda raw: Impressions.decode(raw).encode()),
        ("account-v1.bin", lambda raw: Account(Auction(), raw).encode()),
        ("waiting-requests-v2.bin", lambda raw: encode_waiting(decode_waiting(raw))),
    ],
)
def test_this_release_writes_the_newest_version_to_the_byte(name, rewritten):
    assert rewritten(released(name)) == released(name)


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_bytes_are_those_of_the_documented_layout(name):
    assert released(name) == RELEASED[name]()


def test_every_released_layout_is_read_by_a_test():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in sorted(LAYOUTS.iterdir()) if f'"{path.name}"' not in source] == []


def test_what_answered_questions_leave_of_version_1_is_read():
    lesson = decode_lesson(released("answer-lesson-v1.bin"))
    assert (lesson.item, lesson.said, lesson.label, lesson.time_ms) == (-42, -1, 1, 1_700_000_000_000)
    assert (lesson.features.tolist(), lesson.vector.tolist()) == ([1, 0.5, 0.25, 0, 0.125], [127, -127, 0])
    question = decode_remembered(released("answer-question-v1.bin"))
    assert question[:4] == (-42, 1_700_000_000_000, 2.5, 0.5)
    assert question.vector.tolist() == [381, -381, 0]
    confidence = Confidence()
    confidence.load(released("answer-confidence-v1.bin"))
    assert (confidence.examples, confidence.weights.tolist()) == (7, [-2, 4, 3, 2, -1])
    assert confidence.covariance.tolist()[4] == [20, 21, 22, 23, 24]
    assert confidence.encode() == released("answer-confidence-v1.bin")


def test_asked_questions_of_version_1_are_read():
    [one] = decode_asked(released("asked-questions-v1.bin"))
    assert (one.slate_id, one.time_ms, one.refused, one.is_settled) == (2**63 + 5, 1_700_000_000_000, 2, False)
    assert (one.vector, np.frombuffer(one.items, "<i8").tolist()) == (b"\x7f\x81", [7, -8])
    assert decode_asked(encode_asked([one])) == [one]
