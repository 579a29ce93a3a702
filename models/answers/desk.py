"""A question in words, as RECOMMEND answers it: encoded once, and compared with the answer book."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from models.answers.asked import AskedQuestion, remember
from models.answers.book import AnswerBook, Found
from models.answers.vectors import pack_vector
from models.config import Configuration
from models.fields import Reason
from models.reasons import MEANING, RULE, SOLVED
from models.text.encoder import TextEncoder, make_encoder
from models.topics import RecommendedItem

_ONE_QUESTION = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question, and what the book says to it.

    Attributes
    ----------
    vector : float32[dimension]
    found : what the book says
    rows : int64[n], the templates that answer it best, the best first, as rows of `found`
    """

    vector: np.ndarray
    found: Found
    rows: np.ndarray


class AnswerDesk:
    """Encodes questions and finds their answers.

    Parameters
    ----------
    configuration : the whole configuration
    encoder : of texts, instead of the configured one, which is made otherwise

    Attributes
    ----------
    book : the answer book
    """

    def __init__(self, configuration: Configuration, encoder: TextEncoder | None = None) -> None:
        self._settings = configuration.answers
        self._window_ms = configuration.outcomes.window_ms
        self._most = configuration.scorer.candidates
        self._encoder = make_encoder(configuration.text) if encoder is None else encoder
        self._encoder.encode(["the first text takes longer than all others"])
        self.book = AnswerBook(configuration.answers, dimension=self._encoder.dimension)

    def ask(self, text: str, *, now_ms: int) -> Question:
        """Encode a question, and look it up."""
        vector = self._encoder.encode([text])[0]
        found = self.book.find(vector, now_ms=now_ms)
        return Question(vector, found, np.argsort(-found.scores, kind="stable"))

    def best(self, question: Question) -> np.ndarray:
        """int64[n], hashes of all templates, the best first."""
        return self.book.items[question.rows]

    def scores(self, question: Question, items: np.ndarray) -> np.ndarray:
        """What items are ranked by, float32[n] from 0 to 1, 0 where an item is no template.

        Parameters
        ----------
        items : int64[n], hashes
        """
        rows = self._rows_of(items)
        return np.where(rows < 0, np.float32(0), np.maximum(question.found.scores[rows] if len(self.book) else 0, np.float32(0)))

    def _rows_of(self, items: np.ndarray) -> np.ndarray:
        return np.array([self.book.row_of(item) for item in items.tolist()], np.int64)

    def features(self, question: Question, shown: np.ndarray, *, next_best: float) -> np.ndarray:
        """What the confidence goes by, float32[FEATURES].

        Parameters
        ----------
        shown : int64[k], hashes of the items of the slate
        next_best : the best score of the candidates that are not in it
        """
        rows = self._rows_of(shown)
        return self.book.features(question.found, rows[rows >= 0], next_best=next_best)

    def is_sure(self, confidence: float) -> bool:
        """Whether an answer is given; a person is asked otherwise."""
        return confidence >= self._settings.min_confidence

    def explained(self, question: Question, items: list[RecommendedItem], hashes: np.ndarray) -> list[RecommendedItem]:
        """The items with sources and reasons that a question gives them; those of rules stay.

        Parameters
        ----------
        hashes : int64[k], of the items
        """
        return [
            self._explained(question, item, row) if row >= 0 else item
            for item, row in zip(items, self._rows_of(hashes).tolist(), strict=True)
        ]

    def _explained(self, question: Question, item: RecommendedItem, row: int) -> RecommendedItem:
        similar, meaning = float(question.found.similar[row]), float(question.found.meaning[row])
        told: list[Reason] = []
        if similar >= _ONE_QUESTION:
            told.append(Reason(kind=SOLVED, contribution=round(similar, 1)))
        if meaning > 0 or not told:
            told.append(Reason(kind=MEANING, contribution=meaning))
        kinds = [reason.kind for reason in told]
        return msgspec.structs.replace(
            item,
            sources=[*kinds, *(name for name in item.sources if name == RULE)],
            reasons=[*told, *(reason for reason in item.reasons if reason.kind == RULE)],
        )

    def remember(
        self, asked: list[AskedQuestion], question: Question, *, slate_id: int, time_ms: int, features: np.ndarray, items: np.ndarray
    ) -> None:
        """Let a user's question be known when something is reported on its answers.

        Parameters
        ----------
        asked : of the user
        items : int64[k], hashes of the answers that were given or suggested
        """
        vector = pack_vector(question.vector).tobytes()
        one = AskedQuestion(slate_id, time_ms, vector, features.tobytes(), items.astype("<i8").tobytes())
        remember(asked, one, window_ms=self._window_ms)
