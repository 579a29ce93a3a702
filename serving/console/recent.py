"""Users to choose from: those who were served last."""

from __future__ import annotations

from collections import OrderedDict

USERS = 500


class RecentUsers:
    """The users of the newest slates, the latest last; at most `USERS`."""

    def __init__(self) -> None:
        self._users: OrderedDict[str, None] = OrderedDict()

    def put(self, user_id: str) -> None:
        """Note a slate of a user."""
        self._users[user_id] = None
        self._users.move_to_end(user_id)
        if len(self._users) > USERS:
            self._users.popitem(last=False)

    def newest(self, *, most: int = 50) -> list[str]:
        """The latest first."""
        return list(reversed(list(self._users)))[:most]
