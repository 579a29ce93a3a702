"""`flinkrec ope`: on files, on the Open Bandit sample, and beside obp's own estimators."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import obp
import pandas as pd
import pytest
from obp.ope import DoublyRobust, InverseProbabilityWeighting, SelfNormalizedInverseProbabilityWeighting, SwitchDoublyRobust
from typer.testing import CliRunner

from cli import wheel
from cli.bandit import openbandit
from cli.bandit.log import read_log
from cli.errors import UserError
from cli.main import app
from models.ope.estimators import dr, ips, snips, switch_dr
from models.ope.policies import Target, uniform
from models.ope.reward_model import cross_fitted
from models.ope.rounds import Rounds

INSTALLED = Path(obp.__file__).parents[1]
LOG = """action,position,reward,propensity,context_age,context_device,target_prob_red,target_prob_blue
red,1,1,0.25,30,phone,0.5,0.5
blue,2,0,0.75,41,desk,0.2,0.8
blue,1,1,0.75,25.5,tablet,1,0
red,2,0,0.25,19,phone,0,1
"""


@pytest.fixture
def written(tmp_path):
    def write(content: str) -> Path:
        path = tmp_path / "log.csv"
        path.write_text(content)
        return path

    return write


@pytest.fixture(scope="module")
def wheel_of_obp(tmp_path_factory):
    """What pip downloads, made of the installed package."""
    path = tmp_path_factory.mktemp("wheel") / "obp-0.4.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member in openbandit.WHEEL.sha256:
            archive.write(INSTALLED / member, member)
    return path.read_bytes()


@pytest.fixture
def downloads(monkeypatch, wheel_of_obp):
    """Stands in for PyPI; returns the downloads so far."""
    found: list[list[str]] = []

    def download(command, **_):
        found.append(command)
        (Path(command[command.index("--dest") + 1]) / "obp.whl").write_bytes(wheel_of_obp)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(wheel.subprocess, "run", download)
    return found


def run(*arguments):
    return CliRunner().invoke(app, ["ope", *map(str, arguments)], catch_exceptions=False)


def ours_and_theirs(rounds: Rounds, target: Target, estimated: np.ndarray, tau: float) -> np.ndarray:
    """float64[2, 4]: the four estimates, by this project and by obp, which takes a cube with an axis of positions."""
    rows = np.arange(len(rounds))
    weight = target.taken / rounds.propensity
    by_model = {"taken": estimated[rows, rounds.action], "target": (estimated * target.distribution).sum(axis=1)}
    ours = [
        ips(weight, rounds.reward),
        snips(weight, rounds.reward),
        dr(weight, rounds.reward, **by_model),
        switch_dr(weight, rounds.reward, **by_model, tau=tau),
    ]
    cubes = {
        "action_dist": np.repeat(target.distribution[:, :, None], rounds.n_positions, axis=2),
        "estimated_rewards_by_reg_model": np.repeat(estimated[:, :, None], rounds.n_positions, axis=2),
    }
    log = {"reward": rounds.reward, "action": rounds.action, "pscore": rounds.propensity, "position": rounds.position}
    theirs = [InverseProbabilityWeighting(), SelfNormalizedInverseProbabilityWeighting(), DoublyRobust(), SwitchDoublyRobust(tau=tau)]
    return np.array([[one.value for one in ours], [one.estimate_policy_value(**log, **cubes) for one in theirs]])


@pytest.mark.parametrize("seed", range(20))
def test_the_figures_are_those_of_obp_on_random_inputs(seed):
    rng = np.random.default_rng(seed)
    n, n_actions, n_positions = rng.integers(1, 2_000), int(rng.integers(2, 30)), rng.integers(1, 5)
    rounds = Rounds(
        context=np.empty((n, 0)),
        action=rng.integers(0, n_actions, n),
        position=rng.integers(0, n_positions, n),
        reward=rng.normal(size=n) if seed % 2 else rng.integers(0, 2, n).astype(float),
        propensity=rng.uniform(0.001, 1, n),
        unit=np.arange(n),
        n_actions=n_actions,
    )
    target = Target.of(rounds, rng.dirichlet(np.full(n_actions, 0.3), size=n))
    ours, theirs = ours_and_theirs(rounds, target, rng.normal(size=(n, n_actions)), tau=rng.uniform(0, 5))
    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("log", ["random/men", "bts/women"])
def test_the_figures_are_those_of_obp_on_the_open_bandit_sample(log, downloads, tmp_path):
    source = openbandit.open_bandit_log(log, tmp_path)
    read = pd.read_csv(INSTALLED / openbandit.member(log), index_col=0, float_precision="round_trip")
    rounds = source.rounds
    assert (rounds.action == read["item_id"]).all()
    assert (rounds.position == read["position"] - 1).all()
    assert (rounds.reward == read["click"]).all()
    assert (rounds.propensity == read["propensity_score"]).all()
    target = source.targets["bts"]() if log.startswith("random") else uniform(rounds)
    ours, theirs = ours_and_theirs(rounds, target, cross_fitted(rounds, np.random.default_rng(1)), tau=5.0)
    assert np.abs(ours - theirs).max() < 1e-9
    assert len(set(ours)) == 4


def test_the_open_bandit_sample_is_downloaded_once_and_judges_thompson_sampling(downloads, tmp_path, monkeypatch):
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path))
    result = run("--obd", "random/men", "--policy", "bts", "--json", tmp_path / "out.json")
    assert result.exit_code == 0
    assert "value of bts" in result.output
    assert "mean of its own log" in result.output
    said = json.loads((tmp_path / "out.json").read_text())
    assert [one["name"] for one in said["estimates"]] == ["IPS", "SNIPS", "DR", "switch-DR"]
    assert said["own_log"]["value"] == pytest.approx(0.0069)
    dr_interval = said["estimates"][2]["figures"]["student"]
    assert dr_interval["lower"] < 0.0069 < dr_interval["upper"]
    openbandit.open_bandit_log("bts/all", tmp_path / "data")
    assert len(downloads) == 1


def test_thompson_sampling_is_the_policy_that_obp_simulates(downloads, tmp_path):
    from obp.policy import BernoulliTS

    source = openbandit.open_bandit_log("random/men", tmp_path)
    n_sim = 10_000
    simulated = BernoulliTS(
        n_actions=34, len_list=3, is_zozotown_prior=True, campaign="men", random_state=12345
    ).compute_batch_action_dist(n_rounds=1, n_sim=n_sim)[0]
    exact = source.targets["bts"]().distribution
    for position in range(3):
        p = exact[np.argmax(source.rounds.position == position)]
        assert (np.abs(simulated[:, position] - p) < 4.5 * np.sqrt(p * (1 - p) / n_sim) + 2 / n_sim).all()


def test_a_log_is_read_as_its_columns_say(written):
    log = read_log(written(LOG))
    assert log.actions == ("blue", "red")
    assert log.rounds.action.tolist() == [1, 0, 0, 1]
    assert log.rounds.position.tolist() == [0, 1, 0, 1]
    assert log.rounds.context.tolist() == [[30, 1, 0], [41, 0, 0], [25.5, 0, 1], [19, 1, 0]]
    assert log.targets["column"]().taken.tolist() == [0.5, 0.8, 0.0, 0.0]


def test_actions_that_are_numbers_are_in_their_order(written):
    assert read_log(written("action,reward,propensity\n10,1,0.5\n2,1,0.5\nx,1,0.5\n")).actions == ("2", "10", "x")


def test_csv_and_parquet_say_the_same(written, tmp_path):
    csv = written(LOG)
    parquet = tmp_path / "log.parquet"
    pd.read_csv(io.StringIO(LOG)).to_parquet(parquet)
    one, other = (run("--log", path, "--policy", "column").output.partition(":")[2] for path in (csv, parquet))
    assert one == other
    assert "IPS" in one
    assert "The overlap is too small to believe this: the weights are worth 1.8 rounds" in one.replace("\n", " ")


def test_one_column_of_probabilities_is_enough_for_ips_and_snips(written):
    path = written("action,reward,propensity,target_prob\n" + "a,1,0.5,1\nb,0,0.5,0\n" * 60)
    output = run("--log", path, "--policy", "column").output
    assert "DR and switch-DR need the policy's probability of every action" in output
    assert [line.split()[:2] for line in output.splitlines()[2:4]] == [["IPS", "1.00000"], ["SNIPS", "1.00000"]]
    assert "overlap is too small" in output


@pytest.mark.parametrize(
    ("content", "policy", "message"),
    [
        ("action,reward\na,1\n", "uniform", r"expected a column 'propensity', got only action, reward"),
        ("action,reward,propensity\n", "uniform", "expected at least one round, got only a header"),
        ("action,reward,propensity\na,1,0.5\na,1,0\n", "uniform", r"row 2: expected propensity to be above 0 and at most 1, got 0\.0"),
        ("action,reward,propensity\na,1,1.5\n", "uniform", r"row 1: expected propensity to be above 0 and at most 1, got 1\.5"),
        ("action,reward,propensity\na,1,\n", "uniform", "row 1: expected propensity"),
        ("action,reward,propensity\na,yes,1\n", "uniform", "expected reward to be numbers"),
        ("action,reward,propensity\na,1,1\n,1,1\n", "uniform", "row 2: expected action to be a name, got nothing"),
        ("action,reward,propensity,position\na,1,1,1.5\n", "uniform", r"row 1: expected position to be a whole number, got 1\.5"),
        ("action,reward,propensity\na,1,1\n", "uniform", "expected at least two independent rounds"),
        ("action,reward,propensity\na,1,1\n", "best-constant", "expected at least two independent rounds"),
        ("action,reward,propensity\na,1,1\nb,1,1\n", "column", "--policy column needs a column 'target_prob'"),
        ("action,reward,propensity\na,1,1\nb,1,1\n", "greedy", "one of uniform, logged, best-constant, epsilon-greedy, got 'greedy'"),
        ("action,reward,propensity,target_prob_a\na,1,1,1\nb,1,1,0\n", "column", "expected a column 'target_prob_b'"),
        ("action,reward,propensity,target_prob\na,1,1,2\n", "column", "row 1: expected the probabilities of the evaluated policy"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(written, content, policy, message):
    with pytest.raises(UserError, match=message) as error:
        run("--log", written(content), "--policy", policy)
    assert "\n" not in str(error.value)


def test_the_source_must_be_one_that_there_is(tmp_path):
    for arguments, message in (
        ((), "expected one of --log, --obd, --outcomes and --topic"),
        (("--log", tmp_path / "none.csv"), "got nothing there"),
        (("--obd", "random/kids"), "expected one of random/all"),
    ):
        with pytest.raises(UserError, match=message):
            run(*arguments, "--policy", "uniform")
