"""Users whose events came last, as these left them: most events are of somebody who did something a moment ago."""

from __future__ import annotations

import time
from collections import OrderedDict

from models.user import User


class KeptUsers:
    """Spares the reading of state that was written a moment ago.

    One user is in use at a time. Whoever takes one keeps it again once its state is written, and not before: then what is kept and what
    is written are the same, also where something failed in between.

    Parameters
    ----------
    most : number of users; about 40 kB each
    seconds : for so long after its state was read: a state that expires is noticed so much later
    """

    def __init__(self, *, most: int = 1_000, seconds: float = 60.0) -> None:
        self._most, self._seconds = most, seconds
        self._users: OrderedDict[str, tuple[float, User]] = OrderedDict()
        self._in_use, self._read_s = "", 0.0

    def take(self, key: str) -> User | None:
        """The user of a key, None where its state has to be read."""
        self._in_use, now_s = key, time.monotonic()
        kept = self._users.pop(key, None)
        if kept is None or now_s - kept[0] > self._seconds:
            self._read_s = now_s
            return None
        self._read_s = kept[0]
        return kept[1]

    def keep(self, user: User) -> None:
        """Keep the user of the key that was asked for last: its state is written."""
        self._users[self._in_use] = (self._read_s, user)
        if len(self._users) > self._most:
            self._users.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a user whose state somebody else writes."""
        self._users.pop(key, None)

    def clear(self) -> None:
        """Forget all, where more of their state may be wanted from now on."""
        self._users.clear()
