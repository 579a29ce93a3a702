"""The simulator keeps to docs/simulator.md, and learning pays in it."""

from __future__ import annotations

from itertools import islice, permutations

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from models.simulation.behaviour import Session, best_slate, click_probability, clicked_place
from models.simulation.competitors import Flinkrec, Oracle, Popularity, Random, competitors, without_learning
from models.simulation.figures import Course, competitor_figures, period_ends
from models.simulation.loop import AtOnce, Crowd, closed_loop
from models.simulation.world import DAY_MS, NATURES, START_MS, Appeal, Nature, World, attraction
from models.validation import parse_configuration

K = 10
QUICK = parse_configuration({"scorer": {"name": "none"}}, "test.yaml")
SMALL_NETWORK = parse_configuration(
    {
        "scorer": {"name": "mlp", "hidden": [16]},
        "learner": {"batch_examples": 16, "publish_every_steps": 1, "learning_rate": 0.005},
    },
    "test.yaml",
)
STRATEGIES = {"personal": {}, "famous": {"sources": dict.fromkeys(("item_cf", "user_cf", "content", "new_items"), 0) | {"trending": 1}}}


def world_of(nature="steady", *, seed=1, users=40, items=60):
    return World(NATURES[nature], seed=seed, users=users, items=items)


def run(world, answerer, slates):
    return list(islice(closed_loop(world, AtOnce(answerer), k=K), slates))


def mean(seen):
    return np.mean([one.probability for one in seen])


class Watched(Random):
    """Keeps what a competitor is told."""

    def __init__(self, world):
        super().__init__(world, k=K)
        self.events, self.announced = [], []

    def announce(self, item_id, item):
        super().announce(item_id, item)
        self.announced.append((len(self.events), item_id, item))

    def answer(self, event):
        self.events.append(event)
        return super().answer(event)


def test_the_same_seed_gives_the_same_run_bit_for_bit_and_another_seed_another():
    def course(seed):
        return run(world_of(seed=seed), Flinkrec(parse_configuration({}, "test.yaml")), 200)

    first = course(1)
    assert course(1) == first
    assert course(2) != first


def test_places_are_examined_with_one_over_their_number_and_the_first_that_attracts_is_clicked():
    attractions, draws = np.array([0.5, 0.9, 0.2, 1.0, 0.7]), 40_000
    rng = np.random.default_rng(5)
    counts = np.bincount([clicked_place(attractions, rng) for _ in range(draws)], minlength=6)
    at_place = attractions / np.arange(1, 6)
    none_before = np.concatenate(([1.0], np.cumprod(1 - at_place)))
    expected = np.concatenate(([none_before[5]], at_place * none_before[:5]))
    assert np.abs(counts / draws - expected).max() < 4 * np.sqrt(0.25 / draws)
    assert click_probability(attractions) == pytest.approx(1 - expected[0])


def test_no_slate_is_clicked_more_often_than_the_best_one():
    utilities = np.random.default_rng(2).normal(size=6)
    best = click_probability(attraction(utilities[best_slate(utilities, 4)]))
    others = [click_probability(attraction(utilities[list(order)])) for order in permutations(range(6), 4)]
    assert best == pytest.approx(max(others))


@pytest.mark.parametrize("nature", NATURES)
def test_the_oracle_beats_all_others_and_nobody_beats_what_it_would_show(nature):
    def course(make):
        world = world_of(nature)
        return run(world, make(world), 800)

    oracle = course(lambda world: Oracle(world, k=K))
    others = [
        course(lambda world: Random(world, k=K)),
        course(lambda world: Popularity(world, k=K)),
        course(lambda _: Flinkrec(QUICK)),
    ]
    for other in others:
        assert mean(oracle) > 1.3 * mean(other)
        assert all(one.best >= one.probability for one in other)
    assert np.mean([one.best - one.probability for one in oracle]) < 0.005


