"""Reading what the official client sends: JSON in which objects are written as `{class, module, attributes}`.

Nothing that a client names is ever imported or made: a member of a known enumeration becomes its name, and every
other object is refused.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from idds.api.facade.vocabulary import ENUMERATIONS, MODULE
from idds.domain.errors import InvalidInput, Problem

ZIPPED = "idds_zip:"
_TAGS = frozenset({"class", "module", "attributes"})
_DEEPEST = 60
MOST_VALUES = 1_000_000
"""In a body: for reading them takes a thread that holds up all others."""
_NOT_STORABLE = "no text may hold NUL or half a character"


@dataclass(slots=True)
class _Room:
    """How many bytes may still be unpacked, and how many values may still come."""

    bytes: int
    values: int = MOST_VALUES


class _Odd(Exception):
    """What is wrong, and the parts of its place from the end to the beginning: nobody names what is all right."""

    def __init__(self, message: str, *parts: str) -> None:
        super().__init__(message)
        self.parts = list(parts)


def decode(body: bytes, largest: int) -> Any:
    """What a body says, enumerations as their names; all that is packed in it may have `largest` bytes together.

    Raises InvalidInput.
    """
    try:
        return _plain(_parsed(body), _Room(largest), 0)
    except _Odd as odd:
        place = "".join(f"/{part}" for part in reversed(odd.parts))
        raise _wrong(place, str(odd)) from None


def fields_of(document: Any, place: str) -> Mapping[str, Any]:
    """A document that has to be an object. Raises InvalidInput."""
    if not isinstance(document, dict):
        raise _wrong(place, "this has to be an object")
    return document


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _Odd("it is nested too deep") from None
    except ValueError as error:
        raise _Odd(f"it is no JSON: {error}") from None


def _plain(value: Any, room: _Room, depth: int) -> Any:
    room.values -= 1
    if depth > _DEEPEST or room.values < 0:
        raise _Odd("it is nested too deep" if depth > _DEEPEST else f"there are more than {MOST_VALUES} values")
    match value:
        case dict() if value.keys() >= _TAGS:
            return _member(value)
        case dict() if not all(map(is_storable, value)):
            raise _Odd(_NOT_STORABLE)
        case dict():
            return dict(_inside(value.items(), room, depth + 1))
        case list():
            return [each for _, each in _inside(enumerate(value), room, depth + 1)]
        case str() if value.startswith(ZIPPED):
            return _plain(_unpacked(value, room), room, depth + 1)
        case str() if not is_storable(value):
            raise _Odd(_NOT_STORABLE)
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise _Odd("this is no number in JSON")
        case int() if not -(2**63) <= value < 2**63:
            raise _Odd("this number does not fit into 64 bits")
        case _:
            return value


def _inside(parts: Iterable[tuple[str | int, Any]], room: _Room, depth: int) -> Iterator[tuple[str | int, Any]]:
    for part, each in parts:
        try:
            found = _plain(each, room, depth)
        except _Odd as odd:
            odd.parts.append(str(part).replace("~", "~0").replace("/", "~1"))
            raise
        yield part, found


def _member(value: Mapping[str, Any]) -> str:
    """The name of a member of an enumeration."""
    kind, attributes = value["class"], value["attributes"]
    known = ENUMERATIONS.get(kind) if isinstance(kind, str) and value["module"] == MODULE else None
    if known is None:
        raise _Odd(f"objects of class {str(kind)[:100]!r} are not taken here: nothing a client names is made")
    number = attributes.get("_value_") if isinstance(attributes, dict) else None
    for name, its in known.items():
        if number == its and type(number) is int:
            return name
    raise _Odd(f"there is no such {kind}", "_value_", "attributes")


def _unpacked(text: str, room: _Room) -> Any:
    try:
        unpacking = zlib.decompressobj()
        # One more than there is room for, as none at all would mean any number.
        unpacked = unpacking.decompress(base64.b64decode(text[len(ZIPPED) :], validate=True), room.bytes + 1)
    except (ValueError, zlib.error) as error:
        raise _Odd(f"it cannot be unpacked: {error}") from None
    room.bytes -= len(unpacked)
    if room.bytes < 0 or not unpacking.eof:
        raise _Odd("it is cut off, or along with what is packed before unpacks to more than is taken")
    return _parsed(unpacked)


def is_storable(text: str) -> bool:
    """Whether a database takes it."""
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def _wrong(place: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(place, message)])
