"""`flinkrec tune`: what the search finds, what it may see, how long it takes, and the file that it leaves."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from cli.configuration import load_configuration
from cli.errors import UserError
from cli.evaluation.local import run_local
from cli.evaluation.run import Asked
from cli.eventfiles import read_events
from cli.main import app
from cli.tune import fitting_events
from cli.tuning.file import tuned_file
from cli.tuning.metric import Metric
from cli.tuning.outcome import outcome_of
from cli.tuning.search import OutOfTime, Search, Trial, seconds_of, value_at
from cli.tuning.walk import Walk
from models.config import Configuration
from models.evaluation.space import SPACE, Range, Space, WholeRange
from models.events import Event
from models.metrics.ranking import hit_at_k, ndcg_at_k
from models.validation import parse_configuration

USERS, ITEMS = 8, 30


def chain(n: int, *, seed: int = 1) -> list[Event]:
    """Users who mostly take the one item that follows the item they had: only the latest item says what comes next."""
    draw = np.random.default_rng(seed)
    following = draw.permutation(ITEMS)
    at = draw.integers(ITEMS, size=USERS)
    events = []
    for number in range(n):
        user = int(draw.integers(USERS))
        at[user] = draw.integers(ITEMS) if draw.random() < 0.2 else following[at[user]]
        events.append(Event(f"e{number}", f"u{user}", f"i{at[user]}", "view", 1_700_000_000_000 + number * 1_000))
    return events


STREAM = chain(600)
# All of the last ten items count the same: that hides the one that matters.
POOR: dict[str, dict[str, Any]] = {
    "item_cf": {"pair_items": 1, "reverse_weight": 0.0, "score_items": 10, "score_decay": 1.0},
    "sources": {"user_cf": 0.0, "content": 0.0, "trending": 0.0, "new_items": 0.0},
    "user_cf": {"panel_size": 0},
    "scorer": {"name": "none", "candidates": 10},
    "slate": {"k": 1, "recommend_seen": True},
    "policy": {"epsilon": 0.0, "epsilon_min": 0.0},
}
BASE = parse_configuration(POOR, "poor.yaml")
DECAY: Space = {"item_cf.score_decay": Range(0.1, 1.0)}
# The key that matters among some that hardly do.
FOUR: Space = DECAY | {
    "item_cf.shrinkage": Range(1.0, 30.0, log=True),
    "item_cf.liked_weight": Range(1.0, 2.0),
    "profile.sitting_gap_s": Range(600.0, 21_600.0, log=True),
}


def never() -> float:
    return 0.0


def search_over(stream: Sequence[Event] = STREAM, space: Space = DECAY, **options: Any) -> Search:
    always: dict[str, Any] = {
        "metric": Metric.HIT_RATE,
        "asked": Asked.SERVED,
        "seed": 7,
        "clock": never,
        "deadline_s": 1.0,
    }
    return Search(options.pop("base", BASE), stream, {}, space=space, **always | options)


# ------------------------------------------------------------------------------------------------ the search


def test_the_key_that_is_known_to_matter_is_found_and_confirmed():
    search = search_over(space=FOUR)
    search.run(12)
    list(search.confirm())
    outcome = outcome_of(search, [event.user_id for event in STREAM])
    old, new = outcome.changes["item_cf.score_decay"]
    assert old == 1.0
    assert new < 0.9
    gain = outcome.rest.metrics[Metric.HIT_RATE].gain
    assert gain.value > 4 * gain.standard_error > 0
    assert outcome.is_adopted(Metric.HIT_RATE)


def test_starts_are_tried_first_each_with_the_best_so_far():
    trials: list[Trial] = []
    starts = [{"item_cf.score_decay": 0.3, "item_cf.shrinkage": 2.0}, {"item_cf.liked_weight": 1.2, "sources.trending": 0.1}]
    search = search_over(space=FOUR, starts=starts, on_trial=trials.append)
    search.run(2)
    base, first, second = trials
    assert first.values == base.values | starts[0]
    assert first.score > base.score
    assert second.values == first.values | {"item_cf.liked_weight": 1.2}  # the other key is not searched


def test_the_score_of_a_trial_is_the_mean_over_the_last_third_of_the_tuning_part():
    search = search_over()
    search.run(1)
    assert search.first is not None
    assert (search.tuning_events, len(search.first.walk)) == (420, 420)
    shown: dict[str, str] = {}
    hits = []
    walk = Walk(BASE, {}, asked=Asked.SERVED)
    for number, event in enumerate(STREAM[:420]):
        position = walk_position(walk, event)
        assert (position >= 0) == (event.user_id in shown)
        shown[event.user_id] = event.item_id
        if number >= 280:
            hits.append(position == 1)
    assert search.first.score == pytest.approx(float(np.mean(hits)))
    assert 0.0 < search.first.score < 1.0


def walk_position(walk: Walk, event: Event) -> int:
    walk.take([event])
    return int(walk.positions[-1])


def test_what_comes_in_the_rest_does_not_change_what_is_chosen():
    other = STREAM[:420] + chain(180, seed=99)
    found = []
    for stream in (STREAM, other):
        trials: list[Trial] = []
        search = search_over(stream, FOUR, on_trial=trials.append)
        search.run(8)
        assert all(len(trial.walk) <= 420 for trial in trials)
        found.append([(trial.values, trial.scores) for trial in trials])
    assert found[0] == found[1]


def test_a_seed_gives_the_same_trials_again_and_another_gives_others():
    tried = []
    for seed in (1, 1, 2):
        trials: list[Trial] = []
        search_over(space=FOUR, seed=seed, on_trial=trials.append).run(5)
        tried.append([trial.values for trial in trials])
    assert tried[0] == tried[1]
    assert tried[0][0] == tried[2][0] == {key: value_at(BASE, key) for key in FOUR}
    assert tried[0][1:] != tried[2][1:]


def test_a_trial_changes_few_keys_of_the_best_one_so_far():
    best: list[dict[str, Any]] = []
    changes = []

    def remember(trial: Trial) -> None:
        if best:
            changes.append(sum(trial.values[key] != value for key, value in best[0].items()))
        if trial.finished and (not best or trial.score > scores[0]):
            best[:], scores[:] = [trial.values], [trial.score]

    scores = [0.0]
    space = FOUR | {f"sources.{name}": Range(0.0, 0.3) for name in ("user_cf", "content", "trending", "new_items")}
    search_over(space=space, on_trial=remember).run(10)
    assert len(changes) == 10
    assert max(changes) <= 4
    assert min(changes) >= 1


def test_bad_trials_are_given_up_early():
    trials: list[Trial] = []
    search = search_over(space=FOUR, on_trial=trials.append)
    search.run(14)
    assert search.first is not None
    assert search.best is not None
    given_up = [trial for trial in trials if not trial.finished]
    assert len(given_up) == search.given_up >= 3
    assert all(len(trial.walk) < search.tuning_events for trial in given_up)
    assert all(trial.score <= search.best.scores[len(trial.scores) - 1] for trial in given_up)


def test_combinations_that_the_configuration_refuses_are_left_out():
    trials: list[Trial] = []
    # profile.items has to be at least item_cf.score_items, which is ten
    base = parse_configuration(POOR | {"profile": {"items": 14}}, "poor.yaml")
    search = search_over(space={"profile.items": WholeRange(5, 14)}, base=base, on_trial=trials.append)
    search.run(4)
    assert search.refused > 0
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert all(trial.values["profile.items"] >= 10 for trial in trials)


def test_a_space_that_is_exhausted_ends_the_search():
    search = search_over(space={"item_cf.score_items": WholeRange(9, 10)})
    search.run()
    assert search.finished + search.given_up == 2


def test_a_key_without_a_value_in_the_base_is_left_alone():
    search = search_over(space=DECAY | {"item_cf.half_life_days": Range(1.0, 100.0)})
    search.run(1)
    assert search.first is not None
    assert list(search.first.values) == ["item_cf.score_decay"]


# ------------------------------------------------------------------------------------------------ the budget


class Paced(Sequence[Event]):
    """A stream each of whose events takes a second of its own clock."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self.now_s = 0.0

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, part: Any) -> Any:
        self.now_s += len(self._events[part])
        return self._events[part]

    def clock(self) -> float:
        return self.now_s


