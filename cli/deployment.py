"""The job's code where the TaskManagers import it from, and whether those that run have imported any other.

A TaskManager keeps the Python modules that it has once imported. Where they are what is submitted, it is kept, with its compiled
kernels and PyTorch in memory, and the job runs in seconds; otherwise it has to be replaced.
"""

from __future__ import annotations

import hashlib
import importlib
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import yaml

import jobs
import models
import operators
from cli.errors import UserError
from cli.stack import Home, Stack
from models.config import BUILT_IN_SCORERS, Configuration

JobKind = Literal["recommend", "monitor"]

_CONFIGURATIONS: dict[JobKind, Path] = {"recommend": Path("config.yaml"), "monitor": Path("monitor.yaml")}
_CACHE = "__pycache__"
# An ended job leaves some 30 MB in the processes that it ran in.
_JOBS_AT_MOST = 20


def lay_out(home: Home, configuration: Configuration, job: JobKind) -> Path:
    """Put the code of the jobs into the home, and the configuration of one beside it, whose path is returned.

    The configuration of the other job stays, and so does what has not changed, with the kernels that were compiled of it; what is new
    comes with those of where it comes from.

    Raises
    ------
    UserError
        When the scorer's class is in no file.
    """
    wanted = _sources(configuration.scorer.name)
    for old in _deployed(home):
        if old not in wanted and old not in _CONFIGURATIONS.values():
            (home.deployment / old).unlink()
    for name, source in wanted.items():
        target = home.deployment / name
        if not target.is_file() or not _same(source, target):
            _copy(source, target)
    config_file = home.deployment / _CONFIGURATIONS[job]
    # passwords of brokers and tokens may stand in it
    config_file.touch(mode=0o600)
    config_file.chmod(0o600)
    config_file.write_text(yaml.safe_dump(msgspec.json.decode(msgspec.json.encode(configuration))), encoding="utf-8")
    return config_file


def bring_to(stack: Stack, configuration: Configuration, job: JobKind, *, progress: Callable[[str], None]) -> Path:
    """`lay_out` for the local stack, whose TaskManagers are replaced where they may have imported other code, and after many jobs."""
    imported = stack.home.imported
    before, _, jobs_before = imported.read_text().partition(" ") if imported.exists() else ("nothing", "", "")
    # until it is known again: who is interrupted below leaves TaskManagers of which nothing is known
    imported.write_text("unknown")
    config_file = lay_out(stack.home, configuration, job)
    code, jobs_since = _digest(stack.home), int(jobs_before or 0)
    if before not in ("nothing", code) or jobs_since >= _JOBS_AT_MOST:
        stack.restart_taskmanagers(progress=progress)
        jobs_since = 0
    imported.write_text(f"{code} {jobs_since + 1}")
    return config_file


def _sources(scorer: str) -> dict[Path, Path]:
    """The files of the job, by their places in the deployment."""
    found: dict[Path, Path] = {}
    for package in (models, operators, jobs):
        assert package.__file__ is not None
        found |= _package(Path(package.__file__).parent)
    return found | _own_scorer(scorer)


def _own_scorer(name: str) -> dict[Path, Path]:
    """The module of somebody's own scorer, or the package that it is in."""
    if name in BUILT_IN_SCORERS:
        return {}
    top = importlib.import_module(name.partition(":")[0].partition(".")[0])
    if not top.__file__:
        raise UserError(f"scorer.name: expected a module in a file or in a package with __init__.py, got {name!r}")
    source = Path(top.__file__)
    return _package(source.parent) if source.name == "__init__.py" else {Path(source.name): source}


def _package(directory: Path) -> dict[Path, Path]:
    files = (file for file in directory.rglob("*") if file.is_file() and _CACHE not in file.parts)
    return {file.relative_to(directory.parent): file for file in files}


def _deployed(home: Home) -> list[Path]:
    """What is laid out, without what Python has compiled."""
    files = (file for file in home.deployment.rglob("*") if file.is_file() and _CACHE not in file.parts)
    return sorted(file.relative_to(home.deployment) for file in files)


def _copy(source: Path, target: Path) -> None:
    """Copy a module, and numba's files of it: kernels take a minute of both cores to compile."""
    (target.parent / _CACHE).mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    # index and machine code, which numba takes for the same content of the same CPU
    for compiled in (source.parent / _CACHE).glob(f"{source.stem}.*.nb[ic]"):
        shutil.copy2(compiled, target.parent / _CACHE)


def _same(source: Path, target: Path) -> bool:
    one, other = source.stat(), target.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _digest(home: Home) -> str:
    """Of the code that is laid out, and of the packages that are installed."""
    digest = hashlib.sha256()
    for name in _deployed(home):
        if name not in _CONFIGURATIONS.values():
            digest.update(f"{name}\0".encode() + (home.deployment / name).read_bytes() + b"\0")
    for package in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info")):
        digest.update(f"{package.name}\0".encode())
    return digest.hexdigest()
