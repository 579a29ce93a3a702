"""The parts of the encoder that stand by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from models.identity import EMPTY
from models.scorers.fism import distinct


@pytest.mark.parametrize("known", [1, 3, 500])
def test_distinct_hashes_in_the_order_of_their_first_places(known):
    draw = np.random.default_rng(known)
    names = np.concatenate((draw.integers(-(2**63), 2**63 - 1, known), [EMPTY, -1]))
    hashes = names[draw.integers(0, len(names), 2_000)]

    found, places = distinct(hashes)

    assert found.tolist() == list(dict.fromkeys(hashes.tolist()))
    assert (found[places] == hashes).all()


def test_distinct_of_none_and_of_hashes_that_fall_into_one_slot():
    assert [len(array) for array in distinct(np.zeros(0, np.int64))] == [0, 0]
    # the two halves of each are the same: all begin their search in one slot
    alike = np.array([n << 32 | n for n in (5, 9, 3, 9, 5)])
    found, places = distinct(alike)
    assert found.tolist() == [alike[0], alike[1], alike[2]]
    assert places.tolist() == [0, 1, 2, 1, 0]
