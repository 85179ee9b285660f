"""A sampler: produces points of a search space, knowing what came of those before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from idds.domain.identifiers import CollectionId
from idds.domain.space import Point
from idds.domain.workflow import Samples


class Origin(StrEnum):
    """Where a point comes from."""

    SAMPLER = "sampler"
    INITIAL = "initial"
    """Given with the study."""
    FALLBACK = "fallback"
    """Drawn at random, where the sampler found no point that its constraints let through."""


class State(StrEnum):
    """How far a sample is, as a sampler sees it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Also one that is cancelled, or done without values: nothing is learned from it."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point to be evaluated. `notes` is what the sampler wants to be told with it, in JSON, when it starts anew."""

    number: int
    parameters: Point
    origin: Origin = Origin.SAMPLER
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """A suggestion that was made, and what came of it; `values` are there where it is done."""

    suggestion: Suggestion
    state: State
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """Points of a study that are wanted, by number. `news` is what changed since it was heard of, up to `heard`."""

    study: CollectionId
    samples: Samples
    numbers: Sequence[int]
    news: Sequence[Known] = ()
    heard: int = 0


class SamplerFailure(Exception):
    """The sampler breaks on this study, or has died. The text says of what kind it was, never a value."""


class Sampler(Protocol):
    def heard(self, study: CollectionId) -> int | None:
        """Up to where it has heard of a study; None: it knows nothing of it, and is to be told everything."""
        ...

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        """The points with these numbers, in order; asked again, the same. Fewer where there are no more, ever.

        Raises SamplerFailure, after which it may have forgotten everything.
        """
        ...

    async def close(self) -> None:
        """End what it runs on."""
        ...
