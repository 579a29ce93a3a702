"""Which few texts tell what many are about: the ones nearest to all others, without two that say the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_ALIKE = 0.92
"""Two vectors of at least this cosine say the same."""


def most_typical(vectors: npt.NDArray[np.float32], k: int) -> Sequence[int]:
    """Places of the k most typical of unit vectors float32[n, dimension], the most typical first.

    A text is the more typical the higher its mean cosine to all. One that says the same as one before it is left out.
    """
    if not len(vectors):
        return []
    chosen: list[int] = []
    for place in np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable"):
        if len(chosen) == k:
            break
        if not chosen or float((vectors[chosen] @ vectors[place]).max()) < _ALIKE:
            chosen.append(int(place))
    return chosen
