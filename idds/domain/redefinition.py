"""Redefinitions: how the space of a study changes while it is searched.

Of a study in segments a change is of the one with its `model_id`; without one of all that have the parameter, or with
which one is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Len

from idds.domain.identifiers import CollectionId
from idds.domain.space import Expression, ModelId, Name, Parameter, Segment, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """A number's range becomes smaller: `low` and `high` go inwards; what is left out stays."""

    change: Literal["narrow"] = "narrow"
    parameter: Name
    low: float | None = None
    high: float | None = None
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Widen:
    """A number's range becomes larger: `low` and `high` go outwards; what is left out stays."""

    change: Literal["widen"] = "widen"
    parameter: Name
    low: float | None = None
    high: float | None = None
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose:
    """A categorical parameter has other choices."""

    change: Literal["choices"] = "choices"
    parameter: Name
    choices: Annotated[tuple[Value, ...], Len(1, 10_000)]
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A parameter is searched no more, and not delivered. With `only`, only results that had this value count on."""

    change: Literal["drop"] = "drop"
    parameter: Name
    only: Value | None = None
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A parameter has this value from now on. Results that had it count on, or a number at most `within` from it."""

    change: Literal["fix"] = "fix"
    parameter: Name
    value: Value
    within: Annotated[float, Ge(0)] = 0.0
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """There is another parameter, or one that was fixed is searched.

    Earlier results count as having had the value `earlier`; without it those that lack the parameter count no more.
    """

    change: Literal["add"] = "add"
    parameter: Name
    space: Parameter
    earlier: Value | None = None
    model_id: ModelId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constrain:
    """Another constraint holds."""

    change: Literal["constrain"] = "constrain"
    expression: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconstrain:
    """A constraint, as it was written, holds no more."""

    change: Literal["unconstrain"] = "unconstrain"
    expression: Expression


Change = Narrow | Widen | Choose | Drop | Fix | Add | Constrain | Unconstrain


@dataclass(frozen=True, slots=True)
class Redefinition:
    """What made a version of the one before; for an `iteration`, where the service redefined by itself."""

    changes: tuple[Change, ...]
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class StudyVersion:
    """A definition of a study's space: the one that the workflow has is version 1, whose `parent` is 0.

    `changes` made it of its parent, for a `reason`, by the order of `author`. Samples with a number of `first` or
    above may be of it. A study in `segments` has a space in each of them instead. `iteration` is the one that it was
    made for, where the service redefined by itself.
    """

    study: CollectionId
    version: int
    parent: int
    space: Mapping[str, Parameter]
    fixed: Mapping[str, Value]
    constraints: tuple[str, ...]
    changes: tuple[Change, ...]
    reason: str
    author: str
    first: int
    iteration: int | None
    at: int
    segments: tuple[Segment, ...] = ()
