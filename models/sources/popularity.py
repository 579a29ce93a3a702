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
        """Choose the most popular."""
        board.take_first(self._replica.pools().popular, size, available=self._replica.available, bit=self._bit)
