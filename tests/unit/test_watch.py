"""`flinkrec watch`: the newest slate of a user, by what is in the topic."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from cli.watch import SlateReader


def reader_of(records):
    """A reader of these records of user u, (seq, erased) each, and no broker."""
    values = (
        msgspec.json.encode({"user_id": "u", "event_id": f"e{n}", "seq": seq, "items": [], "timings": {}, "erased": erased})
        for n, (seq, erased) in enumerate(records)
    )
    batches = [[SimpleNamespace(key=b"u", value=value, offset=n)] for n, value in enumerate(values)]
    reader = SlateReader.__new__(SlateReader)
    reader._key, reader._newest, reader._erased = b"u", None, False
    reader._consumer = SimpleNamespace(poll=lambda *_, **__: {0: batches.pop(0)} if batches else {})
    return reader


def test_of_answers_in_any_order_the_one_of_the_highest_number_is_shown():
    reader = reader_of([(1, False), (3, False), (2, False), (3, False)])
    assert [found and found.event_id for found in (reader.follow() for _ in range(4))] == ["e0", "e1", None, "e3"]


def test_a_user_who_was_erased_begins_anew():
    reader = reader_of([(1, False), (2, False), (3, True), (1, False)])
    assert [found and found.event_id for found in (reader.follow() for _ in range(4))] == ["e0", "e1", None, "e3"]
