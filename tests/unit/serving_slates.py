"""Slates, and an application without brokers, for the tests of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec

from models.config import Configuration
from models.topics import Recommendation, RecommendedItem, Timings
from models.validation import parse_configuration
from serving.app import make_app
from serving.brokers import NotAcknowledged, Record
from serving.service import Service
from serving.store import SlateRecord

NOW_MS = 1_700_000_000_000
NOBODY = "localhost:1"
"""Where no broker is."""


def slate(user_id: str = "ann", *, seq: int = 1, items: tuple[str, ...] = ("a", "b", "c"), **fields: Any) -> Recommendation:
    """A slate of these items."""
    given: dict[str, Any] = {
        "slate_id": f"{user_id}-{seq}",
        "revision": "r",
        "seq": seq,
        "user_id": user_id,
        "event_id": f"e{seq}",
        "event_time_ms": NOW_MS,
        "items": [
            RecommendedItem(item_id=item, position=place, score=1 / place, sources=["popularity"], title=f"Title of {item}")
            for place, item in enumerate(items, 1)
        ],
        "policy": "epsilon_greedy",
        "action": "exploit",
        "action_probability": 1.0,
        "versions": {},
        "timings": Timings(received_at_ms=NOW_MS, emitted_at_ms=NOW_MS, compute_us=1),
    }
    return Recommendation(**given | fields)


def record(of: Recommendation, *, at_ms: int = NOW_MS) -> SlateRecord:
    """The record of a slate as a follower hands it to the store."""
    return SlateRecord(of.user_id, of.seq, of.erased, at_ms, msgspec.json.encode(of))


class Brokers:
    """In place of the sender of a service: keeps what is sent, or acknowledges nothing."""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.answer = True

    async def send(self, records: list[Record]) -> None:
        if records and not self.answer:
            raise NotAcknowledged("no broker answers")
        self.sent += records


class Api:
    """An application that is called in this process, with a store of its own.

    Parameters
    ----------
    directory : of the store
    environment : where tokens are looked up
    serving : values of the section
    """

    def __init__(self, directory: Path, *, environment: dict[str, str] | None = None, **serving: Any) -> None:
        mapping = {"kafka": {"bootstrap_servers": NOBODY}, "serving": serving}
        self.config: Configuration = parse_configuration(mapping, "the test")
        self.service = Service(self.config, directory)
        self.brokers = Brokers()
        self.service._sender = self.brokers  # type: ignore[assignment]
        self._app = make_app(self.service, self.config, environment=environment or {})

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request."""
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **more)

    def close(self) -> None:
        self.service.store.close()