def test_learning_ends_clearly_above_the_same_without_learning():
    slates = 1_200

    def at_end(learns_until):
        seen = run(world_of(users=60, items=150), Flinkrec(SMALL_NETWORK, learns_until=learns_until), slates)
        return mean(seen[-slates // 4 :])

    assert at_end(None) > 1.3 * at_end(0)


def test_what_is_frozen_learns_no_more():
    world = world_of()
    frozen = Flinkrec(QUICK, learns_until=100)
    seen = closed_loop(world, AtOnce(frozen), k=K)
    list(islice(seen, 100))
    replica = frozen.pipeline.recommender.replica
    before = replica.stats.copy()
    list(islice(seen, 300))
    assert before.any()
    assert np.array_equal(replica.stats, before)


def test_without_learning_by_configuration_is_the_recommender_that_never_learns():
    frozen = run(world_of(), Flinkrec(SMALL_NETWORK, learns_until=0), 300)
    assert run(world_of(), Flinkrec(without_learning(SMALL_NETWORK)), 300) == frozen
    assert run(world_of(), Flinkrec(SMALL_NETWORK), 300) != frozen


class Late:
    """Answers nobody before somebody has to be, and then the one who was asked for last, as a slow job might."""

    def __init__(self, answerer, *, size, ahead_ms):
        self._answerer, self._size, self._ahead_ms = answerer, size, ahead_ms
        self._asked = []
        self.waited, self.ahead_ms, self.slates_of = 0, 0, {}
        self.announce, self.report = answerer.announce, answerer.report

    def ask(self, events):
        assert events[0].user_id not in [before[0].user_id for before in self._asked]
        assert events[0].slate_id == self.slates_of.get(events[0].user_id) or events[0].slate_id is None
        self._asked.append(events)
        self.waited = max(self.waited, len(self._asked))
        times_ms = [before[0].event_time_ms for before in self._asked]
        self.ahead_ms = max(self.ahead_ms, times_ms[-1] - min(times_ms))

    def slates(self):
        events = self._asked.pop()
        *_, slate = [self._answerer.answer(event) for event in events]
        self.slates_of[events[-1].user_id] = slate.slate_id
        yield events[-1].user_id, slate


def test_several_people_wait_each_for_their_own_slate_and_none_runs_ahead():
    crowd = Crowd(4, 6 * 3_600_000)
    late = Late(Watched(world := world_of()), size=4, ahead_ms=crowd.ahead_ms)
    seen = list(islice(closed_loop(world, late, k=K, crowd=crowd), 600))
    assert late.waited == 4
    assert 0 < late.ahead_ms <= crowd.ahead_ms
    by_user = {}
    for one in seen:
        assert one.time_ms > by_user.get(one.user_id, 0)
        by_user[one.user_id] = one.time_ms


class SameForAll(Random):
    """Slates that depend on nothing but the event, so that the order in which people come changes none of them."""

    def _scores(self, event):
        rng = np.random.default_rng(list(event.event_id.encode()))
        return np.where(np.arange(self._items) < 60, rng.random(self._items), -1.0)


def test_who_waits_beside_a_person_changes_nothing_of_their_luck():
    def of_one(crowd):
        world = world_of()
        competitor = Late(SameForAll(world, k=K), size=crowd.size, ahead_ms=crowd.ahead_ms)
        seen = [one for one in islice(closed_loop(world, competitor, k=K, crowd=crowd), 900) if one.user_id == "u3"]
        return [(one.time_ms, one.clicked, one.probability) for one in seen]

    alone, together = of_one(Crowd()), of_one(Crowd(8, 24 * 3_600_000))
    both = min(len(alone), len(together))
    assert both > 10
    assert alone[:both] == together[:both]


def test_a_report_of_each_slate_that_was_seen_comes_before_what_was_done_about_it():
    world = world_of()
    watched = Watched(world)
    told = []
    watched.report = told.append
    answer = watched.answer
    watched.answer = lambda event: told.append(event) or answer(event)
    seen = list(islice(closed_loop(world, AtOnce(watched), k=K, reports=True), 400))
    reports = [event for event in told if event.type == "impression"]
    assert len(reports) in (len(seen), len(seen) - 1)
    assert len({event.slate_id for event in reports}) == len(reports)
    for place, event in enumerate(told):
        if event.type == "click":
            assert event.slate_id in [before.slate_id for before in told[:place] if before.type == "impression"]
    silent = [(one.time_ms, one.clicked) for one in run(world_of(), Watched(world_of()), 400)]
    assert [(one.time_ms, one.clicked) for one in seen] == silent


def test_new_items_are_announced_when_they_come_and_nobody_had_them_before():
    world = world_of(items=50)
    watched = Watched(world)
    seen = run(world, watched, 1_500)
    days = (seen[-1].time_ms - START_MS) / DAY_MS
    assert len(watched.announced) == world.available(seen[-1].time_ms) == 50 + int(min(50, days / 2))
    assert sum(events == 0 for events, _, _ in watched.announced) == 50
    first_event = {}
    for place, event in enumerate(watched.events):
        first_event.setdefault(event.item_id, place)
    late = [(events, item_id) for events, item_id, _ in watched.announced if events > 0]
    assert all(first_event.get(item_id, events) >= events for events, item_id in late)
    assert any(item_id in first_event for _, item_id in late)


def test_tastes_drift_by_as_much_as_the_specification_says_whenever_they_are_asked_for():
    world, again = world_of(users=400), world_of(users=400)
    start = np.array([world.taste(person, START_MS) for person in world.people])
    later = np.array([world.taste(person, START_MS + 30 * DAY_MS) for person in world.people])
    assert np.corrcoef(start.ravel(), later.ravel())[0, 1] == pytest.approx(np.exp(-30 / 60), abs=0.06)
    assert later.std() == pytest.approx(1, abs=0.06)
    for day in range(31):
        by_day = again.taste(again.people[7], START_MS + day * DAY_MS)
    assert np.array_equal(by_day, later[7])


def test_a_bored_user_goes_by_fame_only_in_the_world_of_moods():
    def correlation_with_fame(nature, bored):
        world = world_of(nature, items=300)
        person = world.people[3]
        person.bored = bored
        return np.corrcoef(world.utilities(person, START_MS), world.fame[:300])[0, 1]

    assert correlation_with_fame("moods", True) > 0.9
    assert abs(correlation_with_fame("moods", False)) < 0.2
    assert correlation_with_fame("steady", True) == correlation_with_fame("steady", False)


def test_a_slate_without_a_click_bores_until_the_next_click_or_session():
    world = world_of()
    person = world.people[0]
    session = Session(world, person, k=K)
    for n in range(200):
        reaction = session.react("s", [f"i{n % 50}" for n in range(n, n + K)], START_MS)
        assert person.bored == (reaction.place == 0)
    person.bored = True
    Session(world, person, k=K)
    assert not person.bored


def test_events_follow_one_another_as_the_specification_says():
    world = World(Nature(Appeal(2, 3), Appeal(2, 3)), seed=3, users=60, items=200)
    watched = Watched(world)
    seen = run(world, watched, 4_000)
    of_type = {name: [event for event in watched.events if event.type == name] for name in ("view", "click", "cart", "purchase")}
    assert sum(map(len, of_type.values())) == len(watched.events)
    clicks = len(of_type["click"])
    assert clicks == sum(one.clicked for one in seen)
    assert len(of_type["cart"]) / clicks == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / clicks))
    assert len(of_type["purchase"]) / len(of_type["cart"]) == pytest.approx(0.4, abs=0.15)
    sessions = len({event.session_id for event in watched.events})
    found_again, missed = len(of_type["view"]) - sessions, len(seen) - clicks
    assert found_again / missed == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(missed))
    assert all((event.slate_id is None) == (event.position is None) == (event.type == "view") for event in watched.events)
    assert len({event.event_id for event in watched.events}) == len(watched.events)
    times = {}
    for event in watched.events:
        assert event.event_time_ms > times.get(event.user_id, 0)
        times[event.user_id] = event.event_time_ms


