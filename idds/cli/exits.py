"""How a command ends that could not do what it was to: one line for people, and a code for scripts."""

import re
from enum import IntEnum

import typer

from idds.domain.errors import (
    Conflict,
    Forbidden,
    IddsError,
    InvalidInput,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
)
from idds.sdk.errors import Unreachable


class Exit(IntEnum):
    """Exit codes of `idds`."""

    DONE = 0
    NOT_FINISHED = 1
    """What was watched ended otherwise than finished, or what was checked does not hold."""
    REFUSED = 2
    """The command line, or the input, is no good."""
    UNAVAILABLE = 3
    """The service is not there, or not able for now."""
    NOT_ALLOWED = 4
    """The token is missing, unknown, or not good for this."""
    NOT_FOUND = 5
    """There is no such thing, or it is somebody else's."""
    CONFLICT = 6
    """Its state does not allow this."""
    BROKEN = 7
    """The service answered what it should not."""
    INTERRUPTED = 130
    TERMINATED = 143
    """By SIGTERM: a batch system is not to take it for done."""


def explain(error: IddsError) -> tuple[str, Exit]:
    """What is wrong and what to do next, and the exit code."""
    said = str(error).rstrip(".")
    match error:
        case InvalidInput():
            return _places(error.problems), Exit.REFUSED
        case Unreachable():
            following = "Start a service with: idds serve; or say where one is by --url or IDDS_URL"
            return f"{said}. {following}", Exit.UNAVAILABLE
        case Unavailable():
            return f"{said}. Try again later", Exit.UNAVAILABLE
        case Unauthenticated():
            following = "Get a token with: idds login; or name its file by --token-file or IDDS_TOKEN_FILE"
            return f"{said}. {following}", Exit.NOT_ALLOWED
        case Forbidden():
            return f"{said}. Use a token that may; what yours may, says: idds whoami", Exit.NOT_ALLOWED
        case NotFound():
            listed = _listed(said)
            return f"{said}. See what there is with: {listed}" if listed else said, Exit.NOT_FOUND
        case Conflict():
            return said, Exit.CONFLICT
        case _:
            return said, Exit.BROKEN


_LISTED = {
    "request": "idds list",
    "transform": "idds list",
    "collection": "idds list",
    "study": "idds study list",
    "token": "idds token list",
}
_MISSING = re.compile(r"there is no (\w+) \d+$")
_NO_SAMPLE = re.compile(r"(study \d+) has no sample \d+$")


def _listed(said: str) -> str | None:
    """The command that lists such things, of what a service says that it does not have."""
    if of := _NO_SAMPLE.match(said):
        return f"idds {of[1].replace(' ', ' samples ')}"
    missing = _MISSING.match(said)
    return _LISTED.get(missing[1]) if missing else None


def _places(problems: tuple[Problem, ...]) -> str:
    lines = [f"{problem.pointer}: {problem.message}" if problem.pointer else problem.message for problem in problems]
    return lines[0] if len(lines) == 1 else "\n  ".join(["the input is refused:", *lines])


def leave(error: IddsError) -> typer.Exit:
    """Say it on standard error; to be raised."""
    from idds.cli.output import plain

    message, code = explain(error)
    typer.echo("idds: " + "\n".join(map(plain, message.split("\n"))), err=True)
    return typer.Exit(code)
