"""Offers: which campaign each item is of, what it bids, and what the item costs.

Memory: ``20 bytes * items``, and the names of campaigns.
"""

from __future__ import annotations

import numpy as np


class Offers:
    """The offers of all items.

    Attributes
    ----------
    campaigns : number of each campaign that an item ever had, by name; it only grows
    of_item : int32[items], number of each item's campaign, by dense index; -1 for none
    bids, prices : float64[items], 0 where there is none
    puts : how often an offer was put
    """

    def __init__(self) -> None:
        self.campaigns: dict[str, int] = {}
        self.names: list[str] = []
        self.of_item = np.zeros(0, np.int32)
        self.bids = np.zeros(0)
        self.prices = np.zeros(0)
        self.puts = 0

    def grow_items(self, capacity: int) -> None:
        """Make room for this many items."""
        more = capacity - len(self.of_item)
        self.of_item = np.concatenate((self.of_item, np.full(more, -1, np.int32)))
        self.bids = np.concatenate((self.bids, np.zeros(more)))
        self.prices = np.concatenate((self.prices, np.zeros(more)))

    def put(self, index: int, *, campaign: str | None, bid: float | None, price: float | None) -> None:
        """Let an item have this offer instead of the one that it had."""
        self.puts += 1
        self.of_item[index] = -1 if campaign is None else self.number(campaign)
        self.bids[index] = bid or 0.0
        self.prices[index] = price or 0.0

    def number(self, campaign: str) -> int:
        """Number of a campaign, a new one where it has none."""
        number = self.campaigns.get(campaign)
        if number is None:
            number = self.campaigns[campaign] = len(self.names)
            self.names.append(campaign)
        return number

    def campaign_of(self, index: int) -> str | None:
        """Name of the campaign of an item by its dense index."""
        number = int(self.of_item[index])
        return None if number < 0 else self.names[number]
