"""Commands about the definition of a study, which may change while it is searched."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.exits import Exit, leave
from idds.cli.output import instant, plain, write, write_json, write_table
from idds.cli.session import AsJson, StudyNumber, converse
from idds.domain.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from idds.domain.redefinition import StudyVersion
    from idds.sdk.client import Client

Ranges = Annotated[list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="One side may be left out.")]


def redefine(
    context: typer.Context,
    study: StudyNumber,
    reason: Annotated[str, typer.Option(help="Why; it stands in the history.")],
    narrow: Ranges = None,
    widen: Ranges = None,
    fix: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Search it no more.")] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Deliver it no more.")] = None,
    choices: Annotated[
        list[str] | None, typer.Option(metavar="NAME=A,B", help="All choices that it has from now on.")
    ] = None,
    constrain: Annotated[list[str] | None, typer.Option(metavar="EXPRESSION", help="Another constraint.")] = None,
    unconstrain: Annotated[list[str] | None, typer.Option(metavar="EXPRESSION", help="One constraint less.")] = None,
    segment: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The segment that these are of; all others go on as they are.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Further changes, as the API takes them: a JSON list.")] = None,
    if_version: Annotated[int | None, typer.Option(min=1, help="Only if the study is of this version still.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the space of a study; what it found counts on where it fits."""
    given: tuple[tuple[str, list[str] | None, Callable[[str], dict[str, Any]]], ...] = (
        ("narrow", narrow, _range),
        ("widen", widen, _range),
        ("fix", fix, _value),
        ("drop", drop, lambda text: {"parameter": text}),
        ("choices", choices, _choices),
        ("constrain", constrain, lambda text: {"expression": text}),
        ("unconstrain", unconstrain, lambda text: {"expression": text}),
    )
    try:
        changes = [{"change": kind, **read(text)} for kind, texts, read in given for text in texts or ()]
        if segment is not None:
            changes = [each if "expression" in each else {**each, "model_id": _model(segment)} for each in changes]
        changes += _read(file)
    except InvalidInput as error:
        raise leave(error) from None
    if not changes:
        raise leave(InvalidInput([Problem("", "say what is to change: --narrow, --fix, --file, ...")]))
    made = converse(context, lambda client: client.redefine(study, changes, reason, if_version=if_version))
    if as_json:
        write_json(made)
    else:
        write(f"study {study} is of version {made.version} now")


def versions(context: typer.Context, study: StudyNumber, as_json: AsJson = False) -> None:
    """List the versions of a study, and why each was made."""

    async def talk(client: "Client") -> "list[StudyVersion]":
        return [version async for version in client.versions(study)]

    found = converse(context, talk)
    if as_json:
        for version in found:
            write_json(version)
        return
    rows = [
        (each.version, instant(each.at), each.author, _parameters(each), plain(_changes(each.changes)), each.reason)
        for each in found
    ]
    write_table(("version", "at", "by", "parameters", "changes", "reason"), rows)


def _parameters(version: "StudyVersion") -> int:
    return len({name for space in (version.space, *(each.space for each in version.segments)) for name in space})


def _changes(changes: tuple[Any, ...]) -> str:
    return ", ".join(map(_told, changes))


def _told(change: Any) -> str:
    what = f"{change.change} {getattr(change, 'parameter', None) or change.expression}"
    model = getattr(change, "model_id", None)
    return what if model is None else f"{what} of {model}"


def _model(text: str) -> str | int:
    """The name or number of a model."""
    value = _literal(text)
    return value if isinstance(value, int) and not isinstance(value, bool) else text


def _range(text: str) -> dict[str, Any]:
    name, limits = _named(text)
    low, colon, high = limits.partition(":")
    if not colon or not (low or high):
        raise InvalidInput([Problem("", f"{text!r} is no range: write NAME=LOW:HIGH")])
    try:
        bounds = {side: float(bound) for side, bound in (("low", low), ("high", high)) if bound}
    except ValueError:
        raise InvalidInput([Problem("", f"{text!r} is no range of numbers: write NAME=LOW:HIGH")]) from None
    return {"parameter": name, **bounds}


def _value(text: str) -> dict[str, Any]:
    name, value = _named(text)
    return {"parameter": name, "value": _literal(value)}


def _choices(text: str) -> dict[str, Any]:
    name, listed = _named(text)
    return {"parameter": name, "choices": [_literal(each) for each in listed.split(",")]}


def _named(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise InvalidInput([Problem("", f"{text!r} names no parameter and value: write NAME=...")])
    return name, rest


def _literal(text: str) -> Any:
    """A value as JSON has it, or else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict | list) or value is None else value


def _read(file: Path | None) -> Iterator[dict[str, Any]]:
    if file is None:
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        typer.echo(f"idds: {file} cannot be read: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    except ValueError as error:
        raise InvalidInput([Problem("", f"{file} is not JSON: {error}")]) from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InvalidInput([Problem("", f"{file} holds no list of changes")])
    yield from found
