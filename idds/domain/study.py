"""A study as it is read: a search, how far it is, and what came of it. Times are microseconds UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.domain.space import Value
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Samples


class Origin(StrEnum):
    """Where a point comes from."""

    SAMPLER = "sampler"
    INITIAL = "initial"
    """Given with the study."""
    FALLBACK = "fallback"
    """Drawn at random: the sampler found no point that its constraints let through, or somebody waited too long."""


@dataclass(frozen=True, slots=True)
class StudySummary:
    """A study, the input of a work: the id is the collection's. `status` is that of its transform.

    Up to `wanted` samples are drawn; `counts` says how many of those that were have each status. `version` counts the
    definitions that it had, from 1.
    """

    id: CollectionId
    request: RequestId
    name: str
    work: str
    iteration: int
    owner: str
    status: Status
    reason: str | None
    sampler: str
    directions: tuple[str, ...]
    wanted: int
    version: int
    is_closed: bool
    counts: Mapping[ContentStatus, int]
    created_at: int
    ended_at: int | None

    @property
    def ended(self) -> int:
        """How many samples have reached an end."""
        return sum(n for status, n in self.counts.items() if status.is_terminal)


@dataclass(frozen=True, slots=True)
class Sample:
    """A point and what came of it: an objective value for each direction once it is done, and the values of its result
    constraints, each at most 0 where the result is feasible.

    `number` counts those of its study, from 0; `id` is its content's. `version` is the definition it was drawn from. A
    pruned one was stopped on its way, and is done without objective values.
    """

    number: int
    id: ContentId
    version: int
    status: ContentStatus
    origin: Origin
    parameters: Mapping[str, Value]
    objective_values: tuple[float, ...] | None
    constraint_values: tuple[float, ...] | None
    is_pruned: bool
    attempt: int
    lessee: str | None
    lease_until: int | None
    reason: str | None
    changed_at: int


@dataclass(frozen=True, slots=True)
class StepValue:
    """What was said of a sample on its way."""

    step: int
    value: float
    at: int


@dataclass(frozen=True, slots=True)
class SampleStory:
    """A sample, and what was said of it on its way, by steps; of very many steps the first."""

    sample: Sample
    intermediates: tuple[StepValue, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """How many samples ended within the last `span_s` seconds, and what that makes a second."""

    span_s: float
    ended: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Study(StudySummary):
    """A study with its present definition and what it found, as of `at`.

    `best` is, of one objective, the sample with the best value; of several the Pareto front, in the order of its first
    objective: those than which no sample is better in one objective and as good in all others; of `n_best` the first.
    Only feasible results compete. `origins` says where the points came from, `fallback_share` which part of them was
    drawn at random in the sampler's place.
    """

    definition: Samples
    origins: Mapping[Origin, int]
    fallback_share: float
    pruned: int
    best: tuple[Sample, ...]
    n_best: int
    rate: Rate
    at: int
