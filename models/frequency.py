"""Frequency caps: how often a user was shown something lately, and what they must not be shown again yet.

What is counted are impressions as they were served, by the event time of their slates, so that a cap holds exactly: what is at its cap
is no candidate, and what is near it may fill so many more places (`models.rules`). Impressions count from when the first such rule
came into force. A user who is shown more than profile.impressions items within the longest window of the rules is the exception: the
oldest are forgotten.

Layout of the packed state, version 1: ``version u8 | IMPRESSION_DTYPE[n]`` (little endian), the oldest first.
Size bound: 1 + 24 * profile.impressions bytes.
"""

from __future__ import annotations

import numpy as np

from models.layouts import require_version

VERSION = 1
IMPRESSION_DTYPE = np.dtype([("item", "<i8"), ("campaign", "<i8"), ("time_ms", "<i8")])
NO_CAMPAIGN = 0
_NO_ROWS = np.zeros(0, IMPRESSION_DTYPE)


class Impressions:
    """The latest impressions of one user.

    Parameters
    ----------
    rows : IMPRESSION_DTYPE[n], the oldest first

    Attributes
    ----------
    changed : some were added since it was made
    """

    __slots__ = ("changed", "rows")

    def __init__(self, rows: np.ndarray | None = None) -> None:
        self.rows = _NO_ROWS if rows is None else rows
        self.changed = False

    def add(self, items: np.ndarray, campaigns: np.ndarray, *, time_ms: int, window_ms: int, capacity: int) -> None:
        """Remember what a slate shows.

        Parameters
        ----------
        items : int64[n], hashes
        campaigns : int64[n], hashes, `NO_CAMPAIGN` for none
        window_ms : the longest window of the rules; what is older is forgotten
        capacity : profile.impressions
        """
        if len(items) == 0:
            return
        new = np.zeros(len(items), IMPRESSION_DTYPE)
        new["item"], new["campaign"], new["time_ms"] = items, campaigns, time_ms
        kept = self.rows[self.rows["time_ms"] > time_ms - window_ms]
        self.rows = np.concatenate((kept, new))[-capacity:]
        self.changed = True

    def counts(self, of: str, *, time_ms: int, window_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """How often each item or campaign was shown.

        Parameters
        ----------
        of : ``item`` or ``campaign``
        time_ms : now; what a slate of a later event time showed counts as well
        window_ms : that ends now

        Returns
        -------
        keys : int64[m], hashes, each once
        counts : int64[m]
        """
        keys: np.ndarray = self.rows[of][self.rows["time_ms"] > time_ms - window_ms]
        if of == "campaign":
            keys = keys[keys != NO_CAMPAIGN]
        found, counts = np.unique(keys, return_counts=True)
        return found, counts

    def encode(self) -> bytes:
        """The packed bytes (layout: module docstring)."""
        return bytes((VERSION,)) + self.rows.tobytes()

    @classmethod
    def decode(cls, raw: bytes | None) -> Impressions:
        """The impressions in `raw`, none where there is no state yet.

        Raises
        ------
        ValueError
            When the bytes are of another version.
        """
        if raw is None:
            return cls()
        require_version(raw, VERSION, what="impressions")
        return cls(np.frombuffer(raw, IMPRESSION_DTYPE, -1, 1))
