"""Errors as RFC 9457 says them: `application/problem+json`, whoever raises them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.events import Rejected
from serving.answers import Problem
from serving.brokers import NotAcknowledged

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """The response that says what went wrong."""
    said = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, **more)
    return Response(msgspec.json.encode(said), status, headers, MEDIA_TYPE)


def install_problems(app: FastAPI) -> None:
    """Let every error of an application be a problem."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Rejected, _of_rejected)
    app.add_exception_handler(NotAcknowledged, _of_not_acknowledged)
    app.add_exception_handler(Exception, _of_anything)


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = f"{request.method} {request.url.path}: {detail}"
    return problem(error.status_code, detail, headers=dict(error.headers or {}))


async def _of_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"at": ".".join(map(str, found["loc"])), "detail": found["msg"]} for found in error.errors()]
    return problem(422, "; ".join(f"{found['at']}: {found['detail']}" for found in errors), errors=errors)


async def _of_rejected(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)
    return problem(422, error.detail, reason=error.reason.value)


async def _of_not_acknowledged(_request: Request, error: Exception) -> Response:
    return problem(503, f"Kafka did not acknowledge it: {error}", headers={"Retry-After": "1"}, reason="not_acknowledged")


async def _of_anything(_request: Request, _error: Exception) -> Response:
    # what it was stands in the log; a stranger is not told
    return problem(500, "something failed that should not; the log of the server says what")
