"""The features of a candidate: one documented table, one kernel, one frozen matrix.

`FEATURES` names every column with its meaning. `candidate_features` fills them from the sums that
`models.sources.item_cf` gathered and from the item-side columns of the replica; the result is rounded to float16 at
once, and that frozen matrix is what is scored now and learned from later: training never sees another number than
serving did.

All features are known when the slate is made: times are measured at the user's latest event, never at the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

from models.board import (
    BACKWARD_LAST,
    BEST,
    CF,
    CF_FORWARD,
    CF_LONG,
    CF_PLAIN,
    CF_SHORT,
    FAST_BACKWARD,
    FAST_FORWARD,
    FORWARD_LAST,
    LIKED,
    POINTERS,
    SITTING,
    USER_CF,
    USER_CF_NEAR,
)
from models.content import LABELS, count_bits, label_cosine, label_vector, signature_cosine

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
    "values": ("liked", "item_value", "item_value_count", "user_value"),
}
"""Every feature in one group: what is switched off together to see what it is worth."""
FLOOR = 1e-5
_VALUE_SHRINKAGE = 5.0


def columns_of(groups: Iterable[str]) -> list[int]:
    """Columns of the features of some groups of `GROUPS`, in their order."""
    names = {name for group in groups for name in GROUPS[group]}
    return [column for column, name in enumerate(FEATURES) if name in names]


@njit(cache=True)
def _log_score(score):  # type: ignore[no-untyped-def]
    # what events of a negative weight took away is nothing at least
    return np.log(max(score, 0.0) + FLOOR) - np.log(FLOOR)


@njit(cache=True)
def _decayed(value, elapsed_ms, half_life_ms):  # type: ignore[no-untyped-def]
    return value * 2.0 ** (-max(0.0, elapsed_ms) / half_life_ms)


@njit(cache=True)
def category_vector(profile, steps, categories, decay, out):  # type: ignore[no-untyped-def]
    """Decayed sum of the category bits of the profile's items into float32[64], less those of negative steps; returns its norm."""
    out[:] = 0
    weight = 1.0
    for d in range(len(profile)):
        bits = categories[profile[d]]
        if bits != 0:
            share = weight / np.sqrt(count_bits(bits))
            if steps[d] < 0:
                share = -share
            for b in range(64):
                if (bits >> np.uint64(b)) & np.uint64(1):
                    out[b] += share
        weight *= decay
    return np.sqrt((out * out).sum())


@njit(cache=True)
def profile_mean(profile, year, decay):  # type: ignore[no-untyped-def]
    """Decayed mean of a number of the profile's items, such as their year, NaN where none is known."""
    total, weights, weight = 0.0, 0.0, 1.0
    for d in range(len(profile)):
        y = year[profile[d]]
        if y == y:
            total += weight * y
            weights += weight
        weight *= decay
    return total / weights if weights > 0 else np.nan


@njit(cache=True)
def candidate_features(  # type: ignore[no-untyped-def]
    candidates,
    sums,
    stats,
    categories,
    year,
    labels,
    signatures,
    log_prices,
    profile,
    steps,
    user,
    now_ms,
    fast_half_life_ms,
    slow_half_life_ms,
    decay,
):
    """The feature matrix.

    Parameters
    ----------
    candidates : int32[n], dense item indices, ordered by CF score
    sums : float32[items, SUMS] of `models.board.Board`
    stats, categories, year : arrays of `models.replica.Replica`
    labels, signatures, log_prices : arrays of `models.content.Content`
    profile, steps : of `models.sources.Visit`
    user : float64[4], events, sitting length, gap in ms, mean value (NaN: none)
    now_ms : event time of the slate

    Returns
    -------
    float32[n, WIDTH], columns in the order of `FEATURES`
    """
    n = len(candidates)
    out = np.zeros((n, WIDTH), np.float32)
    vector = np.zeros(64, np.float32)
    norm = category_vector(profile, steps, categories, decay, vector)
    middle_year = profile_mean(profile, year, decay)
    label_sums = np.zeros(LABELS, np.float32)
    label_norm = label_vector(profile, steps, labels, label_sums)
    price_level = profile_mean(profile, log_prices, decay)
    last_signature = signatures[profile[0]] if len(profile) > 0 else np.uint64(0)
    last_bits = categories[profile[0]] if len(profile) > 0 else np.uint64(0)
    best = 0.0
    for k in range(n):
        best = max(best, sums[candidates[k], CF])
    hour = 3_600_000.0
    user_value = user[3] if user[3] == user[3] else 0.0
    user_columns = (np.log1p(user[0]), np.log1p(user[1]), np.log1p(user[2] / hour), user_value)
    for k in range(n):
        x = candidates[k]
        s = sums[x]
        out[k, 0] = _log_score(s[CF])
        out[k, 1] = _log_score(s[CF_LONG])
        out[k, 2] = _log_score(s[CF_SHORT])
        out[k, 3] = _log_score(s[CF_FORWARD])
        out[k, 4] = _log_score(s[FAST_FORWARD])
        out[k, 5] = _log_score(s[FAST_BACKWARD])
        out[k, 6] = _log_score(s[FORWARD_LAST])
        out[k, 7] = _log_score(s[BACKWARD_LAST])
        out[k, 8] = _log_score(s[SITTING])
        out[k, 9] = _log_score(s[BEST])
        out[k, 10] = s[POINTERS] / 10.0
        out[k, 11] = s[LIKED] / s[CF] if s[CF] > 0 else 0.5
        out[k, 12] = np.log1p(k)
        out[k, 13] = s[CF] / best if best > 0 else 0.0
        idle_ms = now_ms - stats[x, 5]
        fast = _decayed(stats[x, 2], idle_ms, fast_half_life_ms)
        slow = _decayed(stats[x, 3], idle_ms, slow_half_life_ms)
        out[k, 14] = np.log1p(stats[x, 1])
        out[k, 15] = np.log1p(fast)
        out[k, 16] = np.log1p(slow)
        out[k, 17] = np.log((fast + 0.1) / (slow + 0.1))
        out[k, 18] = np.log1p(max(0.0, idle_ms) / hour)
        out[k, 19] = np.log1p(max(0.0, now_ms - stats[x, 4]) / hour) if stats[x, 1] > 0 else 0.0
        bits = categories[x]
        if bits != 0:
            if norm > 0:
                dot = 0.0
                for b in range(64):
                    if (bits >> np.uint64(b)) & np.uint64(1):
                        dot += vector[b]
                out[k, 20] = dot / norm / np.sqrt(count_bits(bits))
            if last_bits != 0:
                out[k, 21] = count_bits(bits & last_bits) / count_bits(bits | last_bits)
        if year[x] == year[x] and middle_year == middle_year:
            out[k, 22] = np.log1p(abs(year[x] - middle_year))
        if user[3] == user[3]:
            out[k, 23] = (stats[x, 6] - stats[x, 7] * user_value) / (stats[x, 7] + _VALUE_SHRINKAGE)
        out[k, 24] = np.log1p(stats[x, 7])
        out[k, 25], out[k, 26], out[k, 27], out[k, 28] = user_columns
        out[k, 29] = _log_score(s[CF_PLAIN])
        out[k, 30] = _log_score(s[USER_CF])
        out[k, 31] = _log_score(s[USER_CF_NEAR])
        out[k, 32] = label_cosine(x, labels, label_sums, label_norm)
        out[k, 33] = signature_cosine(last_signature, signatures[x])
        if log_prices[x] == log_prices[x] and price_level == price_level:
            out[k, 34] = log_prices[x] - price_level
    return out
