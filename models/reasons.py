"""Why an item is recommended: its sources, and the user's own items that caused it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.topics import Reason

ITEM_CF = "item_cf"
POPULARITY = "popularity"
# What is left of a sum when all its parts are named.
ROUNDING = 1e-12


def item_cf_reasons(parts: np.ndarray, item_ids: Sequence[str], *, most: int) -> list[list[Reason]]:
    """The largest contributions to each CF score, and one reason without an item for the rest of it.

    Parameters
    ----------
    parts : float64[k, m], what each of the user's m items adds to each of k scores
    item_ids : ids of the user's items, empty where the model does not know it yet: such an item is not named
    most : how many of them are named

    Returns
    -------
    list of k lists of Reason
        The largest first; the contributions sum to the CF score. Empty for a score of 0.
    """
    named = parts * np.array([item_id != "" for item_id in item_ids])
    order = np.argsort(-named, axis=1, kind="stable")[:, :most]
    largest = np.take_along_axis(named, order, axis=1)
    rest = parts.sum(1) - largest.sum(1)
    return [
        [
            Reason(kind=ITEM_CF, item_id=item_ids[d], contribution=part)
            for d, part in zip(places, contributions, strict=True)
            if part > 0
        ]
        + ([Reason(kind=ITEM_CF, contribution=remainder)] if remainder > ROUNDING else [])
        for places, contributions, remainder in zip(order.tolist(), largest.tolist(), rest.tolist(), strict=True)
    ]
