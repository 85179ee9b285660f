"""Reading JSON documents into records: by the types of their fields, tolerant of fields that a newer service sends."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Unreadable(ValueError):
    """The document is not what was expected. The message begins with a JSON pointer to the place."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer or '/'}: {message}")


def read(kind: type[T], document: Any, pointer: str = "") -> T:
    """The document as a record of this kind, without the fields that it does not know. Raises Unreadable."""
    return cast("T", _read(kind, document, pointer))


def _read(kind: Any, value: Any, pointer: str) -> Any:
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _record(kind, value, pointer)
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(get_args(kind), value, pointer)
    if origin is Literal:
        return _literal(get_args(kind), value, pointer)
    if origin in (tuple, Sequence):
        return _items(get_args(kind)[0], value, pointer)
    if origin in (dict, Mapping):
        return _entries(get_args(kind), value, pointer)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, value, pointer)
    return _plain(getattr(kind, "__supertype__", kind), value, pointer)


def _record(kind: Any, value: Any, pointer: str) -> Any:
    if not isinstance(value, Mapping):
        raise Unreadable(pointer, f"expected an object, found {_name(value)}")
    found: dict[str, Any] = {}
    hints = _hints(kind)
    for field in fields(kind):
        place = f"{pointer}/{field.name}"
        if field.name in value:
            found[field.name] = _read(hints[field.name], value[field.name], place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise Unreadable(place, "is missing")
    return kind(**found)


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _one_of(kinds: tuple[Any, ...], value: Any, pointer: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    wanted = [kind for kind in kinds if kind is not types.NoneType]
    for kind in wanted[:-1]:
        try:
            return _read(kind, value, pointer)
        except Unreadable:
            continue
    return _read(wanted[-1], value, pointer)


def _literal(values: tuple[Any, ...], value: Any, pointer: str) -> Any:
    if value not in values:
        raise Unreadable(pointer, f"{value!r} is none of {', '.join(map(repr, values))}")
    return value


def _items(kind: Any, value: Any, pointer: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise Unreadable(pointer, f"expected a list, found {_name(value)}")
    return tuple(_read(kind, item, f"{pointer}/{number}") for number, item in enumerate(value))


def _entries(kinds: tuple[Any, ...], value: Any, pointer: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable(pointer, f"expected an object, found {_name(value)}")
    key, kind = kinds
    return {_read(key, name, pointer): _read(kind, item, f"{pointer}/{name}") for name, item in value.items()}


def _member(kind: type[Enum], value: Any, pointer: str) -> Enum:
    try:
        return kind(value)
    except ValueError:
        raise Unreadable(pointer, f"{value!r} is no {kind.__name__} that this client knows") from None


def _plain(kind: type, value: Any, pointer: str) -> Any:
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Unreadable(pointer, "this number is too large") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Unreadable(pointer, f"expected {kind.__name__}, found {_name(value)}")
    return value


def _name(value: Any) -> str:
    return "null" if value is None else type(value).__name__
