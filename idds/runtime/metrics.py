"""Metrics for Prometheus: what the database holds, and what this process does. Nothing of it is global.

Names and units are as https://prometheus.io/docs/practices/naming has them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from idds.domain.errors import Unavailable
from idds.domain.levels import Level, Levels
from idds.runtime.tallies import Tallies
from idds.services.metering import Metering

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[tuple[str, ...], float]


class Metrics:
    """All metrics of a process. Whoever has more to tell registers it with `registry`."""

    def __init__(self, metering: Metering, tallies: Tallies) -> None:
        self._metering = metering
        self.registry = CollectorRegistry()
        self.registry.register(_Process(tallies))
        ProcessCollector(registry=self.registry)

    async def render(self) -> bytes:
        """As Prometheus reads it. Without the database there is the rest."""
        try:
            levels = await self._metering.levels()
        except Unavailable:
            levels = None
        stored = CollectorRegistry()
        stored.register(Stored(levels))
        return generate_latest(stored) + generate_latest(self.registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Process(Collector):
    tallies: Tallies

    def collect(self) -> Iterator[Metric]:
        yield _gauge("idds_build_info", "Which version this is.", ("version",), [((version("idds-next"),), 1)])
        steps = SummaryMetricFamily(
            "idds_duty_step_seconds", "Steps of duties in this process, and how long they took.", labels=_DUTY
        )
        failures = CounterMetricFamily(
            "idds_duty_failures", "Steps of duties in this process that failed.", labels=_DUTY
        )
        did = CounterMetricFamily("idds_duty_done", "Things that duties in this process have done.", labels=_DUTY)
        for tally in self.tallies:
            labels = (tally.agent, tally.duty)
            steps.add_metric(labels, tally.steps, tally.seconds)
            failures.add_metric(labels, tally.failures)
            did.add_metric(labels, tally.did)
        yield from (steps, failures, did)


_DUTY = ("agent", "duty")


@dataclass(frozen=True, slots=True, eq=False)
class Stored(Collector):
    """What the database holds; None where it does not answer."""

    levels: Levels | None

    def collect(self) -> Iterator[Metric]:
        up = float(self.levels is not None)
        yield _gauge("idds_database_up", "Whether the database answers.", (), [((), up)])
        if self.levels is not None:
            yield from _of_requests(self.levels)
            yield from _of_contents(self.levels)
            yield from _of_files(self.levels)
            yield from _of_work(self.levels)


def _of_requests(levels: Levels) -> Iterator[Metric]:
    yield _gauge(
        "idds_requests",
        "Requests that have not ended.",
        ("status",),
        [((level.state,), level.number) for level in levels.requests],
    )
    yield _gauge("idds_requests_due", "Requests that wait to be advanced.", (), [((), levels.due.number)])
    yield _gauge(
        "idds_requests_due_seconds",
        "How long the first request that is due waits.",
        (),
        _ages((), [levels.due], levels),
    )


def _of_contents(levels: Levels) -> Iterator[Metric]:
    yield _gauge(
        "idds_contents",
        "Contents of requests that have not ended; unadmitted ones are new ones that wait for room in a window.",
        ("status",),
        [((level.state,), level.number) for level in levels.contents],
    )
    yield _gauge(
        "idds_contents_first_seconds",
        "How long the first content in line has had its status.",
        ("status",),
        _ages(("state",), [each for each in levels.contents if each.state in ("new", "available")], levels),
    )
    yield _gauge(
        "idds_samples",
        "Samples of studies that have not ended, by where their points came from.",
        ("origin",),
        [((level.state,), level.number) for level in levels.samples],
    )
    yield _gauge(
        "idds_leases_ended", "Leases that have ended and were not taken back yet.", (), [((), levels.leases_ended)]
    )


def _of_files(levels: Levels) -> Iterator[Metric]:
    labels = ("rse", "status")
    yield _gauge(
        "idds_replicas",
        "Replicas that are not gone.",
        labels,
        [((level.kind, level.state), level.number) for level in levels.replicas],
    )
    yield _gauge(
        "idds_replica_bytes",
        "Bytes of replicas that are not gone.",
        labels,
        [((level.kind, level.state), level.bytes) for level in levels.replicas],
    )
    for name, text in _WINDOWS.items():
        values = [((window.rse,), getattr(window, name)) for window in levels.windows]
        known = [(labels, value) for labels, value in values if value is not None]
        yield _gauge(f"idds_window_{name}", text, ("rse",), known)


_WINDOWS = {
    "limit_bytes": "Bytes that may be admitted to an RSE; none where there is no limit.",
    "reserved_bytes": "Bytes that are admitted, until they are deleted.",
    "limit_files": "Files that may be admitted to an RSE; none where there is no limit.",
    "reserved_files": "Files that are admitted, until they are deleted.",
}


def _of_work(levels: Levels) -> Iterator[Metric]:
    labels = ("provider", "status")
    yield _gauge("idds_processings", "Processings that have not ended.", labels, _numbers(levels.processings))
    yield _gauge(
        "idds_processings_first_seconds",
        "How long the first processing in line has had its status.",
        labels,
        _ages(("kind", "state"), levels.processings, levels),
    )
    effects = [level for level in levels.effects if level.state != "failing"]
    failing = [((level.kind,), float(level.number)) for level in levels.effects if level.state == "failing"]
    labels = ("kind", "state")
    yield _gauge("idds_effects", "Effects to be carried out, due or waiting.", labels, _numbers(effects))
    yield _gauge("idds_effects_failing", "Effects whose last try failed.", ("kind",), failing)
    yield _gauge(
        "idds_effects_oldest_seconds",
        "How old the oldest effect is.",
        labels,
        _ages(("kind", "state"), effects, levels),
    )
    yield _gauge("idds_messages_unsent", "Messages to be published.", (), [((), levels.messages.number)])
    yield _gauge(
        "idds_messages_oldest_seconds",
        "How old the oldest message to be published is.",
        (),
        _ages((), [levels.messages], levels),
    )
    agents = [((level.kind,), float(level.number)) for level in levels.agents]
    yield _gauge("idds_agents", "Processes that run an agent and were seen lately.", ("agent",), agents)
    yield _gauge(
        "idds_agents_seen_seconds",
        "How long ago the last process that runs an agent was seen.",
        ("agent",),
        _ages(("kind",), levels.agents, levels),
    )


def _numbers(levels: Iterable[Level]) -> list[Sample]:
    return [((level.kind, level.state), level.number) for level in levels]


def _ages(labels: Sequence[str], of: Iterable[Level], levels: Levels) -> list[Sample]:
    """Seconds since, 0 where nothing waits."""
    return [
        (
            tuple(str(getattr(level, label)) for label in labels),
            0.0 if level.since is None else max(0.0, (levels.at - level.since) / 1e6),
        )
        for level in of
    ]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        gauge.add_metric(values, value)
    return gauge
