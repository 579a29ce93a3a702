"""Figures of the service for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.answers import Answer, Source
from serving.service import Service

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """The registry, and what is counted at each request.

    Parameters
    ----------
    service : of which the state is shown

    Attributes
    ----------
    registry : what /metrics shows
    events : of POST /v1/events, by what became of them
    """

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_State(service))
        self._requests = Counter(
            "flinkrec_http_requests", "Requests by route and status.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "flinkrec_http_request_seconds",
            "Time from a request to the end of its response.",
            ("method", "route"),
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.events = Counter(
            "flinkrec_http_events", "Events by what became of them: accepted, or a reason.", ("result",), registry=self.registry
        )
        slates = Counter(
            "flinkrec_http_slates", "Slates given, by source and whether they were stale.", ("source", "stale"), registry=self.registry
        )
        self._slates = {
            (source, stale): slates.labels(source, str(stale).lower()) for source in get_args(Source) for stale in (False, True)
        }
        self._of_route: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answer(self, answer: Answer) -> None:
        """Count one slate."""
        self._slates[answer.source, answer.stale].inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, status)
        found = self._of_route.get(key)
        if found is None:
            found = self._of_route[key] = (self._requests.labels(method, route, str(status)), self._seconds.labels(method, route))
        found[0].inc()
        found[1].observe(seconds)


class _State(Collector):
    """What is looked up when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        ready = self._service.ready()
        for name, said, value in (
            ("flinkrec_serving_ready", "Whether /readyz says so.", ready.ready),
            ("flinkrec_serving_kafka_up", "Whether a broker answers.", ready.kafka == "up"),
            ("flinkrec_serving_job_running", "Whether Flink says that the job runs.", ready.job == "running"),
            ("flinkrec_serving_slates_lag", "Records of recommendations that are not in the store yet.", ready.slates_lag),
            ("flinkrec_serving_hidden_items", "Items withdrawn or excluded.", len(self._service.model.hidden)),
        ):
            yield GaugeMetricFamily(name, said, value=float(value))
        yield CounterMetricFamily(
            "flinkrec_serving_undecodable", "Records of recommendations that were none.", value=self._service.undecodable
        )


class Measured:
    """Pure ASGI middleware that measures each request by its route."""

    def __init__(self, app: ASGIApp, *, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", None)
            # a path that no route has is not a name: there is no end of them. Nor is an unknown method
            method = scope["method"] if route is not None else "any"
            self._measures.request(method, route or "none", status, time.perf_counter() - started)
