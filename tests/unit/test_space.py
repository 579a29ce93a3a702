"""The table of what may be tuned: every row is a key of the configuration, and its ends are values that it takes."""

from __future__ import annotations

import pytest

from cli.tuning.search import with_values
from models.config import Configuration
from models.evaluation.space import SPACE, STARTS, Choice, Range, WholeRange, including, rounded, space_for
from models.validation import parse_configuration


def default(key: str):
    section, name = key.split(".")
    return getattr(getattr(Configuration(), section), name)


@pytest.mark.parametrize("key", SPACE)
def test_a_row_holds_the_default_and_both_its_ends_are_valid(key):
    row = SPACE[key]
    assert including(row, default(key)) == row
    section, name = key.split(".")
    for value in row.values if isinstance(row, Choice) else (row.low, row.high):
        configuration = parse_configuration({section: {name: value}}, "space")
        assert getattr(getattr(configuration, section), name) == value


def test_a_row_is_widened_to_a_value_outside():
    assert including(Range(1.0, 2.0, log=True), 0.5) == Range(0.5, 2.0, log=True)
    assert including(WholeRange(10, 20, log=True), 30) == WholeRange(10, 30, log=True)
    assert including(Choice(((32,), (64,))), (8, 8)) == Choice(((32,), (64,), (8, 8)))


def test_a_range_that_reaches_zero_has_no_logarithm():
    assert including(Range(1.0, 2.0, log=True), 0.0) == Range(0.0, 2.0, log=False)


@pytest.mark.parametrize(("value", "written"), [(0.123456, 0.123), (12345.6, 12300.0), (7, 7), ((64, 32), (64, 32))])
def test_a_fraction_is_written_with_three_digits_and_everything_else_as_it_is(value, written):
    assert rounded(value) == written
    assert type(rounded(value)) is type(value)


def test_what_the_events_cannot_tell_apart_is_not_searched():
    assert space_for(values=True, catalogue=True, repeats=True) == SPACE
    fewer = space_for(values=False, catalogue=False, repeats=False)
    assert SPACE.keys() - fewer.keys() == {"item_cf.liked_weight", "item_cf.disliked_weight", "sources.content", "sources.repeats"}


@pytest.mark.parametrize("start", STARTS)
def test_a_start_is_part_of_the_space_and_valid(start):
    for key, value in start.items():
        assert including(SPACE[key], value) == SPACE[key]
    assert with_values(Configuration(), start) != Configuration()
