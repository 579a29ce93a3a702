"""The page of `evaluate --report`: whole, self-contained, with every section; and the ablations that it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from rich.console import Console

from cli.errors import UserError
from cli.evaluate import configuration_of_a_file
from cli.evaluation.ablation import ablate, switched, switches
from cli.evaluation.local import run_local
from cli.evaluation.run import Asked, Run, figures_of_run
from cli.eventfiles import EventFile
from cli.loop import ServedJudge
from cli.report.page import Protocol, render, write_page
from models.evaluation.ablation import ablation_of
from models.evaluation.comparison import comparison_of, rival_of
from models.evaluation.popularity_baseline import popularity_positions
from models.evaluation.prequential import Judgement, PrequentialEvaluator
from models.evaluation.recorder import Recorder, Shown
from models.feature_table import GROUPS
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.synthetic import events

SECTIONS = {"headline", "rivals", "time", "probability", "coverage", "splits", "sources", "ablation", "latency", "configuration"}
VOID = {"meta", "br"}
PROTOCOL = Protocol(events_file="shop.tsv", engine="local", asked="before", every=1)
SMALL = {"scorer": {"hidden": [8]}, "learner": {"batch_examples": 8, "publish_every_steps": 1}, "policy": {"epsilon": 0}}
STREAM = events(700, users=20, items=80)


class Page(HTMLParser):
    """What a browser would make of a page: its ids, its references, and tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.references += [values[name] for name in ("href", "src", "srcset", "data", "action") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> EventFile:
    return EventFile(
        [event.user_id for event in STREAM],
        [event.item_id for event in STREAM],
        np.linspace(1_700_000_000_000, 1_701_000_000_000, len(STREAM)).astype(np.int64),
        None,
        None,
        "milliseconds",
        tmp_path_factory.mktemp("events") / "shop.tsv",
    )


def run_of(file, configuration, **options) -> Run:
    asked = {"every": 1, "asked": Asked.BEFORE, "console": Console(quiet=True), "record": True}
    return run_local(file, {}, configuration, **(asked | options))


@pytest.fixture(scope="module")
def configuration():
    return parse_configuration(SMALL, "test.yaml")


@pytest.fixture(scope="module")
def run(file, configuration) -> Run:
    return run_of(file, configuration)


@pytest.fixture(scope="module")
def figures(run, configuration):
    return figures_of_run(run, configuration)


@pytest.fixture(scope="module")
def ablations(run):
    changed = replace(run.recording, positions=np.minimum(run.recording.positions, 0))
    return [ablation_of("without features", "content", whole=run.recording, changed=changed)]


@pytest.fixture(scope="module")
def comparison(run):
    rival = rival_of(
        run.recording,
        popularity_positions(run.recording),
        name="popularity",
        title="most popular <so far>",
        settings="",
        events_per_s=1.0,
    )
    return comparison_of(run.recording, [rival], every=1, slate="before", events_per_s=2.0, versions={})


def test_the_page_is_whole_and_has_every_section(figures, run, ablations, comparison):
    page = Page(render(figures, run.report, PROTOCOL, ablations=ablations, comparison=comparison))
    assert page.open == []
    assert set(page.ids) >= SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert f"{run.report.hr_at_k:.4f}" in page.text
    assert "without features content" in page.text
    assert "most popular <so far>" in page.text


def test_the_page_loads_nothing(figures, run, ablations, comparison):
    html = render(figures, run.report, PROTOCOL, ablations=ablations, comparison=comparison)
    page = Page(html)
    assert all(reference.startswith("#") and reference[1:] in page.ids for reference in page.references)
    assert re.findall(r"url\((?!#)", html) == []
    assert re.findall(r"@import|https?:|//[a-z]|<script|<link|<img|<iframe", html) == []


def test_drawings_take_their_colours_from_the_page(figures, run):
    html = render(figures, run.report, PROTOCOL)
    used = set(re.findall(r"var\(--(\w+)\)", html))
    defined = set(re.findall(r"--(\w+):", html))
    assert used <= defined
    assert "#01000" not in html
    assert html.count("<svg") == 12


def test_what_a_file_is_called_cannot_steer_the_page(figures, run):
    html = render(figures, run.report, Protocol("<script>alert(1)</script>.tsv", "local", "before", 1))
    assert "<script>" not in html
    assert "<script>alert(1)</script>.tsv" in Page(html).text


def test_settings_that_may_hold_passwords_are_not_on_the_page(figures, run):
    config = run.report.config | {"kafka": run.report.config["kafka"] | {"properties": {"sasl.jaas.config": "hush"}}}
    html = render(figures, msgspec.structs.replace(run.report, config=config), PROTOCOL)
    assert "sasl.jaas.config" in html
    assert "hush" not in html


def test_what_differs_from_the_defaults_is_listed(figures, run):
    text = Page(render(figures, run.report, PROTOCOL)).text
    assert re.search(r"learner\.batch_examples\s*64\s*8\s", text)
    assert not re.search(r"learner\.learning_rate\s*0\.002\s*0\.002", text)


def test_a_section_without_figures_is_left_out(file):
    configuration = parse_configuration(SMALL | {"scorer": {"name": "none"}}, "test.yaml")
    run = run_of(file, configuration)
    figures = figures_of_run(run, configuration)
    page = Page(render(figures, run.report, PROTOCOL))
    assert figures.reliability is None
    assert SECTIONS - set(page.ids) == {"ablation", "rivals"}
    assert "Calibration of" not in page.text
    assert set(page.references) <= {f"#{name}" for name in page.ids}


def test_the_page_and_its_numbers_are_written_to_the_directory(tmp_path, figures, run):
    path = write_page(tmp_path / "a" / "b", figures, run.report, PROTOCOL)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    numbers = msgspec.json.decode((tmp_path / "a" / "b" / "figures.json").read_bytes())
    assert numbers["overall"]["hit_rate"]["value"] == pytest.approx(run.report.hr_at_k)


def test_a_directory_that_is_a_file_and_a_run_that_judged_nothing_are_said_in_a_sentence(tmp_path, figures, run):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match="taken: cannot be written: "):
        write_page(tmp_path / "taken", figures, run.report, PROTOCOL)
    with pytest.raises(UserError, match="nothing to show"):
        write_page(tmp_path, figures, msgspec.structs.replace(run.report, evaluated=0), PROTOCOL)


