"""The settings reference, from the classes that read them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

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
    top = {name: field for name, field in Settings.model_fields.items() if _section(field) is None}
    yield from ("", "## At the top", "")
    yield from _table(top, "")
    for name, field in Settings.model_fields.items():
        section = _section(field)
        if section is None:
            continue
        is_one = get_origin(field.annotation) is not dict
        yield from ("", f"## [{name}]" if is_one else f"## [{name}.NAME]", "", field.description or _words(section), "")
        yield from _table(section.model_fields, f"{name}__" if is_one else f"{name}__NAME__")
        if default := _changed(field.default):
            yield from ("", f"Default: `{json.dumps(default)}`")


def _changed(default: Any) -> dict[str, Any]:
    """What a section's default holds that its names' own defaults do not."""
    if isinstance(default, dict):
        return {name: _changed(value) for name, value in default.items()}
    return default.model_dump(exclude_defaults=True) if isinstance(default, BaseModel) else {}


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _words(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip()


def _table(fields: dict[str, FieldInfo], prefix: str) -> Iterator[str]:
    yield "| name | type | default | meaning | variable |"
    yield "| --- | --- | --- | --- | --- |"
    for name, field in fields.items():
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        variable = f"`IDDS_{prefix}{name}`".upper()
        yield f"| `{name}` | {_type(field)} | {default} | {field.description} | {variable} |"


def _plain(value: Any) -> str:
    return "none" if value is None else json.dumps(str(value) if isinstance(value, Path) else value)


def _type(field: FieldInfo) -> str:
    kinds = [_name(kind) for kind in get_args(field.annotation) if kind is not type(None)] or [_name(field.annotation)]
    if get_origin(field.annotation) is dict:
        kinds = ["table"]
    bounds = [
        f"{sign} {getattr(limit, key)}" for limit in field.metadata for key, sign in _SIGNS if hasattr(limit, key)
    ]
    return ", ".join([" or ".join(kinds), *bounds])


_SIGNS = (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="))
_NAMES = {int: "integer", str: "text", bool: "boolean", Path: "path", float: "number"}


def _name(kind: Any) -> str:
    return _NAMES.get(kind) or f"`{kind}`"
