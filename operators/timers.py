"""Timers of a keyed broadcast function that yield to side outputs, which PyFlink 2.3.0 forgets in thread mode.

What `process_element` yields goes through a function that sends tagged values to their side outputs. What `on_timer` yields does not
(`extract_process_function` in pyflink/fn_execution/datastream/embedded/operations.py, of the function type
KEYED_CO_BROADCAST_PROCESS; the other types are right): tag and value reach the main output, whose serializer then fails the job.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

_OPERATIONS = "pyflink.fn_execution.datastream.embedded.operations"


def let_timers_yield_side_outputs() -> None:
    """Send what `on_timer` yields through that function as well; called from `open` of a keyed broadcast function.

    Raises
    ------
    RuntimeError
        When this PyFlink is another than the one whose fault this mends.
    """
    operations = sys.modules.get(_OPERATIONS)
    if operations is None:  # no JVM around us, as in a test of the operator
        return
    operation = _caller_of_type(sys._getframe(1), operations.TwoInputOperation)
    if operation is None:
        raise RuntimeError(f"no {_OPERATIONS}.TwoInputOperation opens this function: see operators/timers.py")
    process_element = operation._process_element_func1
    captured = dict(zip(process_element.__code__.co_freevars, process_element.__closure__, strict=True))
    if "process_func" not in captured:
        raise RuntimeError(f"{_OPERATIONS} has no process_func any more: see operators/timers.py")
    process_func, on_timer = captured["process_func"].cell_contents, operation._on_timer_func
    operation._on_timer_func = lambda timestamp: process_func(on_timer(timestamp))


def _caller_of_type(frame: FrameType | None, wanted: type) -> Any:
    while frame is not None:
        found = frame.f_locals.get("self")
        if isinstance(found, wanted):
            return found
        frame = frame.f_back
    return None
