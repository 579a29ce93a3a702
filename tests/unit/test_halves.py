"""Half precision by its bits: that of numpy, for every value there is."""

from __future__ import annotations

import numpy as np

from models.halves import halves_of, singles, with_columns

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)


def test_every_half_becomes_its_single() -> None:
    ours, numpys = singles(EVERY_HALF), EVERY_HALF.view(np.float16).astype(np.float32)
    assert np.array_equal(ours, numpys, equal_nan=True)
    assert np.array_equal(np.signbit(ours), np.signbit(numpys))


def test_every_half_comes_back() -> None:
    known = ~np.isnan(EVERY_HALF.view(np.float16))
    assert np.array_equal(halves_of(singles(EVERY_HALF))[known], EVERY_HALF[known])
    assert np.isnan(halves_of(singles(EVERY_HALF)).view(np.float16)[~known]).all()


def test_what_lies_between_two_halves_is_rounded_as_numpy_does() -> None:
    finite = np.sort(EVERY_HALF.view(np.float16)[np.isfinite(EVERY_HALF.view(np.float16))].astype(np.float32))
    middles = (finite[:-1] + finite[1:]) / 2
    nearby = np.concatenate([middles, np.nextafter(middles, np.float32(np.inf)), np.nextafter(middles, np.float32(-np.inf))])
    beyond = np.array([65519.9, 65520.0, 65536.0, 1e9, np.inf, -np.inf, 1e-9, -1e-9, 2.0**-25, 2.0**-24], np.float32)
    values = np.concatenate([nearby, beyond])[:, None]
    with np.errstate(over="ignore"):
        assert np.array_equal(halves_of(values), values.astype(np.float16).view(np.uint16))


def test_columns_stand_behind_the_matrix() -> None:
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]], np.float16)
    columns = np.array([[0.1], [-0.1]], np.float32)
    wider = with_columns(matrix.view(np.uint16), columns).view(np.float16)
    assert np.array_equal(wider, np.concatenate([matrix, columns.astype(np.float16)], 1))
