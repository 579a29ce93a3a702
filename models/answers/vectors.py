"""Vectors of texts in a byte a number: a third of a kilobyte each, whose products are exact.

A vector is scaled so that its largest entry is 127 and rounded. Products of such vectors are sums of integers below 2**24, which
float32 holds exactly whatever the order of the sum: whether two questions are alike does not depend on the machine, and what is
learned from that is the same after a restore. The rounding costs the cosine less than 0.01.
"""

from __future__ import annotations

import numpy as np

_LARGEST = 127
MAX_DIMENSION = 1024
"""Of a vector whose products are exact."""


def pack_vector(vector: np.ndarray) -> np.ndarray:
    """int8[dimension] of a vector, float32[dimension]; zeros stay zeros."""
    largest = float(np.abs(vector).max(initial=0.0))
    return np.rint(vector * (_LARGEST / largest if largest > 0 else 0.0)).astype(np.int8)


def unit_rows(packed: np.ndarray) -> np.ndarray:
    """The rows of a matrix, int8[n, dimension], as float32 of length 1; zeros stay zeros."""
    rows = packed.astype(np.float32)
    lengths = np.sqrt((rows * rows).sum(1, keepdims=True))
    return rows / np.maximum(lengths, 1.0)


def cosines(packed: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Cosine of each row, int8[n, dimension], and one vector, int8[dimension]: float64[n], 0 with zeros."""
    rows, other = packed.astype(np.float32), one.astype(np.float32)
    products = (rows @ other).astype(np.float64)
    lengths = np.sqrt((rows * rows).sum(1).astype(np.float64) * float(other @ other))
    return np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
