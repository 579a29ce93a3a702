"""What operators log: the lines of `models.log_lines`, into the log of the TaskManager that they run in.

Inside the JVM a line goes to Flink's own logging (slf4j), to a logger of a name that Flink's configuration can send elsewhere or to another
level: Python's logging ends there as well, but under a name for each line of source. Where there is no JVM, as in a test, it goes to
Python's logging.

The level is read when the operator opens. DEBUG has one line for every slate and every closed slate, INFO what happens now and then,
WARN what somebody should look at; a producer that sends nothing but refuse gets one line of each reason every ten seconds.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from models.log_lines import log_line

_LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING}


class Log:
    """The log of one operator; made in `open`.

    Parameters
    ----------
    name : such as ``recommend``; the logger is ``flinkrec.NAME``

    Attributes
    ----------
    debugs : whether DEBUG is on; whoever has a line for each event asks first
    """

    def __init__(self, name: str) -> None:
        self._name = f"flinkrec.{name}"
        self._python = logging.getLogger(self._name)
        self.debugs = self._python.isEnabledFor(logging.DEBUG)
        self._java = None
        try:
            from pemja import findClass
        except ImportError:  # there is no JVM around us: what it imports is a part of the JVM's own interpreter
            return
        self.debugs = bool(findClass("org.slf4j.LoggerFactory").getLogger(self._name).isDebugEnabled())
        # slf4j's own methods have variants for any number of arguments, among which pemja takes the wrong one
        self._java = findClass("pemja.core.log.PythonLogWriter")()

    def debug(self, message: str, **fields: Any) -> None:
        """One of many lines; ask `debugs` first."""
        self._write("DEBUG", message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """What happens now and then."""
        self._write("INFO", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        """What somebody should look at."""
        self._write("WARN", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        line = log_line(time.time_ns() // 1_000_000, level, logger=self._name, message=message, **fields)
        if self._java is None:
            self._python.log(_LEVELS[level], line)
        else:
            self._java.log(self._name, level, line, None)
