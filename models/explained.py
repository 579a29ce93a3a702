"""What stands on a slate: its items with their scores, the reasons why they are there, and what their places cost."""

from __future__ import annotations

import msgspec

from models.board import USER_CF
from models.candidates import CandidateGenerator
from models.config import Configuration
from models.making import Layout, Scored
from models.reasons import USER_CF as USER_CF_SOURCE
from models.reasons import item_cf_reasons, user_cf_reason
from models.replica import Replica
from models.topics import RecommendedItem


class Explainer:
    """Makes the items of slates.

    Parameters
    ----------
    configuration : the whole configuration
    replica, generator : of the candidates
    """

    def __init__(self, configuration: Configuration, replica: Replica, generator: CandidateGenerator) -> None:
        self._replica, self._generator = replica, generator
        self._most_reasons = configuration.slate.reasons

    def items(self, scored: Scored, layout: Layout) -> list[RecommendedItem]:
        """The items that are shown, by position."""
        replica, candidates, rows = self._replica, scored.candidates, layout.rows
        told = [self._generator.told_of(bits) for bits in candidates.origins[rows].tolist()]
        owners = [replica.item_ids[index] for index in candidates.profile.tolist()]
        reasons, cf_scores = item_cf_reasons(candidates.parts, rows, owners, most=self._most_reasons)
        for of_item, (names, others), score in zip(reasons, told, candidates.sums[rows, USER_CF].tolist(), strict=True):
            if USER_CF_SOURCE in names:
                of_item.append(user_cf_reason(score))
            of_item.extend(others)
        indices = candidates.items[rows].tolist()
        chances = [None] * len(rows) if scored.probabilities is None else scored.probabilities[rows].tolist()
        items = [
            RecommendedItem(
                item_id=replica.item_ids[indices[place]],
                position=place + 1,
                score=score,
                cf_score=cf_scores[place],
                probability=chances[place],
                sources=told[place][0],
                reasons=reasons[place],
                explored=slot.explored,
                propensity=slot.propensity,
                title=replica.titles[indices[place]],
            )
            for place, (slot, score) in enumerate(zip(layout.slots, scored.scores[rows].tolist(), strict=True))
        ]
        return items if layout.prices is None else self._priced(items, indices, layout.prices[rows].tolist())

    def _priced(self, items: list[RecommendedItem], indices: list[int], prices: list[int]) -> list[RecommendedItem]:
        """The items with what their campaigns pay if they are charged."""
        offers, priced = self._replica.offers, []
        for item, index, price in zip(items, indices, prices, strict=True):
            campaign = offers.campaign_of(index)
            priced.append(item if campaign is None else msgspec.structs.replace(item, campaign=campaign, price_micros=price))
        return priced
