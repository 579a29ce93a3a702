"""The HTTP API: what a request means to the service, and how its answer is written.

Bodies are read and answers written by msgspec; FastAPI routes, checks parameters and documents. The schemas at /docs come from the
types that are read and written.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Query, Request
from fastapi.openapi.utils import get_openapi
from msgspec import Meta, Struct
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from models.events import Context, EventRecord, Refusal, Rejected
from models.requests import RequestRecord
from serving.answers import (
    Answer,
    Because,
    Control,
    Controls,
    Erasure,
    Problem,
    Readiness,
    SentEvents,
    SimilarItems,
)
from serving.guard import scopes_of
from serving.measure import Measures
from serving.problems import MEDIA_TYPE, problem
from serving.service import Service, new_id

_JSON = "application/json"
_encode = msgspec.json.Encoder().encode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode

UserId = Annotated[str, Path(description="Id of a user; it may hold slashes.")]
ItemId = Annotated[str, Path(description="Id of an item; it may hold slashes.")]
RuleName = Annotated[str, Path(description="KIND or KIND:NAME, such as exclude:recall (docs/controls.md).")]
_SLATE_PARAMETERS: list[dict[str, Any]] = [
    {"name": "user_id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Id of a user; it may hold slashes."},
    {
        "name": "k",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100},
        "description": "At most so many items; as many as the slate has without it.",
    },
    {
        "name": "explain",
        "in": "query",
        "schema": {"type": "boolean", "default": False},
        "description": "With reasons, sources, propensities and who made the slate.",
    },
]


class _SlateQuery(Struct, frozen=True, kw_only=True):
    k: Annotated[int, Meta(ge=1, le=100)] | None = None
    explain: bool = False


_WHOLE = _SlateQuery()


def _slate_query(request: Request) -> _SlateQuery:
    try:
        return msgspec.convert(dict(request.query_params), _SlateQuery, strict=False)
    except msgspec.ValidationError as error:
        raise HTTPException(422, f"query: {error}") from None


class Question(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asks for a slate that is made now. A field that is not known is refused: a `restrict` that is misspelt must not do nothing.

    Attributes
    ----------
    user_id : for whom
    k : items that are wanted, slate.k of the configuration when missing
    context : the circumstances, one level deep
    text : words that came with it, such as a search
    restrict : the only items that may be shown, at most 1,000
    exclude : items that must not be shown, at most 1,000
    seed_items : what the slate goes on from instead of the user's own last items, the latest last, at most 1,000
    after_event_id : an event of this user that the answer is to know of
    trace : whether the slate is taken apart on the `traces` topic
    explain : with reasons, sources, propensities and who made the slate
    deadline_ms : how long to wait for the job before what is at hand is given, serving.deadline_ms when missing
    request_id : the answer names it, a new one when missing. The same id of the same user names the same slate
    """

    user_id: str | int
    k: Annotated[int, Meta(ge=1, le=100)] | None = None
    context: Context | None = None
    text: str | None = None
    restrict: Annotated[list[str | int], Meta(max_length=1_000)] | None = None
    exclude: Annotated[list[str | int], Meta(max_length=1_000)] | None = None
    seed_items: Annotated[list[str | int], Meta(max_length=1_000)] | None = None
    after_event_id: str | int | None = None
    trace: bool = False
    explain: bool = False
    deadline_ms: Annotated[int, Meta(ge=1, le=60_000)] | None = None
    request_id: str | int | None = None


_decode_question = msgspec.json.Decoder(Question).decode
_SCHEMAS = (
    *(Answer, Because, Control, Controls, Erasure, Readiness, SentEvents, SimilarItems),
    *(Question, EventRecord, Problem),
)


