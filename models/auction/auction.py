"""The auction of one slate: what each candidate is worth, which may be shown, and what their places cost.

    expected value = probability of an event * value        value: the campaign's bid, or the price of the item (auction.value)

Candidates are ranked by it, and those below auction.floor are not shown. A campaign that is ahead of its budget has a pace below 1. It
is held back either by chance (auction.pacing ``throttle``: it takes part in a slate with that probability, drawn from the slate's id) or
by price (``shade``: it bids so much less). Either way what takes part is known before the list is made: the propensities of
`models.policies.slots` are those of the slate given who takes part, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.auction.campaigns import Campaigns
from models.auction.pricing import prices
from models.config import Configuration
from models.identity import hash64, uniform
from models.offers import Offers

_THROTTLE = 1 << 20
"""Number of the draw by which a campaign takes part, beyond those of the slots."""
# Among items that are worth nothing the likelier ones come first.
_NEXT_TO_NOTHING = 1e-9
NOT_SHOWN = -1.0


@dataclass(frozen=True, slots=True)
class Worth:
    """What the candidates of one slate are worth.

    Attributes
    ----------
    values : float64[n], expected value in the currency; `NOT_SHOWN` of what does not take part
    bids : float64[n], of the campaigns, as their pace leaves them
    campaigns : int32[n], numbers, -1 for none
    """

    values: np.ndarray
    bids: np.ndarray
    campaigns: np.ndarray


class Auction:
    """Values candidates and prices places.

    Parameters
    ----------
    configuration : the whole configuration
    offers : of all items

    Attributes
    ----------
    campaigns : None where auction.value is not bid
    """

    def __init__(self, configuration: Configuration, offers: Offers) -> None:
        self._settings = configuration.auction
        self._seed = configuration.policy.seed
        self._offers = offers
        self.campaigns = Campaigns(offers, configuration.auction) if configuration.auction.value == "bid" else None

    def worth(self, items: np.ndarray, probabilities: np.ndarray, *, key: int) -> Worth:
        """What candidates are worth on one slate.

        Parameters
        ----------
        items : int32[n], dense indices
        probabilities : float32[n]
        key : number of the slate
        """
        offers, chances = self._offers, probabilities.astype(np.float64)
        if self.campaigns is None:
            values = chances * (offers.prices[items] + _NEXT_TO_NOTHING)
            return Worth(values, np.zeros(len(items)), np.full(len(items), -1, np.int32))
        of_item = offers.of_item[items]
        bids = np.where(of_item >= 0, offers.bids[items], 0.0)
        paces = np.append(self.campaigns.paces, 1.0)[of_item]
        if self._settings.pacing == "shade":
            bids = bids * paces
            values = chances * (bids + _NEXT_TO_NOTHING)
        else:
            values = chances * (bids + _NEXT_TO_NOTHING)
            for number in np.unique(of_item[paces < 1]).tolist():
                if uniform(key ^ hash64(offers.names[number]), self._seed, _THROTTLE) >= self.campaigns.paces[number]:
                    values[of_item == number] = NOT_SHOWN
        return Worth(values, bids, of_item)

    def shown(self, ranked: np.ndarray, worth: Worth, values: np.ndarray) -> np.ndarray:
        """Those of the ranked rows that are worth showing by their values with the factors of rules, which may make a `NOT_SHOWN` small."""
        return ranked[(values[ranked] >= self._settings.floor) & (worth.values[ranked] != NOT_SHOWN)]

    def prices(self, worth: Worth, values: np.ndarray, ranked: np.ndarray) -> np.ndarray | None:
        """int64[n], what each candidate's place costs in millionths (`models.auction.pricing`); None where nobody pays.

        Parameters
        ----------
        values : float64[n], with the factors of rules
        ranked : int64[m], rows that may be shown, the best first
        """
        if self.campaigns is None:
            return None
        return prices(values, worth.bids, worth.campaigns, ranked, kind=self._settings.price, floor=self._settings.floor)
