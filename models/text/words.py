"""Hashed words: an encoder that needs no model."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from models.identity import hash64

_WORD = re.compile(r"\w+")
_PAIR_WEIGHT = 0.5
_SIGN_BIT = 62


class HashedWords:
    """A bag of words and of word pairs, hashed into a vector of fixed size: where no language model may be installed.

        v = sum_t sqrt(count_t) * w_t * sign_t * e(bucket_t),   v / |v|

    over the words (w = 1) and the pairs of neighbouring words (w = 0.5) of a text; bucket and sign come from the term's hash
    (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009). It finds texts that share words, and
    knows nothing of what words mean.

    Parameters
    ----------
    dimension : numbers of a vector

    Examples
    --------
    >>> words = HashedWords(256)
    >>> one, other, third = words.encode(["a red tea cup", "The tea cup is red!", "winter tyres"])
    >>> bool(one @ other > 0.4), bool(abs(one @ third) < 0.2)
    (True, True)
    """

    name = "words"

    def __init__(self, dimension: int = 384) -> None:
        self.dimension = dimension
        self.version = f"words-1-{dimension}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextEncoder`; a text without a word has the vector of an empty word."""
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            words = words_of(text) or [""]
            terms = Counter([(word, 1.0) for word in words])
            terms.update((f"{first} {second}", _PAIR_WEIGHT) for first, second in pairwise(words))
            for (term, weight), count in terms.items():
                number = _term_hash(term)
                sign = 1.0 if number >> _SIGN_BIT & 1 else -1.0
                vectors[row, number % self.dimension] += sign * weight * count**0.5
            if not vectors[row].any():  # terms that cancel out in their buckets
                vectors[row, _term_hash("") % self.dimension] = 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def words_of(text: str) -> list[str]:
    """Words of a text in their order, without case and without differences of form in Unicode."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=65_536)
def _term_hash(term: str) -> int:
    return hash64(term)