def add_api(app: FastAPI, service: Service, measures: Measures) -> None:
    """Add all endpoints to an application, and what /docs says of them."""
    _add_slates(app, service, measures)
    _add_events(app, service, measures)
    _add_items(app, service)
    _add_controls(app, service)
    _add_operations(app, service, measures)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _documented(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_slates(app: FastAPI, service: Service, measures: Measures) -> None:
    def given(answer: Answer) -> Response:
        measures.answer(answer)
        return _json(answer)

    # the hot path: parameters that FastAPI reads would cost more than the slate
    @app.get("/v1/users/{user_id:path}/recommendations", tags=["slates"], **_says(Answer, 422, parameters=_SLATE_PARAMETERS))
    async def recommendations(request: Request) -> Response:
        """The newest slate of a user, from the store; popular items where there is none. It asks nobody and teaches nothing."""
        asked = _WHOLE if not request.scope["query_string"] else _slate_query(request)
        return given(service.recommendations(request.path_params["user_id"].strip(), k=asked.k, explain=asked.explain))

    @app.get("/v1/users/{user_id:path}/because/{item_id:path}", tags=["slates"], **_says(Because, 404))
    async def because(user_id: UserId, item_id: ItemId) -> Response:
        """Why an item stands in the user's stored slate, with the titles of the user's own items that caused it."""
        found = service.because(user_id.strip(), item_id.strip())
        if found is None:
            raise HTTPException(404, "this item does not stand in the stored slate of this user")
        return _json(found)

    @app.post("/v1/recommendations", tags=["slates"], **_says(Answer, 422, takes=Question))
    async def fresh(request: Request) -> Response:
        """A slate that the job makes now, for this context; what is at hand, marked `stale`, where none comes in time."""
        question = _read(_decode_question, await request.body())
        now_ms = time.time_ns() // 1_000_000
        asked = RequestRecord(
            request_id=new_id() if question.request_id is None else question.request_id,
            user_id=question.user_id,
            event_time_ms=now_ms,
            k=question.k,
            context=question.context,
            text=question.text,
            restrict=question.restrict,
            exclude=question.exclude,
            seed_items=question.seed_items,
            after_event_id=question.after_event_id,
            sent_at_ms=now_ms,
            trace=question.trace,
        )
        return given(await service.ask(asked, deadline_ms=question.deadline_ms, explain=question.explain))


def _add_events(app: FastAPI, service: Service, measures: Measures) -> None:
    most = service.configuration.serving.max_batch
    one_or_many = {"oneOf": [_ref(EventRecord), {"type": "array", "items": _ref(EventRecord), "maxItems": most}]}

    @app.post("/v1/events", status_code=202, tags=["events"], **_says(SentEvents, 422, 503, status=202, takes=one_or_many))
    async def events(request: Request) -> Response:
        """Send one event or many. 202: all are good and Kafka has them. 422: some are not, as `results` says; the others it has."""
        raw = _split(await request.body())
        if len(raw) > most:
            return problem(413, f"{len(raw)} events in one request, at most {most} are accepted (serving.max_batch)")
        results = await service.send(raw, may_erase="admin" in scopes_of(request.scope))
        for result in results:
            measures.events.labels("accepted" if result.reason is None else result.reason).inc()
        refused = [result for result in results if not result.accepted]
        if refused:
            detail = f"{len(refused)} of {len(raw)} events are refused; first, event {refused[0].index}: {refused[0].detail}"
            return problem(422, detail, reason=refused[0].reason, results=results)
        return _json(SentEvents(accepted=len(results), results=results), 202)

    @app.delete("/v1/users/{user_id:path}", status_code=202, tags=["events"], **_says(Erasure, 422, 503, status=202))
    async def erase(user_id: UserId) -> Response:
        """Erase a user: the store forgets them now, the job as soon as it reads of it. The topics keep what they hold until retention."""
        return _json(await service.erase(user_id), 202)


def _add_items(app: FastAPI, service: Service) -> None:
    @app.get("/v1/items/{item_id:path}/similar", tags=["items"], **_says(SimilarItems, 404))
    async def similar(item_id: ItemId, k: Annotated[int, Query(ge=1, le=100)] = 10) -> Response:
        """Items that people have before and after this one, the closest first."""
        found = service.similar(item_id.strip(), k)
        if found is None:
            raise HTTPException(404, "nothing is known of this item")
        return _json(found)


def _add_controls(app: FastAPI, service: Service) -> None:
    @app.get("/v1/controls", tags=["controls"], **_says(Controls))
    async def controls() -> Response:
        """All rules by name, and whether the job keeps them."""
        return _json(Controls(controls=service.controls()))

    @app.get("/v1/controls/{name:path}", tags=["controls"], **_says(Control, 404))
    async def control(name: RuleName) -> Response:
        """One rule."""
        found = service.controls().get(name)
        if found is None:
            raise HTTPException(404, f"there is no rule {name!r}")
        return _json(found)

    any_rule = {"type": "object", "description": "What a rule of this kind takes: docs/controls.md, conf/schemas/controls.json."}

    @app.put("/v1/controls/{name:path}", tags=["controls"], **_says(Control, 422, 503, takes=any_rule))
    async def put_control(request: Request, name: RuleName) -> Response:
        """Let a rule hold, in place of the one of this name. `in_force` says whether the job has confirmed it; it does within a second."""
        return _json(await service.put_control(name, await request.body()))

    @app.delete("/v1/controls/{name:path}", tags=["controls"], **_says(Control, 422, 503))
    async def delete_control(name: RuleName) -> Response:
        """Take a rule back; taking back one that is not there does nothing."""
        return _json(await service.put_control(name, None))


def _add_operations(app: FastAPI, service: Service, measures: Measures) -> None:
    alive = Response(b'{"alive":true}', media_type=_JSON)

    @app.get("/healthz", tags=["operations"], response_class=Response)
    async def healthz() -> Response:
        """Whether the process answers."""
        return alive

    @app.get("/readyz", tags=["operations"], **_says(Readiness))
    async def readyz() -> Response:
        """Whether it has read what the topics hold and can take events; 503 while not. Slates are given in either case."""
        ready = service.ready()
        return _json(ready, 200 if ready.ready else 503)

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(measures.registry), media_type=CONTENT_TYPE_LATEST)


