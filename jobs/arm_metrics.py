"""The slices of the windowed metrics by arm of an experiment and by strategy, and the test of the split.

There are slices ``arm=NAME`` while an experiment runs, and slices of the strategies: ``arm=NAME/action=NAME``, or ``action=NAME``
without an experiment. They come from one more aggregate over the facts, by arm and by both strategies of a fact, the one that is
judged and the one that answers; what follows it sees a handful of rows a window. A slate counts under the strategy that made it, a
hit under the strategy of the slate that it hit. ``srm_p`` is `models.experiments.srm_p_value` of the users whose first event of the
day (UTC) is in the window: such users add up over the windows of a day.
"""

from __future__ import annotations

from math import gamma

from jobs.windows import CLICKS, SUMS, WINDOW, mean, ratio, share, tumble

_GAIN = "CASE WHEN evaluated = 1 AND `position` > 0 THEN LN(2.0) / LN(CAST(`position` AS DOUBLE) + 1.0) ELSE 0.0E0 END"
_REWARD = "CAST(reward_milli AS DOUBLE) / 1000"
_JUDGED = ("evaluated", "hits", "shown", "gain", "gain_squares", "reward", "reward_squares")
_MADE = ("events", "slates", "recommended", "visits", "returned", "dwells", "dwell_milli", "users")


def _arm_parts(window_s: int) -> str:
    return f"""
        SELECT
            window_time AS event_time, arm, judged_action, action,
            SUM(evaluated) AS evaluated,
            SUM(CASE WHEN evaluated = 1 AND `position` > 0 THEN 1 ELSE 0 END) AS hits,
            SUM(CASE WHEN evaluated = 1 THEN shown ELSE 0 END) AS shown,
            SUM({_GAIN}) AS gain,
            SUM(POWER({_GAIN}, 2)) AS gain_squares,
            SUM({_REWARD}) AS reward,
            SUM(POWER({_REWARD}, 2)) AS reward_squares,
            SUM(CASE WHEN kind = 'event' THEN 1 ELSE 0 END) AS events,
            {SUMS},
            SUM(first_of_day) AS users,
            MAX(arms) AS arms,
            MAX(share_ppm) AS share_ppm
        FROM {tumble(window_s)}
        WHERE kind IN ('event', 'request')
        GROUP BY window_start, window_end, window_time, arm, judged_action, action"""


# The CASE around the array is always true, as in `_thresholds`.
_ARM_SLICES = f"""
    SELECT
        event_time,
        CASE WHEN arms > 0 THEN CONCAT('arm=', arm) ELSE '' END AS of_arm,
        CASE part WHEN 'judged' THEN judged_action WHEN 'made' THEN action ELSE '' END AS of_action,
        {", ".join(f"CASE WHEN part <> 'made' THEN {name} ELSE 0 END AS {name}" for name in _JUDGED)},
        {", ".join(f"CASE WHEN part <> 'judged' THEN {name} ELSE 0 END AS {name}" for name in _MADE)},
        arms,
        share_ppm
    FROM arm_parts CROSS JOIN UNNEST(CASE WHEN events >= 0 THEN ARRAY['both', 'judged', 'made'] END) AS T(part)
    WHERE (part = 'both' AND arms > 0) OR (part = 'judged' AND judged_action <> '') OR (part = 'made' AND action <> '')"""


def _slices(window_s: int) -> str:
    """Sums under each arm, and under each strategy: those of judged slates, and those of the slates that it made."""
    return f"""
        SELECT
            window_time AS event_time, of_arm, of_action,
            CONCAT(of_arm, CASE WHEN of_arm <> '' AND of_action <> '' THEN '/' ELSE '' END,
                CASE WHEN of_action <> '' THEN CONCAT('action=', of_action) ELSE '' END) AS `slice`,
            {WINDOW},
            {", ".join(f"SUM({name}) AS {name}" for name in _JUDGED + _MADE)},
            MAX(arms) AS arms,
            MAX(share_ppm) AS share_ppm
        FROM {tumble(window_s, "arm_slices")}
        GROUP BY window_start, window_end, window_time, of_arm, of_action"""


