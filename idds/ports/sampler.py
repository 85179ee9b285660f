"""A sampler: produces points of a search space, knowing what came of those before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import Change
from idds.domain.space import Point
from idds.domain.study import Origin as Origin
from idds.domain.workflow import Samples


class State(StrEnum):
    """How far a sample is, as a sampler sees it."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """Also one that is cancelled, or done without values: nothing is learned from it."""
    PRUNED = "pruned"
    """Stopped before its end: of what it was on the way the last is learned from."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A point to be evaluated. `notes` is what the sampler wants to be told with it, in JSON, when it starts anew."""

    number: int
    parameters: Point
    origin: Origin = Origin.SAMPLER
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """A suggestion that was made, and what came of it; `values` are there where it is done.

    `constraints` are each 0 or less where the result is feasible. `intermediates`, by step, are those that a sampler
    learns from: of a pruned one the last. `version` is the definition of the study that it was drawn from.
    """

    suggestion: Suggestion
    state: State
    values: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    intermediates: Mapping[int, float] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class Order:
    """Points of a study that are wanted, by number. `news` is what changed since it was heard of, up to `heard`;
    that was up to `since`, None: it is all that there is.

    `samples` is the study as its `version` has it, of which numbers of `first` or above may be. What knows nothing of
    that version is told everything, and also by which `changes` the versions from the second on came about, and the
    results of elsewhere that were `given` with the study: their numbers are below zero. What a sampler that learns has
    not drawn `within_s` seconds is drawn at random, for somebody waits for it; None: there is half a minute.
    """

    study: CollectionId
    samples: Samples
    numbers: Sequence[int]
    news: Sequence[Known] = ()
    heard: int = 0
    since: int | None = None
    version: int = 1
    first: int = 0
    changes: Sequence[Sequence[Change]] = ()
    given: Sequence[Known] = ()
    within_s: float | None = None


class SamplerFailure(Exception):
    """The sampler breaks on this study, or has died. The text says of what kind it was, never a value."""


class Sampler(Protocol):
    def heard(self, study: CollectionId, version: int = 1) -> int | None:
        """Up to where it has heard of a study; None: it knows nothing of this version, and is to be told everything."""
        ...

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        """The points with these numbers, in order; asked again, the same. Fewer where there are no more, ever.

        Raises SamplerFailure, after which it may have forgotten everything.
        """
        ...

    async def close(self) -> None:
        """End what it runs on."""
        ...
