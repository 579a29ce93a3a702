"""Pieces of SQL that the windowed metrics are made of: windows over a table, and rows of measures with their intervals."""

from __future__ import annotations

WINDOW = """
    CAST(EXTRACT(EPOCH FROM window_start) AS BIGINT) * 1000 AS window_start_ms,
    CAST(EXTRACT(EPOCH FROM window_end) AS BIGINT) * 1000 AS window_end_ms"""


def tumble(window_s: int, table: str = "facts") -> str:
    """The windows over a table; `event_time` is the facts' own, and behind a window its last millisecond."""
    return f"TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(event_time), INTERVAL '{window_s}' SECOND(10)))"


SUMS = """
            SUM(slates) AS slates,
            SUM(recommended) AS recommended,
            SUM(CASE WHEN visit > 0 THEN 1 ELSE 0 END) AS visits,
            SUM(CASE WHEN visit = 2 THEN 1 ELSE 0 END) AS returned,
            SUM(CASE WHEN dwell_milli >= 0 THEN 1 ELSE 0 END) AS dwells,
            SUM(CASE WHEN dwell_milli >= 0 THEN dwell_milli ELSE 0 END) AS dwell_milli"""
"""Columns over facts that the metrics of everybody and those by arm are made of alike."""

CLICKS = "LEAST(hits, slates)"
"""Slates that were taken up: a hit is of a slate of before, and more hits than slates in a window say nothing about a share above 1."""

_Z = 1.959963984540054


def ratio(part: str, whole: str) -> str:
    return f"CAST({part} AS DOUBLE) / NULLIF({whole}, 0)"


def share(metric: str, part: str, whole: str) -> str:
    """Rows of a share and its Wilson interval of 95 % (Wilson, "Probable inference", JASA 22, 1927)."""
    z2, n = _Z * _Z, f"CAST({whole} AS DOUBLE)"
    centre = f"({part} + {z2 / 2:.17g}E0)"
    reach = f"{_Z:.17g}E0 * SQRT(GREATEST({part} * ({n} - {part}) / NULLIF({whole}, 0), 0E0) + {z2 / 4:.17g}E0)"
    return f"""
        ROW('{metric}', {ratio(part, whole)}, {whole}),
        ROW('{metric}_low', CASE WHEN {whole} > 0 THEN ({centre} - {reach}) / ({n} + {z2:.17g}E0) END, {whole}),
        ROW('{metric}_high', CASE WHEN {whole} > 0 THEN ({centre} + {reach}) / ({n} + {z2:.17g}E0) END, {whole})"""


def mean(metric: str, total: str, squares: str, n: str) -> str:
    """Rows of a mean and its normal interval of 95 %, from a sum and the sum of the squares."""
    spread = f"GREATEST({squares} - {total} * {total} / NULLIF({n}, 0), 0E0) / NULLIF({n} - 1, 0)"
    reach = f"{_Z:.17g}E0 * SQRT(({spread}) / NULLIF({n}, 0))"
    return f"""
        ROW('{metric}', {total} / NULLIF({n}, 0), {n}),
        ROW('{metric}_low', {total} / NULLIF({n}, 0) - {reach}, {n}),
        ROW('{metric}_high', {total} / NULLIF({n}, 0) + {reach}, {n})"""
