"""Popularity: what everybody takes. It fills the list of a user of whom little is known."""

from __future__ import annotations

from models.board import Board
from models.replica import Replica
from models.sources import Visit


class Popularity:
    """Candidates by slowly decayed popularity.

    Parameters
    ----------
    replica : counts the events
    bit : of this source in `Board.origins`
    """

    name = "popularity"

    def __init__(self, replica: Replica, *, bit: int) -> None:
        self._replica, self._bit = replica, bit

    def collect(self, visit: Visit, board: Board) -> None:
        """Nothing: popularity is a column of the item."""

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose the most popular: beyond the pool for a user who has had most of it, or where rules leave little of it."""
        available, before = self._replica.available, len(board.chosen)
        board.take_first(self._replica.pools().popular, size, available=available, bit=self._bit)
        left = size - (len(board.chosen) - before)
        if left and board.wants_more:
            board.take_first(self._replica.by_popularity(), left, available=available, bit=self._bit)
