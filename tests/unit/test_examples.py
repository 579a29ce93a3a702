"""Training examples: the candidates as they were scored, and the one that came next."""

from __future__ import annotations

import numpy as np
import pytest

from models.examples import decode_example, encode_pending, example_bytes, label_pending, missed

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


def test_an_example_without_a_history_carries_no_item_hashes():
    raw = label_pending(PENDING, 11)
    assert raw is not None
    assert len(raw) == len(PENDING) - ITEMS.nbytes == example_bytes(width=29, candidates=5, history=0)
    assert len(decode_example(raw).items) == len(decode_example(raw).history) == 0


def test_an_example_with_a_history_carries_it_and_the_item_hashes():
    history = np.array([7, -8, 2**63 - 1], np.int64)
    raw = label_pending(encode_pending(FEATURES, ITEMS, history), -12)
    assert raw is not None
    assert len(raw) == example_bytes(width=29, candidates=5, history=3)
    example = decode_example(raw)
    assert (example.label, example.items.tolist(), example.history.tolist()) == (1, ITEMS.tolist(), history.tolist())
    assert example.features.tobytes() == FEATURES.tobytes()


def test_a_slate_whose_next_item_was_no_candidate_is_an_example_without_a_label():
    example = decode_example(missed(PENDING))
    assert example.features.tobytes() == FEATURES.tobytes()
    assert example.label == -1


def test_a_label_that_is_no_candidate_is_refused():
    raw = bytearray(label_pending(PENDING, 11))
    raw[5:7] = (5).to_bytes(2, "little")
    with pytest.raises(ValueError, match="label 5 of 5"):
        decode_example(bytes(raw))


def test_bytes_of_another_version_are_refused():
    raw = label_pending(PENDING, 11)
    assert raw is not None
    with pytest.raises(ValueError, match="example of version 9, this release reads 1 to 4"):
        decode_example(b"\x09" + raw[1:])
    with pytest.raises(ValueError, match="example of version 9"):
        label_pending(b"\x09" + PENDING[1:], 11)
