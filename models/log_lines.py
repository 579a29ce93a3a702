"""The lines that the project's processes log: one JSON object each, the same everywhere, so that one search finds them all.

A line says when, how bad, who and what, and then whatever identifies the matter: ``slate_id``, ``user_id``, ``event_id``, ``topic``,
``key``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode
_TEXT_CHARACTERS = 1_024


def log_line(time_ms: int, level: str, *, logger: str, message: str, **fields: Any) -> str:
    """One line.

    Parameters
    ----------
    time_ms : since 1970
    level : DEBUG, INFO, WARN or ERROR
    logger : who says it, such as ``flinkrec.recommend``
    message : what happened, in words that do not change from one time to the next: numbers and ids are fields
    fields : those that are None are left out, texts are cut

    Examples
    --------
    >>> log_line(0, "INFO", logger="flinkrec.recommend", message="control accepted", key="epsilon", user_id=None)
    '{"time":"1970-01-01T00:00:00.000Z","level":"INFO","logger":"flinkrec.recommend","message":"control accepted","key":"epsilon"}'
    """
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    said = {name: _cut(value) for name, value in fields.items() if value is not None}
    return _encode({"time": time, "level": level, "logger": logger, "message": message} | said).decode()


def _cut(value: Any) -> Any:
    return _sayable(value)[:_TEXT_CHARACTERS] if isinstance(value, str) else value


def _sayable(text: str) -> str:
    """Without lone surrogates, which no JSON in UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


class Seldom:
    """Lets one line of a kind through now and then, and counts the others.

    Parameters
    ----------
    every_ms : between two lines of one kind
    """

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._said_ms: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def admit(self, kind: str, now_ms: int) -> int | None:
        """How many of this kind were left out since the last line; None where this one is to be left out, too."""
        said_ms = self._said_ms.get(kind)
        if said_ms is not None and now_ms - said_ms < self._every_ms:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        self._said_ms[kind] = now_ms
        return self._left_out.pop(kind, 0)
