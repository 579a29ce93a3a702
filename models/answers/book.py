"""The answer book of a replica: which templates answer a question best, by their texts and by what solved questions like it.

    score(t) = cos(q, a v_t + sum_i s_i q_i - b sum_i u_i q_i)

with v_t the vector of the template's text, and over the remembered questions q_i (`models.answers.memory`) with s_i, u_i how often t
solved them or did not, halved every answers.half_life_days; a = answers.text_weight, b = answers.unsolved_weight. It is Rocchio's
relevance feedback turned around: the template moves towards the questions that it solves (Rocchio, "Relevance feedback in information
retrieval", 1971). A template that nobody has used is v_t alone. docs/domains/service.md has what else was tried.

The remembered questions near to one in meaning give the reason and the confidence: with k_i = (cos(q, q_i) - near) / (1 - near), where
that is positive, and near = answers.near_similarity,

    solved(t) = sum_i k_i s_i over those of t,    unsolved(t) = the same of u_i

Memory: a kilobyte a remembered question and 8 bytes * dimension a template.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.answers.confidence import Confidence
from models.answers.lessons import NOBODY
from models.answers.memory import ANSWER_PREFIX, CONFIDENCE_KEY, decode_remembered
from models.answers.vectors import unit_rows
from models.config import Answers as Settings

_DAY_MS = 86_400_000.0
_FIRST_ROWS = 64
_NO_TEMPLATE = -1
# The sums age slowly: they are made anew when this part of a half-life has gone by, or something was learned.
_STALE_AFTER = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the book says to one question.

    Attributes
    ----------
    scores : float32[templates]
    meaning : float32[templates], cosine of the question and the template's text
    solved, unsolved : float32[templates], evidence of near questions
    similar : float32[templates], how many near questions each solved
    nobody : evidence of near questions that no template solved
    """

    scores: np.ndarray
    meaning: np.ndarray
    solved: np.ndarray
    unsolved: np.ndarray
    similar: np.ndarray
    nobody: float


