"""Slates taken apart, as they arrive on `traces`, and who waits for one of them."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict

from models.traces import Trace

TRACES = 200
"""So many are kept."""


class Traces:
    """Keeps the newest traces; a thread puts them, pages wait for them."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._waiting: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Trace]]]] = {}
        self._lock = threading.Lock()

    def put(self, trace: Trace) -> None:
        """Take one record of `traces`."""
        with self._lock:
            self._traces[trace.slate_id] = trace
            self._traces.move_to_end(trace.slate_id)
            if len(self._traces) > TRACES:
                self._traces.popitem(last=False)
            waiting = self._waiting.pop(trace.slate_id, [])
        for loop, future in waiting:
            loop.call_soon_threadsafe(_give, future, trace)

    def newest(self, user_id: str | None = None, *, most: int = 20) -> list[Trace]:
        """The newest first, of one user or of all."""
        with self._lock:
            traces = list(self._traces.values())
        return [trace for trace in reversed(traces) if user_id in (None, trace.user_id)][:most]

    async def wait_for(self, slate_id: str, *, timeout_s: float) -> Trace | None:
        """The trace of a slate, as soon as it is there; None when time is up."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Trace] = loop.create_future()
        with self._lock:
            if slate_id in self._traces:
                return self._traces[slate_id]
            self._waiting.setdefault(slate_id, []).append((loop, future))
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                left = [pair for pair in self._waiting.get(slate_id, []) if pair[1] is not future]
                if left:
                    self._waiting[slate_id] = left
                else:
                    self._waiting.pop(slate_id, None)


def _give(future: asyncio.Future[Trace], trace: Trace) -> None:
    if not future.done():
        future.set_result(trace)
