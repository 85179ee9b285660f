"""Commands about contents, and tokens of payloads."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idds.cli.exits import Exit
from idds.cli.output import plain, write, write_json
from idds.cli.session import AsJson, CollectionNumber, converse
from idds.domain.errors import InvalidInput, Problem
from idds.domain.statuses import ContentStatus

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import ContentView, Registered

REGISTER_PATIENCE_S = 60.0


def contents(
    context: typer.Context,
    collection: CollectionNumber,
    status: Annotated[ContentStatus | None, typer.Option(help="Only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the contents of a collection."""

    async def talk(client: "Client") -> None:
        async for content in client.contents(collection, status):
            if as_json:
                write_json(content)
            else:
                write(_line(content))

    converse(context, talk)


def _line(content: "ContentView") -> str:
    name = f"{content.scope}:{content.name}" if content.scope else content.name
    span = f"[{content.min_id}..{content.max_id}]" if content.max_id else ""
    told = f"  ({content.reason})" if content.reason else ""
    return plain(f"{content.id:>9}  {content.status:<9}  {content.bytes:>13}  {name}{span}{told}")


def register(
    context: typer.Context,
    collection: CollectionNumber,
    file: Annotated[
        Path, typer.Argument(help="JSON objects, one a line: name, scope, bytes, adler32, ...; - for standard input.")
    ],
    close: Annotated[bool, typer.Option("--close", help="And say that nothing more will come.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register contents, any number of them, in an open collection."""

    async def talk(client: "Client") -> "Registered":
        with sys.stdin if str(file) == "-" else file.open(encoding="utf-8") as lines:
            found = await client.register(collection, _documents(lines))
        if close:
            await client.close_collection(collection)
        return found

    try:
        found = converse(context, talk, patience_s=REGISTER_PATIENCE_S)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        typer.echo(f"idds: {file} cannot be read: {reason}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    if as_json:
        write_json(found)
    else:
        write(f"collection {collection}: {found.registered} registered, {found.known} known before")


def _documents(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The object in each line. Raises InvalidInput, naming the line, counted from 0."""
    for number, line in enumerate(lines):
        try:
            document = json.loads(line)
        except ValueError as error:
            raise InvalidInput([Problem(f"/{number}", f"this line is not JSON: {error}")]) from None
        if not isinstance(document, dict):
            raise InvalidInput([Problem(f"/{number}", "this line holds no JSON object")])
        yield document


def close(context: typer.Context, collection: CollectionNumber, as_json: AsJson = False) -> None:
    """Say that nothing more will be registered in a collection."""
    found = converse(context, lambda client: client.close_collection(collection))
    if as_json:
        write_json(found)
    else:
        write(f"collection {found.id} is closed, with {found.total} contents")