class AnswerBook:
    """Templates by their vectors, and the remembered questions.

    Parameters
    ----------
    settings : section answers of the configuration
    dimension : of the encoder's vectors

    Attributes
    ----------
    confidence : as it was published last
    items : int64[templates], hashes, in the order of `Found`'s arrays
    """

    def __init__(self, settings: Settings, *, dimension: int) -> None:
        self._settings = settings
        self._half_life_ms = settings.half_life_days * _DAY_MS
        self._dimension = dimension
        self.confidence = Confidence()
        self._rows: dict[int, int] = {}
        self._items = np.zeros(_FIRST_ROWS, np.int64)
        self._texts = np.zeros((_FIRST_ROWS, dimension), np.float32)
        self._template_of = np.zeros(_FIRST_ROWS, np.int64)
        self._times_ms = np.zeros(_FIRST_ROWS, np.int64)
        self._evidence = np.zeros((_FIRST_ROWS, 2), np.float64)
        self._questions = np.zeros((_FIRST_ROWS, dimension), np.float32)
        self._remembered = 0
        self._answering = np.zeros((0, dimension), np.float32)
        self._weights = np.zeros((0, 2), np.float32)
        self._row_of = np.zeros(0, np.int64)
        self._fresh_until_ms = self._fresh_from_ms = -1
        self._is_changed = True

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def items(self) -> np.ndarray:
        """int64[templates], hashes of the items, in the order of `Found`'s arrays."""
        return self._items[: len(self._rows)]

    def row_of(self, item: int) -> int:
        """Place of an item in `Found`'s arrays, -1 where it is no template."""
        return self._rows.get(item, _NO_TEMPLATE)

    def put_template(self, item: int, vector: np.ndarray) -> None:
        """Take up an item by the vector of its text, float32[dimension], of length 1."""
        if len(vector) != self._dimension:
            return
        row = self._rows.setdefault(item, len(self._rows))
        if row == len(self._items):
            self._items = np.concatenate((self._items, np.zeros_like(self._items)))
            self._texts = np.concatenate((self._texts, np.zeros_like(self._texts)))
        self._items[row], self._texts[row] = item, vector
        self._is_changed = True

    def apply(self, key: str, value: bytes) -> None:
        """Apply one record of the memory; applying it twice changes nothing.

        Raises
        ------
        ValueError
            When it is of another version.
        """
        if key == CONFIDENCE_KEY:
            self.confidence.load(value)
            return
        found = decode_remembered(value)
        place = int(key.removeprefix(ANSWER_PREFIX))
        while place >= len(self._template_of):
            for name in ("_template_of", "_times_ms", "_evidence", "_questions"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate((array, np.zeros_like(array))))
        self._remembered = max(self._remembered, place + 1)
        # of another encoder: it says nothing to a question of this one
        fits = len(found.vector) == self._dimension
        self._template_of[place], self._times_ms[place] = found.item, found.time_ms
        self._evidence[place] = (found.solved, found.unsolved) if fits else 0.0
        self._questions[place] = unit_rows(found.vector[None])[0] if fits else 0.0
        self._is_changed = True

    def find(self, question: np.ndarray, *, now_ms: int) -> Found:
        """What solves a question.

        Parameters
        ----------
        question : float32[dimension], of length 1
        now_ms : event time
        """
        if self._is_changed or not self._fresh_from_ms <= now_ms <= self._fresh_until_ms:
            self._refresh(now_ms)
        templates, near = len(self), self._settings.near_similarity
        meaning = self._texts[:templates] @ question
        alike = self._questions[: self._remembered] @ question
        close = np.flatnonzero(alike > near)
        kernel = (alike[close] - near) / (1 - near)
        rows, weights = self._row_of[close], self._weights[close]
        of_nobody = rows == templates  # a row of their own, behind the templates
        solved, unsolved, similar = (
            np.bincount(rows, part, templates + 1)[:templates].astype(np.float32)
            for part in (kernel * weights[:, 0], kernel * weights[:, 1], weights[:, 0])
        )
        return Found(
            scores=self._answering @ question,
            meaning=meaning,
            solved=solved,
            unsolved=unsolved,
            similar=similar,
            nobody=float((kernel * weights[:, 1])[of_nobody].sum()),
        )

    def _refresh(self, now_ms: int) -> None:
        """Let the templates stand where the questions that they solved have moved them."""
        templates, settings = len(self), self._settings
        ages = np.maximum(0, now_ms - self._times_ms[: self._remembered]) / self._half_life_ms
        self._weights = (self._evidence[: self._remembered] * 0.5 ** ages[:, None]).astype(np.float32)
        rows = (self._rows.get(item, templates + (item != NOBODY)) for item in self._template_of[: self._remembered].tolist())
        # templates: nobody; one more: a template whose text is not there (any more)
        row_of = np.fromiter(rows, np.int64, self._remembered)
        unknown = row_of > templates
        self._weights[unknown] = 0.0
        self._row_of = np.where(unknown, templates, row_of)
        answering = settings.text_weight * self._texts[:templates]
        signed = self._weights[:, 0] - np.float32(settings.unsolved_weight) * self._weights[:, 1]
        known = self._row_of < templates
        np.add.at(answering, self._row_of[known], signed[known, None] * self._questions[: self._remembered][known])
        self._answering = answering / np.maximum(np.linalg.norm(answering, axis=1, keepdims=True), 1e-9)
        self._fresh_from_ms, self._fresh_until_ms = now_ms, now_ms + int(_STALE_AFTER * self._half_life_ms)
        self._is_changed = False

    def features(self, found: Found, shown: np.ndarray, *, next_best: float) -> np.ndarray:
        """What the confidence of a slate goes by, float32[FEATURES].

        Parameters
        ----------
        shown : int64[k], rows of the slate's templates
        next_best : the best score of those that might have been shown instead
        """
        if len(shown) == 0:
            return np.array([1.0, 0.0, 0.0, 0.0, 0.0], np.float32)
        best = float(found.scores[shown].max())
        for_them = float(found.solved[shown].sum())
        against = found.nobody + float(found.unsolved.sum())
        return np.array([1.0, best, best - next_best, for_them / (1 + for_them), against / (1 + against)], np.float32)