def _split(body: bytes) -> list[bytes]:
    """The bytes of each event of a body, exactly as they came."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body]
    return [bytes(raw) for raw in _read(_decode_list, body)]


def _read(decode: Any, body: bytes) -> Any:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise Rejected(Refusal.WRONG_TYPE, str(error)) from None
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise HTTPException(400, f"the body is not JSON in UTF-8: {error}") from None
    except RecursionError:
        raise HTTPException(400, "the body is nested too deeply") from None


def _json(value: Struct, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type=_JSON)


# ---------------------------------------------------------------------------------------------------- what /docs says


def _ref(of: type[Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{of.__name__}"}


def _says(
    of: type[Struct], *problems: int, status: int = 200, takes: Any = None, parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Arguments of a route: what it answers with, which problems it may have, and what body it takes."""
    taken = takes if takes is None or isinstance(takes, dict) else _ref(takes)
    body: dict[str, Any] = {} if parameters is None else {"parameters": parameters}
    body |= {} if taken is None else {"requestBody": {"required": True, "content": {_JSON: {"schema": taken}}}}
    responses: dict[int, Any] = {
        status: {"description": (of.__doc__ or "").split("\n")[0], "content": {_JSON: {"schema": _ref(of)}}}
    } | {
        code: {"description": "Refused", "content": {MEDIA_TYPE: {"schema": _ref(Problem)}}}
        for code in (*problems, 401, 403, 429)
    }
    return {"response_class": Response, "responses": responses, "openapi_extra": body}


def _documented(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, components = msgspec.json.schema_components(_SCHEMAS, ref_template="#/components/schemas/{name}")
    all_components = schema.setdefault("components", {})
    all_components.setdefault("schemas", {}).update(components)
    all_components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"token": []}]
    return schema
