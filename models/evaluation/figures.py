"""Everything that a report shows of one run, computed from its recording: numbers only, no page."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec import Struct

from models.evaluation.bias import gini, lorenz, share_of_most_taken
from models.evaluation.curves import PrecisionRecall, Reliability, precision_recall, reliability
from models.evaluation.over_time import CoverageGrowth, Series, by_count, by_date, coverage_growth
from models.evaluation.popularity_baseline import popularity_positions
from models.evaluation.recorder import Recording
from models.evaluation.source_shares import SourceShare, source_shares
from models.evaluation.splits import ITEM_WARMTH, USER_ACTIVITY, Mask, Slice, events_so_far, groups, slice_of

POPULARITY = "popularity"
RECENT_POPULARITY = "recent popularity"
FIRST_USER_EVENTS = 3
FIRST_ITEM_EVENTS = 10
_CURVE_POINTS = 300


class Exposure(Struct, frozen=True, kw_only=True):
    """How often items are shown, or consumed, over all items of the stream.

    Attributes
    ----------
    gini : Gini index, 0 for all alike
    top_share : share of all that goes to the tenth of the items that has most of it
    items, taken : Lorenz curve, at most 101 points
    """

    gini: float
    top_share: float
    items: list[float]
    taken: list[float]


class Latency(Struct, frozen=True, kw_only=True):
    """Distribution of the time an event took, milliseconds.

    Attributes
    ----------
    edges : of the bins, evenly spaced on a logarithmic scale
    counts : events in each, one fewer than edges
    quantiles : by name, such as ``{"p50": 0.4}``
    """

    edges: list[float]
    counts: list[int]
    quantiles: dict[str, float]


class Figures(Struct, frozen=True, kw_only=True):
    """Everything that a report shows of one run.

    Attributes
    ----------
    k : length of a slate
    users, items : in the stream
    first_ms, last_ms : event times of the stream
    overall : all judged events
    by_events, by_date : quality over time; None where the stream is too short for it
    precision_recall : of the shown items, None where nothing was shown
    reliability : of their probabilities, None where the scorer predicts none
    coverage : over time
    shown, consumed : how unequally the items of the stream are shown, and consumed in the judged events
    sources : contributions of the candidate sources
    by_user_activity, by_item_warmth : split by events so far, groups without events left out
    cold_start : users' first three events, items in their first ten
    latency : None where none was measured
    """

    k: int
    users: int
    items: int
    first_ms: int
    last_ms: int
    overall: Slice
    by_events: Series | None
    by_date: Series | None
    precision_recall: PrecisionRecall | None
    reliability: Reliability | None
    coverage: CoverageGrowth
    shown: Exposure
    consumed: Exposure
    sources: list[SourceShare]
    by_user_activity: list[Slice]
    by_item_warmth: list[Slice]
    cold_start: list[Slice]
    latency: Latency | None

    def encode(self) -> bytes:
        """Indented JSON in UTF-8, with a newline at its end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def figures_of(recording: Recording, latencies_ms: np.ndarray, *, recent_half_life_ms: float) -> Figures:
    """Compute everything.

    Parameters
    ----------
    recording : of at least one event
    latencies_ms : float[...], of each event
    recent_half_life_ms : of the counts of the baseline "recent popularity", event time

    Raises
    ------
    ValueError
        When the recording is empty.
    """
    if not len(recording.users):
        raise ValueError("expected a recording of at least one event, got an empty one")
    judged = recording.judged
    baselines = {
        POPULARITY: popularity_positions(recording),
        RECENT_POPULARITY: popularity_positions(recording, half_life_ms=recent_half_life_ms),
    }

    def slice_(name: str, mask: Mask) -> Slice:
        return slice_of(
            name, mask & judged, users=recording.users, positions=recording.positions, baselines=baselines
        )

    def filled(found: list[tuple[str, Mask]]) -> list[Slice]:
        return [one for one in (slice_(name, mask) for name, mask in found) if one.hit_rate.n]

    user_events, item_events = events_so_far(recording.users), events_so_far(recording.items)
    ours, popular = recording.positions[judged], baselines[POPULARITY][judged]
    known = np.unique(recording.items)
    consumed = np.bincount(recording.items[judged], minlength=len(recording.shown_counts))
    return Figures(
        k=recording.k,
        users=len(np.unique(recording.users)),
        items=len(known),
        first_ms=int(recording.times_ms[0]),
        last_ms=int(recording.times_ms[-1]),
        overall=slice_("all", judged),
        by_events=by_count(ours, popular),
        by_date=by_date(recording.times_ms[judged], ours, popular),
        precision_recall=_precision_recall(recording),
        reliability=_reliability(recording),
        coverage=coverage_growth(recording),
        shown=_exposure(recording.shown_counts[known]),
        consumed=_exposure(consumed[known]),
        sources=source_shares(recording.sources),
        by_user_activity=filled(groups(user_events, USER_ACTIVITY)),
        by_item_warmth=filled(groups(item_events, ITEM_WARMTH)),
        cold_start=filled(
            [
                (f"users’ first {FIRST_USER_EVENTS} events", user_events < FIRST_USER_EVENTS),
                (f"items in their first {FIRST_ITEM_EVENTS} events", item_events < FIRST_ITEM_EVENTS),
            ]
        ),
        latency=_latency(latencies_ms),
    )


def _precision_recall(recording: Recording) -> PrecisionRecall | None:
    if not len(recording.scores):
        return None
    probabilities = recording.probabilities
    scores = recording.scores if np.isnan(probabilities).any() else probabilities
    return precision_recall(scores, recording.labels, points=_CURVE_POINTS)


def _reliability(recording: Recording) -> Reliability | None:
    known = ~np.isnan(recording.probabilities)
    return reliability(recording.probabilities[known], recording.labels[known])


def _exposure(counts: np.ndarray) -> Exposure:
    items, taken = lorenz(counts)
    at = np.linspace(0.0, 1.0, min(len(items), 101))
    return Exposure(
        gini=gini(counts),
        top_share=share_of_most_taken(counts, 0.1),
        items=at.tolist(),
        taken=np.interp(at, items, taken).tolist(),
    )


def _latency(latencies_ms: np.ndarray) -> Latency | None:
    if not len(latencies_ms):
        return None
    measured = np.maximum(latencies_ms, 1e-3)
    # the axis shall not be stretched by a few outliers: they count in the last bins
    low, high = np.quantile(measured, (0.001, 0.999))
    edges = np.geomspace(low / 1.05, high * 1.05, 41)
    counts, _ = np.histogram(np.clip(measured, edges[0], edges[-1]), edges)
    names = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    return Latency(
        edges=edges.tolist(),
        counts=counts.tolist(),
        quantiles={name: float(np.quantile(latencies_ms, share)) for name, share in names.items()},
    )
