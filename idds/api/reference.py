"""The OpenAPI document taken apart: what its page shows, noun by noun."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_BOUNDS: Mapping[str, str] = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minLength": "at least {} long",
    "maxLength": "at most {} long",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minProperties": "at least {} of them",
    "maxProperties": "at most {} of them",
    "pattern": "as {}",
}
_LONG = 90
_IN_EXAMPLES: Mapping[str, str] = {"id": "1", "stream": "stdout"}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a type's name; `leads_to` is the anchor of the schema that it names."""

    text: str
    leads_to: str | None = None


Kind = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter of an operation, or a field of a schema. `place` says where a parameter stands."""

    name: str
    place: str
    kind: Kind
    is_required: bool
    default: str | None
    bounds: str
    description: str


@dataclass(frozen=True, slots=True)
class Media:
    """What stands in a body."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    media: tuple[Media, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """`errors` are the statuses of its refusals."""

    anchor: str
    method: str
    path: str
    summary: str
    caller: str
    parameters: tuple[Row, ...]
    body: tuple[Media, ...]
    curl: str
    answers: tuple[Answer, ...]
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Noun:
    name: str
    description: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """A record with its `fields`, or (without any) a name for a `kind`."""

    name: str
    anchor: str
    description: str
    kind: Kind
    fields: tuple[Row, ...]


def nouns(document: Mapping[str, Any]) -> Iterator[Noun]:
    """The operations, by tag."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_operation(path, method.upper(), operation))
    for tag in document["tags"]:
        yield Noun(tag["name"], tag["description"], tuple(found[tag["name"]]))


def errors(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each status of a refusal means."""
    found = {
        (status, response["$ref"].rpartition("/")[2])
        for methods in document["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        if "$ref" in response
    }
    for status, name in sorted(found):
        yield status, document["components"]["responses"][name]["description"]


def schemas(document: Mapping[str, Any]) -> Iterator[Schema]:
    """All schemas that have a name, by name."""
    for name, schema in sorted(document["components"]["schemas"].items()):
        required = set(schema.get("required", ()))
        fields = tuple(
            _row(field, "", inner, field in required) for field, inner in schema.get("properties", {}).items()
        )
        yield Schema(name, _anchor(name), schema.get("description", ""), tuple(_kind(schema)), fields)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    responses, body = operation["responses"], operation.get("requestBody", {}).get("content", {})
    return Operation(
        anchor=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        caller=operation["x-idds-caller"],
        parameters=tuple(
            _row(each["name"], each["in"], each["schema"], each.get("required", False), each["description"])
            for each in operation.get("parameters", ())
        ),
        body=tuple(_media(body)),
        curl=_curl(path, method, body, needs_token=bool(operation["security"])),
        answers=tuple(
            Answer(status, response["description"], tuple(_media(response.get("content", {}))))
            for status, response in responses.items()
            if "$ref" not in response
        ),
        errors=tuple(status for status, response in responses.items() if "$ref" in response),
    )


def _media(content: Mapping[str, Any]) -> Iterator[Media]:
    for name, described in content.items():
        yield Media(name, tuple(_kind(described["schema"])))


def _curl(path: str, method: str, body: Mapping[str, Any], *, needs_token: bool) -> str:
    for name, value in _IN_EXAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    lines = [
        "curl -sS" + (" --config token.curl" if needs_token else "") + (f" -X {method}" if method != "GET" else "")
    ]
    if "application/json" in body:
        example = _laid_out(body["application/json"].get("example", {}))
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(example)}"]
    return " \\\n  ".join([*lines, f'"$IDDS{path}"'])


def _laid_out(value: Any, depth: int = 0) -> str:
    """As JSON, on one line where it fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + depth <= _LONG or not isinstance(value, dict | list):
        return line
    blank = " " * (depth + 1)
    if isinstance(value, dict):
        inner = [f"{json.dumps(name)}: {_laid_out(each, depth + 1)}" for name, each in value.items()]
        return "{\n" + ",\n".join(blank + each for each in inner) + f"\n{blank[1:]}}}"
    return "[\n" + ",\n".join(blank + _laid_out(each, depth + 1) for each in value) + f"\n{blank[1:]}]"


def _row(name: str, place: str, schema: Mapping[str, Any], is_required: bool, description: str = "") -> Row:
    default = json.dumps(schema["default"], ensure_ascii=False) if "default" in schema else None
    bounds = ", ".join(_bounds(schema))
    return Row(
        name, place, tuple(_kind(schema)), is_required, default, bounds, description or schema.get("description", "")
    )


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    for key, words in _BOUNDS.items():
        if key in schema:
            yield words.format(
                f"{schema[key]:,}".replace(",", "\u202f") if isinstance(schema[key], int) else schema[key]
            )
    for each in schema.get("anyOf", ()):
        yield from _bounds(each)


def _kind(schema: Mapping[str, Any]) -> Iterator[Part]:
    match schema:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            yield Part(name, _anchor(name))
        case {"const": value}:
            yield Part(json.dumps(value))
        case {"enum": values}:
            yield Part(" | ".join(map(json.dumps, values)))
        case {"anyOf": choices} | {"oneOf": choices}:
            yield from _joined(choices, " or ")
        case {"type": "array", "prefixItems": items}:
            yield Part("[")
            yield from _joined(items, ", ")
            yield Part("]")
        case {"type": "array"}:
            yield Part("list of ")
            yield from _kind(schema.get("items", {}))
        case {"type": "object", "additionalProperties": dict(values)} if "properties" not in schema:
            yield Part("map to ")
            yield from _kind(values)
        case {"type": str(name)}:
            yield Part(name)
        case _:
            yield Part("anything")


def _joined(choices: list[Mapping[str, Any]], between: str) -> Iterator[Part]:
    for number, choice in enumerate(choices):
        if number:
            yield Part(between)
        yield from _kind(choice)


def _anchor(name: str) -> str:
    return f"schema-{name}"
