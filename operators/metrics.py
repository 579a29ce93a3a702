"""Flink metrics that cost the event path next to nothing.

A call from Python into the JVM costs about 2 us, an addition of two Python numbers a fortieth of that. So numbers gather here, in Python,
and are told to Flink together, at most every `TELL_EVERY_MS`, by the task's own thread when it handles an element. What an element
brings after which none comes for a while is told with the next one.

That thread must do it: PyFlink's gauges of a Python function are called by whatever thread of the JVM reports, which runs Python in the
interpreter state of a task that is in the middle of something else. A gauge here is PyFlink's *distribution*, which in thread mode
is a number in the JVM that is set from Python.

Names in Prometheus begin with ``flink_taskmanager_job_task_operator_flinkrec_``. There follows of a counter ``NAME_total``, or
``NAME_LABEL_total`` where it has a label; of a gauge ``NAME``, or ``NAME_LABEL_value``; of a histogram ``NAME_le_bucket``, ``NAME_sum``
and ``NAME_count``. Flink counts in whole numbers, hence units such as milliseconds and parts per million.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from pyflink.metrics import MetricGroup

GROUP = "flinkrec"
TELL_EVERY_MS = 100


class _Told(Protocol):
    def tell(self) -> None:
        """Let Flink know what has changed."""


class Counter:
    """A number that only rises; `n` is raised in place, where every microsecond counts."""

    __slots__ = ("_counter", "_told", "n")

    def __init__(self, group: MetricGroup, name: str) -> None:
        self._counter = group.counter(name)
        self.n = self._told = 0

    def tell(self) -> None:
        if self.n != self._told:
            self._counter.inc(self.n - self._told)
            self._told = self.n


class Gauge:
    """A number that is set; Flink has 0 before the first time."""

    __slots__ = ("_gauge", "_told", "value")

    def __init__(self, group: MetricGroup, name: str) -> None:
        self._gauge = group.distribution(name)
        self.value = self._told = 0

    def tell(self) -> None:
        if self.value != self._told:
            self._gauge.update(self.value)
            self._told = self.value


class Histogram:
    """Counts of values up to each of some bounds, as Prometheus wants them: each holds those of the bounds below it."""

    __slots__ = ("_bounds", "_buckets", "_count", "_new", "_sum")

    def __init__(self, group: MetricGroup, bounds: Sequence[int]) -> None:
        self._bounds = tuple(bounds)
        labels = (*map(str, self._bounds), "+Inf")
        self._buckets = [Counter(group.add_group("le", label), "bucket") for label in labels]
        self._sum, self._count = Counter(group, "sum"), Counter(group, "count")
        self._new = [0] * len(labels)

    def observe(self, value: int) -> None:
        """Count a value; one on a bound belongs to it."""
        self._new[bisect_left(self._bounds, value)] += 1
        self._sum.n += value
        self._count.n += 1

    def tell(self) -> None:
        below = 0
        for place, bucket in enumerate(self._buckets):
            below += self._new[place]
            self._new[place] = 0
            bucket.n += below
            bucket.tell()
        self._sum.tell()
        self._count.tell()


class Metrics:
    """The metrics of one operator.

    Parameters
    ----------
    group : of the operator; all names are put under `GROUP`
    """

    def __init__(self, group: MetricGroup) -> None:
        self._group = group.add_group(GROUP)
        self._all: list[_Told] = []
        self._due_ns = 0

    def counter(self, name: str, **label: str) -> Counter:
        """A counter, of one value of a label where one is given."""
        counter = Counter(self._labelled(name, **label), "total") if label else Counter(self._group, f"{name}_total")
        self._all.append(counter)
        return counter

    def gauge(self, name: str, **label: str) -> Gauge:
        """A gauge, of one value of a label where one is given."""
        gauge = Gauge(self._labelled(name, **label), "value") if label else Gauge(self._group, name)
        self._all.append(gauge)
        return gauge

    def histogram(self, name: str, bounds: Sequence[int]) -> Histogram:
        """A histogram with these upper bounds, rising, and one without a bound."""
        histogram = Histogram(self._group.add_group(name), bounds)
        self._all.append(histogram)
        return histogram

    def _labelled(self, name: str, **label: str) -> MetricGroup:
        [(key, value)] = label.items()
        return self._group.add_group(name).add_group(key, value)

    def is_due(self) -> bool:
        """Whether `tell` should be called."""
        return time.monotonic_ns() >= self._due_ns

    def hasten(self) -> None:
        """Let `tell` be due now: what has just changed may be the last for long."""
        self._due_ns = 0

    def tell(self) -> None:
        """Let Flink know all numbers that have changed."""
        self._due_ns = time.monotonic_ns() + 1_000_000 * TELL_EVERY_MS
        for metric in self._all:
            metric.tell()