@pytest.mark.parametrize("walks", [4, 9])
def test_the_budget_is_used_and_kept_and_leaves_time_for_the_rest(walks):
    stream = Paced(STREAM)
    budget_s = seconds_of(len(STREAM), 1.0, trials=walks - 1)
    search = search_over(stream, FOUR, clock=stream.clock, deadline_s=budget_s)
    search.run()
    done = list(search.confirm())
    assert done[-1] == len(STREAM) - search.tuning_events
    assert 0.75 * budget_s < stream.now_s <= budget_s
    assert search.finished >= 2


def test_a_rest_that_takes_longer_than_expected_is_cut_at_the_deadline():
    stream = Paced(chain(2_000))
    search = search_over(stream, clock=stream.clock, deadline_s=6_000.0)
    search.run(1)
    stream.now_s = 6_000.0
    assert list(search.confirm()) == [250]
    outcome = outcome_of(search, [event.user_id for event in STREAM[:600]] * 4)
    assert outcome.rest.events == 250


def test_a_budget_that_does_not_suffice_for_the_base_is_said():
    stream = Paced(STREAM)
    search = search_over(stream, clock=stream.clock, deadline_s=100.0)
    with pytest.raises(OutOfTime):
        search.run()
    assert search.best is None


def test_what_was_found_before_an_interruption_is_kept():
    def interrupt(trial: Trial) -> None:
        if trial.number == 3:
            raise KeyboardInterrupt

    search = search_over(space=FOUR, on_step=interrupt)
    with pytest.raises(KeyboardInterrupt):
        search.run(10)
    assert search.finished + search.given_up == 3
    outcome = outcome_of(search, [event.user_id for event in STREAM])
    assert outcome.tuning.events == 140
    assert outcome.rest.events == 0


# ------------------------------------------------------------------------------------------------ a walk


@pytest.fixture
def event_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("user_id", "item_id", "timestamp", "type"))
        # every tenth is an impression, which is neither judged nor learned
        kinds = ("impression" if number % 10 == 9 else "view" for number in range(len(STREAM)))
        writer.writerows((e.user_id, e.item_id, e.event_time_ms, kind) for e, kind in zip(STREAM, kinds, strict=True))
    return path


@pytest.mark.parametrize("asked", Asked)
def test_a_walk_judges_as_flinkrec_evaluate_does(event_file, asked):
    file = read_events(event_file)
    report = run_local(file, {}, BASE, every=1, asked=asked, console=Console(quiet=True), record=False).report
    walk = Walk(BASE, {}, asked=asked)
    events = list(file.events())
    # in pieces: it stops and goes on
    for start, end in pairwise([0, 1, 250, 599, 600]):
        walk.take(events[start:end])
    judged = walk.positions[walk.positions >= 0].tolist()
    assert len(judged) == report.evaluated > 400
    assert np.mean([hit_at_k(place or None, 1) for place in judged]) == pytest.approx(report.hr_at_k)
    assert np.mean([ndcg_at_k(place or None, 1) for place in judged]) == pytest.approx(report.ndcg_at_k)


def test_the_differences_are_paired_event_by_event():
    search = search_over()
    search.run(5)
    list(search.confirm())
    assert search.first is not None
    assert search.best is not None
    assert search.best is not search.first
    before, after = search.first.walk.positions[420:], search.best.walk.positions[420:]
    assert len(before) == len(after) == 180
    outcome = outcome_of(search, [event.user_id for event in STREAM])
    means = outcome.rest.metrics[Metric.HIT_RATE]
    difference = (after == 1).astype(float) - (before == 1)
    assert means.gain.value == pytest.approx(difference.mean())
    assert means.gain.standard_error == pytest.approx(difference.std(ddof=1) / np.sqrt(180))
    assert means.best.value - means.base.value == pytest.approx(means.gain.value)


# ------------------------------------------------------------------------------------------------ the file


