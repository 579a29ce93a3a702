"""Trending: what many take just now, over all and in the category that the user is after."""

from __future__ import annotations

from models.board import Board
from models.replica import Replica
from models.sources import Visit


class Trending:
    """Candidates by fast decayed popularity: half from a category of the latest item, the rest over all.

    Parameters
    ----------
    replica : counts the events
    bit : of this source in `Board.origins`
    """

    name = "trending"

    def __init__(self, replica: Replica, *, bit: int) -> None:
        self._replica, self._bit = replica, bit

    def collect(self, visit: Visit, board: Board) -> None:
        """Nothing: popularity is a column of the item."""

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose what trends."""
        pools, available = self._replica.pools(), self._replica.available
        before = len(board.chosen)
        bits = int(self._replica.categories[visit.profile[0]]) if len(visit.profile) else 0
        if bits:
            # the lowest bit is as good as another, and the same each time
            category = (bits & -bits).bit_length() - 1
            board.take_first(pools.trending_in[category], size // 2, available=available, bit=self._bit)
        board.take_first(pools.trending, size - len(board.chosen) + before, available=available, bit=self._bit)
