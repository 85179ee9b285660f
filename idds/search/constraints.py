"""Constraints of a space: CEL expressions over its parameters (https://cel.dev), evaluated in bounded time.

CEL has no loops but its macros over lists, which could be nested: they are written as calls of a member, of which only
those of texts are taken, so that the time of an evaluation is bounded by the length of its text.
A parameter whose branch was not taken is null.
"""

import re
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from idds.domain.space import Point, Space

if TYPE_CHECKING:
    from cel import Program

_MEMBER_CALL = re.compile(r"\.\s*([A-Za-z_]\w*)\s*\(")
_MEMBERS = frozenset({"contains", "endsWith", "matches", "size", "startsWith"})
NAME_COSTS = 120
"""Characters that take as long to evaluate as giving one name its value."""


class Unfit(Exception):
    """An expression that is no constraint; why."""


class Constraint:
    """An expression over some names, ready to be evaluated."""

    def __init__(self, text: str, names: Container[str]) -> None:
        """Raises Unfit."""
        self._program, self._names = _compiled(text)
        if unknown := sorted(name for name in self._names if name not in names):
            raise Unfit(f"there is no parameter {unknown[0]!r}")
        self.cost = len(text) + NAME_COSTS * (1 + len(self._names))
        """Of an evaluation, in about ten nanoseconds."""

    def truth(self, point: Mapping[str, object]) -> bool:
        """Whether it is true of a point; what is not there is null. Raises Unfit where it is neither true nor false."""
        try:
            # Of many parameters only those that it speaks of: each costs as much as a hundred characters.
            found = self._program.execute({name: point.get(name) for name in self._names})
        except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
            raise Unfit(_brief(error)) from None
        if not isinstance(found, bool):
            raise Unfit(f"it is neither true nor false, but {type(found).__name__}")
        return found


class Constraints:
    """The constraints of a space, ready to be evaluated."""

    def __init__(self, space: Space) -> None:
        """Raises Unfit."""
        names = {*space.parameters, *space.fixed}
        self._constraints = [Constraint(text, names) for text in space.constraints]

    def let_through(self, point: Point) -> bool:
        """Whether all of them are true; one that has no truth value there lets nothing through."""
        try:
            return all(constraint.truth(point) for constraint in self._constraints)
        except Unfit:
            return False

    @property
    def cost(self) -> int:
        """Of evaluating all of them, in about ten nanoseconds."""
        return sum(constraint.cost for constraint in self._constraints)


@lru_cache(maxsize=1000)
def _compiled(text: str) -> "tuple[Program, tuple[str, ...]]":
    """An expression, and the names that it speaks of. Raises Unfit."""
    import cel  # comes with the extra `search`

    if "//" in text:  # a call could be written around it, unseen
        raise Unfit("no constraint may hold a comment, nor // in a text")
    if unfit := sorted({found[1] for found in _MEMBER_CALL.finditer(text)} - _MEMBERS):
        raise Unfit(f"{unfit[0]}() may go over a list: of members only these are called: {', '.join(sorted(_MEMBERS))}")
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise Unfit(_brief(error)) from None
    return program, tuple(program.variables())


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("ERROR: ")[:300]
