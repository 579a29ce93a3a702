"""Requests: who asks for a slate without having done anything. The schema of the `requests` topic, and its cleaning.

A request is answered with a slate on `recommendations`, as an event is, but teaches nothing: no profile, no pair, no example.

Some wait for an event first. Layout of those of one user, version 2 (1 had no ``seed_items``): ``version u8 | MessagePack``, an array of
    arrays of (``due_ms`` processing time at which it is answered in any case, ``received_ms``, ``after`` i64 hash of the id of the
    event, the request as a map of `Request`'s fields), in the order in which they came
Size bound: `MAX_WAITING` * events.max_record_bytes, for requests.wait_ms.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from models import config
from models.events import Context, GivenMilliseconds, RecordCleaner, whole
from models.layouts import require_version

MAX_K = 100
MAX_LISTED_ITEMS = 1_000
"""At most so many items may be named in `restrict`, in `exclude` or in `seed_items`."""

MAX_WAITING = 8
"""Requests of one user that may wait for events."""

WAITING_VERSION = 2

_Places = Annotated[int | float, Meta(extra_json_schema={"type": "integer", "minimum": 1, "maximum": MAX_K})]
_ItemIds = Annotated[list[str | int], Meta(max_length=MAX_LISTED_ITEMS)]


class RequestRecord(Struct, frozen=True, kw_only=True, gc=False):
    """The value of one record of the `requests` topic, as producers may send it.

    Attributes
    ----------
    request_id : the answer names it. The same id of the same user names the same slate
    user_id : who asks, or is asked for; also the key of the record
    event_time_ms : when, milliseconds since 1970
    k : items that are wanted, slate.k of the configuration when missing
    context : the circumstances, one level deep
    text : words that came with it, such as a search
    restrict : the only items that may be shown, also those that no source brings
    exclude : items that must not be shown
    seed_items : what the slate goes on from instead of the user's own last items, the latest last: a playlist, a basket
    after_event_id : an event of this user that the answer is to know of; it waits for it for requests.wait_ms at most
    sent_at_ms : when the producer sent it, milliseconds since 1970, for latency
    trace : whether the slate that answers it is taken apart on the `traces` topic
    """

    request_id: str | int
    user_id: str | int
    event_time_ms: GivenMilliseconds
    k: _Places | None = None
    context: Context | None = None
    text: str | None = None
    restrict: _ItemIds | None = None
    exclude: _ItemIds | None = None
    seed_items: _ItemIds | None = None
    after_event_id: str | int | None = None
    sent_at_ms: GivenMilliseconds | None = None
    trace: bool = False


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """One cleaned request (fields: `RequestRecord`).

    Attributes
    ----------
    request_id, user_id, after_event_id : without control characters, at most events.max_id_bytes of UTF-8
    restrict, exclude, seed_items : ids of items, None where nothing is asked; an empty `restrict` lets nothing be shown
    """

    request_id: str
    user_id: str
    event_time_ms: int
    k: int | None = None
    context: Context | None = None
    text: str | None = None
    restrict: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None
    seed_items: tuple[str, ...] | None = None
    after_event_id: str | None = None
    sent_at_ms: int | None = None
    trace: bool = False

    @property
    def hidden(self) -> tuple[str, ...]:
        """What must not be shown: what is excluded, and what the slate goes on from."""
        return (*(self.exclude or ()), *(self.seed_items or ()))

    def is_plain(self, k: int) -> bool:
        """Whether it asks for what an event is answered with: `k` of all items, for what the user is known by."""
        return self.restrict is None and not self.hidden and self.k in (None, k)


class WaitingRequest(Struct, array_like=True, gc=False):
    """A request that waits for an event (fields: module docstring)."""

    due_ms: int
    received_ms: int
    after: int
    request: Request


_encode_waiting = msgspec.msgpack.Encoder().encode
_decode_waiting = msgspec.msgpack.Decoder(list[WaitingRequest]).decode


def encode_waiting(waiting: list[WaitingRequest]) -> bytes:
    """The packed bytes (layout: module docstring)."""
    return bytes((WAITING_VERSION,)) + _encode_waiting(waiting)


def decode_waiting(raw: bytes | None) -> list[WaitingRequest]:
    """The requests in `raw`, none where there is no state.

    Raises
    ------
    ValueError
        When the bytes are of another version.
    """
    if raw is None:
        return []
    require_version(raw, WAITING_VERSION, what="waiting requests", oldest=1)
    return _decode_waiting(memoryview(raw)[1:])


class RequestCleaner(RecordCleaner[RequestRecord]):
    """Decodes and checks the records of the `requests` topic.

    Parameters
    ----------
    events_config : section ``events`` of the configuration: its bounds hold for requests too

    Examples
    --------
    >>> cleaner = RequestCleaner(config.Events())
    >>> raw = b'{"request_id":"r1","user_id":7,"event_time_ms":1000,"k":3,"restrict":["i1",2]}'
    >>> request = cleaner.clean(raw, key="7", now_ms=1000, watermark_ms=0)
    >>> request.user_id, request.k, request.restrict
    ('7', 3, ('i1', '2'))
    """

    def __init__(self, events_config: config.Events) -> None:
        super().__init__(RequestRecord, events_config)

    def clean(self, raw: bytes | None, *, key: str | None, now_ms: int, watermark_ms: int) -> Request:
        """Turn one record into a request.

        Parameters
        ----------
        raw, key, now_ms, watermark_ms : as for `EventCleaner.clean`

        Raises
        ------
        Rejected
            When the record cannot be used. Nothing else is raised, whatever the bytes are.
        """
        record = self._decoded(raw)
        user_id = self._user_id(record.user_id, key=key)
        return Request(
            request_id=self._id("request_id", record.request_id),
            user_id=user_id,
            event_time_ms=self._event_time_ms(record.event_time_ms, now_ms=now_ms, watermark_ms=watermark_ms),
            k=None if record.k is None else whole("k", record.k, least=1, most=MAX_K),
            context=record.context,
            text=None if record.text is None else record.text.strip() or None,
            restrict=self._ids("restrict", record.restrict),
            exclude=self._ids("exclude", record.exclude),
            seed_items=self._ids("seed_items", record.seed_items),
            after_event_id=self._optional_id("after_event_id", record.after_event_id),
            sent_at_ms=None if record.sent_at_ms is None else whole("sent_at_ms", record.sent_at_ms),
            trace=record.trace,
        )

    def _ids(self, field: str, given: list[str | int] | None) -> tuple[str, ...] | None:
        return None if given is None else tuple([self._id(field, item_id) for item_id in given])
