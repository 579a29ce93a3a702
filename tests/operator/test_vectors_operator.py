"""VECTORS: a text is encoded once, also after a restore; a record that cannot be read makes nothing."""

from __future__ import annotations

import msgspec
import pytest
from pyflink.common import Row

from models.config import Configuration, Text
from models.text.vectors import VectorRecord
from models.text.words import HashedWords
from operators.vectors import FOR_LEARNER, MakeVectors
from tests.operator.fakes import FakeBackend, Running

CONFIG = Configuration(text=Text(encoder="words", words_dimension=32))
CUP, TYRES = b'{"title": "Tea cup"}', b'{"title": "Winter tyres"}'


@pytest.fixture
def asked(monkeypatch):
    """The texts that were encoded."""
    texts = []
    encode = HashedWords.encode
    monkeypatch.setattr(HashedWords, "encode", lambda self, some: (texts.extend(some), encode(self, some))[1])
    return texts


def opened(backend):
    return Running(MakeVectors(CONFIG, learner_key=3), backend)


def send(running, key, value):
    return running.send(key, Row(value, 0, 0))


def test_a_vector_goes_to_the_topic_and_to_the_learner(asked):
    running = opened(FakeBackend())
    published, for_learner = send(running, "cup", CUP)
    assert published[0] == b"vector:cup"
    assert for_learner[0] is FOR_LEARNER
    assert tuple(for_learner[1]) == (3, published[1])
    assert len(VectorRecord.decode(published[1]).values) == 32
    assert asked == ["Tea cup"]


def test_a_text_is_encoded_once_also_after_a_restore(asked):
    backend = FakeBackend()
    running = opened(backend)
    send(running, "cup", CUP)
    assert send(running, "cup", b'{"title": "Tea cup", "price": 3}') == []
    again = opened(backend.checkpoint())
    assert send(again, "cup", CUP) == []
    assert len(send(again, "tyres", TYRES)) == len(send(again, "cup", TYRES)) == 2
    assert asked == ["Tea cup", "Winter tyres", "Winter tyres"]
    assert backend.counts == {"vectors_made": 1, "vectors_unchanged": 1}


def test_a_tombstone_takes_the_vector_back_and_is_forgotten(asked):
    backend = FakeBackend()
    running = opened(backend)
    made, _ = send(running, "cup", CUP)
    published, for_learner = send(running, "cup", None)
    assert tuple(published) == (b"vector:cup", b"")
    assert len(VectorRecord.decode(for_learner[1][1]).values) == 0
    assert not [cell for cell in backend.cells.values() if cell]
    assert send(running, "cup", CUP)[0][1] == made[1]


def test_the_id_in_the_value_counts_where_there_is_no_key():
    assert send(opened(FakeBackend()), "", b'{"item_id": 7, "title": "Tea cup"}')[0][0] == b"vector:7"


@pytest.mark.parametrize("raw", [b"", b"no json", b'{"title": 3}', b"[]", msgspec.json.encode({"title": "x"})[:-1]])
def test_what_cannot_be_read_makes_nothing_and_is_counted(raw):
    backend = FakeBackend()
    assert send(opened(backend), "cup", raw) == []
    assert backend.counts == {"vectors_unreadable": 1}
