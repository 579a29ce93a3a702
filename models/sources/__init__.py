"""Candidate sources, one file each: each brings items in its own way, and all write on the same board (`models.board`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.board import Board
from models.profile import UserState


@dataclass(slots=True)
class Visit:
    """The user whom a slate is made for, as the sources see them.

    Attributes
    ----------
    user : hash of the id
    state : as it is kept
    hashes : int64[items], of `state.items`, the latest last
    profile : int32[m], dense indices of the last items that the model knows, the latest first
    places : int32[m], where in `state.items` they stand
    steps, liked : float64[m], how much each counts, and whether its value is at or above the user's mean
        (`models.sources.item_cf.profile_steps`)
    """

    user: int
    state: UserState
    hashes: np.ndarray
    profile: np.ndarray
    places: np.ndarray
    steps: np.ndarray
    liked: np.ndarray


class Source(Protocol):
    """Brings candidates.

    `weight` in the configuration (`sources`) is its part of the candidate places.
    """

    name: str

    def collect(self, visit: Visit, board: Board) -> None:
        """Write what the source knows of its items into its columns of the board."""

    def choose(self, visit: Visit, board: Board, size: int) -> None:
        """Choose `size` candidates, or fewer where it has no more."""
