"""The table of the features of a candidate: every column of the matrix that a scorer sees, by name, with its meaning.

`models.features` fills them; docs/features.md has unit, range and source of each.
"""

from __future__ import annotations

from collections.abc import Iterable

FEATURES: dict[str, str] = {
    "cf": "log item-CF score, profile decayed by item_cf.score_decay",
    "cf_long": "the same with a slow decay (0.98)",
    "cf_short": "the same with a fast decay (0.6)",
    "cf_forward": "the same from forward pairs only",
    "fast_forward": "log score from fast-decaying pairs, forward: what follows the last few items",
    "fast_backward": "the same, backward",
    "forward_last": "log forward score of the latest item alone",
    "backward_last": "log backward score of the latest item alone",
    "sitting": "log score from pairs of the same sitting",
    "best": "log of the largest contribution of a single profile item",
    "pointers": "share of the last 10 items that point to the candidate, 0 to 1",
    "liked": "share of the CF score that comes from items with a value at or above the user's mean, 0 to 1",
    "rank": "log of 1 + the candidate's rank by CF score",
    "ratio": "CF score as a share of the best one, 0 to 1",
    "popularity": "log of 1 + events of the item",
    "popularity_fast": "log of 1 + events, fast decay",
    "popularity_slow": "log of 1 + events, slow decay",
    "trend": "log ratio of the fast to the slow popularity",
    "idle": "log of 1 + hours since the item's last event",
    "age": "log of 1 + hours since the item's first event",
    "category_match": "cosine of the item's categories and the user's decayed category vector, 0 to 1",
    "category_last": "Jaccard overlap with the categories of the latest item, 0 to 1",
    "year_distance": "log of 1 + years between the item and the decayed mean of the profile, 0 where unknown",
    "item_value": "mean value (rating) of the item less the user's mean, shrunk to 0 with few values",
    "item_value_count": "log of 1 + number of values of the item",
    "user_events": "log of 1 + events of the user",
    "user_sitting": "log of 1 + events of the current sitting among the profile's items",
    "user_gap": "log of 1 + hours between the user's last two events",
    "user_value": "the user's mean value (rating), 0 where there is none",
    "cf_plain": "log item-CF score by order alone, without pauses, event weights and values",
    "user_cf": "log user-CF score",
    "user_cf_near": "log user-CF score with the weight on what similar users had near the item that both have",
    "content": "cosine of the item's labels (categories, tags, brand, price band) and the user's, 0 to 1",
    "vector": "estimated cosine of the item's vector and the latest item's, by 64 bits of each, -1 to 1, 0 where either is unknown",
    "price_distance": "difference of the logarithms of the item's price and the user's price level, 0 where unknown",
    "taste": "log-odds of the item by the user's own regression over labels and vectors, from what they took and what they passed over",
    "had": "log of 1 + the user's own events on the item, where items are recommended again",
    "had_events": "log of 1 + events of the user since the last of these",
    "had_hours": "log of 1 + hours since the last of these",
}
WIDTH = len(FEATURES)
GROUPS: dict[str, tuple[str, ...]] = {
    "item_cf": ("cf", "cf_long", "cf_short", "cf_forward", "best", "pointers", "rank", "ratio", "cf_plain"),
    "user_cf": ("user_cf", "user_cf_near"),
    "transitions": ("fast_forward", "fast_backward", "forward_last", "backward_last"),
    "sittings": ("sitting", "user_sitting", "user_gap"),
    "popularity": ("popularity", "popularity_fast", "popularity_slow", "trend"),
    "age": ("idle", "age", "user_events"),
    "content": ("category_match", "category_last", "year_distance", "content", "vector", "price_distance"),
    "taste": ("taste",),
    "repeats": ("had", "had_events", "had_hours"),
    "values": ("liked", "item_value", "item_value_count", "user_value"),
}
"""Every feature in one group: what is switched off together to see what it is worth."""


def columns_of(groups: Iterable[str]) -> list[int]:
    """Columns of the features of some groups of `GROUPS`, in their order."""
    names = {name for group in groups for name in GROUPS[group]}
    return [column for column, name in enumerate(FEATURES) if name in names]
