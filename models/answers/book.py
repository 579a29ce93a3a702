"""The answer book of a replica: which templates answer a question best, by their texts and by what solved questions like it.

    score(t) = cos(W q, a W v_t / |W v_t| + P_t / (|P_t| + c)),    P_t = sum_i e_i W q_i / |W q_i|

with v_t the vector of the template's text, a = answers.text_weight, and over the remembered questions q_i of t
(`models.answers.memory`), solved s and not solved u times, the evidence e = (s - u) / (s + u + 1). It is Rocchio's relevance feedback
turned around: the template moves towards the questions that it solves, and away from those that it does not (Rocchio, "Relevance
feedback in information retrieval", 1971). A template that nobody has used is its text alone.

W makes directions count less in which questions of one template differ among each other: politeness, slips, who it is for. It is the
inverse root of their covariance within templates, S + answers.ridge * (trace S / dimension) * I ("within-class covariance
normalization", Hatch, Kajarekar and Stolcke, 2006), and the identity until `_ENOUGH` questions are remembered.
docs/domains/service.md has what each part is worth, and what else was tried.

The remembered questions near to one in meaning give the reason and the confidence: with k_i = (cos(q, q_i) - near) / (1 - near), where
that is positive, and near = answers.near_similarity,

    solved(t) = sum_i k_i s_i / (s_i + u_i + 1) over those of t,    unsolved(t) = the same of u_i

Memory: 3 kB a remembered question and as much a template, of 384 numbers.
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
_HALF_TRUST = 0.5
# Reports that say the contrary and have not come: a single report may be a mistake.
_DOUBT = 1.0
# Evidence ages slowly: it is weighed anew when this part of a half-life has gone by, or something was learned.
_STALE_AFTER = 0.01
# W is made anew when there is a quarter more to make it of: it takes as long as a hundred questions.
_ENOUGH, _GROWTH = 64, 1.25


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the book says to one question, by template as in `AnswerBook.items`.

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
        self._evidence = np.zeros((_FIRST_ROWS, 2))
        self._questions = np.zeros((_FIRST_ROWS, dimension), np.float32)
        self._whitened = np.zeros((_FIRST_ROWS, dimension), np.float32)
        self._remembered = 0
        self._whitened_at = 0
        self._whitening: np.ndarray | None = None
        self._fresh_from_ms = self._fresh_until_ms = -1
        self._is_changed = True

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def items(self) -> np.ndarray:
        """int64[templates], hashes of the items."""
        return self._items[: len(self._rows)]

    def row_of(self, item: int) -> int:
        """Place of an item in `items`, -1 where it is no template."""
        return self._rows.get(item, _NO_TEMPLATE)

    def put_template(self, item: int, vector: np.ndarray) -> None:
        """Take up an item by the vector of its text, float32[dimension]; one of another length is another encoder's."""
        if len(vector) != self._dimension:
            return
        row = self._rows.setdefault(item, len(self._rows))
        if row == len(self._items):
            self._items = np.concatenate((self._items, np.zeros_like(self._items)))
            self._texts = np.concatenate((self._texts, np.zeros_like(self._texts)))
        self._items[row], self._texts[row] = item, _unit(vector[None])[0]
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
            for name in ("_template_of", "_times_ms", "_evidence", "_questions", "_whitened"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate((array, np.zeros_like(array))))
        self._remembered = max(self._remembered, place + 1)
        # of another encoder: it says nothing to a question of this one
        fits = len(found.vector) == self._dimension
        self._template_of[place], self._times_ms[place] = found.item, found.time_ms
        self._evidence[place] = (found.solved, found.unsolved) if fits else 0.0
        self._questions[place] = unit_rows(found.vector[None])[0] if fits else 0.0
        self._whitened[place] = self._whiten(self._questions[place : place + 1])[0]
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
        alike = self._questions[: self._remembered] @ question
        close = np.flatnonzero(alike > near)
        kernel = (alike[close] - near) / (1 - near)
        rows, shares = self._row_of[close], self._shares[close]
        # nobody has a row of their own, behind the templates
        solved, unsolved, similar = (
            np.bincount(rows, part, templates + 1).astype(np.float32)
            for part in (kernel * shares[:, 0], kernel * shares[:, 1], self._counts[close])
        )
        return Found(
            scores=self._answering @ self._whiten(question[None])[0],
            meaning=self._texts[:templates] @ question,
            solved=solved[:templates],
            unsolved=unsolved[:templates],
            similar=similar[:templates],
            nobody=float(unsolved[templates]),
        )

    def _refresh(self, now_ms: int) -> None:
        """Let the templates stand where the questions that they solved have moved them."""
        templates, remembered = len(self), self._remembered
        ages = np.maximum(0, now_ms - self._times_ms[:remembered]) / self._half_life_ms
        evidence = self._evidence[:remembered] * 0.5 ** ages[:, None]
        self._shares = (evidence / (evidence.sum(1, keepdims=True) + _DOUBT)).astype(np.float32)
        unknown = templates + 1  # what was learned of a template whose text is not there waits for it
        of = [templates if item == NOBODY else self._rows.get(item, unknown) for item in self._template_of[:remembered].tolist()]
        row_of = np.array(of, np.int64)
        self._shares[row_of == unknown] = 0.0
        self._counts = np.where(row_of == unknown, 0.0, evidence[:, 0]).astype(np.float32)
        self._row_of = np.minimum(row_of, templates)
        self._learn_whitening()
        known = self._row_of < templates
        moved = np.zeros((templates, self._dimension), np.float32)
        net = self._shares[known, 0] - self._shares[known, 1]
        np.add.at(moved, self._row_of[known], net[:, None] * self._whitened[:remembered][known])
        trusted = moved / (np.linalg.norm(moved, axis=1, keepdims=True) + _HALF_TRUST)
        self._answering = _unit(self._settings.text_weight * self._whiten(self._texts[:templates]) + trusted)
        self._fresh_from_ms, self._fresh_until_ms = now_ms, now_ms + int(_STALE_AFTER * self._half_life_ms)
        self._is_changed = False

    def _learn_whitening(self) -> None:
        teaching = (self._row_of < len(self)) & (self._shares[:, 0] > self._shares[:, 1])
        size = int(teaching.sum())
        if self._settings.ridge == 0 or size < max(_ENOUGH, _GROWTH * self._whitened_at):
            return
        rows, questions = self._row_of[teaching], self._questions[: self._remembered][teaching]
        sums = np.zeros((len(self), self._dimension), np.float32)
        np.add.at(sums, rows, questions)
        apart = questions - sums[rows] / np.bincount(rows, minlength=len(self))[rows, None]
        within = (apart.T @ apart / size).astype(np.float64)
        level = self._settings.ridge * np.trace(within) / self._dimension
        if level > 0:
            values, directions = np.linalg.eigh(within + level * np.eye(self._dimension))
            self._whitening = (directions / np.sqrt(values)).astype(np.float32)
            self._whitened = self._whiten(self._questions)
        self._whitened_at = size

    def _whiten(self, rows: np.ndarray) -> np.ndarray:
        return rows if self._whitening is None else _unit(rows @ self._whitening)

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


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
