"""The job's code in the home: what is submitted again is left alone, and TaskManagers that know other code are replaced."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cli.deployment import bring_to, lay_out
from cli.stack import Home, Stack
from models.config import Configuration, Scorer

OWN = Configuration(scorer=Scorer(name="own_scorer:Own"))


@dataclass(frozen=True, slots=True)
class Counting(Stack):
    """A stack that only counts how often its TaskManagers are replaced."""

    restarts: list[str] = field(default_factory=list)

    def restart_taskmanagers(self, *, progress=print):
        self.restarts.append("restarted")


@pytest.fixture
def stack(tmp_path) -> Counting:
    found = Counting(Home(tmp_path / "home", tmp_path / "jars"))
    found.home.create()
    return found


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """A module of one's own, with a kernel that numba has compiled."""
    (tmp_path / "shop" / "__pycache__").mkdir(parents=True)
    (tmp_path / "shop" / "__pycache__" / "own_scorer.kernel-1.py311.nbi").write_text("compiled")
    file = tmp_path / "shop" / "own_scorer.py"
    file.write_text("")
    monkeypatch.syspath_prepend(file.parent)
    yield file
    sys.modules.pop("own_scorer", None)


def test_the_configuration_with_its_passwords_is_for_its_owner_alone(stack):
    path = stack.home.deployment / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.chmod(0o644)
    assert lay_out(stack.home, Configuration(), "recommend") == path
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_laid_out_again_is_left_alone_with_what_was_compiled_of_it(stack, own):
    lay_out(stack.home, OWN, "recommend")
    deployed = stack.home.deployment / "own_scorer.py"
    kernel = stack.home.deployment / "__pycache__" / "own_scorer.kernel-1.py311.nbi"
    assert kernel.read_text() == "compiled"
    kernel.write_text("by the job")
    before = deployed.stat().st_ino, deployed.stat().st_ctime_ns
    lay_out(stack.home, OWN, "recommend")
    assert (deployed.stat().st_ino, deployed.stat().st_ctime_ns) == before
    assert kernel.read_text() == "by the job"
    own.write_text("changed = True")
    lay_out(stack.home, OWN, "recommend")
    assert deployed.read_text() == "changed = True"
    lay_out(stack.home, Configuration(), "recommend")
    assert not deployed.exists()
    assert (stack.home.deployment / "jobs" / "recommend.py").is_file()


def test_taskmanagers_are_replaced_where_they_have_imported_other_code_and_nowhere_else(stack, own):
    def restarts(configuration: Configuration) -> int:
        before = len(stack.restarts)
        bring_to(stack, configuration, "recommend", progress=print)
        return len(stack.restarts) - before

    assert restarts(OWN) == 0, "they have imported nothing"
    assert restarts(OWN) == 0
    assert restarts(Configuration(scorer=OWN.scorer, flink=Configuration().flink)) == 0, "a configuration is no code"
    own.write_text("changed = True")
    assert restarts(OWN) == 1
    assert restarts(OWN) == 0
    assert restarts(Configuration()) == 1


def test_taskmanagers_are_replaced_after_many_jobs(stack, own):
    for _ in range(40):
        bring_to(stack, OWN, "recommend", progress=print)
    assert stack.restarts == ["restarted"], "after 20"
    bring_to(stack, OWN, "recommend", progress=print)
    assert len(stack.restarts) == 2


def test_who_is_interrupted_while_they_are_replaced_replaces_them_the_next_time(stack, own, monkeypatch):
    bring_to(stack, OWN, "recommend", progress=print)
    own.write_text("changed = True")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Counting, "restart_taskmanagers", lambda *_, **__: pytest.fail("Ctrl-C"))
        with pytest.raises(pytest.fail.Exception):
            bring_to(stack, OWN, "recommend", progress=print)
    bring_to(stack, OWN, "recommend", progress=print)
    assert stack.restarts == ["restarted"]
