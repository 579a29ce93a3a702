"""Training examples: the candidates as they were scored, and the one that came next."""

from __future__ import annotations

import numpy as np
import pytest

from models.examples import decode_example, encode_pending, label_pending

FEATURES = np.random.default_rng(1).normal(size=(5, 29)).astype(np.float16)
ITEMS = np.array([11, -12, 13, 2**63 - 1, -(2**63)], np.int64)
PENDING = encode_pending(FEATURES, ITEMS)


@pytest.mark.parametrize("place", range(5))
def test_the_item_that_came_next_is_the_label_and_the_features_are_untouched(place):
    raw = label_pending(PENDING, int(ITEMS[place]))
    assert raw is not None
    example = decode_example(raw)
    assert example.label == place
    assert example.features.tobytes() == FEATURES.tobytes()
    assert example.features.shape == (5, 29)


def test_an_item_that_was_no_candidate_makes_no_example():
    assert label_pending(PENDING, 99) is None


def test_an_example_carries_no_item_hashes():
    raw = label_pending(PENDING, 11)
    assert raw is not None
    assert len(raw) == len(PENDING) - ITEMS.nbytes


def test_pending_bytes_are_no_example():
    with pytest.raises(ValueError, match="label 65535 of 5"):
        decode_example(PENDING)


def test_bytes_of_another_version_are_refused():
    raw = label_pending(PENDING, 11)
    assert raw is not None
    with pytest.raises(ValueError, match="version 2"):
        decode_example(b"\x02" + raw[1:])
    with pytest.raises(ValueError, match="version 2"):
        label_pending(b"\x02" + PENDING[1:], 11)
