"""The features of a candidate: one kernel, one frozen matrix.

`candidate_features` fills the columns of `models.feature_table` from the sums that `models.sources.item_cf` gathered and from the
item-side columns of the replica; the result is rounded to float16 at once, and that frozen matrix is what is scored now and learned
from later: training never sees another number than serving did.

All features are known when the slate is made: times are measured at the user's latest event, never at the next one.
"""

from __future__ import annotations

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
from models.content import LABELS, add_labels, count_bits, label_cosine, label_vector, signature_cosine
from models.feature_table import WIDTH
from models.taste import taste_of

FLOOR = 1e-5
_VALUE_SHRINKAGE = 5.0
_FLOAT16_MAX = np.float32(np.finfo(np.float16).max)


@njit(cache=True)
def _log_score(score):  # type: ignore[no-untyped-def]
    # what events of a negative weight took away is nothing at least; most of what has a score has none of most kinds
    return np.log(score + FLOOR) - np.log(FLOOR) if score > 0 else 0.0


@njit(cache=True)
def _decayed(value, elapsed_ms, half_life_ms):  # type: ignore[no-untyped-def]
    return value * np.exp2(-max(0.0, elapsed_ms) / half_life_ms)


@njit(cache=True)
def category_vector(profile, steps, categories, decay, out):  # type: ignore[no-untyped-def]
    """Decayed sum of the category bits, uint64[items, 1], of the profile's items into float32[64], less those of negative steps;
    returns its norm."""
    out[:] = 0
    weight = 1.0
    for d in range(len(profile)):
        add_labels(profile[d], categories, -weight if steps[d] < 0 else weight, out)
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
    taste,
    hashes,
    had,
    had_ms,
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
    taste : float32[WEIGHTS] of the user, or none (`models.taste`)
    hashes : int64[items], of all items
    had, had_ms : int64[m], hashes of what the user has had and when, the latest last; no hashes where items do not come again
    now_ms : event time of the slate

    Returns
    -------
    float32[n, WIDTH], columns in the order of `FEATURES`, within what float16 holds
    """
    n = len(candidates)
    out = np.zeros((n, WIDTH), np.float32)
    vector = np.zeros(64, np.float32)
    as_labels = categories.reshape(-1, 1)
    norm = category_vector(profile, steps, as_labels, decay, vector)
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
        out[k, 20] = label_cosine(x, as_labels, vector, norm)
        bits = categories[x]
        if bits != 0 and last_bits != 0:
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
        out[k, 35] = taste_of(x, labels, signatures, taste)
        events, latest = 0, 0
        for p in range(len(had)):
            if had[p] == hashes[x]:
                events += 1
                latest = p
        if events > 0:
            out[k, 36] = np.log1p(events)
            out[k, 37] = np.log1p(len(had) - 1 - latest)
            out[k, 38] = np.log1p(max(0.0, now_ms - had_ms[latest]) / hour)
        # a value (dwell time in ms, a price) beyond float16 would become infinite, and the running means NaN for ever
        for c in range(WIDTH):
            if out[k, c] > _FLOAT16_MAX:
                out[k, c] = _FLOAT16_MAX
            elif out[k, c] < -_FLOAT16_MAX:
                out[k, c] = -_FLOAT16_MAX
    return out
