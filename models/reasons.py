"""Why an item is recommended: its sources, and the user's own items that caused it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.topics import Reason

ITEM_CF = "item_cf"
POPULARITY = "popularity"


def item_cf_reasons(parts: np.ndarray, item_ids: Sequence[str], *, most: int) -> list[Reason]:
    """The largest contributions to a CF score, and one reason without an item for the rest of it.

    Parameters
    ----------
    parts : float64[m], contribution of each of the user's items
    item_ids : their ids
    most : how many items are named

    Returns
    -------
    list of Reason
        The largest first; the contributions sum to the CF score.
    """
    order = np.argsort(-parts, kind="stable")[:most]
    reasons = [Reason(kind=ITEM_CF, item_id=item_ids[d], contribution=float(parts[d])) for d in order.tolist() if parts[d] > 0]
    rest = float(parts.sum()) - sum(reason.contribution for reason in reasons)
    if rest > 1e-12:
        reasons.append(Reason(kind=ITEM_CF, contribution=rest))
    return reasons
