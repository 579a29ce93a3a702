"""How much memory a model takes, by formula: what to give a TaskManager for so many items and users.

Arrays grow by doubling, so an array for n entries holds the next power of two. With N = items rounded up so (at least 1,024),
L = neighbours of an item in the replica (twice those of its row, rounded up so, at most item_cf.served_neighbours) and R = those
of its row:

- serve path, each subtask: ``13 MB + 333 * N + 28 * 2**ceil(log2(2 * items * L)) + items * (250 + 4 * R) +
  panel_size * 2**ceil(log2(profile.items)) * 16`` bytes; the slabs that lists have outgrown, as many again as are in use, wait for others
- learn path, over all subtasks: ``items * (700 + 33 * R)`` bytes
- state of one user: ``69 + 25 * profile.items + 8 * profile.dedup_events + 12 * slate.k + 2 * WEIGHTS`` for the profile, 1 + 8 an item for
  what was seen (at most profile.seen_items), and ``7 + (2 * (WIDTH + columns) + 8) * scorer.candidates + 8 * history`` for the pending
  example, where fism adds 2 columns, gru and cnn 4, text 6, and all four at most scorer.history items; in an arm of an experiment with a
  scorer of its own that scorer's, and 9 bytes more

Where section text makes vectors of D numbers, the serve path, each subtask, and the learn path hold ``(D + 12) * N + 150 * items`` more
each; scorer text projects them in the serve path, ``(4 * scorer.embedding_dim + 12) * N`` more.
"""

from __future__ import annotations

from models.config import Configuration
from models.feature_table import WIDTH
from models.taste import WEIGHTS

# hashes, lists, stats, categories, available and offered, year, applied, before, marks, impressions, panel heads, label sets, labels,
# signatures, prices and places of vectors of the replica; sums, touched, marks, taken and allowed of the board, places of the reasons; four
# entries of the index table
_ARRAYS_AN_ITEM = 8 + 24 + 64 + 8 + 2 + 4 + 8 + 4 + 8 + 4 + 4 + 4 + 32 + 8 + 4 + 8 + (64 + 4 + 8 + 8 + 8) + 4 + 4 * 12
_ENCODER_COLUMNS = {"fism": 2, "gru": 4, "cnn": 4, "text": 6}
# its number and its place in the dictionary of `models.text.vectors.ItemVectors`
_OBJECTS_A_VECTOR = 150
# id and title as Python strings with their places in lists, and the row's entry in a dictionary
_OBJECTS_AN_ITEM = 250
_BYTES_A_SLOT = 28
_BYTES_A_MEMBER_ITEM = 16
_FIRST_ITEMS = 1024
# free lists of the replica's pool, and the buckets of the content source
_FIXED = 13_200_000


def serve_bytes(configuration: Configuration, *, items: int, neighbours: int, users: int) -> int:
    """Memory of one RECOMMEND subtask's model.

    Parameters
    ----------
    items : distinct items
    neighbours : of an item's row, on average; at most item_cf.neighbours
    users : distinct users, of which panel_size are in the panel
    """
    config = configuration
    served = _power_of_two(min(2 * neighbours, config.item_cf.served_neighbours))
    capacity = max(_FIRST_ITEMS, _power_of_two(items))
    members = min(config.user_cf.panel_size, _power_of_two(users))
    return (
        _FIXED
        + capacity * _ARRAYS_AN_ITEM
        + _power_of_two(2 * items * served) * _BYTES_A_SLOT
        + items * (_OBJECTS_AN_ITEM + 4 * neighbours)
        + members * _power_of_two(config.profile.items) * _BYTES_A_MEMBER_ITEM
    )


def learn_bytes(configuration: Configuration, *, items: int, neighbours: int) -> int:
    """Memory of the co-occurrence table, over all subtasks."""
    kept = min(_power_of_two(neighbours), configuration.item_cf.neighbours)
    return items * (700 + 33 * max(16, kept))


def vector_bytes(configuration: Configuration, *, items: int, dimension: int) -> int:
    """Memory of the vectors of items in one RECOMMEND subtask; without what the scorer projects, in the learner.

    Parameters
    ----------
    dimension : numbers of a vector
    """
    projected = 4 * configuration.scorer.embedding_dim + 12 if configuration.scorer.name == "text" else 0
    return max(_FIRST_ITEMS, _power_of_two(items)) * (dimension + 12 + projected) + items * _OBJECTS_A_VECTOR


def user_bytes(configuration: Configuration, *, seen: int) -> int:
    """Keyed state of one user who had `seen` items: an upper bound, reached by a user with a full profile."""
    config = configuration
    profile = 69 + 25 * config.profile.items + 8 * config.profile.dedup_events + 12 * config.slate.k + 2 * WEIGHTS
    columns = _ENCODER_COLUMNS.get(config.scorer.name, 0)
    history = min(config.scorer.history, config.profile.items) if columns else 0
    pending = 7 + (2 * (WIDTH + columns) + 8) * config.scorer.candidates + 8 * history
    return profile + 1 + 8 * min(seen, config.profile.seen_items) + pending


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()
