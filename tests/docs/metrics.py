"""The page of metrics, from what a process renders that has one of everything."""

from collections.abc import Iterator
from typing import Any, cast

from prometheus_client.registry import CollectorRegistry

from idds.api.listening import Listeners
from idds.api.metrics import Latencies, Streams
from idds.domain.levels import Level, Levels, WindowLevel
from idds.runtime.metrics import Metrics, Stored
from idds.runtime.settings import ApiSettings
from idds.runtime.tallies import Tally

_ONE = [Level("a", "new", 1, 1, 1)]
_LEVELS = Levels(
    at=1,
    requests=_ONE,
    due=_ONE[0],
    contents=_ONE,
    samples=_ONE,
    leases_ended=0,
    processings=_ONE,
    replicas=_ONE,
    effects=[*_ONE, Level("a", "failing", 1)],
    messages=_ONE[0],
    windows=[WindowLevel("a", 1, 1, 1, 1)],
    agents=_ONE,
)


def page() -> str:
    """Markdown with a row a metric."""
    lines = [
        "# Metrics",
        "",
        "Made from what the code tells Prometheus by `python -m tests.docs`; [operating.md](operating.md) says what to",
        "watch. Those up to `idds_agents_seen_seconds` are of the database: the same whichever process is asked, three",
        "seconds old at most. The others are of the process that is asked.",
        "",
        "| name | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *_rows()]) + "\n"


def _rows() -> Iterator[str]:
    nothing = cast("Any", None)
    metrics = Metrics(nothing, [Tally("a", "b")])
    latencies = Latencies(metrics)
    latencies.note("a", 200, 0.0)
    metrics.registry.register(Streams(Listeners(nothing, nothing, ApiSettings(), nothing)))
    stored = CollectorRegistry()
    stored.register(Stored(_LEVELS))
    for family in (*stored.collect(), *metrics.registry.collect()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"
