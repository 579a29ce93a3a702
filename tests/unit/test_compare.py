"""`--compare`: the same events by the same protocol, and figures worked out by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from cli.errors import UserError
from cli.evaluate import evaluate, with_known_types
from cli.evaluation import compare as comparing
from cli.evaluation.compare import positions_of, print_comparison, require_packages
from cli.evaluation.local import run_local
from cli.evaluation.run import Asked
from cli.eventfiles import read_events
from cli.tuning.walk import Walk
from models.config import Configuration, Events, EventType, Slate
from models.evaluation.baselines import discover
from models.evaluation.baselines.popularity import Popularity
from models.evaluation.comparison import comparison_of, rival_of
from models.evaluation.prequential import Judgement
from models.evaluation.recorder import MISS, UNJUDGED, Recorder, Shown
from models.topics import CatalogueItem
from models.validation import parse_configuration
from tests.synthetic import events

QUIET = Console(quiet=True)
TYPES = {
    "view": EventType(),
    "note": EventType(weight=1.0, makes_slate=False),
    "impression": EventType(weight=0.0, makes_slate=False),
    "search": EventType(weight=0.0, makes_slate=True),
}
CONFIGURATION = Configuration(slate=Slate(k=2), events=Events(types=TYPES, max_events_per_minute=10**6))


class LatestFirst:
    """Recommends what anybody took latest, own items too: easy to follow by hand."""

    title = "latest first"

    def __init__(self, *, repeats: bool = True) -> None:
        self._items: list[str] = []
        self.asked = 0

    def learn_one(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        self._items = [item_id, *(other for other in self._items if other != item_id)]

    def recommend(self, user_id: str, k: int) -> list[str]:
        self.asked += 1
        return self._items[:k]

    def settings(self) -> str:
        return ""


@pytest.fixture
def file_of(tmp_path):
    def write(rows):
        path = tmp_path / "events.csv"
        lines = (f"{user_id},{item_id},{time},{kind}\n" for time, (user_id, item_id, kind) in enumerate(rows))
        path.write_text("user_id,item_id,timestamp,type\n" + "".join(lines))
        return read_events(path)

    return write


def ran(baseline, file, *, every=1, asked=Asked.BEFORE):
    return positions_of(
        baseline, file, CONFIGURATION, every=every, asked=asked, console=QUIET, title=""
    ).tolist()


STREAM = [
    ("u", "a", "view"),  # the first of u
    ("v", "b", "view"),  # the first of v
    ("u", "b", "impression"),  # teaches and tests nothing
    ("u", "b", "view"),  # before: b a, a hit at 1; served after u's a: a alone, a miss
    ("v", "a", "note"),  # before: b a, a hit at 2; served after v's b: b a, a hit at 2
    ("v", "b", "view"),  # before: a b, a hit at 2; served: a note makes no slate, a miss
    ("w", "c", "view"),  # the first of w
    ("u", "q", "search"),  # no test; makes another slate: c b
    ("u", "c", "view"),  # before: c b, a hit at 1; served after the search: a hit at 1
]


def test_an_event_tests_the_slate_just_before_it_or_the_one_that_was_served_last(file_of):
    assert ran(LatestFirst(), file_of(STREAM)) == [UNJUDGED, UNJUDGED, 1, 2, 2, UNJUDGED, 1]
    served = ran(LatestFirst(), file_of(STREAM), asked=Asked.SERVED)
    assert served == [UNJUDGED, UNJUDGED, MISS, 2, MISS, UNJUDGED, 1]


def test_only_what_is_judged_is_asked_for(file_of):
    baseline = LatestFirst()
    assert ran(baseline, file_of(STREAM), every=2) == [UNJUDGED, UNJUDGED, UNJUDGED, 2, UNJUDGED, UNJUDGED, 1]
    assert baseline.asked == 2


@pytest.mark.parametrize("asked", Asked)
@pytest.mark.parametrize("every", [1, 3])
def test_a_baseline_is_judged_on_the_events_on_which_flinkrec_is(file_of, asked, every):
    draw = np.random.default_rng(3)
    rows = [(event.user_id, event.item_id, str(draw.choice(list(TYPES)))) for event in events(200, users=12, items=30)]
    file = file_of(rows)
    ours = run_local(file, {}, CONFIGURATION, every=every, asked=asked, console=QUIET, record=True).recording
    theirs = positions_of(
        Popularity(repeats=False), file, CONFIGURATION, every=every, asked=asked, console=QUIET, title=""
    )
    assert ((theirs == UNJUDGED) == ~ours.judged).all()
    assert 0 < ours.judged.sum() < len(theirs) < 200


def recording_of(*positions):
    """Of one user a position an event, None where it was not judged."""
    recorder, slate = Recorder(k=2), [Shown("x", 0.0, None, []), Shown("y", 0.0, None, [])]
    for time_ms, position in enumerate(positions):
        judged = None if position is None else Judgement(position or None, 2)
        recorder.record(f"u{time_ms % 2}", "x", time_ms, judged, slate)
    return recorder.recording()


def rival(recording, *positions, name="popularity"):
    return rival_of(
        recording, np.array(positions, np.int16), name=name, title=name, settings="as it is", events_per_s=1.0
    )


def test_gains_errors_and_lift_are_those_worked_out_by_hand():
    found = rival(recording_of(None, 1, 0, 2, 1), UNJUDGED, 1, MISS, MISS, 2)
    # hits: 1 0 1 1 against 1 0 0 1
    assert (found.hit_rate.n, found.hit_rate.value) == (4, 0.5)
    assert found.hit_rate.standard_error == pytest.approx(np.sqrt(1 / 3) / 2)  # of 1 0 0 1: s^2 = 1/3
    assert found.hit_rate_gain.value == 0.25
    assert found.hit_rate_gain.standard_error == pytest.approx(0.5 / 2)  # of 0 0 1 0: s^2 = 1/4
    assert found.hit_rate_lift_percent == pytest.approx(50.0)
    second = 1 / np.log2(3)
    assert found.ndcg.value == pytest.approx((1 + second) / 4)
    assert found.ndcg_gain.value == pytest.approx((second + 1 - second) / 4)
    assert found.ndcg_lift_percent == pytest.approx(100 * ((2 + second) / (1 + second) - 1))


def test_above_a_baseline_that_never_hits_there_is_no_lift():
    assert rival(recording_of(None, 1), UNJUDGED, MISS).hit_rate_lift_percent is None


@pytest.mark.parametrize("positions", [(UNJUDGED, UNJUDGED), (1, 1), (UNJUDGED, 1, 1)])
def test_other_events_are_not_compared(positions):
    with pytest.raises(ValueError, match="same judged events"):
        rival(recording_of(None, 1), *positions)


def test_the_table_has_the_best_baseline_first_and_fits_a_terminal():
    recording = recording_of(None, 1, 0, 2, 1)
    rivals = [
        rival(recording, UNJUDGED, MISS, MISS, MISS, MISS, name="popularity"),
        rival(recording, UNJUDGED, 1, MISS, MISS, 2, name="last-item Markov"),
    ]
    comparison = comparison_of(recording, rivals, every=1, slate="before", events_per_s=12_345.6, versions={})
    console = Console(width=80, file=io.StringIO(), record=True)
    print_comparison(comparison, console)
    heading, ours, best, worst, caption, *settings = console.export_text().splitlines()
    assert "gain in HR@2" in heading
    assert "0.7500 ± 0.2500" in ours and "12,346" in ours
    assert " ".join(best.split()) == "last-item Markov 0.5000 ± 0.2887 0.4077 ± 0.2472 +0.2500 ± 0.2500 +50% 1"
    assert " ".join(worst.split()) == "popularity 0.0000 ± 0.0000 0.0000 ± 0.0000 +0.7500 ± 0.2500 1"
    assert len(best) <= 80
    assert "4 evaluated events" in caption
    assert settings == ["  last-item Markov: as it is", "  popularity: as it is"]


def test_a_missing_package_is_said_in_one_sentence(monkeypatch):
    require_packages()
    monkeypatch.setattr(comparing, "find_spec", lambda name: None if name in {"implicit", "river"} else object())
    with pytest.raises(UserError, match=r"^--compare needs implicit and river: pip install 'flinkrec\[evaluation\]'$"):
        require_packages()


def test_the_command_prints_every_baseline_and_leaves_the_report_as_it_is(file_of, tmp_path, capsys):
    file = file_of([(event.user_id, event.item_id, "view") for event in events(250, users=20, items=40)])
    out, table = tmp_path / "report.json", tmp_path / "table.json"
    evaluate(events=file.path, every=2, json=out, compare_json=table)
    said = capsys.readouterr()
    comparison, report = json.loads(table.read_bytes()), json.loads(out.read_bytes())
    assert {one["name"] for one in comparison["rivals"]} == set(discover())
    for one in comparison["rivals"]:
        assert one["title"] in said.out
        assert one["hit_rate"]["n"] == comparison["hit_rate"]["n"] == report["evaluated"] == 115
    assert comparison["hit_rate"]["value"] == report["hr_at_k"]
    assert comparison["ndcg"]["value"] == pytest.approx(report["ndcg_at_k"])
    assert "rivals" not in report
    assert "baseline 7 of 7" in said.err
    assert comparison["versions"]["river"]


@pytest.mark.parametrize("asked", Asked)
def test_a_slate_does_not_know_what_the_event_is_about_that_tests_it(file_of, asked):
    file = file_of([(f"u{user}", f"i{(user + 3 * n) % 10}", "view") for user in range(10) for n in range(3)])
    catalogue = {f"i{n}": CatalogueItem(categories=[f"kind {n}"]) for n in range(10)}
    rules = {f"pin:{n}": {"item": f"i{n}", "position": 1, "category": f"kind {n}"} for n in range(10)}
    mapping = {"slate": {"k": 1}, "scorer": {"name": "none"}, "policy": {"epsilon": 0.0, "epsilon_min": 0.0}}
    with_pins, without = (
        run_local(file, catalogue, parse_configuration(sections, "test.yaml"), every=1, asked=asked, console=QUIET, record=False)
        for sections in (mapping | {"rules": rules}, mapping)
    )
    assert with_pins.report.hr_at_k == without.report.hr_at_k < 0.5


@pytest.mark.parametrize("weight", [0.0, -0.5])
def test_what_does_not_count_and_makes_no_slate_leaves_the_slate_there(file_of, weight):
    file = file_of([(f"u{user}", f"{kind}{n}", kind) for user in range(9) for n in range(3) for kind in ("view", "skip")])
    types = {"view": {}, "skip": {"weight": weight, "makes_slate": False}}
    configuration = parse_configuration({"slate": {"k": 5}, "scorer": {"name": "none"}, "events": {"types": types}}, "test.yaml")
    report = run_local(file, {}, configuration, every=1, asked=Asked.SERVED, console=QUIET, record=False).report
    popular = positions_of(Popularity(repeats=False), file, configuration, every=1, asked=Asked.SERVED, console=QUIET, title="")
    assert report.evaluated == (popular >= 0).sum() == 18
    assert (report.hr_at_k > 0.8, (popular > 0).sum() > 14) == (True, True)
    walk = Walk(configuration, {}, asked=Asked.SERVED)
    walk.take(file.events())
    assert (walk.positions > 0).sum() == round(18 * report.hr_at_k)


def test_a_file_may_write_types_in_any_case(file_of):
    file = with_known_types(file_of([("u", "a", "View"), ("u", "b", ""), ("u", "c", "NOTE")]), CONFIGURATION)
    assert file.types == ["view", "", "note"]
    with pytest.raises(UserError, match="type 'sneeze' is not among"):
        with_known_types(file_of([("u", "a", "sneeze")]), CONFIGURATION)
