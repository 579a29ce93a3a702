"""Why an item is recommended: its sources, and the user's own items that caused it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.fields import Reason
from models.sources.item_cf import largest_parts

ITEM_CF = "item_cf"
USER_CF = "user_cf"
RULE = "rule"
SERIES = "series"
REQUEST = "request"
OFFER = "offer"
MEANING = "meaning"
"""The question of the request means what the item's text says; the contribution is their cosine."""
SOLVED = "solved"
"""It solved questions like the request's; the contribution is how many."""
_ALONE = ("content", "trending", "new_items", "repeats", "popularity", RULE, SERIES, REQUEST, OFFER)
_BY_SOURCE = {name: Reason(kind=name) for name in _ALONE}


def item_cf_reasons(
    parts: np.ndarray, rows: np.ndarray, item_ids: Sequence[str], *, most: int
) -> tuple[list[list[Reason]], list[float]]:
    """Some CF scores with the largest contributions to each, and one reason without an item for the rest of it.

    Parameters
    ----------
    parts : float64[n, m], what each of the user's m items adds to each of n scores
    rows : int64[k], of the scores that are explained
    item_ids : ids of the user's items, empty where the model does not know it yet: such an item is not named
    most : how many of them are named

    Returns
    -------
    reasons : list of k lists of Reason
        The largest first; the contributions sum to the CF score. Empty for a score of 0.
    scores : list of k floats
    """
    named = np.array([item_id != "" for item_id in item_ids], np.bool_)
    columns, chosen, rest, totals = largest_parts(parts, rows, named, most)
    reasons = []
    for places, contributions, remainder in zip(columns.tolist(), chosen.tolist(), rest.tolist(), strict=True):
        row = [
            Reason(kind=ITEM_CF, item_id=item_ids[d], contribution=part)
            for d, part in zip(places, contributions, strict=True)
            if d >= 0
        ]
        if remainder > 0:
            row.append(Reason(kind=ITEM_CF, contribution=remainder))
        reasons.append(row)
    return reasons, totals.tolist()


def reasons_of_sources(sources: list[str]) -> list[Reason]:
    """One reason for each source that names none of the user's own items; user CF's is another for each item."""
    return [_BY_SOURCE[name] for name in sources if name in _BY_SOURCE]


def user_cf_reason(score: float) -> Reason:
    """That similar users have it."""
    return Reason(kind=USER_CF, contribution=score)
