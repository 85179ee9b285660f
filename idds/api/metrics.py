"""Metrics: of the service, and of this process and its API."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from prometheus_client import Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from idds.api.listening import Listeners
from idds.api.route import Call, Caller, Route
from idds.runtime.metrics import CONTENT_TYPE, Metrics

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Latencies:
    """How long calls take. Streams are not among them: they take as long as somebody listens."""

    def __init__(self, metrics: Metrics) -> None:
        self._seconds = Histogram(
            "idds_http_request_seconds",
            "Calls of the API by route and status; a lease that waits counts as long as it waits.",
            ("route", "status"),
            buckets=_BUCKETS,
            registry=metrics.registry,
        )
        self._of_route: dict[tuple[str, int], Histogram] = {}
        self._under_way = Gauge(
            "idds_http_requests_in_progress", "Calls under way, streams too.", registry=metrics.registry
        )

    @contextmanager
    def under_way(self) -> Iterator[None]:
        self._under_way.inc()
        try:
            yield
        finally:
            self._under_way.dec()

    def note(self, route: str, status: int, begun: float) -> None:
        """That a call has been answered that `begun` (of `time.perf_counter`)."""
        of_route = self._of_route.get((route, status))
        if of_route is None:
            of_route = self._of_route[route, status] = self._seconds.labels(route, str(status))
        of_route.observe(time.perf_counter() - begun)


class Streams(Collector):
    """Streams of events in this process."""

    def __init__(self, listeners: Listeners) -> None:
        self._listeners = listeners

    def collect(self) -> Iterator[Metric]:
        tally = self._listeners.tally
        yield GaugeMetricFamily("idds_event_streams", "Streams of events that are open.", self._listeners.open)
        yield CounterMetricFamily("idds_event_streams_opened", "Streams that were opened.", tally.opened)
        yield CounterMetricFamily(
            "idds_event_streams_dropped", "Streams that were cut off because nobody read them.", tally.dropped
        )
        yield CounterMetricFamily("idds_events_told", "Events that were told to who listens.", tally.told)


async def metrics(call: Call[None, None]) -> web.Response:
    return web.Response(body=await call.metrics.render(), headers={"Content-Type": CONTENT_TYPE})


ROUTES = (
    Route(
        "GET",
        "/metrics",
        "metrics",
        "What waits, what is under way, and how long it takes, for Prometheus",
        Caller.HOUSE,
        metrics,
        also="text/plain",
    ),
)
