"""The settings reference, from the classes that read them."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from idds.runtime.settings import Settings


def page() -> str:
    """Markdown with a table a section."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Made from `idds/runtime/settings.py` by `python -m tests.docs`."
    yield ""
    yield "Settings stand in a TOML file; an environment variable goes before it (`[api] port` is `IDDS_API__PORT`)."
    yield "Unknown names are refused. The defaults make a whole service on one machine."
    top = {name: field for name, field in Settings.model_fields.items() if section_of(field) is None}
    yield from ("", "## At the top", "")
    yield from _table(top, "")
    yield from _sections(Settings, ())


def _sections(model: type[BaseModel], place: tuple[str, ...]) -> Iterator[str]:
    """A table for each section in it, and for those in these."""
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is None:
            continue
        kind = get_origin(field.annotation)
        inner = (*place, name, "NAME") if kind is dict else (*place, name)
        title = f"[[{'.'.join(inner)}]]" if kind is tuple else f"[{'.'.join(inner)}]"
        yield from ("", f"## {title}", "", field.description or _words(section), "")
        plain = {name: field for name, field in section.model_fields.items() if section_of(field) is None}
        yield from _table(plain, None if kind is tuple else "__".join((*inner, "")))
        if default := _changed(field.default):
            yield from ("", f"Default: `{json.dumps(default)}`")
        yield from _sections(section, inner)


def _changed(default: Any) -> dict[str, Any]:
    """What a section's default holds that its names' own defaults do not."""
    if isinstance(default, dict):
        return {name: _changed(value) for name, value in default.items()}
    return default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else {}


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _words(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip()


def _table(fields: dict[str, FieldInfo], prefix: str | None) -> Iterator[str]:
    """Without a prefix they have no environment variables: they stand in a list."""
    yield f"| name | type | default | meaning |{'' if prefix is None else ' variable |'}"
    yield f"| --- | --- | --- | --- |{'' if prefix is None else ' --- |'}"
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        variable = "" if prefix is None else f" `{f'IDDS_{prefix}{name}'.upper()}` |"
        yield f"| `{name}` | {_type(field)} | {default} | {field.description} |{variable}"


def _plain(value: Any) -> str:
    if isinstance(value, (frozenset, tuple)):
        value = sorted(value) if isinstance(value, frozenset) else list(value)
    return "none" if value is None else json.dumps(str(value) if isinstance(value, Path) else value)


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, key)}" for limit in field.metadata for key, sign in _SIGNS if hasattr(limit, key)
    ]
    return ", ".join([_words_of(field.annotation), *bounds])


_SIGNS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
_NAMES = {int: "integer", str: "text", bool: "boolean", Path: "path", float: "number"}


def _words_of(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return "table"
    if origin in (frozenset, tuple):
        return f"list of {_words_of(inner[0])}"
    if origin is Annotated:
        return _words_of(inner[0])
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        inner = tuple(annotation)
    return " or ".join(_words_of(it) for it in inner if it is not type(None)) or _NAMES.get(
        annotation, f"`{annotation}`"
    )
