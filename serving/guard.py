"""Who may ask what, how often and how much: bearer tokens with scopes, a rate for each client, a limit of bodies.

Only the API under /v1 is guarded: /healthz, /readyz, /metrics and /docs show nothing of a user. The console asks `Access` itself.
By what name it is asked counts for all of it.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from models.config import ConfigurationError, Scope, Token
from serving.problems import problem

API = "/v1/"
ALL_SCOPES: frozenset[Scope] = frozenset(("read", "write", "admin"))
SCOPES = "flinkrec.scopes"
"""Key of a connection under which its scopes stand."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""What only this machine reaches."""
_MOST_CLIENTS = 10_000
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    name : of the token's owner
    scopes : what they may do
    """

    name: str
    scopes: frozenset[Scope]


class Access:
    """The tokens.

    Parameters
    ----------
    tokens : section serving.tokens
    environment : where the variables of `token_env` are looked up

    Attributes
    ----------
    is_open : there are no tokens: everybody may do everything

    Raises
    ------
    ConfigurationError
        When a variable is not set, or too short for a secret.
    """

    def __init__(self, tokens: list[Token], environment: Mapping[str, str]) -> None:
        self._callers = [
            (_secret(token, number, environment).encode(), Caller(token.name, frozenset(token.scopes)))
            for number, token in enumerate(tokens)
        ]
        self.is_open = not tokens

    def caller(self, token: str) -> Caller | None:
        """Who has this token, None where nobody has."""
        given = token.encode("utf-8", "surrogateescape")
        found = None
        # all are compared, and each in constant time: how long it takes says nothing of what is right
        for secret, caller in self._callers:
            if hmac.compare_digest(secret, given):
                found = caller
        return found


def _secret(token: Token, number: int, environment: Mapping[str, str]) -> str:
    if token.token is not None:
        return token.token
    assert token.token_env is not None
    secret = environment.get(token.token_env, "").strip()
    if len(secret) < 16:
        raise ConfigurationError(
            file="the environment",
            key=f"serving.tokens[{number}].token_env",
            expected=f"a secret of at least 16 characters in {token.token_env}",
            got=f"{len(secret)} characters",
        )
    return secret


class Rates:
    """A bucket of tokens for each client: as many requests at once as it may make in a second.

    Parameters
    ----------
    per_s : requests of one client, on average
    clock : monotonic time in seconds
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_s, clock
        self._most = max(1.0, per_s)
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take one request; 0, or how many seconds the client must wait for the next."""
        now = self._clock()
        left, at = self._clients.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_s)
        allowed = left >= 1
        self._clients[client] = (left - 1 if allowed else left, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_s


def needed_scope(method: str, path: str) -> Scope:
    """What a request to the API needs."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return "read"
    if method == "POST":
        # to ask for a slate teaches nothing
        return "read" if path == "/v1/recommendations" else "write"
    return "admin"


class Guard:
    """Pure ASGI middleware: refuses who may not, and who asks too often.

    Parameters
    ----------
    app : behind it
    access : the tokens
    rate_per_s : of one client, None: any
    """

    def __init__(self, app: ASGIApp, *, access: Access, rate_per_s: float | None) -> None:
        self._app, self._access = app, access
        self._rates = None if rate_per_s is None else Rates(rate_per_s)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        client, scopes = "address " + _address(scope), ALL_SCOPES
        if not self._access.is_open:
            caller = self._access.caller(_bearer(scope))
            if caller is None:
                # who guesses tokens is slowed down, too
                refused = self._too_many(client) or problem(
                    401,
                    "expected a token that is known: Authorization: Bearer TOKEN",
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refused(scope, receive, send)
                return
            client, scopes = "token " + caller.name, caller.scopes
        refuses = self._too_many(client) or _forbidden(scope, scopes) or (_of_another_site(scope) if self._access.is_open else None)
        if refuses is not None:
            await refuses(scope, receive, send)
            return
        scope[SCOPES] = scopes
        await self._app(scope, receive, send)

    def _too_many(self, client: str) -> Response | None:
        wait_s = 0.0 if self._rates is None else self._rates.wait_s(client)
        if wait_s == 0:
            return None
        headers = {"Retry-After": str(max(1, round(wait_s)))}
        return problem(429, "more requests than serving.rate_per_s allows one client", headers=headers)


def _forbidden(scope: Connection, scopes: frozenset[Scope]) -> Response | None:
    needed = needed_scope(scope["method"], scope["path"])
    if needed in scopes:
        return None
    return problem(
        403,
        f"{scope['method']} {scope['path']} needs the scope {needed}, this token has {', '.join(sorted(scopes))}",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
    )


def _of_another_site(scope: Connection) -> Response | None:
    """Refuses what a page of another site lets a browser write here: where there are no tokens, every page could."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    # browsers say the first to localhost and by https alone
    other = site == "cross-site" if site is not None else origin is not None and urlsplit(origin).netloc != headers.get(b"host")
    if not other or needed_scope(scope["method"], scope["path"]) == "read":
        return None
    return problem(403, "a page of another site may not write where there are no tokens (serving.tokens)")


class OwnNames:
    """Pure ASGI middleware: refuses a Host that does not name this machine, where the service is for this machine alone and has no tokens.

    Who owns a name can point it here: for a browser a page of that name and this service are then one site (DNS rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"localhost").decode("latin-1")
        if scope["type"] == "lifespan" or _names_this_machine(host):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            refused = problem(403, f"Host {host[:_SHOWN]}: expected localhost or an address where there are no tokens (serving.tokens)")
            await refused(scope, receive, send)


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
        if name != "localhost":
            ip_address(name or "")
    except ValueError:
        return False
    return True


class BodyLimit:
    """Pure ASGI middleware: refuses a body that is too long, before it is read where its length is said.

    FastAPI has such a limit too, whose refusal is plain text.

    Parameters
    ----------
    app : behind it
    most_bytes : of a body
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes
        self._detail = f"the body has more than {most_bytes} bytes (serving.max_body_bytes)"

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        # of the other methods nobody reads a body
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT") or not scope["path"].startswith(API):
            await self._app(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if said.isdigit() and int(said) > self._most_bytes:
            await problem(413, self._detail, headers={"Connection": "close"})(scope, receive, send)
            return
        read_bytes = 0

        async def counting() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._most_bytes:
                raise HTTPException(413, self._detail)
            return message

        await self._app(scope, counting, send)


def _address(scope: Connection) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _bearer(scope: Connection) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name == b"authorization":
            kind, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if kind.lower() == "bearer" else ""
    return ""


def scopes_of(connection: Mapping[str, Any]) -> frozenset[Scope]:
    """What the caller of a guarded connection may do."""
    scopes: frozenset[Scope] = connection[SCOPES]
    return scopes
