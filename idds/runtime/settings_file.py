"""The settings file: read, and what is wrong with it told by its place."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from idds.domain.errors import InvalidInput, Problem

PREFIX = "IDDS_"
NESTED = "__"

_TABLE = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_STEP = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

Place = tuple[str, ...]


def load(file: Path) -> dict[str, Any]:
    """What stands in it. Raises FileNotFoundError, and InvalidInput, naming the line, when it is no TOML."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no settings file {file}")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput([Problem("", f"{file} cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise InvalidInput([Problem("", f"{file} is not TOML: {error}")]) from None


def find_lines(text: str) -> dict[Place, int]:
    """On which line of a TOML text each table and key begins. What stands in an inline table is on its key's line."""
    found: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if heading := _TABLE.fullmatch(line):
            table = _steps(heading.group(1))
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            steps = _steps(key.group(1))
            for end in range(1, len(steps) + 1):
                found.setdefault((*table, *steps[:end]), number)
    return found


def _steps(dotted: str) -> Place:
    return tuple(step.strip("\"'") for step in _STEP.findall(dotted))


def variable(place: Sequence[str]) -> str:
    """The environment variable of a setting."""
    return PREFIX + NESTED.join(place).upper()


def given_by(place: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The environment variable that gives a setting, or the section that holds it."""
    names = {name.upper(): name for name in environment}
    for end in range(len(place), 0, -1):
        if variable(place[:end]) in names:
            return names[variable(place[:end])]
    return None


class Sources:
    """Where settings come from: the environment goes before the file, and that before the defaults."""

    def __init__(self, file: Path | None) -> None:
        """Raises what `load` raises."""
        self._file = file
        self._values = {} if file is None else load(file)
        self._lines = {} if file is None else find_lines(file.read_text(encoding="utf-8"))

    def of(self, place: Sequence[str]) -> str:
        """In words: an environment variable, a file and line, or "default"."""
        if name := given_by(place, os.environ):
            return name
        return self._line(place) if _has(self._values, place) else "default"

    def problem(self, place: Sequence[str], message: str) -> Problem:
        """What is wrong with a setting, and where it was said, or should have been."""
        source = given_by(place, os.environ) or self._line(place)
        return Problem("/" + "/".join(place), f"{message} ({source})" if source else message)

    def _line(self, place: Sequence[str]) -> str:
        """Where it, or what holds it, begins in the file; nothing where neither does."""
        for end in range(len(place), 0, -1):
            if line := self._lines.get(tuple(place[:end])):
                return f"{self._file} line {line}"
        return ""

    def refusal(self, error: ValidationError) -> InvalidInput:
        """What the settings' classes find wrong. What was given is not repeated: it may hold a password."""
        found = error.errors(include_input=False, include_url=False, include_context=False)
        return InvalidInput([self.problem([str(step) for step in one["loc"]], _words(one["msg"])) for one in found])


def _has(values: Any, place: Sequence[str]) -> bool:
    for step in place:
        if not isinstance(values, Mapping) or step not in values:
            return False
        values = values[step]
    return True


def _words(message: str) -> str:
    return {
        "Extra inputs are not permitted": "there is no such setting",
        "Field required": "this setting is missing",
    }.get(message, message[:1].lower() + message[1:])
