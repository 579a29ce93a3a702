"""Repeats: what the user has had most, where items are recommended again (slate.recommend_seen): groceries, songs, answers."""

from __future__ import annotations

import numpy as np
from numba import njit

from models.board import Board
from models.replica import Replica, lookup
from models.sources import Visit


@njit(cache=True)
def had_most(keys, slots, hashes, weights):  # type: ignore[no-untyped-def]
    """The items of a profile by the sum of the weights of their events, the largest first, equal ones by the latest.

    Parameters
    ----------
    keys, slots : of `models.replica.Replica.index_table`
    hashes, weights : int64[n], float32[n], of the user's items, the latest last

    Returns
    -------
    int32[m], dense indices of those that the model knows and whose sum is above 0
    """
    items, sums = np.empty(len(hashes), np.int32), np.zeros(len(hashes), np.float32)
    n = 0
    for p in range(len(hashes) - 1, -1, -1):
        index = lookup(keys, slots, hashes[p])
        if index < 0:
            continue
        place = 0
        while place < n and items[place] != index:
            place += 1
        if place == n:
            items[n] = index
            n += 1
        sums[place] += weights[p]
    # a stable sort of the negative sums keeps the latest first
    order = np.argsort(-sums[:n], kind="mergesort")
    return items[:n][order[: (sums[:n] > 0).sum()]]


class Repeats:
    """Candidates that the user has had, the most often first.

    Parameters
    ----------
    replica : knows the items
    bit : of this source in `Board.origins`
    """

    name = "repeats"

    def __init__(self, replica: Replica, *, bit: int) -> None:
        self._replica, self._bit = replica, bit

    def collect(self, visit: Visit, board: Board) -> None:
        """Nothing: what the user has had is in the profile."""

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose what the user has had most."""
        pool = had_most(*self._replica.index_table, visit.hashes, visit.state.items["weight"].copy())
        board.take_first(pool, size, available=self._replica.available, bit=self._bit)
