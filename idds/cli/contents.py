"""Commands about contents, logs and tokens of payloads."""

import asyncio
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import plain, write, write_json
from idds.cli.session import AsJson, CollectionNumber, converse
from idds.domain.statuses import ContentStatus

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import ContentView

LOG_INTERVAL_S = 1.0
LOG_PATIENCE_S = 60.0


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


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


def logs(
    context: typer.Context,
    processing: Annotated[int, typer.Argument(metavar="PROCESSING", min=1, help="See: idds processings REQUEST")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the log is complete.")] = False,
    stream: Annotated[Stream, typer.Option(help="Which log.")] = Stream.STDOUT,
) -> None:
    """Print what a processing's job wrote."""

    async def talk(client: "Client") -> None:
        offset = 0
        while True:
            chunk = await client.logs(processing, stream, offset)
            sys.stdout.buffer.write(chunk.bytes)
            sys.stdout.buffer.flush()
            offset = chunk.next_offset
            if chunk.eof or not (chunk.bytes or follow):
                return
            if not chunk.bytes:
                await asyncio.sleep(LOG_INTERVAL_S)

    if follow:
        converse(context, talk, patience_s=LOG_PATIENCE_S)
    else:
        converse(context, talk)


def token(
    context: typer.Context,
    collection: CollectionNumber,
    lifetime_s: Annotated[float, typer.Option("--lifetime", min=1, help="Seconds that it is good for.")] = 86400,
    as_json: AsJson = False,
) -> None:
    """Print a token that is good for leases and reports of one collection only."""
    found = converse(context, lambda client: client.payload_token(collection, lifetime_s))
    if as_json:
        write_json({"token": found})
    else:
        write(found)
