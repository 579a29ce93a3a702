"""Who is kept between two events is the user whose state was written, and nobody can tell from the answers."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from models.config import Outcomes, Policy, Strategy
from models.events import Event
from models.pipeline import LocalPipeline
from models.user import User
from operators import kept_users, recommend
from operators.kept_users import KeptUsers
from tests import synthetic
from tests.operator.test_recommend_operator import CONFIG, T0, Yielded, informed, view, without_heartbeats


@pytest.fixture(scope="module")
def updates() -> list[tuple[str, bytes]]:
    """Rows, and versions of a network."""
    pipeline = LocalPipeline(CONFIG, publish_every=1)
    for event in synthetic.events(300):
        pipeline.learn(event)
        pipeline.recommend(event)
    return [*pipeline.table.take_updates(), *pipeline.learner.take_updates()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [1_000.0]
    monkeypatch.setattr(kept_users.time, "monotonic", lambda: now_s[0])
    return now_s


@pytest.fixture
def standing_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """One minute for all: how many events came in the running one is part of a user's state."""
    now_ns = time.time_ns()
    monkeypatch.setattr(recommend.time, "time_ns", lambda: now_ns)


def kept(*keys: str, most: int = 10, seconds: float = 60.0) -> tuple[KeptUsers, dict[str, User]]:
    users, known = KeptUsers(most=most, seconds=seconds), {key: User() for key in keys}
    for key in keys:
        assert users.take(key) is None
        users.keep(known[key])
    return users, known


def test_a_user_is_kept_once_it_was_written_and_until_it_is_taken():
    users, known = kept("a", "b")
    assert users.take("a") is known["a"]
    # whoever took it has failed, or has not written it yet
    assert users.take("a") is None
    assert users.take("b") is known["b"]
    users.keep(known["b"])
    assert users.take("b") is known["b"]


def test_whose_state_somebody_else_writes_is_read_again():
    users, known = kept("a", "b", "c")
    users.drop("a")
    assert users.take("a") is None
    assert users.take("b") is known["b"]
    users.clear()
    assert users.take("c") is None


def test_those_who_came_last_are_kept():
    users, known = kept("a", "b", most=2)
    users.keep(users.take("a"))
    assert users.take("c") is None
    users.keep(User())
    assert users.take("b") is None
    assert users.take("a") is known["a"]


def test_state_is_read_again_after_a_while_however_often_the_user_came(clock):
    users, known = kept("a", seconds=60.0)
    for _ in range(3):
        clock[0] += 20
        assert users.take("a") is known["a"]
        users.keep(known["a"])
    clock[0] += 1
    assert users.take("a") is None


def stream() -> list[Event]:
    """Events of a few users, some of which come twice."""
    made = synthetic.events(150, users=4)
    return [each for n, event in enumerate(made) for each in ([event, event] if n % 11 == 0 else [event])]


@pytest.mark.parametrize(
    "policy",
    [CONFIG.policy, Policy(name="q_learning", strategies={"exploit": Strategy(), "wide": Strategy(epsilon=0.3)})],
    ids=["one strategy", "two strategies"],
)
def test_answers_and_state_are_as_if_state_was_read_for_each_event(updates, policy, standing_still):
    configuration = msgspec.structs.replace(CONFIG, policy=policy, outcomes=Outcomes(window_ms=5_000))
    keeps, reads = (informed(updates, configuration=configuration) for _ in range(2))
    reads.operator._kept = KeptUsers(most=0)
    for each in (keeps, reads):
        each.advance_watermark(T0 - 1_000_000)
    for n, event in enumerate(stream()):
        assert told(keeps.event(event)) == told(reads.event(event))
        if n % 25 == 24:
            now_ms = event.event_time_ms - 1_000
            assert told(Yielded(keeps.advance_watermark(now_ms))) == told(Yielded(reads.advance_watermark(now_ms)))
    ended = [told(Yielded(each.advance_watermark(T0 + 10**10))) for each in (keeps, reads)]
    assert ended[0] == ended[1]
    assert ended[0][2], "outcomes of the slates that were open"
    assert without_heartbeats(keeps.backend.cells) == without_heartbeats(reads.backend.cells)


def told(yielded: Yielded) -> tuple[Any, ...]:
    """All that was yielded, without what time it was then."""
    for letter in yielded.letters:
        del letter["rejected_at_ms"]
    return yielded.without_timings()


def test_an_erased_user_is_not_kept(updates):
    recommend = informed(updates)
    for n in range(3):
        [slate] = recommend.event(view(n)).slates
    assert slate["seq"] == 3
    recommend.event(Event("erase-1", "u", "", "erase", T0 + 4_000))
    [slate] = recommend.event(view(9)).slates
    assert slate["seq"] == 1


def test_what_was_shown_before_a_cap_was_taken_back_still_counts_when_it_comes_again(updates):
    recommend = informed(updates)
    cap = b'{"most": 2, "window_s": 86400}'
    recommend.update("controls", "frequency_cap", cap)
    recommend.event(view(1))
    shown = recommend.backend.cells["impressions", "u"]
    recommend.update("controls", "frequency_cap", None)
    # what comes twice leaves nobody kept: the next event reads the state, of which it wants no impressions now
    for number in (2, 2, 3):
        recommend.event(view(number))
    recommend.update("controls", "frequency_cap", cap)
    recommend.event(view(4))
    assert len(recommend.backend.cells["impressions", "u"]) > len(shown)
