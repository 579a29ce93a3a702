"""What an operator sees of Flink, in memory: keyed state, timers and contexts. No JVM, no clock of its own.

A `FakeBackend` is what a checkpoint would hold; `FakeBackend.checkpoint` copies it, and a new operator opened on the
copy is an operator after a restore.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor

NO_WATERMARK_MS = -(2**63)


class FakeBackend:
    """The keyed state and the timers of one operator.

    Attributes
    ----------
    cells : value of each (state name, key); only what `pickle` of plain bytes can hold is let in
    timers, event_timers : (time, key) of the registered timers of processing time, and of event time
    registrations : all calls that registered a timer, also repeated ones
    descriptors : by state name
    counts : of the Flink counters that the operator raises itself
    told, gauges : counters and gauges of `operators.metrics`, as far as Flink was told
    key, now_ms, watermark_ms : what the operator sees while it processes one element
    """

    def __init__(self) -> None:
        self.cells: dict[tuple[str, Any], Any] = {}
        self.timers: set[tuple[int, Any]] = set()
        self.event_timers: set[tuple[int, Any]] = set()
        self.registrations: list[tuple[int, Any]] = []
        self.descriptors: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.gauges: dict[str, int] = {}
        self.key: Any = None
        self.now_ms = 0
        self.watermark_ms = NO_WATERMARK_MS

    def checkpoint(self) -> FakeBackend:
        """A copy of what a checkpoint holds at this moment."""
        copied = FakeBackend()
        copied.cells = copy.deepcopy(self.cells)
        copied.timers, copied.event_timers = set(self.timers), set(self.event_timers)
        copied.now_ms, copied.watermark_ms = self.now_ms, self.watermark_ms
        return copied


class FakeState:
    """The cell of one state under the backend's current key."""

    def __init__(self, backend: FakeBackend, name: str) -> None:
        self._backend, self._name = backend, name

    def _get(self, default: Any) -> Any:
        return self._backend.cells.get((self._name, self._backend.key), default)

    def _set(self, value: Any) -> None:
        self._backend.cells[self._name, self._backend.key] = value

    def clear(self) -> None:
        self._backend.cells.pop((self._name, self._backend.key), None)


class FakeValueState(FakeState):
    def value(self) -> bytes | None:
        return self._get(None)

    def update(self, value: bytes) -> None:
        self._set(_only_bytes(value))


class FakeListState(FakeState):
    def get(self) -> Iterable[bytes]:
        return list(self._get([]))

    def add(self, value: bytes) -> None:
        self._set([*self._get([]), _only_bytes(value)])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.get())


class FakeMapState(FakeState):
    def get(self, key: str) -> bytes | None:
        return self._get({}).get(key)

    def put(self, key: str, value: bytes) -> None:
        self._set({**self._get({}), key: _only_bytes(value)})

    def remove(self, key: str) -> None:
        self._set({kept: value for kept, value in self._get({}).items() if kept != key})

    def items(self) -> Iterable[tuple[str, bytes]]:
        return iter(list(self._get({}).items()))


def _only_bytes(value: Any) -> bytes:
    # In state, pickle would take anything; the design allows versioned bytes only.
    assert type(value) is bytes, f"only bytes go into state, got {type(value)}"
    return value


class FakeCounter:
    """One counter of the operator's metrics."""

    def __init__(self, counts: Counter[str], name: str) -> None:
        self._counts, self._name = counts, name

    def inc(self, n: int = 1) -> None:
        self._counts[self._name] += n


class FakeGauge:
    """One distribution of the operator's metrics: in thread mode a number that is set."""

    def __init__(self, gauges: dict[str, int], name: str) -> None:
        self._gauges, self._name = gauges, name

    def update(self, value: int) -> None:
        self._gauges[self._name] = value


