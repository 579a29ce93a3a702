"""Imports point one way: cli -> jobs, serving -> operators -> models; and models is pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"models", "operators", "jobs", "serving", "cli", "conf", "tests", "benchmarks"}
MAY_IMPORT = {
    "models": {"models"},
    "operators": {"operators", "models"},
    "jobs": {"jobs", "operators", "models"},
    "serving": {"serving", "models"},
    "cli": {"cli", "conf", "jobs", "serving", "operators", "models"},
}
IMPURE = {
    "pyflink": "it knows no runtime",
    "kafka": "it knows no broker",
    "time": "it is handed the time",
    "random": "a draw is models.identity.uniform of something recorded",
    "secrets": "a draw is models.identity.uniform of something recorded",
    "uuid": "a name is models.identity.slate_id of its cause",
    "os": "it does no I/O",
    "io": "it does no I/O",
    "pathlib": "it does no I/O",
    "shutil": "it does no I/O",
    "socket": "it does no I/O",
    "subprocess": "it does no I/O",
    "urllib": "it does no I/O",
    "logging": "it returns values",
    "threading": "its caller decides where it runs",
    "pickle": "state is versioned bytes",
}

# A language model is files, which are read once, when an encoder is made.
READS_FILES = {"models/text/pretrained.py": {"pathlib"}}


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays within its layer: a package here never reaches above itself.
            yield node.lineno, ("." * node.level) + (node.module or "")


def violations(layer: str, source: str, allowed: frozenset[str] | set[str] = frozenset()) -> list[str]:
    found = []
    for line, module in imported_modules(source):
        package = module.split(".")[0]
        if module.startswith(".."):
            found.append(f"line {line}: `{module}` may reach out of {layer}; write the full name")
        elif package in OURS and package not in MAY_IMPORT[layer]:
            found.append(f"line {line}: {layer} imports {module}; it may import {', '.join(sorted(MAY_IMPORT[layer]))}")
        elif layer == "models" and package in IMPURE and package not in allowed:
            found.append(f"line {line}: models imports {module}; {IMPURE[package]}")
    return found


def files_of(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_a_layer_imports_only_what_lies_below_it(layer):
    found = [
        f"{path.relative_to(ROOT)} {violation}"
        for path in files_of(layer)
        for violation in violations(layer, path.read_text(encoding="utf-8"), READS_FILES.get(str(path.relative_to(ROOT)), set()))
    ]
    assert not found, "\n".join(found)


class ForTypesOnly(ast.NodeTransformer):
    """Takes away what is imported for the type checker alone."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)


def test_no_module_of_models_imports_itself_by_way_of_others():
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files_of("models")}
    graph = {
        name: {module for _, module in imported_modules(ast.unparse(ForTypesOnly().visit(ast.parse(path.read_text(encoding="utf-8")))))}
        for name, path in names.items()
    }
    # a world makes the sessions of its people
    graph["models.simulation.world"].remove("models.simulation.behaviour")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_there_are_files_to_look_at():
    assert len(files_of("models")) > 5
    assert files_of("cli")


def test_models_calls_no_clock_and_no_global_random_state():
    forbidden = {"np.random.seed", "np.random.rand", "np.random.randn", "datetime.now", "datetime.utcnow", "open"}
    found = [
        f"{path.relative_to(ROOT)} line {node.lineno}: {ast.unparse(node.func)}"
        for path in files_of("models")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("models", "import pyflink.common"),
        ("models", "from time import monotonic"),
        ("models", "def f():\n    import os"),
        ("models", "from operators.recommend import Recommend"),
        ("operators", "import jobs"),
        ("operators", "from cli.errors import UserError"),
        ("jobs", "from serving import store"),
        ("serving", "from operators import recommend"),
        ("jobs", "from tests.unit import test_config"),
        ("serving", "from ...cli import errors"),
    ],
)
def test_an_import_against_the_direction_is_found(layer, source):
    assert len(violations(layer, source)) == 1


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("models", "import numpy as np\nfrom models.events import Event\nfrom . import config"),
        ("operators", "from pyflink.datastream import KeyedProcessFunction\nimport time"),
        ("cli", "from jobs.recommend import build\nimport os"),
        ("serving", "import kafka\nfrom models.topics import Recommendation"),
    ],
)
def test_an_import_in_the_direction_is_allowed(layer, source):
    assert violations(layer, source) == []


@pytest.mark.parametrize(
    "started",
    [
        "import serving.app, serving.console",
        "import jobs.recommend, jobs.monitor",
        "import cli.cluster, cli.loop, cli.modelfile; cli.modelfile.read_model(None, None)",
    ],
)
def test_the_server_and_what_submits_a_job_start_without_pytorch(started):
    said = f"import sys; {started}; sys.exit('it is imported' if 'torch' in sys.modules else 0)"
    subprocess.run([sys.executable, "-c", said], cwd=ROOT, check=True)
