"""A network in a file: who starts from it goes on where it ended, and what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import load, save
from typer.testing import CliRunner

from cli.configuration import load_configuration
from cli.errors import UserError
from cli.main import app
from cli.modelfile import read_model
from models.config import Configuration
from models.config import Scorer as ScorerConfig
from models.model_file import decode_model
from models.pipeline import LocalPipeline
from models.validation import parse_configuration
from tests.synthetic import events

SMALL = {
    "scorer": {"name": "mlp", "hidden": [8], "embedding_rows": 64, "embedding_dim": 8, "history": 5},
    "learner": {"batch_examples": 8, "publish_every_steps": 2},
}
STREAM = events(300, users=12, items=50)


def configuration(**scorer) -> Configuration:
    return parse_configuration(SMALL | {"scorer": SMALL["scorer"] | scorer}, "test.yaml")


def trained(**scorer):
    pipeline = LocalPipeline(configuration(**scorer), publish_every=1)
    for event in STREAM:
        pipeline.learn(event)
        pipeline.recommend(event)
    assert pipeline.learner.steps > 5
    return pipeline


@pytest.fixture(scope="module")
def mlp():
    return trained().learner.model()


def state(network):
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", ["mlp", "gru", "cnn"])
def test_a_pipeline_that_starts_from_a_file_has_the_network_and_its_normalisation(name):
    pipeline = trained(name=name)
    file = decode_model(pipeline.learner.model(), "m")
    started = LocalPipeline(configuration(name=name), publish_every=1, start=file)
    assert state(started.learner.network) == state(pipeline.learner.network)
    assert state(started.recommender.rankers.everybody.network) == state(pipeline.learner.network)
    assert decode_model(started.learner.model(), "m").count == file.count > 1_000
    assert str(started.recommender.version) == f"0.0-{file.content}"


def test_the_learner_publishes_what_it_starts_from_and_learns_on(mlp):
    started = LocalPipeline(configuration(), publish_every=1, start=decode_model(mlp, "m"))
    assert started.learner.has_updates()
    assert "weights:ranker" in dict(started.learner.take_updates())
    assert not started.learner.has_updates()
    before = state(started.learner.network)
    for event in STREAM:
        started.learn(event)
        started.recommend(event)
    assert state(started.learner.network) != before
    assert started.recommender.version.number > 1


def test_a_snapshot_is_stronger_than_the_file(mlp):
    pipeline = trained()
    started = LocalPipeline(configuration(), start=decode_model(mlp, "m")).learner
    started.load_snapshot(LocalPipeline(configuration()).learner.take_snapshot())
    assert state(started.network) != state(pipeline.learner.network)
    assert not started.has_updates()


@pytest.mark.parametrize(
    ("scorer", "said"),
    [
        ({"hidden": [9]}, r"m: its scorer\.hidden is \[8\], the configuration's is \[9\]"),
        ({"name": "cnn"}, r"m: its scorer\.name is 'mlp', the configuration's is 'cnn'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_differs(mlp, scorer, said):
    file = decode_model(mlp, "m")
    with pytest.raises(ValueError, match=said):
        LocalPipeline(configuration(**scorer), start=file)
    with pytest.raises(ValueError, match=said):
        file.require_fit(configuration(**scorer).scorer)


def test_settings_of_an_encoder_matter_where_there_is_one(mlp):
    decode_model(mlp, "m").require_fit(configuration(embedding_rows=128).scorer)
    gru = decode_model(trained(name="gru").learner.model(), "m")
    with pytest.raises(ValueError, match=r"its scorer\.embedding_rows is 64, the configuration's is 128"):
        gru.require_fit(configuration(name="gru", embedding_rows=128).scorer)


def test_other_features_are_named(mlp, monkeypatch):
    monkeypatch.setattr("models.model_file.FEATURES", {"cf": "", "smell": ""})
    with pytest.raises(ValueError, match=r"m: it was trained on other features .*smell"):
        decode_model(mlp, "m").require_fit(ScorerConfig(name="mlp", hidden=(8,)))


def test_a_damaged_file_is_refused(mlp):
    broken = bytearray(mlp)
    broken[-5] ^= 1
    with pytest.raises(ValueError, match="m: its tensors are not those that were written"):
        decode_model(bytes(broken), "m")
    with pytest.raises(ValueError, match="m: not a safetensors file"):
        decode_model(mlp[:100], "m")
    with pytest.raises(ValueError, match="m: not a model of `flinkrec train`"):
        decode_model(save(load(mlp)), "m")


def test_the_file_holds_no_pickle(mlp):
    assert {name for name in load(mlp) if not name.startswith("network.")} == {"normal.mean", "normal.square"}


def test_what_a_person_can_mend_is_said_before_anything_starts(mlp, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(mlp)
    assert read_model(None, configuration()) is None
    assert read_model(path, configuration()).content
    with pytest.raises(UserError, match="hidden"):
        read_model(path, configuration(hidden=[9]))
    with pytest.raises(UserError, match="there is no network to begin with"):
        read_model(path, configuration(name="none"))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_model(tmp_path / "none", configuration())


def test_cuda_is_refused_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = tmp_path / "c.yaml"
    config.write_text("learner: {device: cuda}\n")
    with pytest.raises(UserError, match=r"c\.yaml: learner\.device: expected cpu on this machine.*got 'cuda'"):
        load_configuration(config)


def test_train_writes_a_file_that_evaluate_begins_with(tmp_path, monkeypatch):
    monkeypatch.setenv("FLINKREC_HOME", str(tmp_path / "home"))
    rows = [f"{e.user_id},{e.item_id},{e.event_time_ms // 1000},rating,{e.value}" for e in STREAM]
    file, out, config = tmp_path / "e.csv", tmp_path / "m.safetensors", tmp_path / "c.yaml"
    file.write_text("\n".join(("user_id,item_id,timestamp,type,value", *rows)) + "\n")
    config.write_text("scorer: {name: cnn, hidden: [8], embedding_rows: 64}\nlearner: {batch_examples: 8}\n")
    run = CliRunner().invoke
    made = run(app, ["train", "--events", str(file), "--config", str(config), "--out", str(out)], catch_exceptions=False)
    assert made.exit_code == 0
    assert "cnn" in made.output
    model = decode_model(out.read_bytes(), "m")
    assert np.isfinite(model.mean).all()
    told = run(
        app,
        ["evaluate", "--events", str(file), "--config", str(config), "--model", str(out), "--json", str(tmp_path / "j")],
        catch_exceptions=False,
    )
    assert told.exit_code == 0
    # only the first is older than every version that is published
    assert '"ranker": "0.' in (tmp_path / "j").read_text()
    with pytest.raises(UserError, match=r"its scorer\.name is 'cnn'"):
        run(app, ["evaluate", "--events", str(file), "--model", str(out)], catch_exceptions=False)


def test_too_few_events_train_nothing(tmp_path):
    file = tmp_path / "e.csv"
    file.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    with pytest.raises(UserError, match="fewer than a batch of 64: nothing was learned"):
        CliRunner().invoke(app, ["train", "--events", str(file), "--out", str(tmp_path / "m")], catch_exceptions=False)
    assert not (tmp_path / "m").exists()


def test_a_file_that_cannot_be_written_is_said_before_the_run(tmp_path):
    file = tmp_path / "e.csv"
    file.write_text("user_id,item_id,timestamp\nu,a,1\n")
    for out in (tmp_path, tmp_path / "nowhere" / "m"):
        with pytest.raises(UserError, match="expected a file that can be written"):
            CliRunner().invoke(app, ["train", "--events", str(file), "--out", str(out)], catch_exceptions=False)
