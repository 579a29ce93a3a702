"""The memory of answered questions: what reports teach, what is exact after a restore, and what the bound lets go."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.answers.asked import MAX_ASKED, AskedQuestion, decode_asked, encode_asked, lesson_of, remember
from models.answers.book import AnswerBook
from models.answers.confidence import FEATURES, Confidence
from models.answers.lessons import NO, NOBODY, UNKNOWN, YES, Lesson, decode_lesson, encode_lesson
from models.answers.memory import AnswerMemory, decode_remembered
from models.answers.vectors import cosines, pack_vector
from models.config import Answers
from models.identity import hash64

DAY_MS = 86_400_000
WIDTH = 16
SETTINGS = Answers(enabled=True, memory=8, half_life_days=10.0)
FEW = np.zeros(len(FEATURES), np.float32)
A, B = hash64("a"), hash64("b")


def direction(*places: int) -> np.ndarray:
    vector = np.zeros(WIDTH, np.float32)
    vector[list(places)] = 1
    return vector / np.linalg.norm(vector)


def lesson(item: int, vector: np.ndarray, *, said: int = 1, day: int = 0, label: int = UNKNOWN) -> bytes:
    return encode_lesson(Lesson(item, said, label, day * DAY_MS, FEW, pack_vector(vector)))


def questions(n: int, *, seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    taught = []
    for day in range(n):
        item, vector = hash64(f"{rng.integers(4)}"), rng.normal(size=WIDTH).astype(np.float32)
        taught.append(lesson(item, vector, said=int(rng.choice((-1, 1))), day=day, label=day % 3 - 1))
    return taught


def records(memory: AnswerMemory) -> dict[str, bytes]:
    return dict(memory.take_updates())


def test_a_lesson_survives_its_bytes():
    given = Lesson(A, -1, NO, 5, np.arange(len(FEATURES), dtype=np.float32), pack_vector(direction(1, 2)))
    read = decode_lesson(encode_lesson(given))
    assert (read.item, read.said, read.label, read.time_ms) == (A, -1, NO, 5)
    assert (read.features == given.features).all()
    assert (read.vector == given.vector).all()
    with pytest.raises(ValueError, match="version 9"):
        decode_lesson(b"\x09" + encode_lesson(given)[1:])


def test_packed_vectors_keep_their_cosines():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(20, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    packed = np.stack([pack_vector(row) for row in rows])
    assert np.abs(cosines(packed, packed[0]) - rows @ rows[0]).max() < 0.01
    assert cosines(packed, np.zeros(384, np.int8)).tolist() == [0.0] * 20


def test_nearly_the_same_questions_of_one_template_are_remembered_as_one():
    memory = AnswerMemory(SETTINGS)
    for vector in (direction(0, 1, 2, 3), direction(0, 1, 2, 3), direction(0, 1, 2, 3, 4)):
        memory.learn_one(lesson(A, vector))
    memory.learn_one(lesson(B, direction(0, 1, 2, 3)))
    memory.learn_one(lesson(A, direction(9)))
    assert len(memory) == 3
    first = decode_remembered(records(memory)["answer:0"])
    assert (first.item, first.solved, first.unsolved) == (A, 3.0, 0.0)
    # the sum of the three: the place that one of them has counts less
    assert first.vector[4] == first.vector[0] / 3


def test_evidence_halves_with_event_time_whatever_the_order():
    early, late = AnswerMemory(SETTINGS), AnswerMemory(SETTINGS)
    for memory, days in ((early, (0, 10)), (late, (10, 0))):
        for day in days:
            memory.learn_one(lesson(A, direction(0), day=day))
    found = [decode_remembered(records(memory)["answer:0"]) for memory in (early, late)]
    assert [one.solved for one in found] == [1.5, 1.5]
    assert [one.time_ms for one in found] == [10 * DAY_MS] * 2


def test_the_question_with_the_least_evidence_leaves():
    memory = AnswerMemory(SETTINGS)
    for place in range(SETTINGS.memory):
        memory.learn_one(lesson(A, direction(place)))
        if place != 3:
            memory.learn_one(lesson(A, direction(place)))
    memory.take_updates()
    memory.learn_one(lesson(B, direction(15)))
    assert len(memory) == SETTINGS.memory
    [(key, raw)] = memory.take_updates()
    assert key == "answer:3"
    assert decode_remembered(raw).item == B


@pytest.mark.parametrize("at", [0, 1, 17, 40])
def test_snapshot_and_log_give_the_same_memory_to_the_last_bit(at):
    stream = questions(40, seed=2)
    whole, rows = AnswerMemory(SETTINGS), {}
    for message in stream:
        whole.learn_one(message)
    before = AnswerMemory(SETTINGS)
    for place, message in enumerate(stream[:at]):
        before.learn_one(message)
        if place % 7 == 0:  # snapshots hold what changed since the last
            rows.update(before.take_snapshot())
    rows.update(before.take_snapshot())
    restored = AnswerMemory(SETTINGS)
    restored.load_snapshot(rows.items())
    assert not restored.has_updates()
    for message in stream[at:]:
        restored.learn_one(message)
    rows.update(restored.take_snapshot())
    assert rows == dict(whole.take_snapshot())


def test_another_encoder_begins_anew():
    memory = AnswerMemory(SETTINGS)
    memory.learn_one(lesson(A, direction(0)))
    memory.learn_one(lesson(A, np.ones(2 * WIDTH, np.float32)))
    assert len(memory) == 1
    book = AnswerBook(SETTINGS, dimension=WIDTH)
    for key, value in memory.take_updates():
        book.apply(key, value)
    assert book.find(direction(0), now_ms=0).nobody == 0


def asked(items: tuple[int, ...] = (A, B), *, slate_id: int = 7, time_ms: int = 0) -> AskedQuestion:
    vector = pack_vector(direction(0)).tobytes()
    return AskedQuestion(slate_id, time_ms, vector, FEW.tobytes(), np.array(items, "<i8").tobytes())


def told(user: list[AskedQuestion], report: str, item: int, *, slate_id: int = 7, time_ms: int = 1) -> tuple[int, int, int] | None:
    found = lesson_of(user, report, slate_id=slate_id, item=item, time_ms=time_ms, window_ms=DAY_MS)
    return None if found is None else (found.item, found.said, found.label)


def test_whether_a_slate_solved_its_question_is_settled_once():
    assert told([asked()], "solved", A) == (A, 1, YES)
    assert told([asked()], "solved", hash64("another")) == (hash64("another"), 1, NO)
    assert told([asked()], "handed_over", A) == (NOBODY, -1, NO)
    user = [asked()]
    assert told(user, "not_solved", A) == (A, -1, UNKNOWN)
    assert told(user, "not_solved", A) == (A, -1, UNKNOWN)
    assert told(user, "not_solved", B) == (B, -1, NO)
    assert told(user, "solved", B) == (B, 1, UNKNOWN)


def test_a_report_on_an_unknown_question_or_after_its_time_teaches_nothing():
    assert told([asked()], "solved", A, slate_id=8) is None
    assert told([asked()], "solved", A, time_ms=DAY_MS + 1) is None


def test_a_user_is_remembered_with_so_many_questions():
    user: list[AskedQuestion] = []
    for number in range(MAX_ASKED + 2):
        remember(user, asked(slate_id=number), window_ms=DAY_MS)
    remember(user, asked(slate_id=5), window_ms=DAY_MS)
    assert [one.slate_id for one in user] == [2, 3, 4, 6, 7, 8, 9, 5]
    assert decode_asked(encode_asked(user)) == user
    remember(user, asked(slate_id=99, time_ms=3 * DAY_MS), window_ms=DAY_MS)
    assert [one.slate_id for one in user] == [99]


def test_the_confidence_learns_what_answers_are_worth():
    rng = np.random.default_rng(3)
    confidence = Confidence()
    x = np.ones((4_000, len(FEATURES)))
    x[:, 1:] = rng.random((4_000, len(FEATURES) - 1))
    truth = 1 / (1 + np.exp(-(x @ np.array([1.0, -3.0, 2.0, 0.5, -1.0]))))
    for row, solved in zip(x, rng.random(4_000) < truth, strict=True):
        confidence.learn_one(row, bool(solved))
    said = np.array([confidence.predict_one(row) for row in x])
    assert np.abs(said - truth).mean() < 0.05
    other = Confidence()
    other.load(confidence.encode())
    assert other.encode() == confidence.encode()


def book_of(*messages: bytes, settings: Answers = SETTINGS) -> AnswerBook:
    memory, book = AnswerMemory(settings), AnswerBook(settings, dimension=WIDTH)
    book.put_template(A, direction(0, 1))
    book.put_template(B, direction(2, 3))
    for message in messages:
        memory.learn_one(message)
    for key, value in memory.take_updates():
        book.apply(key, value)
        book.apply(key, value)
    return book


def test_a_new_template_answers_by_its_text_alone():
    book = book_of(*(lesson(A, direction(4)) for _ in range(5)))
    found = book.find(direction(2), now_ms=0)
    assert found.scores[book.row_of(B)] > found.scores[book.row_of(A)]
    assert found.scores[book.row_of(B)] == pytest.approx(float(direction(2, 3) @ direction(2)))


def test_a_question_goes_where_its_like_were_solved_and_not_where_they_were_not():
    strange = direction(8, 9)
    assert np.abs(book_of().find(strange, now_ms=0).scores).max() < 1e-6
    solved = book_of(*(lesson(B, strange) for _ in range(3))).find(direction(8, 9, 10), now_ms=0)
    assert solved.scores[1] > 0.35 > abs(solved.scores[0])
    assert (solved.similar[1], solved.similar[0], solved.unsolved[1]) == (3, 0, 0)
    assert solved.solved[1] > 0
    unsolved = book_of(*(lesson(B, strange, said=-1) for _ in range(3))).find(strange, now_ms=0)
    assert unsolved.scores[1] < -0.3
    assert unsolved.unsolved[1] > 0
    nobody = book_of(lesson(NOBODY, strange, said=-1)).find(strange, now_ms=0)
    assert nobody.nobody > 0
    assert np.abs(nobody.scores).max() < 1e-6


def test_what_was_solved_long_ago_counts_less():
    book = book_of(*(lesson(B, direction(8)) for _ in range(3)))
    now, later = (book.find(direction(8), now_ms=day * DAY_MS).scores[1] for day in (0, 60))
    assert now > later > 0


def test_what_differs_among_the_questions_of_one_template_counts_less():
    """The text of A is polite; questions of both are, or are not. Without W politeness alone leads to A."""

    def said(item: int, rng: np.random.Generator) -> np.ndarray:
        vector = 0.2 * rng.normal(size=WIDTH).astype(np.float32)
        vector[0 if item == A else 2] += 1
        vector[15] += rng.choice((0.0, 2.0))
        return vector / np.linalg.norm(vector)

    right = {}
    for ridge in (0.0, 0.1):
        rng = np.random.default_rng(4)
        settings = msgspec.structs.replace(SETTINGS, memory=400, ridge=ridge, same_similarity=1.0)
        book = book_of(*(lesson(item, said(item, rng)) for _ in range(50) for item in (A, B)), settings=settings)
        book.put_template(A, direction(0, 15))
        scores = [(book.find(said(item, rng), now_ms=0).scores, book.row_of(item)) for _ in range(100) for item in (A, B)]
        right[ridge] = sum(int(found.argmax()) == row for found, row in scores) / len(scores)
    assert right[0.1] > right[0.0] + 0.05


def test_what_an_encoder_before_has_left_in_the_state_is_not_remembered_after_a_restore():
    rows = {}
    memory = AnswerMemory(SETTINGS)
    for number in range(6):
        memory.learn_one(lesson(number, direction(number)))
    rows.update(memory.take_snapshot())
    for number in range(2):
        memory.learn_one(encode_lesson(Lesson(number, 1, UNKNOWN, 0, FEW, np.full(2 * WIDTH, number + 1, np.int8))))
    rows.update(memory.take_snapshot())
    restored = AnswerMemory(SETTINGS)
    restored.load_snapshot(rows.items())
    assert len(memory) == len(restored) == 2
    again = encode_lesson(Lesson(9, 1, UNKNOWN, 0, FEW, np.full(2 * WIDTH, 3, np.int8)))
    for each in (memory, restored):
        each.learn_one(again)
    assert [memory._record(place) for place in range(3)] == [restored._record(place) for place in range(3)]


def test_a_memory_that_was_larger_is_read_as_far_as_it_may_be_large():
    memory = AnswerMemory(SETTINGS)
    for number in range(SETTINGS.memory):
        memory.learn_one(lesson(number, direction(number)))
    smaller = AnswerMemory(msgspec.structs.replace(SETTINGS, memory=3))
    smaller.load_snapshot(memory.take_snapshot())
    assert len(smaller) == 3
