"""What a study found, as charts show it: bounded, however many samples it has. Times are microseconds UTC."""

from collections.abc import Mapping
from dataclasses import dataclass

from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.space import Value
from idds.domain.statuses import ContentStatus


@dataclass(frozen=True, slots=True)
class StudySeries:
    """The best value over time. Until each of `at`, `finished` samples had come back with feasible values.

    `best` has a row for each of `directions`: the best value of that objective until then. Where more samples finished
    than a chart has room for, only each so manieth time is told; the values are exact.
    """

    study: CollectionId
    directions: tuple[str, ...]
    at: tuple[int, ...]
    finished: tuple[int, ...]
    best: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class StudyPoint:
    """A sample that came back with feasible values, at `at`."""

    content: ContentId
    number: int
    version: int
    at: int
    values: tuple[float, ...]
    parameters: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class StudyPoints:
    """So many of a study's `finished` samples as a chart has room for, by number.

    They are those that are best in each objective, and an even choice of the others, of which about half is left each
    time that there are twice as many.
    """

    study: CollectionId
    directions: tuple[str, ...]
    finished: int
    points: tuple[StudyPoint, ...]


@dataclass(frozen=True, slots=True)
class ParameterImportance:
    """The part of what all parameters explain, 0 to 1."""

    parameter: str
    importance: float


@dataclass(frozen=True, slots=True)
class StudyImportance:
    """How much each parameter had to do with being among the best tenth: the most important first.

    It is PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023; for conditional parameters arXiv 2601.20800), as Optuna has
    it, of `looked_at` samples; of several objectives, of coming near the Pareto front. Empty where there is nothing to
    tell, for a `reason`.
    """

    study: CollectionId
    looked_at: int
    parameters: tuple[ParameterImportance, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class StudyCurve:
    """What was said of a sample on the way: `values` at some of the `said` steps, the first and the last among them."""

    content: ContentId
    number: int
    status: ContentStatus
    is_pruned: bool
    said: int
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StudyCurves:
    """Curves of the newest samples of which something was said on the way, by number."""

    study: CollectionId
    direction: str
    curves: tuple[StudyCurve, ...]


@dataclass(frozen=True, slots=True)
class RunningSample:
    """A sample that somebody evaluates `since` then, the `attempt`th time; `value` was said of it last, at `step`."""

    content: ContentId
    number: int
    version: int
    lessee: str | None
    attempt: int
    since: int
    lease_until: int | None
    step: int | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Setback:
    """So many samples came back without a result: `returned`, to be evaluated again, or `failed` for good.

    `numbers` are those of the first ten.
    """

    at: int
    event: str
    samples: int
    reason: str | None
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyDelivery:
    """What is being evaluated, the longest first, and what came back without a result of late, the newest first."""

    study: CollectionId
    at: int
    running: tuple[RunningSample, ...]
    setbacks: tuple[Setback, ...]
