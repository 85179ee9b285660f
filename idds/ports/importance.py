"""Importance: how much each parameter of a study had to do with its best results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from idds.domain.space import Parameter, Point


@dataclass(frozen=True, slots=True)
class Weighed:
    """Results to be looked at: a point and its objective values each, all of the spaces given.

    The point with place n in `points` is of the space with place n in `space_of`. What a space knows no parameter for
    is left out; what lies outside of its bounds, as it was found before a space was narrowed, widens them.
    """

    directions: Sequence[Literal["minimize", "maximize"]]
    spaces: Sequence[Mapping[str, Parameter]]
    space_of: Sequence[int]
    points: Sequence[Point]
    values: Sequence[tuple[float, ...]]


class ImportanceFailure(Exception):
    """It cannot be told: of what kind the reason is, never a value."""


class Importance(Protocol):
    async def weigh(self, weighed: Weighed) -> Mapping[str, float]:
        """The importance of each parameter, 0 or more; only how they compare means something.

        It keeps no event loop waiting. Raises ImportanceFailure.
        """
        ...
