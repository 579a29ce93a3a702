"""What a text is, by the monitor: rings, near-duplicates, heads that labels tune, entities, typical texts; and cleaning."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Events, Monitor
from models.events import UNKNOWN_WATERMARK_MS, Rejected
from models.monitor.fingerprints import FINGERPRINT_BYTES, Fingerprints, fingerprint
from models.monitor.gazetteer import Gazetteer
from models.monitor.heads import Head, prototypes
from models.monitor.judge import OTHER, Judge, half_precision
from models.monitor.rings import Ring
from models.monitor.texts import Encoded, Label, LabelCleaner, Text, TextCleaner
from models.monitor.typical import most_typical
from models.text.words import HashedWords

HOUR_MS = 3_600_000
TEXT = "Halden Motors recalls its new model for a dangerous fault, says a filing of Friday. The shares last changed hands at 122."


def kept(ring: Ring, keys: range) -> dict[int, bytes | None]:
    return {key: ring.get(key) for key in keys}


# ------------------------------------------------------------------------------------------------ rings


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 6), st.integers(1, 6))
def test_a_ring_that_is_loaded_from_its_rows_holds_what_it_held_or_the_newest_of_it(keys, capacity, loaded_capacity):
    ring, rows = Ring(capacity, payload_bytes=1), {}
    for number, key in enumerate(keys):
        ring.put(key, bytes((number,)))
        rows.update(ring.take_rows())
    loaded = Ring(loaded_capacity, payload_bytes=1)
    loaded.load(rows.values())
    newest: dict[int, bytes] = {}
    for number, key in list(enumerate(keys))[-min(capacity, loaded_capacity) :]:
        newest[key] = bytes((number,))
    assert {key: value for key, value in kept(loaded, range(13)).items() if value is not None} == newest
    assert len(rows) <= capacity


def test_a_row_of_another_layout_is_refused():
    ring = Ring(2, payload_bytes=1)
    with pytest.raises(ValueError, match="does not read"):
        ring.load([b"\x02" + bytes(17)])


# ------------------------------------------------------------------------------------------------ near-duplicates


@pytest.mark.parametrize(
    "copy",
    [
        f"RT @nina: {TEXT}",
        f"{TEXT} https://short.example/77 #stocks",
        TEXT.upper(),
        TEXT.replace("dangerous ", "").replace("Friday", "today"),
        TEXT[: int(0.9 * len(TEXT))],
    ],
)
def test_an_edited_copy_is_found_within_the_time_and_not_after_it(copy):
    known = Fingerprints(8, max_bits=54, within_ms=HOUR_MS)
    known.remember(1, fingerprint("The union and Astera Air agree on a generous raise, says Ada Lind of Finch Capital"), 0)
    known.remember(2, fingerprint(TEXT), 0)
    assert known.original(fingerprint(copy), HOUR_MS) == 2
    assert known.original(fingerprint(copy), HOUR_MS + 1) is None


def test_another_text_with_the_same_frame_is_new():
    known = Fingerprints(8, max_bits=54, within_ms=HOUR_MS)
    known.remember(1, fingerprint(TEXT), 0)
    other = "Teleplan sells out its new line within hours, says a filing of Friday. The next update comes in March."
    assert known.original(fingerprint(other), 0) is None


def test_texts_without_a_word_repeat_nothing():
    known = Fingerprints(8, max_bits=54, within_ms=HOUR_MS)
    known.remember(1, fingerprint("!!!"), 0)
    assert fingerprint("@you https://x.example") == bytes(FINGERPRINT_BYTES)
    assert known.original(fingerprint("???"), 0) is None


# ------------------------------------------------------------------------------------------------ heads


def head(prototype: np.ndarray, **changed: float) -> Head:
    settings = {"learning_rate": 0.5, "decay": 0.001, "replays": 4, "kept_labels": 32} | changed
    return Head(prototype.astype(np.float32), **settings)


def test_before_a_label_a_text_is_of_the_class_whose_phrases_it_is_nearest_to():
    words = HashedWords(128)
    phrases = [words.encode(["profits rose sharply", "a record quarter"]), words.encode(["heavy losses", "a deep loss"])]
    judged = head(prototypes(phrases, 128)).predict(words.encode(["a record for profits", "losses and more losses"]))
    assert judged.argmax(axis=1).tolist() == [0, 1]
    assert np.allclose(judged.sum(axis=1), 1)


def test_labels_teach_a_head_what_its_phrases_did_not_say():
    draw = np.random.default_rng(4)
    vectors = draw.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = (vectors[:, 0] + vectors[:, 1] > 0).astype(int)
    taught = head(np.zeros((2, 8)))
    for vector, label in zip(vectors[:200], wanted[:200], strict=True):
        taught.learn_one(vector, int(label))
    right = taught.predict(vectors[200:]).argmax(axis=1) == wanted[200:]
    assert right.mean() > 0.9


def test_one_step_is_that_of_adagrad_on_the_cross_entropy():
    taught = head(np.zeros((2, 2)), decay=0.0, replays=0)
    x = np.array([0.6, 0.8], np.float32)
    taught.learn_one(x, 0)
    # the first step of AdaGrad has the size of its rate in each weight, whatever the gradient
    logits = 2 * 0.5 * (0.6 + 0.8 + 1)
    assert taught.predict(x[None])[0, 0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-4)


# ------------------------------------------------------------------------------------------------ entities, typical texts


def test_names_are_found_as_whole_words_and_the_longest_first():
    gazetteer = Gazetteer({"Norvik Bank": ["NVB"], "Norvik": [], "C++ Tools": []})
    assert gazetteer.find("norvik bank and Norvik, not Norviks") == ("Norvik Bank", "Norvik")
    assert gazetteer.find("$NVB buys C++ Tools") == ("Norvik Bank", "C++ Tools")
    assert Gazetteer({}).find("Norvik") == ()


def test_the_most_typical_texts_are_of_the_largest_group_and_do_not_repeat_each_other():
    east, north = np.array([1, 0.0]), np.array([0, 1.0])
    near = np.array([np.cos(0.5), np.sin(0.5)])
    vectors = np.array([north, east, east, near, near], np.float32)
    assert list(most_typical(vectors, 3)) == [3, 1, 0]
    assert list(most_typical(np.zeros((0, 2), np.float32), 3)) == []


# ------------------------------------------------------------------------------------------------ the judge


def judge(**changed: object) -> tuple[Judge, HashedWords]:
    words = HashedWords(64)
    return Judge(msgspec.convert({"topics": {"deals": ["a merger"], "jobs": ["a strike"]}, **changed}, Monitor), words), words


def encoded(words: HashedWords, name: str, said: str, **fields: object) -> Encoded:
    given = {"topic": None, "entities": None} | fields
    text = Text(name, said, 5, "post", None, None, given["entities"], given["topic"])
    return Encoded(text, None, half_precision(words.encode([said]))[0], fingerprint(said))


def test_what_a_text_says_of_itself_goes_before_what_is_found():
    monitor, words = judge(entities={"Norvik Bank": ["NVB"]})
    found, _ = monitor.judge(encoded(words, "a", "NVB plans a merger"))
    assert (found.text.topic, found.text.entities) == ("deals", ("Norvik Bank",))
    said, _ = monitor.judge(encoded(words, "b", "NVB has news of another kind", topic="weather", entities=("Quill",)))
    assert (said.text.topic, said.text.entities) == ("weather", ("Quill",))
    nothing, _ = judge(topics={})[0].judge(encoded(words, "c", "a merger"))
    assert nothing.text.topic == OTHER


def test_a_label_waits_for_its_text_and_is_learned_once():
    monitor, words = judge()
    label = Encoded(None, Label("a", None, "negative", "jobs"), None, None)
    assert monitor.learn(label) is None
    _, learned = monitor.judge(encoded(words, "a", "a merger"))
    assert learned is not None and learned.topic_right is False
    _, again = monitor.judge(encoded(words, "a", "a merger once more"))
    assert again is None


# ------------------------------------------------------------------------------------------------ cleaning


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_a_record_is_clean_or_rejected(raw):
    for clean in (
        lambda: TextCleaner(Events()).clean(raw, key=None, now_ms=0, watermark_ms=UNKNOWN_WATERMARK_MS),
        lambda: LabelCleaner(Events(), ()).clean(raw),
    ):
        with pytest.raises(Rejected):
            clean()


def test_a_clean_text_has_single_spaces_and_no_control_characters():
    raw = b'{"text_id": " 7 ", "text": "a\\u0000\\n b ", "event_time_ms": 1.0, "source": " "}'
    text = TextCleaner(Events()).clean(raw, key="7", now_ms=0, watermark_ms=UNKNOWN_WATERMARK_MS)
    assert (text.text_id, text.text, text.event_time_ms, text.source) == ("7", "a b", 1, None)
