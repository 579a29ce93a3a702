"""New items: a bounded number of looks at what nobody knows yet.

An item with few events cannot be found by what others did with it. Until it was shown `new_items.impressions` times, it takes
its turn among the candidates; the scorer and the policy decide whether it is shown. Where new_items.order is ``latest``, everybody's
candidates are those that came last.
"""

from __future__ import annotations

from models.board import Board
from models.config import NewItems as Settings
from models.replica import Replica
from models.sources import Visit


class NewItems:
    """Candidates that few have seen, another few for each slate.

    Parameters
    ----------
    settings : section of the configuration
    replica : counts events, and what this replica showed since it was filled
    bit : of this source in `Board.origins`
    """

    name = "new_items"

    def __init__(self, settings: Settings, replica: Replica, *, bit: int) -> None:
        self._in_turn = settings.order == "turn"
        self._replica, self._bit = replica, bit

    def collect(self, visit: Visit, board: Board) -> None:
        """Nothing: how new an item is, is a column of the item."""

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose the next in turn, or the latest."""
        pool = self._replica.pools().new
        if len(pool) and size:
            turn = (visit.user + visit.state.seq * size) % len(pool) if self._in_turn else 0
            board.take_first(pool, size, available=self._replica.available, bit=self._bit, start=turn)
