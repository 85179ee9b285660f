"""The page of state diagrams, from the transition tables."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from inspect import getsource
from textwrap import dedent
from typing import Any

from idds.domain.statuses import TERMINAL, ContentStatus, ReplicaStatus, Status
from idds.engine import transitions
from idds.engine.transitions import ContentEvent, Edge, ReplicaEvent

_NOUNS: Mapping[str, tuple[str, Mapping[Status, frozenset[Status]]]] = {
    "Request": ("What a client submits.", transitions.REQUEST),
    "Transform": ("One instance of a work.", transitions.TRANSFORM),
    "Processing": (
        "One submission of contents to a provider; it goes back to `new` when its next attempt is to be submitted.",
        transitions.PROCESSING,
    ),
}


def page() -> str:
    """Markdown with mermaid diagrams."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# States"
    yield ""
    yield "Made from `idds/engine/transitions.py` by `python -m tests.docs`. What stands not here does not happen."
    yield "What was *ordered* (run, suspend, cancel, finish) is an intent beside the status, not a status."
    for noun, (what, table) in _NOUNS.items():
        yield from ("", f"## {noun}", "", what, "")
        yield from _diagram(_of_statuses(table))
    yield from ("", "## Content", "", "One deliverable thing. Contents move in sets, each for one reason:", "")
    yield from _meanings(ContentEvent)
    yield ""
    yield from _diagram(_of_events(transitions.CONTENT, {status for status in ContentStatus if status.is_terminal}))
    yield from (
        "",
        "## Replica",
        "",
        "A file on a disk RSE. One of ours counts in its windows from `admitted` to `gone`.",
        "",
    )
    yield from _meanings(ReplicaEvent)
    yield ""
    yield from _diagram(_of_events(transitions.REPLICA, set()))


def _diagram(edges: Iterator[str]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f"    {edge}" for edge in edges)
    yield "```"


def _of_statuses(table: Mapping[Status, frozenset[Status]]) -> Iterator[str]:
    yield f"[*] --> {Status.NEW}"
    order = list(Status)
    for source in order:
        yield from (f"{source} --> {target}" for target in sorted(table.get(source, ()), key=order.index))
    reached = frozenset[Status]().union(*table.values())
    yield from (f"{end} --> [*]" for end in order if end in TERMINAL and end in reached)


def _of_events(table: Mapping[Any, Edge[Any]], ends: set[ContentStatus] | set[ReplicaStatus]) -> Iterator[str]:
    for event, edge in table.items():
        yield from (f"{source} --> {edge.target}: {event}" for source in edge.sources or ("[*]",))
    if table is transitions.REPLICA:
        yield f"[*] --> {ReplicaStatus.ADMITTED}: {ReplicaEvent.ADMITTED}"
    yield from (f"{end} --> [*]" for end in sorted(ends))


def _meanings(events: type[StrEnum]) -> Iterator[str]:
    """Each event with the words that stand below it in the code."""
    lines = dedent(getsource(events)).splitlines()
    for number, line in enumerate(lines):
        name, _, value = line.strip().partition(" = ")
        if value:
            words = lines[number + 1].strip().strip('"')
            yield f"- **{events[name]}**: {words}"
