"""Cutting files into ranges of events: numbered from 1, both ends within, as PanDA's event service has them."""

from collections.abc import Iterator
from dataclasses import dataclass

MAX_EVENTS = 10**9
MAX_RANGES = 10**6
"""Of one file. More is a number that nobody meant, or a grain too fine to be told apart from noise."""


@dataclass(frozen=True, slots=True)
class Span:
    """The events `min_id`..`max_id` of a file."""

    min_id: int
    max_id: int


def cut(events: int, longest: int, after: int = 0) -> Iterator[Span]:
    """Ranges of `longest` events, the last one shorter where it must be, of all events behind `after`, in order."""
    for first in range(after + 1, events + 1, longest):
        yield Span(first, min(first + longest - 1, events))


def refusal(events: int, longest: int) -> str | None:
    """Why a file with so many events is not cut; None when it is."""
    if events < 0 or events > MAX_EVENTS:
        return f"it is said to have {events:,} events; a file has {MAX_EVENTS:,} at most"
    ranges = -(-events // longest)
    if ranges > MAX_RANGES:
        return (
            f"its {events:,} events make {ranges:,} ranges of {longest:,}, more than {MAX_RANGES:,}: make them longer"
        )
    return None
