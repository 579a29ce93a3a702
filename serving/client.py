"""A client of the HTTP API.

    from serving.client import Client

    with Client("http://localhost:8080", token="...") as shop:
        shop.send({"user_id": "ann", "item_id": "i7", "type": "click"})
        for item in shop.recommend("ann", k=5).items:
            print(item.title or item.item_id)
        for item in shop.fresh("ann", text="red shoes", restrict=["i1", "i2", "i3"]).items:
            print(item.title or item.item_id)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from serving.answers import (
    Answer,
    Because,
    Control,
    Controls,
    Erasure,
    EventResult,
    Problem,
    Readiness,
    SentEvents,
    SimilarItems,
)

_TIMEOUT_S = 10.0
_Of = TypeVar("_Of")


class Refused(Exception):
    """The service has refused a request.

    Attributes
    ----------
    problem : what it said
    results : what became of each event, where some were refused
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.results = msgspec.convert(problem.results or [], list[EventResult])


class Client:
    """Asks a `flinkrec serve`.

    Parameters
    ----------
    address : of the service, such as ``http://localhost:8080``
    token : where it asks for one
    transport : how requests travel, as httpx understands it
    """

    def __init__(self, address: str, *, token: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=_TIMEOUT_S, transport=transport)

    def send(self, *events: Mapping[str, Any]) -> list[EventResult]:
        """Send events; when it returns, Kafka has them.

        Parameters
        ----------
        events : fields of an event; without event_id, event_time_ms or sent_at_ms they get a new id and the time of now

        Raises
        ------
        Refused
            When one of them is not good: `results` says which. The others were sent.
        """
        now_ms = time.time_ns() // 1_000_000
        filled = [{"event_id": uuid.uuid4().hex, "event_time_ms": now_ms, "sent_at_ms": now_ms} | dict(event) for event in events]
        return self._ask("POST", "/v1/events", SentEvents, filled).results

    def recommend(self, user_id: str, *, k: int | None = None, explain: bool = False) -> Answer:
        """The newest slate of a user."""
        parameters = {"explain": explain} if k is None else {"explain": explain, "k": k}
        return self._ask("GET", f"/v1/users/{_in_path(user_id)}/recommendations", Answer, parameters=parameters)

    def fresh(
        self,
        user_id: str,
        *,
        k: int | None = None,
        context: Mapping[str, Any] | None = None,
        text: str | None = None,
        restrict: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        seed_items: Iterable[str] | None = None,
        after_event_id: str | None = None,
        trace: bool = False,
        explain: bool = False,
        deadline_ms: int | None = None,
    ) -> Answer:
        """A slate that is made now; what is at hand, `stale`, where none comes in time (docs/serving.md has the parameters)."""
        question = {
            "user_id": user_id,
            "k": k,
            "context": None if context is None else dict(context),
            "text": text,
            "restrict": None if restrict is None else list(restrict),
            "exclude": None if exclude is None else list(exclude),
            "seed_items": None if seed_items is None else list(seed_items),
            "after_event_id": after_event_id,
            "trace": trace,
            "explain": explain,
            "deadline_ms": deadline_ms,
        }
        return self._ask("POST", "/v1/recommendations", Answer, question)

    def similar(self, item_id: str, *, k: int = 10) -> SimilarItems:
        """Items that go with one."""
        return self._ask("GET", f"/v1/items/{_in_path(item_id)}/similar", SimilarItems, parameters={"k": k})

    def because(self, user_id: str, item_id: str) -> Because:
        """Why an item stands in the stored slate of a user."""
        return self._ask("GET", f"/v1/users/{_in_path(user_id)}/because/{_in_path(item_id)}", Because)

    def erase(self, user_id: str) -> Erasure:
        """Erase a user."""
        return self._ask("DELETE", f"/v1/users/{_in_path(user_id)}", Erasure)

    def controls(self) -> dict[str, Control]:
        """All rules by name."""
        return self._ask("GET", "/v1/controls", Controls).controls

    def put_control(self, name: str, rule: Any) -> Control:
        """Let a rule hold; None takes it back."""
        path = f"/v1/controls/{_in_path(name)}"
        return self._ask("DELETE", path, Control) if rule is None else self._ask("PUT", path, Control, rule)

    def ready(self) -> Readiness:
        """How the service is."""
        response = self._http.get("/readyz")
        return msgspec.json.decode(response.content, type=Readiness)

    def _ask(
        self, method: str, path: str, of: type[_Of], body: Any = None, *, parameters: Mapping[str, Any] | None = None
    ) -> _Of:
        content = None if body is None else msgspec.json.encode(body)
        response = self._http.request(method, path, content=content, params=parameters)
        if response.is_success:
            return msgspec.json.decode(response.content, type=of)
        try:
            raise Refused(msgspec.json.decode(response.content, type=Problem))
        except msgspec.MsgspecError:
            # something between here and the service answered
            response.raise_for_status()
            raise

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _in_path(text: str) -> str:
    quoted = quote(text, safe="")
    # a path of dots alone would be another path
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted
