"""A search space, as a user writes it: parameters, values that are fixed, constraints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len, MaxLen, MinLen

Name = Annotated[str, MinLen(1), MaxLen(128)]
Value = str | int | float | bool
Expression = Annotated[str, MinLen(1), MaxLen(1000)]
"""In CEL, the Common Expression Language: of parameters by name, true where a point may be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A branch: what has it is there only where another parameter has one of these values."""

    parameter: Name
    values: Annotated[tuple[Value, ...], Len(1, 10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One dimension of a search space: `low`..`high` for numbers, `choices` for a categorical one.

    Numbers are evenly spread, or evenly in their logarithm (`log`); with `step` they are low, low + step, ...
    """

    type: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: Annotated[float, Gt(0), Le(10**15)] | None = None
    choices: Annotated[tuple[Value, ...], MaxLen(10_000)] = ()
    when: When | None = None


ModelId = Annotated[str, MinLen(1), MaxLen(128)] | Annotated[int, Ge(-(2**53)), Le(2**53)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One of several spaces that a study goes through beside each other. Of its points `model_id` is a value."""

    model_id: ModelId
    space: Annotated[dict[Name, Parameter], Len(1, 10_000)]
    fixed: Annotated[dict[Name, Value], MaxLen(1000)] = field(default_factory=dict)


Point = Mapping[str, Value]
"""A value for each parameter that is there, the fixed ones among them."""


@dataclass(frozen=True, slots=True)
class Space:
    """What one search goes through. `parameters` stand in an order in which each comes after what it depends on."""

    parameters: Mapping[str, Parameter]
    fixed: Point = field(default_factory=dict)
    constraints: tuple[str, ...] = ()


def is_present(parameter: Parameter, point: Point) -> bool:
    """Whether a parameter is there, as far as the point tells: its branch was taken."""
    branch = parameter.when
    return branch is None or (branch.parameter in point and point[branch.parameter] in branch.values)
