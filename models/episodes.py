"""Series and their episodes: which one is next for a user, and which come later.

Memory: a few dozen bytes an episode.
"""

from __future__ import annotations

import numpy as np


class Episodes:
    """The episodes of all series.

    Attributes
    ----------
    later : int32[n], dense indices of all episodes but the first of each series
    """

    def __init__(self) -> None:
        self._place: dict[int, tuple[str, int]] = {}
        self._series: dict[str, dict[int, list[int]]] = {}
        self._later: np.ndarray | None = None

    def put(self, index: int, series: str | None, episode: int | None) -> None:
        """Let an item be this episode of a series, or of none."""
        place = None if series is None or episode is None else (series, episode)
        before = self._place.get(index)
        if place == before:
            return
        self._later = None
        if before is not None:
            del self._place[index]
            own = self._series[before[0]]
            own[before[1]].remove(index)
            if not own[before[1]]:
                del own[before[1]]
        if place is not None:
            self._place[index] = place
            self._series.setdefault(place[0], {}).setdefault(place[1], []).append(index)

    @property
    def later(self) -> np.ndarray:
        """See the class."""
        if self._later is None:
            firsts = {index for own in self._series.values() if own for index in own[min(own)]}
            self._later = np.array([index for index in self._place if index not in firsts], np.int32)
        return self._later

    def after(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What may come after the items of a user.

        Parameters
        ----------
        items : int32[m], dense indices of what the user has had, the latest last

        Returns
        -------
        allowed : int32[n], the episodes of the user's series up to the next one
        following : int32[s], the next one of each series that has one, in each of its versions, the series of the latest item first
        """
        reached: dict[str, int] = {}
        for index in items[::-1].tolist():
            place = self._place.get(index)
            if place is not None:
                reached[place[0]] = max(reached.get(place[0], 0), place[1])
        allowed: list[int] = []
        following: list[int] = []
        for series, episode in reached.items():
            own = self._series[series]
            upcoming = min((number for number in own if number > episode), default=None)
            if upcoming is not None:
                following += own[upcoming]
                allowed += own[upcoming]
            allowed += [index for number, indices in own.items() if number <= episode for index in indices]
        return np.array(allowed, np.int32), np.array(following, np.int32)
