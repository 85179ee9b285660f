"""The course of a study, as a user writes it: what it begins with, how it goes on, when it stops."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Len, MaxLen

from idds.domain.space import Name, Value

Seconds = Annotated[float, Gt(0), Le(10**9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """So many results in a row none of which is better than the best before by more than `tolerance`."""

    samples: Annotated[int, Gt(0), Le(10_000_000)]
    tolerance: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A study ends before all its samples are drawn when one of these is met.

    `time_s` have passed since it began; a result is as good as `target`; it has reached a `plateau`; its samples were
    evaluated for `budget_s` together, those that are being evaluated among them.
    """

    time_s: Seconds | None = None
    target: float | None = None
    plateau: Plateau | None = None
    budget_s: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The range of each number becomes that of the `best` part of all results, and a margin on either side.

    `margin` is a part of the range before. A range becomes smaller by the factor `shrink` at most, and grows again
    where the best lie at its edge, up to what the study was given.
    """

    best: Annotated[float, Gt(0), Le(1)] = 0.2
    margin: Annotated[float, Ge(0), Le(1)] = 0.1
    shrink: Annotated[float, Gt(0), Le(1)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """`samples` are drawn and all of them evaluated; then the space is redefined, or stays, and the next are drawn."""

    samples: Annotated[int, Gt(0), Le(10_000_000)]
    redefine: Around | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A point, and what came of it elsewhere; `constraint_values` are there where its study wants them."""

    parameters: Annotated[dict[Name, Value], MaxLen(1000)]
    values: Annotated[tuple[float, ...], Len(1, 10)]
    constraint_values: Annotated[tuple[float, ...], MaxLen(100)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Results of elsewhere that a sampler is told of first, as far as they are of the space.

    Those of another `study`, which the submitter sees, and `results` that are given.
    """

    study: Annotated[int, Gt(0), Le(2**63 - 1)] | None = None
    results: Annotated[tuple[Result, ...], MaxLen(10_000)] = ()
