"""The log of a process of our own outside Flink: Python's logging, in the lines of `models.log_lines`."""

from __future__ import annotations

import logging
import traceback

from models.log_lines import log_line

_LEVELS = {logging.WARNING: "WARN", logging.CRITICAL: "ERROR"}
_OWN = frozenset(logging.makeLogRecord({}).__dict__)


class JsonFormatter(logging.Formatter):
    """A record as one line; what was given as ``extra`` stands beside the message.

    Examples
    --------
    >>> record = logging.makeLogRecord({"name": "serving", "levelname": "INFO", "msg": "erased", "created": 0, "user_id": "u1"})
    >>> JsonFormatter().format(record)
    '{"time":"1970-01-01T00:00:00.000Z","level":"INFO","logger":"serving","message":"erased","user_id":"u1"}'
    """

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in record.__dict__.items() if name not in _OWN}
        if record.exc_info:
            extra["error"] = "".join(traceback.format_exception(*record.exc_info))
        level = _LEVELS.get(record.levelno, record.levelname)
        return log_line(int(record.created * 1000), level, logger=record.name, message=record.getMessage(), **extra)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Let everything that is logged in this process be such lines on the standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # a client says at INFO what each connection does
    for chatty in ("kafka", "httpx"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))
