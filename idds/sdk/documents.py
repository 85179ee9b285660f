"""Workflow documents: written from records, read from JSON and TOML files."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from idds.domain.errors import InvalidInput, Problem
from idds.domain.workflow import Workflow


def to_document(workflow: Workflow | Mapping[str, Any]) -> dict[str, Any]:
    """The JSON document of a workflow. What stands at its default is left out, so that older services read it too."""
    return to_plain(workflow) if isinstance(workflow, Workflow) else dict(workflow)


def load_document(path: Path) -> dict[str, Any]:
    """The document in a file, by its name's end: `.toml`, otherwise JSON.

    Raises OSError when it cannot be read, and InvalidInput, naming file, line and column, when it is no document.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise InvalidInput([Problem("", f"{path} is not {kind}: {error}")]) from None
    if not isinstance(document, dict):
        raise InvalidInput([Problem("", f"{path} holds no object, as a workflow document is")])
    return document


def set_value(document: dict[str, Any], assignment: str) -> None:
    """Put one value into a document in place: `/works/0/attempts=5`, a JSON pointer and JSON, or else a plain string.

    `-` at the end of a pointer appends to a list. Raises InvalidInput.
    """
    pointer, equals, text = assignment.partition("=")
    if not (equals and pointer.startswith("/")):
        raise InvalidInput([Problem("", f"{assignment!r} sets nothing: write /works/0/attempts=5")])
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
    parent: Any = document
    for number, step in enumerate(steps[:-1]):
        parent = _child(parent, step, "/" + "/".join(steps[: number + 1]))
    _put(parent, steps[-1], _value(text), pointer)


def _child(parent: Any, step: str, pointer: str) -> Any:
    if isinstance(parent, dict):
        return parent.setdefault(step, {})
    if isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        return parent[int(step)]
    raise InvalidInput([Problem(pointer, "there is no such place in the document")])


def _put(parent: Any, step: str, value: Any, pointer: str) -> None:
    if isinstance(parent, dict):
        parent[step] = value
    elif isinstance(parent, list) and step == "-":
        parent.append(value)
    elif isinstance(parent, list) and step.isdecimal() and int(step) < len(parent):
        parent[int(step)] = value
    else:
        raise InvalidInput([Problem(pointer, "there is no such place in the document")])


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def to_plain(value: Any) -> Any:
    """A record as JSON has it, without what stands at its default."""
    if is_dataclass(value):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def _default(field: "Field[Any]") -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
