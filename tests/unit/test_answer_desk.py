"""Questions through the recommender: what is shown, what is handed over, and what a report changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from models.config import ConfigurationError
from models.events import Event
from models.pipeline import LocalPipeline
from models.requests import Request
from models.topics import Recommendation
from models.validation import parse_configuration

T0 = 1_700_000_000_000
TYPES = {
    "solved": {"weight": 1.0, "makes_slate": False, "reward": 1.0},
    "not_solved": {"weight": 0.0, "makes_slate": False, "reward": -0.25},
    "handed_over": {"weight": 0.0, "makes_slate": False, "reward": -0.5},
}
PRESET: dict[str, Any] = {
    "events": {"types": TYPES, "default_type": "solved"},
    "text": {"encoder": "words", "words_dimension": 512},
    "answers": {"enabled": True, "min_confidence": 0.5},
    "slate": {"k": 3, "recommend_seen": True},
    "scorer": {"name": "none", "candidates": 10},
    "policy": {"epsilon": 0.0},
    "item_cf": {"enabled": False},
    "user_cf": {"panel_size": 0},
}
TEMPLATES = {
    "parcel": ("Tracking your parcel", "Follow the parcel with the tracking number of the shipping confirmation."),
    "refund": ("Refunds", "We refund the money within five days after the return has reached us."),
    "password": ("Resetting the password", "Choose forgotten password on the login page and open the link."),
    "hours": ("Opening hours", "Our shops are open from nine to eight, and closed on Sundays."),
}
SURE = "follow the parcel with the tracking number"
STRANGE = "quo vadis domine"


class Desk:
    """A pipeline that is asked."""

    def __init__(self, **sections: Any) -> None:
        self.pipeline = LocalPipeline(parse_configuration(PRESET | sections, "test.yaml"), publish_every=1)
        for name in TEMPLATES:
            self.write(name)
        self.asked = self.reported = 0

    def write(self, name: str) -> None:
        title, text = TEMPLATES.get(name, (name, name))
        self.pipeline.apply_catalogue(name, msgspec.json.encode({"title": title, "text": text}))

    def ask(self, text: str | None, *, user: str = "u", **more: Any) -> Recommendation:
        self.asked += 1
        request = Request(request_id=f"r{self.asked}", user_id=user, event_time_ms=T0 + self.asked, text=text, **more)
        return self.pipeline.answer(request)

    def report(self, kind: str, item: str, slate: Recommendation) -> None:
        self.reported += 1
        time_ms = T0 + 1_000 + self.reported
        event = Event(f"e{self.reported}", slate.user_id, item, kind, time_ms, slate_id=slate.slate_id)
        self.pipeline.learn(event)


def ids(slate: Recommendation) -> list[str]:
    return [item.item_id for item in slate.items or slate.suggestions]


def test_the_template_that_says_the_same_comes_first_with_its_reason():
    slate = Desk().ask(SURE)
    assert (ids(slate)[0], slate.hand_over, slate.suggestions) == ("parcel", False, [])
    assert slate.confidence is not None
    assert slate.confidence > 0.5
    first = slate.items[0]
    assert first.sources[0] == "meaning"
    assert first.reasons[0].kind == "meaning"
    assert 0 < first.reasons[0].contribution <= 1
    assert [item.propensity for item in slate.items] == [1.0] * 3


def test_below_the_confidence_it_is_handed_over_with_suggestions():
    desk = Desk()
    slate = desk.ask(STRANGE)
    assert (slate.hand_over, slate.items) == (True, [])
    assert len(slate.suggestions) == 3
    assert slate.confidence is not None
    assert slate.confidence < 0.5
    always = Desk(answers={"enabled": True, "min_confidence": 0.0}).ask(STRANGE)
    assert (always.hand_over, ids(always), always.confidence) == (False, ids(slate), slate.confidence)


def test_a_request_without_a_question_and_one_where_it_is_off_are_answered_as_ever():
    desk = Desk()
    assert desk.ask(None).confidence is None
    off = Desk(answers={"enabled": False})
    slate = off.ask(SURE)
    assert (slate.confidence, slate.hand_over) == (None, False)
    assert not {"meaning", "solved"} & {source for item in slate.items for source in item.sources}


def test_what_solved_a_question_answers_the_next_like_it_also_of_others():
    desk = Desk()
    for number in range(3):
        slate = desk.ask(STRANGE, user=f"u{number}")
        desk.report("solved", "hours", slate)
    slate = desk.ask(f"{STRANGE} please", user="somebody else")
    assert ids(slate)[0] == "hours"
    first = (slate.items or slate.suggestions)[0]
    assert first.sources[0] == "solved"
    assert (first.reasons[0].kind, first.reasons[0].contribution) == ("solved", 3.0)


def test_what_did_not_solve_it_makes_way():
    desk = Desk()
    before = desk.ask(SURE)
    for number in range(4):
        desk.report("not_solved", "parcel", desk.ask(SURE, user=f"u{number}"))
    after = desk.ask(SURE, user="somebody else")
    assert after.confidence is not None
    assert before.confidence is not None
    assert after.confidence < before.confidence
    score = {item.item_id: item.score for item in after.items or after.suggestions}
    assert score.get("parcel", 0) < before.items[0].score


def test_a_question_that_persons_had_to_answer_is_handed_over():
    desk = Desk(answers={"enabled": True, "min_confidence": 0.4})
    question = "is the tracking number of the parcel lucky"
    assert not desk.ask(question).hand_over
    for number in range(8):
        desk.report("handed_over", "person", desk.ask(question, user=f"u{number}"))
    assert desk.ask(question, user="somebody else").hand_over


def test_a_new_template_works_at_once():
    desk = Desk()
    desk.write("do you sharpen kitchen knives")
    assert ids(desk.ask("do you sharpen kitchen knives"))[0] == "do you sharpen kitchen knives"


def test_withdrawn_and_excluded_answers_are_not_given():
    desk = Desk()
    assert "parcel" not in ids(desk.ask(SURE, exclude=("parcel",)))
    assert ids(desk.ask(SURE, restrict=("hours",))) == ["hours"]
    desk.pipeline.apply_catalogue("parcel", None)
    assert "parcel" not in ids(desk.ask(SURE))


def test_a_question_can_be_taken_apart():
    desk = Desk()
    for text in (SURE, STRANGE):
        slate = desk.ask(text, trace=True)
        trace = desk.pipeline.user("u").trace
        assert trace is not None
        assert {candidate.item_id for candidate in trace.candidates} >= set(ids(slate))


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"text": {"encoder": "none"}}, "text.encoder"),
        ({"answers": {"enabled": True, "solved_type": "bought"}}, "answers.solved_type"),
        ({"answers": {"enabled": True, "solved_type": "not_solved"}}, "answers.solved_type"),
    ],
)
def test_a_preset_that_cannot_work_is_refused(section, key):
    with pytest.raises(ConfigurationError, match=key):
        parse_configuration(PRESET | section, "test.yaml")