def test_what_a_user_had_is_neither_found_nor_wanted_again():
    world = world_of(items=20)
    person = world.people[0]
    session = Session(world, person, k=K)
    for _ in range(10):
        session.begin(START_MS)
    assert person.had.sum() == 10
    had = np.flatnonzero(person.had)
    assert (attraction(world.utilities(person, START_MS)[had]) == 0).all()


def test_the_policy_of_the_loop_learns_and_a_frozen_one_serves_what_it_was():
    policy = {"name": "q_learning", "strategies": STRATEGIES}
    configuration = parse_configuration({"scorer": {"name": "none"}, "policy": policy}, "test.yaml")

    def learned(learns_until):
        flinkrec = Flinkrec(configuration, learns_until=learns_until)
        run(world_of(), flinkrec, 300)
        return flinkrec.pipeline.recommender.versions

    assert "policy" in learned(None)
    assert learned(0) == {}


def test_figures_are_means_over_seeds_with_their_errors():
    def course(clicks):
        return Course(np.array(clicks, np.float64), np.full(8, 0.25))

    courses = {
        "flinkrec": [course([0, 0, 0, 0, 1, 1, 1, 1]), course([0, 0, 0, 0, 0, 0, 1, 1])],
        "no-learning": [course([0, 0, 0, 0, 0, 0, 1, 0]), course([0, 0, 0, 0, 0, 0, 0, 1])],
        "oracle": [course([1] * 8), course([1] * 8)],
    }
    flinkrec, _, oracle = competitor_figures(courses)
    assert flinkrec.ctr.by_seed == [0.5, 0.25]
    assert flinkrec.ctr.value == 0.375
    assert flinkrec.ctr.standard_error == pytest.approx(0.125)
    assert flinkrec.ctr_at_end.value == 1.0
    assert flinkrec.gain.by_seed == [1.0, 1.0]
    assert flinkrec.gap_closed.by_seed == oracle.gap_closed.by_seed == [1.0, 1.0]
    assert flinkrec.cumulative_regret.mean[-1] == pytest.approx(2.0)
    assert flinkrec.ctr_over_time.mean == [0, 0, 0, 0, 0.5, 0.5, 1, 1]
    assert period_ends(8) == list(range(1, 9))
    assert period_ends(20_000)[:2] == [500, 1_000]


