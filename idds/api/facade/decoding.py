"""Reading what the official client sends: JSON in which objects are written as `{class, module, attributes}`.

Nothing that a client names is ever imported or made: a member of a known enumeration becomes its name, and every
other object is refused.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idds.api.facade.vocabulary import ENUMERATIONS, MODULE
from idds.domain.errors import InvalidInput, Problem

ZIPPED = "idds_zip:"
_TAGS = frozenset({"class", "module", "attributes"})
_DEEPEST = 60


@dataclass(slots=True)
class _Room:
    """How many bytes may still be unpacked."""

    left: int


def decode(body: bytes, largest: int) -> Any:
    """What a body says, enumerations as their names; all that is packed in it may have `largest` bytes together.

    Raises InvalidInput.
    """
    try:
        return _plain(json.loads(body), "", _Room(largest))
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise _wrong("", "it is nested too deep") from None
        raise _wrong("", f"it is no JSON: {error}") from None


def fields_of(document: Any, place: str) -> Mapping[str, Any]:
    """A document that has to be an object. Raises InvalidInput."""
    if not isinstance(document, dict):
        raise _wrong(place, "this has to be an object")
    return document


def _plain(value: Any, place: str, room: _Room) -> Any:
    if place.count("/") > _DEEPEST:
        raise _wrong(place, "it is nested too deep")
    match value:
        case dict() if value.keys() >= _TAGS:
            return _member(value, place)
        case dict():
            if not all(map(is_storable, value)):
                raise _wrong(place, "no text may hold NUL or half a character")
            return {name: _plain(each, f"{place}/{_escaped(name)}", room) for name, each in value.items()}
        case list():
            return [_plain(each, f"{place}/{number}", room) for number, each in enumerate(value)]
        case str() if value.startswith(ZIPPED):
            return _plain(_unpacked(value, place, room), place + "/", room)
        case str() if not is_storable(value):
            raise _wrong(place, "no text may hold NUL or half a character")
        case float() if value != value or value in (float("inf"), float("-inf")):
            raise _wrong(place, "this is no number in JSON")
        case int() if not -(2**63) <= value < 2**63:
            raise _wrong(place, "this number does not fit into 64 bits")
        case _:
            return value


def _member(value: Mapping[str, Any], place: str) -> str:
    """The name of a member of an enumeration."""
    kind, attributes = value["class"], value["attributes"]
    known = ENUMERATIONS.get(kind) if isinstance(kind, str) and value["module"] == MODULE else None
    if known is None:
        raise _wrong(place, f"objects of class {str(kind)[:100]!r} are not taken here: nothing a client names is made")
    number = attributes.get("_value_") if isinstance(attributes, dict) else None
    for name, its in known.items():
        if number == its and type(number) is int:
            return name
    raise _wrong(f"{place}/attributes/_value_", f"there is no such {kind}")


def _unpacked(text: str, place: str, room: _Room) -> Any:
    try:
        unpacking = zlib.decompressobj()
        # One more than there is room for, as none at all would mean any number.
        unpacked = unpacking.decompress(base64.b64decode(text[len(ZIPPED) :], validate=True), room.left + 1)
    except (binascii.Error, zlib.error) as error:
        raise _wrong(place, f"it cannot be unpacked: {error}") from None
    room.left -= len(unpacked)
    if room.left < 0 or not unpacking.eof:
        raise _wrong(place, "it is cut off, or along with what is packed before unpacks to more than is taken")
    try:
        return json.loads(unpacked)
    except ValueError as error:
        raise _wrong(place, f"what is packed in it is no JSON: {error}") from None


def is_storable(text: str) -> bool:
    """Whether a database takes it."""
    try:
        return "\0" not in text and bool(text.encode() or True)
    except UnicodeEncodeError:
        return False


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _wrong(place: str, message: str) -> InvalidInput:
    return InvalidInput([Problem(place, message)])
