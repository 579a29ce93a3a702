"""Who may see and do what in the console: everybody everything while no tokens are configured, else whoever has given a token.

A token is asked for once a browser and never stored there: the browser holds a signed cookie with a random name, and what that name
may do is kept in this process, for `HOURS` and not beyond its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from nicegui import app

READ, WRITE, ADMIN = "read", "write", "admin"
EVERYTHING = frozenset({READ, WRITE, ADMIN})
HOURS = 12
_SESSIONS = 10_000
_AFTER_A_WRONG_TOKEN_S = 1.0


@dataclass(frozen=True, slots=True)
class _Session:
    scopes: frozenset[str]
    until_s: float


class Access:
    """Remembers which browsers have given which scopes.

    Parameters
    ----------
    scopes_of : the scopes of a token, None where there is no such token; None instead of it where no tokens are configured
    clock : monotonic seconds
    """

    def __init__(self, scopes_of: Callable[[str], frozenset[str] | None] | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._scopes_of = scopes_of
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    @property
    def is_open(self) -> bool:
        """Whether no tokens are asked for."""
        return self._scopes_of is None

    def scopes(self, browser: str) -> frozenset[str]:
        """What a browser may do."""
        if self.is_open:
            return EVERYTHING
        session = self._sessions.get(browser)
        if session is None or session.until_s < self._clock():
            self._sessions.pop(browser, None)
            return frozenset()
        return session.scopes

    async def sign_in(self, browser: str, token: str) -> bool:
        """Let a browser do what a token allows; a wrong one is answered late, so that guessing is slow."""
        scopes = None if self._scopes_of is None else self._scopes_of(token)
        if scopes is None:
            await asyncio.sleep(_AFTER_A_WRONG_TOKEN_S)
            return False
        if len(self._sessions) >= _SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[browser] = _Session(scopes, self._clock() + HOURS * 3600)
        return True

    def sign_out(self, browser: str) -> None:
        """Forget what a browser has given."""
        self._sessions.pop(browser, None)


def this_browser() -> str:
    """The random name of the browser that a page is made for."""
    return str(app.storage.browser["id"])
