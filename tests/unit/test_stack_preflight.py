"""What is missing is said in one sentence with its mend, also by a bare Python without our packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import UserError
from cli.stack import preflight


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(tools: Path, name: str, script: str) -> None:
    program = tools / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_each_missing_tool_is_named_with_its_mend(tools: Path) -> None:
    problems = preflight.missing_for_setup(str(tools), str(tools))
    for tool in ("Python 3.11", "Java 17", "Maven"):
        assert any(tool in problem and "install" in problem for problem in problems), tool


def test_an_old_java_is_refused_and_a_newer_one_is_not(tools: Path) -> None:
    put(tools, "java", "echo 'openjdk version \"11.0.2\" 2019-01-15' >&2")
    assert "Java 11 is too old" in preflight.missing_for_run(str(tools))[0]
    put(tools, "java", "echo 'openjdk version \"21\" 2023-09-19' >&2")
    assert preflight.missing_for_run(str(tools)) == []


def test_a_python_without_shared_library_is_refused(tools: Path) -> None:
    put(tools, "python3.11", "echo")
    assert any("shared libpython" in problem for problem in preflight.missing_for_setup(str(tools), str(tools)))


def test_of_several_pythons_the_first_that_will_do_is_chosen(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tools / name for name in ("static", "shared", "other")]
    fit = 'case "$2" in *sysconfig*) echo shared ;; *) echo venv ;; esac'
    for folder, script in zip(folders, ("echo", fit, fit), strict=True):
        folder.mkdir()
        put(folder, "python3.11", script)
    monkeypatch.setenv("PATH", ":".join(str(folder) for folder in folders))
    assert preflight.python() == (str(folders[1] / "python3.11"), [])


def test_a_full_disk_is_said_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(UserError, match=r"only 1\.0 GiB are free"):
        preflight.require_for_run(str(tmp_path / "not" / "there" / "yet"))


def test_it_runs_before_anything_is_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", preflight.__file__, str(tmp_path), str(tmp_path)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "flinkrec: Maven is missing" in done.stderr
