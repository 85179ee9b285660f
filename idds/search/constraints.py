"""Constraints of a space: CEL expressions over its parameters (https://cel.dev), evaluated in bounded time.

CEL has no loops but its macros over lists, which could be nested: they are written as calls of a member, of which only
those of texts are taken, so that the time of an evaluation is bounded by the length of its text.
A parameter whose branch was not taken is null.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from idds.domain.space import Point, Space

if TYPE_CHECKING:
    from cel import Program

_MEMBER_CALL = re.compile(r"\.\s*([A-Za-z_]\w*)\s*\(")
_MEMBERS = frozenset({"contains", "endsWith", "matches", "size", "startsWith"})


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

    if "//" in text:  # a call could be written around it, unseen
        raise Unfit("no constraint may hold a comment, nor // in a text")
    if unfit := sorted({found[1] for found in _MEMBER_CALL.finditer(text)} - _MEMBERS):
        raise Unfit(f"{unfit[0]}() may go over a list: of members only these are called: {', '.join(sorted(_MEMBERS))}")
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
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise Unfit(_brief(error)) from None
    if not isinstance(found, bool):
        raise Unfit(f"it is neither true nor false, but {type(found).__name__}")
    return found


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("ERROR: ")[:300]
