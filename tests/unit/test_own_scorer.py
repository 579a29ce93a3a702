"""A scorer by MODULE:CLASS: the example of docs/scorers.md works, and a name that cannot be used is explained."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from cli.configuration import load_configuration
from cli.deployment import lay_out
from cli.errors import UserError
from cli.stack import Home
from models.pipeline import LocalPipeline
from tests.synthetic import events

DOCUMENT = Path(__file__).parents[2] / "docs" / "scorers.md"


def blocks(language):
    return re.findall(rf"```{language}\n# (\S+)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Where the command is called, with the files of the documentation; modules of it are forgotten afterwards."""
    for name, text in blocks("python") + blocks("yaml"):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_example_of_the_documentation_learns_and_ranks(directory):
    configuration = load_configuration(directory / "linear.yaml", {"learner": {"batch_examples": 8}})
    pipeline = LocalPipeline(configuration, publish_every=1)
    scores = set()
    for event in events(300, users=12, items=50):
        pipeline.learn(event)
        scores.update(item.score for item in pipeline.recommend(event).items)
    network = pipeline.learner.network
    assert type(network).__name__ == "Linear"
    assert pipeline.learner.steps > 5
    assert network.rank.weight.std().item() > 0, "it started with all weights alike"
    assert pipeline.recommender.version is not None
    assert len(scores) > 1_000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("linear:Cubic", "expected a subclass of models.scorers.base.Scorer named Cubic in linear"),
        ("linear:Lists", "expected a subclass of models.scorers.base.Scorer named Lists in linear"),
        ("linear:Scorer", "expected a class that has forward"),
        ("cubic:Cubic", r"expected a module that can be imported \(ModuleNotFoundError: No module named 'cubic'\)"),
        ("broken:Broken", r"expected a module that can be imported \(ZeroDivisionError: division by zero\)"),
        ("picky:Picky", r"expected a class that takes section scorer \(KeyError: 'taste'\)"),
        ("bert", "expected one of none, mlp, fism, gru, cnn, text, or MODULE:CLASS of a class of your own"),
    ],
)
def test_a_name_that_cannot_be_used_is_said_in_one_sentence(directory, name, said):
    (directory / "broken.py").write_text("1 / 0\n")
    (directory / "picky.py").write_text(
        "from linear import Linear\n\n\nclass Picky(Linear):\n    def __init__(self, config):\n"
        "        super().__init__(config)\n        config.options['taste']\n"
    )
    config = directory / "own.yaml"
    config.write_text(yaml.safe_dump({"scorer": {"name": name}}))
    with pytest.raises(UserError, match=rf"own\.yaml: scorer\.name: {said}, got '{name}'"):
        load_configuration(config)


def test_the_path_of_the_process_is_left_as_it_was(directory):
    before = list(sys.path)
    load_configuration(directory / "linear.yaml")
    assert sys.path == before


@pytest.mark.parametrize("package", [False, True], ids=["a module", "a package"])
def test_an_own_class_travels_with_the_code_of_the_job(directory, package):
    name = "linear:Linear"
    if package:
        (directory / "shop").mkdir()
        (directory / "shop" / "__init__.py").write_text("")
        (directory / "linear.py").rename(directory / "shop" / "ranking.py")
        name = "shop.ranking:Linear"
    config = directory / "own.yaml"
    config.write_text(yaml.safe_dump({"scorer": {"name": name}}))
    home = Home.from_environment()
    lay_out(home, load_configuration(config), "recommend")
    assert (home.deployment / ("shop/ranking.py" if package else "linear.py")).is_file()