def _splits(window_s: int) -> str:
    """The users of all arms of a window, and the chi-square of them against the shares that they should have."""
    return f"""
        SELECT
            {WINDOW},
            SUM(users) AS users,
            SUM(CAST(users AS DOUBLE) * users * 1000000 / share_ppm) / NULLIF(SUM(users), 0) - SUM(users) AS mismatch,
            MAX(arms) AS arms,
            LISTAGG(CONCAT(of_arm, '/', CAST(users AS STRING)), ',') AS parts
        FROM {tumble(window_s, "slices")}
        WHERE of_action = '' AND share_ppm > 0
        GROUP BY window_start, window_end"""


_OF_ARMS_ONLY = ("recall_at_k", "f1_at_k", "events", "users", "expected_share", "retention", "dwell")

_SLICE_METRICS = f"""
    SELECT window_start_ms, window_end_ms, metric, `slice`, `value`, n
    FROM slices CROSS JOIN UNNEST(ARRAY[
        {share("hr_at_k", "hits", "evaluated")},
        {mean("ndcg_at_k", "gain", "gain_squares", "evaluated")},
        ROW('precision_at_k', {ratio("hits", "shown")}, shown),
        ROW('recall_at_k', {ratio("hits", "evaluated")}, evaluated),
        ROW('f1_at_k', {ratio("2 * hits", "shown + evaluated")}, evaluated),
        {share("ctr", CLICKS, "slates")},
        {mean("reward", "reward", "reward_squares", "evaluated")},
        ROW('avg_recommendations', {ratio("recommended", "slates")}, slates),
        ROW('events', CAST(events AS DOUBLE), events),
        ROW('users', CAST(users AS DOUBLE), users),
        ROW('expected_share', CAST(share_ppm AS DOUBLE) / 1000000, users),
        ROW('retention', {ratio("returned", "visits")}, visits),
        ROW('dwell', {ratio("dwell_milli", "1000 * dwells")}, dwells)
    ]) AS T(metric, `value`, n)
    WHERE of_action = '' OR metric NOT IN ({", ".join(f"'{metric}'" for metric in _OF_ARMS_ONLY)})"""

_SHARE_METRICS = """
    SELECT window_start_ms, window_end_ms, 'user_share' AS metric, SPLIT_INDEX(part, '/', 0) AS `slice`,
        CAST(SPLIT_INDEX(part, '/', 1) AS DOUBLE) / NULLIF(users, 0) AS `value`, users AS n
    FROM splits CROSS JOIN UNNEST(SPLIT(parts, ',')) AS T(part)"""


def chi_square_tail(statistic: str, freedom: int) -> str:
    """`models.experiments.chi_square_tail` in SQL, with erfc as in Press et al., "Numerical recipes" (1992), right to 1.2e-7 of it."""
    half, odd = f"({statistic} / 2)", freedom % 2
    terms = [
        f"POWER({half}, {j - odd / 2:.1f}E0) / {gamma(j + 1 - odd / 2):.17g}E0" for j in range(odd, (freedom + odd) // 2)
    ]
    tail = f"EXP(-{half}) * ({' + '.join(terms) or '0E0'})"
    if not odd:
        return tail
    nested = "0E0"
    for coefficient in reversed(_ERFC):
        nested = f"{coefficient:.8f}E0 + t * ({nested})"
    t = f"(1E0 / (1E0 + 0.5E0 * SQRT({half})))"
    return f"{t} * EXP(-{half} + {nested.replace('t * ', t + ' * ')}) + {tail}"


_ERFC = (
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277,
)  # fmt: skip
_MOST_ARMS = 8

_SPLIT_METRICS = f"""
    SELECT window_start_ms, window_end_ms, 'srm_p' AS metric, 'all' AS `slice`,
        CASE WHEN users > 0 THEN CASE arms {" ".join(
            f"WHEN {arms} THEN {chi_square_tail('GREATEST(mismatch, 0E0)', arms - 1)}" for arms in range(2, _MOST_ARMS + 1)
        )} END END AS `value`, users AS n
    FROM splits"""

ARM_METRICS = (_SLICE_METRICS, _SPLIT_METRICS, _SHARE_METRICS)
"""Queries of (window_start_ms, window_end_ms, metric, slice, value, n)."""


def arm_views(window_s: int) -> list[tuple[str, str]]:
    """Views by name, in the order of their creation, that `ARM_METRICS` read; the first one reads ``facts``."""
    return [
        ("arm_parts", _arm_parts(window_s)),
        ("arm_slices", _ARM_SLICES),
        ("slices", _slices(window_s)),
        ("splits", _splits(window_s)),
    ]
