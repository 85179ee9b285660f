"""Constraints of a space: CEL expressions over its parameters (https://cel.dev), evaluated in bounded time.

CEL has no loops but its macros over lists, which could be nested: those are refused, so that the time of an evaluation
is bounded by the length of its text. A parameter whose branch was not taken is null.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from idds.domain.space import Point, Space

if TYPE_CHECKING:
    from cel import Program

_MACRO = re.compile(r"\.\s*(map|filter|all|exists|exists_one|transformList|transformMap|sortBy)\s*\(")


class Unfit(Exception):
    """An expression that is no constraint; why."""


class Constraints:
    """The constraints of a space, ready to be evaluated."""

    def __init__(self, space: Space) -> None:
        """Raises Unfit."""
        self._programs = [compiled(text, {*space.parameters, *space.fixed}) for text in space.constraints]
        self._absent: Mapping[str, None] = dict.fromkeys(space.parameters)

    def let_through(self, point: Point) -> bool:
        """Whether all of them are true; one that has no truth value there lets nothing through."""
        named = {**self._absent, **point}
        try:
            return all(truth(program, named) for program in self._programs)
        except Unfit:
            return False


def compiled(text: str, names: Iterable[str]) -> "Program":
    """An expression over these names. Raises Unfit."""
    import cel  # comes with the extra `search`

    if found := _MACRO.search(text):
        raise Unfit(f"{found[1]}() goes over a list: no constraint may")
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise Unfit(_brief(error)) from None
    if unknown := sorted(set(program.variables()) - set(names)):
        raise Unfit(f"there is no parameter {unknown[0]!r}")
    return program


def truth(program: "Program", point: Mapping[str, object]) -> bool:
    """Whether it is true of a point. Raises Unfit where it is neither true nor false."""
    try:
        found = program.execute(dict(point))
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise Unfit(_brief(error)) from None
    if not isinstance(found, bool):
        raise Unfit(f"it is neither true nor false, but {type(found).__name__}")
    return found


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("ERROR: ")[:300]