class FakeMetricGroup:
    """The operator's metrics, by dotted name; a label stands as ``key=value`` where Prometheus has it beside the name."""

    def __init__(self, backend: FakeBackend, prefix: str = "") -> None:
        self._backend, self._prefix = backend, prefix

    def add_group(self, name: str, value: str | None = None) -> FakeMetricGroup:
        return FakeMetricGroup(self._backend, f"{self._prefix}{name}." if value is None else f"{self._prefix}{name}={value}.")

    def counter(self, name: str) -> FakeCounter:
        return FakeCounter(self._backend.told if self._prefix else self._backend.counts, self._prefix + name)

    def distribution(self, name: str) -> FakeGauge:
        return FakeGauge(self._backend.gauges, self._prefix + name)


class FakeRuntimeContext:
    """Hands out state that lives in a backend."""

    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def get_metrics_group(self) -> FakeMetricGroup:
        return FakeMetricGroup(self._backend)

    def get_state(self, descriptor: ValueStateDescriptor) -> FakeValueState:
        return FakeValueState(self._backend, self._registered(descriptor))

    def get_list_state(self, descriptor: ListStateDescriptor) -> FakeListState:
        return FakeListState(self._backend, self._registered(descriptor))

    def get_map_state(self, descriptor: MapStateDescriptor) -> FakeMapState:
        return FakeMapState(self._backend, self._registered(descriptor))

    def _registered(self, descriptor: Any) -> str:
        assert descriptor.name not in self._backend.descriptors, "two states of one name"
        self._backend.descriptors[descriptor.name] = descriptor
        return descriptor.name


class FakeContext:
    """The context and timer service of one element."""

    def __init__(self, backend: FakeBackend) -> None:
        self._backend = backend

    def get_current_key(self) -> Any:
        return self._backend.key

    def timer_service(self) -> FakeContext:
        return self

    def current_watermark(self) -> int:
        return self._backend.watermark_ms

    def current_processing_time(self) -> int:
        return self._backend.now_ms

    def register_processing_time_timer(self, time_ms: int) -> None:
        self._backend.registrations.append((time_ms, self._backend.key))
        self._backend.timers.add((time_ms, self._backend.key))

    def register_event_time_timer(self, time_ms: int) -> None:
        self._backend.event_timers.add((time_ms, self._backend.key))


class Running:
    """An operator opened on a backend, driven by hand.

    Parameters
    ----------
    operator : a keyed process function, or one with a broadcast side
    backend : its state; empty for a fresh start, a checkpoint of another for a restore
    """

    def __init__(self, operator: Any, backend: FakeBackend | None = None) -> None:
        self.operator = operator
        self.backend = FakeBackend() if backend is None else backend
        self._context = FakeContext(self.backend)
        # the thread that runs the tests goes on as before
        with patch("operators.recommend.prefer_this_thread"):
            operator.open(FakeRuntimeContext(self.backend))

    def send(self, key: Any, value: Any) -> list[Any]:
        """Process one element; all that it yielded."""
        self.backend.key = key
        return list(self.operator.process_element(value, self._context) or ())

    def broadcast(self, value: Any) -> list[Any]:
        """Process one broadcast element; all that it yielded."""
        self.backend.key = None
        return list(self.operator.process_broadcast_element(value, self._context) or ())

    def fire_timers(self, until_ms: int) -> list[Any]:
        """Let processing time pass; all that the due timers yielded, in time order."""
        self.backend.now_ms = until_ms
        yielded: list[Any] = []
        for time_ms, key in sorted(self.backend.timers):
            if time_ms <= until_ms:
                self.backend.timers.discard((time_ms, key))
                self.backend.key = key
                yielded += self.operator.on_timer(time_ms, self._context) or ()
        return yielded

    def advance_watermark(self, watermark_ms: int) -> list[Any]:
        """Let event time pass; all that the due timers yielded, in time order."""
        self.backend.watermark_ms = watermark_ms
        yielded: list[Any] = []
        while due := [timer for timer in self.backend.event_timers if timer[0] <= watermark_ms]:
            time_ms, key = min(due)
            self.backend.event_timers.discard((time_ms, key))
            self.backend.key = key
            yielded += self.operator.on_timer(time_ms, self._context) or ()
        return yielded
