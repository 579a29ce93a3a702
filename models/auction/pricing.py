"""Prices: what a place of a slate costs the campaign that gets it, if it is charged.

    first price     its own bid, as its pace leaves it
    second price    the least bid that would have kept it ahead of the next campaign's best item (Edelman, Ostrovsky and Schwarz,
                    "Internet advertising and the generalized second-price auction", American Economic Review 2007), and the floor

Candidates are ranked by expected value, which is in proportion to the bid: with values v of an item and w of the next of another
campaign, the least bid is ``bid * max(w, floor) / v``. An item never bids against another of its own campaign.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from models.auction.ledger import MICROS


def prices(
    values: np.ndarray, bids: np.ndarray, campaigns: np.ndarray, ranked: np.ndarray, *, kind: Literal["second", "first"], floor: float
) -> np.ndarray:
    """The price of each candidate, wherever on the slate it comes to stand.

    Parameters
    ----------
    values : float64[n], expected value
    bids : float64[n], of each candidate, as its pace leaves it
    campaigns : int32[n], number of the campaign, -1 for none
    ranked : int64[m], rows of the candidates, the best first; those that may not be shown are left out
    kind : of auction
    floor : the least expected value that is shown

    Returns
    -------
    int64[n], millionths of the currency: never more than the bid; 0 for what no campaign pays
    """
    own = np.floor(bids * MICROS).astype(np.int64)
    own[campaigns < 0] = 0
    if kind == "first":
        return own
    paid = np.zeros(len(values), np.int64)
    # from the last to the first: the best of what follows, and the best of that which is not of the same campaign
    follows, follows_campaign, other = floor, -2, floor
    for row in ranked[::-1].tolist():
        campaign, value = int(campaigns[row]), float(values[row])
        if campaign == follows_campaign:
            rival = other
        else:
            rival = other = follows
        if campaign >= 0 and value > 0:
            paid[row] = min(int(own[row]), int(own[row] * (max(rival, floor) / value)))
        follows, follows_campaign = value, campaign
    return paid
