"""Bins of probabilities: each begins exactly at the threshold that its slice of the curve is named by."""

from __future__ import annotations

import numpy as np
import pytest

from models.metrics.score_bins import FIRST_MARK, MAX_BINS, ScoreBins


def bins_of(bins: ScoreBins, probabilities: list[float]) -> list[int]:
    return [ord(mark) - FIRST_MARK for mark in bins.marks(np.array(probabilities, np.float32))]


def test_forty_bins_are_ten_a_decade_from_a_ten_thousandth_to_one():
    thresholds = ScoreBins(40).thresholds
    assert thresholds[:3] == (0.0, 0.0001259, 0.0001585)
    assert [thresholds[place] for place in (10, 20, 30, 39)] == [0.001, 0.01, 0.1, 0.7943]
    steps = np.diff(np.log10(thresholds[1:]))
    assert np.allclose(steps, 0.1, atol=5e-4)


@pytest.mark.parametrize("n", [2, 7, 40, MAX_BINS])
def test_a_probability_lies_in_the_last_bin_whose_threshold_it_reaches(n):
    bins = ScoreBins(n)
    draw = np.random.default_rng(n)
    at_ends = np.array(bins.thresholds, np.float32)
    edge = np.concatenate([at_ends, np.nextafter(at_ends, np.float32(0)), np.nextafter(at_ends, np.float32(1))])
    probabilities = [*edge.tolist(), *(10 ** draw.uniform(-6, 0, 500)).tolist(), 0.0, 1.0]
    shown = np.array(probabilities, np.float32).tolist()
    assert bins_of(bins, probabilities) == [sum(p >= end for end in bins.thresholds) - 1 for p in shown]


def test_every_number_of_bins_has_thresholds_that_rise_and_marks_that_print():
    for n in range(2, MAX_BINS + 1):
        bins = ScoreBins(n)
        assert len(set(bins.thresholds)) == n
        assert list(bins.thresholds) == sorted(bins.thresholds)
        assert [float(f"{threshold:g}") for threshold in bins.thresholds] == list(bins.thresholds)
        marks = bins.marks(np.array(bins.thresholds))
        assert len(set(marks)) == n
        assert marks.isprintable()
        assert marks.isascii()


def test_of_no_slate_there_is_no_mark():
    assert ScoreBins(40).marks(np.zeros(0, np.float32)) == ""


@pytest.mark.parametrize("n", [1, MAX_BINS + 1])
def test_a_number_of_bins_that_has_no_marks_is_refused(n):
    with pytest.raises(ValueError, match="expected 2 to 64 bins"):
        ScoreBins(n)
