"""`flinkrec models`: which records of `model-updates` count."""

from __future__ import annotations

import pytest

from cli.models import note_record


@pytest.mark.parametrize("gone", [None, b""], ids=["a tombstone", "what Flink's sink writes of one"])
def test_a_version_that_was_dropped_and_a_pin_that_was_taken_back_are_gone(gone):
    found: dict[str, bytes] = {}
    for key, value in ((b"weights:ranker@1.2", b"w"), (b"control:pinned_version", b'{"version":"1.2"}'), (b"row:7", b"r")):
        note_record(found, key, value)
    assert found == {"weights:ranker@1.2": b"w", "control:pinned_version": b'{"version":"1.2"}'}
    for key in (b"weights:ranker@1.2", b"control:pinned_version"):
        note_record(found, key, gone)
    assert found == {}
