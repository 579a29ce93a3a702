"""What `flinkrec tune` may change: one row a key of the configuration.

To tune another key, add a row. The base configuration's own value is always part of its range, wherever it lies; rows whose
combination a configuration refuses are refused by it, the search goes on.
"""

from __future__ import annotations

from msgspec import Struct

Value = int | float | tuple[int, ...]


class Range(Struct, frozen=True):
    """Numbers from `low` to `high`, both included.

    Attributes
    ----------
    log : whether ratios count, not differences
    """

    low: float
    high: float
    log: bool = False


class WholeRange(Struct, frozen=True):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int
    log: bool = False


class Choice(Struct, frozen=True):
    """One of some values that have no order."""

    values: tuple[tuple[int, ...], ...]


Row = Range | WholeRange | Choice
Space = dict[str, Row]

_LIKED, _DISLIKED = "item_cf.liked_weight", "item_cf.disliked_weight"
_CONTENT, _REPEATS = "sources.content", "sources.repeats"
SPACE: Space = {
    "profile.sitting_gap_s": Range(600.0, 21_600.0, log=True),
    "item_cf.pair_items": WholeRange(5, 50),
    "item_cf.pair_decay": Range(0.8, 0.995),
    "item_cf.reverse_weight": Range(0.1, 1.0),
    "item_cf.score_items": WholeRange(5, 50),
    "item_cf.score_decay": Range(0.7, 0.98),
    "item_cf.gap_decay": Range(0.05, 1.0),
    _LIKED: Range(1.0, 3.0),
    _DISLIKED: Range(0.0, 1.0),
    "item_cf.shrinkage": Range(0.5, 100.0, log=True),
    "item_cf.neighbours": WholeRange(100, 800, log=True),
    "item_cf.served_neighbours": WholeRange(100, 800, log=True),
    "user_cf.items": WholeRange(5, 50),
    "user_cf.decay": Range(0.7, 1.0),
    "user_cf.recent": WholeRange(50, 1_000, log=True),
    "user_cf.neighbours": WholeRange(10, 300, log=True),
    "popularity.fast_half_life_hours": Range(1.0, 168.0, log=True),
    "popularity.slow_half_life_hours": Range(24.0, 8_760.0, log=True),
    "sources.item_cf": Range(0.2, 1.0),
    "sources.user_cf": Range(0.0, 0.6),
    _CONTENT: Range(0.0, 0.3),
    "sources.trending": Range(0.0, 0.3),
    "sources.new_items": Range(0.0, 0.2),
    _REPEATS: Range(0.0, 0.6),
    "scorer.candidates": WholeRange(30, 200, log=True),
    "scorer.history": WholeRange(5, 200, log=True),
    "scorer.embedding_dim": WholeRange(8, 56, log=True),
    "scorer.hidden": Choice(((32,), (64,), (64, 32), (128, 64))),
    "learner.learning_rate": Range(0.0003, 0.01, log=True),
    "learner.embedding_learning_rate": Range(0.0002, 0.005, log=True),
    "learner.embedding_decay": Range(0.01, 1.0, log=True),
    "learner.batch_examples": WholeRange(16, 256, log=True),
    "learner.replay_batches": WholeRange(0, 6),
}


STARTS: tuple[dict[str, Value], ...] = (
    {
        "item_cf.score_decay": 0.98,
        "item_cf.score_items": 50,
        "item_cf.pair_decay": 0.98,
        "item_cf.pair_items": 50,
        "item_cf.reverse_weight": 1.0,
    },
    {"item_cf.score_decay": 0.75, "item_cf.score_items": 10, "item_cf.reverse_weight": 0.2},
    {
        "popularity.fast_half_life_hours": 4.0,
        "popularity.slow_half_life_hours": 72.0,
        "sources.trending": 0.2,
        "sources.new_items": 0.15,
    },
    {"learner.batch_examples": 32, "learner.learning_rate": 0.003},
)
"""What is tried before anything is drawn, each with the best so far: several keys at once that kinds of events want which the defaults were
not made for. Baskets and sessions without an order; one thing after another; fashions; few events to learn from."""


def space_for(*, values: bool, catalogue: bool, repeats: bool) -> Space:
    """The rows that can change anything: of ratings, of the catalogue and of repeats only where there are any."""
    idle = {_LIKED: not values, _DISLIKED: not values, _CONTENT: not catalogue, _REPEATS: not repeats}
    return {key: row for key, row in SPACE.items() if not idle.get(key, False)}


def rounded(value: Value) -> Value:
    """A number as it is written into a file: of a fraction three digits."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def including(row: Row, value: Value) -> Row:
    """A row that a value is part of.

    Examples
    --------
    >>> including(Range(1.0, 2.0), 5.0)
    Range(low=1.0, high=5.0, log=False)
    """
    if isinstance(row, Choice):
        assert isinstance(value, tuple)
        return row if value in row.values else Choice((*row.values, value))
    assert not isinstance(value, tuple)
    low, high = min(row.low, value), max(row.high, value)
    if isinstance(row, WholeRange):
        return WholeRange(int(low), int(high), row.log and low > 0)
    return Range(float(low), float(high), row.log and low > 0)
