"""The application: one service behind the HTTP API."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from models.config import Configuration
from serving.api import add_api
from serving.guard import LOOPBACK, Access, BodyLimit, Guard, OwnNames
from serving.measure import Measured, Measures
from serving.problems import install_problems
from serving.service import Service

_SAYS = """Recommendations that react to what a user did a moment ago.

Send what users do to `POST /v1/events`; show them `GET /v1/users/{id}/recommendations`. Errors are `application/problem+json`.
"""


def make_app(
    service: Service, configuration: Configuration, *, environment: Mapping[str, str] = os.environ, console: bool = False
) -> FastAPI:
    """The application around a service, which lives as long as the application does.

    Parameters
    ----------
    service : not started yet
    configuration : the whole configuration
    environment : where tokens are looked up
    console : with the console under /console, which a process can have once

    Raises
    ------
    ConfigurationError
        When a token that the configuration names is not in the environment.
    """
    serving = configuration.serving
    access = Access(serving.tokens, environment)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPIOffline(
        title="flinkrec",
        description=_SAYS,
        version="1",
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    measures = Measures(service)
    install_problems(app)
    add_api(app, service, measures)
    # the one added last is outermost: what the guard refuses is measured too
    app.add_middleware(BodyLimit, most_bytes=serving.max_body_bytes)
    app.add_middleware(Guard, access=access, rate_per_s=serving.rate_per_s)
    if access.is_open and serving.host in LOOPBACK:
        app.add_middleware(OwnNames)
    app.add_middleware(Measured, measures=measures)
    if console:
        from serving.console import mount  # NiceGUI takes a second to load

        mount(app, service, configuration, scopes_of=None if access.is_open else lambda token: _scopes(access, token))
    return app


def _scopes(access: Access, token: str) -> frozenset[str] | None:
    caller = access.caller(token)
    return None if caller is None else frozenset(caller.scopes)