def test_the_file_holds_what_the_base_says_and_what_was_found_with_comments():
    base = {"kafka": {"partitions": 2}, "item_cf": {"shrinkage": 5.0, "pair_items": 10}, "slate": None}
    changes = {"item_cf.shrinkage": (5.0, 2.5), "scorer.hidden": ((64, 32), (32,))}
    text = tuned_file(base, changes, ["One.", "Two."], adopted=True)
    assert yaml.safe_load(text) == {
        "kafka": {"partitions": 2},
        "item_cf": {"pair_items": 10, "shrinkage": 2.5},
        "scorer": {"hidden": [32]},
    }
    assert text.startswith("# One.\n# Two.\n")
    assert "  shrinkage: 2.5  # 5.0 before; added to an item's count when pairs are normalised" in text
    assert "  hidden: [32]  # [64, 32] before; width of each hidden layer" in text


def test_changes_that_are_not_adopted_stand_in_the_head_only():
    text = tuned_file({"slate": {"k": 5}}, {"item_cf.shrinkage": (10.0, 2.5)}, ["One."], adopted=False)
    assert yaml.safe_load(text) == {"slate": {"k": 5}}
    assert "#   item_cf.shrinkage: 2.5  (10.0 before)\n" in text


def test_a_file_without_a_base_or_a_change_is_the_defaults():
    text = tuned_file({}, {}, ["One."], adopted=True)
    assert parse_configuration(yaml.safe_load(text), "tuned.yaml") == Configuration()


@pytest.mark.parametrize("key", SPACE)
def test_every_key_that_can_be_tuned_is_explained_in_the_file(key):
    old = value_at(Configuration(), key)
    text = tuned_file({}, {key: (old, old)}, [], adopted=True)
    assert yaml.safe_load(text) is not None
    assert " before; " in text


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def poor_file(tmp_path: Path) -> Path:
    path = tmp_path / "poor.yaml"
    path.write_text(yaml.safe_dump({name: section for name, section in POOR.items() if name != "policy"}))
    return path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["tune", *map(str, arguments)])


@pytest.fixture
def only_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.evaluation.space.SPACE", DECAY)


@pytest.mark.usefixtures("only_decay")
def test_the_command_writes_a_configuration_that_can_be_submitted(event_file, poor_file, tmp_path):
    out = tmp_path / "tuned.yaml"
    result = run("--events", event_file, "--config", poor_file, "--budget", 10, "--trials", 4, "--last", 500, "--out", out)
    assert result.exit_code == 0, result.output
    tuned = load_configuration(out)
    assert tuned.item_cf.score_decay < 0.9
    assert tuned.slate == BASE.slate
    text = out.read_text(encoding="utf-8")
    assert "flinkrec tune --events shop.csv --budget 10 --metric hr --slate served --seed 7" in text
    assert "4 configurations tried on the last 500 of 600 events" in text
    assert "HR@1" in result.output


@pytest.mark.usefixtures("only_decay")
def test_an_interrupted_command_prints_and_writes_the_best_so_far(event_file, poor_file, tmp_path, monkeypatch):
    def interrupted(self: Search) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "confirm", interrupted)
    out = tmp_path / "tuned.yaml"
    result = run("--events", event_file, "--config", poor_file, "--budget", 10, "--trials", 4, "--last", 500, "--out", out)
    assert result.exit_code == 0, result.output
    assert load_configuration(out).item_cf.score_decay < 0.9
    assert "not compared with the base" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "nowhere/tuned.yaml"], "expected a file that can be written, in a directory that is there"),
        (["--events", "nothing.csv"], "expected a file, got nothing there"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(event_file, arguments, said):
    result = run("--events", event_file, "--budget", 1, *arguments)
    assert result.exit_code != 0
    assert said in str(result.exception)


def test_a_budget_that_is_too_short_for_anything_is_said(event_file):
    now_s = time.monotonic()
    options: dict[str, Any] = {"asked": Asked.SERVED, "trials": None}
    with pytest.raises(UserError, match="the budget is too short to say anything: 600 events take"):
        fitting_events(read_events(event_file), {}, BASE, deadline_s=now_s, **options)
    assert fitting_events(read_events(event_file), {}, BASE, deadline_s=now_s + 3_600, **options) > 600


def test_a_file_of_a_few_events_is_refused(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("user_id,item_id,timestamp\nu,i,1\n")
    result = run("--events", path, "--budget", 1)
    assert "expected at least 100 events to tune on, got 1" in str(result.exception)
