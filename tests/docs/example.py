"""config/idds.toml: an example that names every setting, from the classes that read them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from idds.runtime.settings import Settings
from tests.docs.settings import section_of

EXAMPLE: Mapping[str, Any] = {
    "state": "idds-state",
    "ddm": {
        "plugin": "posix",
        "options": {
            "rses": {
                "DISK": {"kind": "disk"},
                "OUT": {"kind": "disk"},
                "TAPE": {"kind": "tape", "drives": 2, "mount_s": 2.0, "seek_s": 1.0, "bytes_per_s": 100_000_000},
            }
        },
    },
    "rses": {"DISK": {"window_bytes": 10_000_000_000}, "OUT": {}},
    "providers": {"local": {"plugin": "local", "options": {}}},
    "placement": {"provider": "local", "disk": "DISK", "outputs": "OUT"},
}
"""One machine with a tape to play with."""


def page() -> str:
    """TOML with every setting; what stands at its default is commented out."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Every setting of the service; docs/settings.md has them with their types. What is commented out"
    yield "# holds without being said. For one machine with a tape to play with: copy it, and change it."
    yield "# Made by `python -m tests.docs`."
    yield "#"
    yield "# An environment variable goes before the file: IDDS_API__PORT=9000, IDDS_STORE__URL=..."
    yield "# `idds config check FILE` tells what is wrong, `idds config show FILE` what takes effect."
    yield ""
    yield from _section("", Settings, EXAMPLE, is_real=True)


def _section(path: str, section: type[BaseModel], example: Mapping[str, Any], *, is_real: bool) -> Iterator[str]:
    """The settings of a section, then the sections in it."""
    inner: list[tuple[str, FieldInfo, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        found = section_of(field)
        if found is None:
            yield f"# {field.description}"
            yield from _setting(name, field, example)
        else:
            inner.append((f"{path}.{name}" if path else name, field, found))
    for at, field, found in inner:
        given = example.get(at.rpartition(".")[2], {})
        yield from ("", f"# {field.description or (found.__doc__ or '').strip().splitlines()[0]}")
        for heading, values in _tables(at, field, given):
            yield heading if is_real and (values is not None) else f"# {heading}"
            deeper = heading.strip("[]")
            yield from _section(deeper, found, values or {}, is_real=is_real and values is not None)


def _tables(at: str, field: FieldInfo, given: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """The headings of a section, and what the example has below each; None where it has none of that name."""
    kind = get_origin(field.annotation)
    if kind is tuple:
        yield f"[[{at}]]", None
    elif kind is not dict:
        yield f"[{at}]", given
    elif given:
        yield from ((f"[{at}.{name}]", values) for name, values in given.items())
    else:
        yield f"[{at}.NAME]", None


def _setting(name: str, field: FieldInfo, example: Mapping[str, Any]) -> Iterator[str]:
    if name in example:
        yield from _assignments(name, example[name])
    elif field.is_required() or field.default is None:
        yield f"# {name} ="
    else:
        yield f"# {name} = {_toml(field.get_default(call_default_factory=True))}"


def _assignments(name: str, value: Any) -> Iterator[str]:
    """One line, or one for each table in a table."""
    if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
        for inner, item in value.items():
            yield from _assignments(f"{name}.{inner}", item)
    else:
        yield f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }" if value else "{}"
        case set() | frozenset():
            return _toml(sorted(value))
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case Path():
            return json.dumps(str(value))
        case _:
            return json.dumps(value)