def test_competitors_have_the_strategies_that_their_names_say():
    configuration = parse_configuration({"policy": {"strategies": STRATEGIES}}, "test.yaml")
    made = competitors(configuration, slates=100, policies=("constant", "ucb1"))
    assert list(made) == ["flinkrec", "no-learning", "static", "popularity", "random", "oracle", "always famous", "ucb1"]
    pipelines = {name: made[name](world_of()).answerer.pipeline for name in ("flinkrec", "always famous", "ucb1")}
    policies = {name: pipeline.policy.policy for name, pipeline in pipelines.items()}
    assert policies["flinkrec"].actions == ("personal",)
    assert policies["always famous"].actions == ("famous",)
    assert policies["ucb1"].actions == ("personal", "famous")
    assert policies["ucb1"].name == "ucb1"


def test_the_command_prints_a_table_and_writes_page_and_figures(tmp_path):
    config = tmp_path / "quick.yaml"
    config.write_text("scorer: {name: none}")
    small = ["--config", str(config), "--users", "10", "--items", "30", "--slates", "60", "--seeds", "1,2", "--policy", "sarsa"]
    written = ["--out", str(tmp_path / "page"), "--json", str(tmp_path / "figures.json")]
    said = CliRunner().invoke(app, ["simulate", *small, *written])
    assert said.exit_code == 0, said.output
    assert "no-learning" in said.output
    figures = msgspec.json.decode((tmp_path / "figures.json").read_bytes())
    assert [one["name"] for one in figures["competitors"]][-1] == "sarsa"
    assert all(len(one["ctr"]["by_seed"]) == 2 for one in figures["competitors"])
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "sarsa" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["--seeds", "1,x"], "--seeds"), (["--seeds", "2,2"], "--seeds"), (["--policy", "greedy"], "--policy: expected one of")],
)
def test_what_the_command_cannot_do_is_said_in_one_sentence(arguments, sentence):
    said = CliRunner().invoke(app, ["simulate", *arguments])
    assert said.exit_code != 0
    assert sentence in str(said.exception)
