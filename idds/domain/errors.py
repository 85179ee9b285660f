"""Errors that a caller can act on. Each says what is wrong and, where it can, at which place of the input."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input. `pointer` is a JSON pointer (RFC 6901) into the document that was sent."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


class IddsError(Exception):
    """Any error the service tells a caller about."""


class InvalidInput(IddsError):
    """The input cannot be taken; nothing was changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class NotFound(IddsError):
    """No such thing, or not the caller's to see."""


class Conflict(IddsError):
    """The thing is not in a state that allows what was asked."""


class Unauthenticated(IddsError):
    """No token, or one that is unknown or ended."""


class Forbidden(IddsError):
    """The caller is known, and may not do this."""


class Unavailable(IddsError):
    """Something outside does not answer for now; asking again later makes sense."""


class UnknownDid(IddsError):
    """The data management does not know this dataset or file."""