# what the page is made of


def test_a_run_records_what_its_report_says(run):
    judged = run.recording.positions[run.recording.judged]
    assert len(judged) == run.report.evaluated > 600
    assert (judged > 0).mean() == pytest.approx(run.report.hr_at_k)
    assert len(run.latencies_ms) == len(STREAM)
    assert np.quantile(run.latencies_ms, 0.5) == pytest.approx(run.report.latency_ms.p50)


def test_a_run_is_the_same_whether_it_is_recorded_or_not(file, configuration, run):
    silent = run_of(file, configuration, record=False)
    assert silent.recording is None
    assert silent.report.hr_at_k == run.report.hr_at_k
    assert silent.report.versions == run.report.versions


def test_served_slates_are_recorded_by_both_engines_alike(file, configuration):
    local = run_of(file, configuration, asked=Asked.SERVED).recording
    evaluator, recorder = PrequentialEvaluator(configuration.slate.k), Recorder(configuration.slate.k)
    judge = ServedJudge(evaluator, lambda event: True, lambda event: True, recorder)
    for event, slate in answered(file, configuration):
        judge.sent(event)
        judge.answered(event.event_id, slate)
    other = recorder.recording()
    for name in ("users", "items", "positions", "scores", "probabilities", "shown_counts"):
        np.testing.assert_array_equal(getattr(local, name), getattr(other, name))
    assert local.sources == other.sources


def answered(file, configuration):
    """Each event with the slate that answers it."""
    pipeline = LocalPipeline(configuration)
    for event in file.events():
        pipeline.learn(event)
        yield event, [Shown.of(item) for item in pipeline.recommend(event).items]


@pytest.mark.parametrize("repeats", [False, True])
def test_every_switch_gives_a_configuration_of_its_own(repeats):
    configuration = configuration_of_a_file(None, k=10, allow_repeats=repeats, explore=False)
    idle = set() if repeats else {"repeats"}
    found = switches(configuration)
    changed = [msgspec.json.encode(switched(configuration, switch)) for switch in found]
    assert len(set(changed)) == len(found)
    assert msgspec.json.encode(configuration) not in changed
    assert {switch.name for switch in found if switch.part == "without features"} == set(GROUPS) - idle
    assert {switch.name for switch in found if switch.part == "without source"} == {
        name for name, weight in msgspec.to_builtins(configuration.sources).items() if weight and name not in idle
    }
    assert "none" in {switch.name for switch in found if switch.part == "scorer"}


def test_without_a_scorer_no_features_are_switched_off():
    configuration = parse_configuration({"scorer": {"name": "none"}}, "test.yaml")
    assert {switch.part for switch in switches(configuration)} == {"scorer", "without source"}


def test_an_ablation_compares_each_switch_with_the_whole(run, file, configuration):
    titles = []

    def rerun(changed, title):
        titles.append(title)
        return run_of(file, changed) if changed.scorer.name == "none" else run

    found = {(one.part, one.name): one for one in ablate(run, configuration, rerun)}
    assert titles[0].startswith(f"ablation 1 of {len(switches(configuration))}: ")
    same, unscored = found["without features", "content"], found["scorer", "none"]
    assert (same.hit_rate_change.value, same.hit_rate_change.standard_error) == (0, 0)
    assert unscored.hit_rate_change.value == pytest.approx(unscored.hit_rate.value - run.report.hr_at_k)
    assert 0 < unscored.hit_rate_change.standard_error < 2 * unscored.hit_rate.standard_error


def test_runs_over_other_events_are_not_compared():
    def recorded(judgements):
        recorder = Recorder(1)
        for judgement in judgements:
            recorder.record("u", "a", 0, judgement, ())
        return recorder.recording()

    miss = Judgement(None, 0)
    with pytest.raises(ValueError, match="same judged events"):
        ablation_of("part", "name", whole=recorded([miss, miss]), changed=recorded([miss, None]))


def test_what_the_rest_of_a_configuration_needs_is_not_switched_off():
    configuration = parse_configuration({"auction": {"value": "bid"}}, "test.yaml")
    assert "none" not in {switch.name for switch in switches(configuration) if switch.part == "scorer"}
