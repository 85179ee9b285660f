"""Commands about processings, and what their jobs wrote."""

import asyncio
import sys
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import duration, plain, write, write_json
from idds.cli.session import AsJson, RequestNumber, converse
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.processing import Processing
from idds.domain.statuses import Status

if TYPE_CHECKING:
    from idds.sdk.client import Client

LOG_INTERVAL_S = 1.0
LOG_PATIENCE_S = 60.0
NAMED = 10


class Stream(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


def processings(
    context: typer.Context,
    request: RequestNumber,
    status: Annotated[Status | None, typer.Option(help="Only these.")] = None,
    transform: Annotated[int | None, typer.Option(min=1, help="Only of this transform; see: idds show")] = None,
    as_json: AsJson = False,
) -> None:
    """List the processings of a request, oldest first."""

    async def talk(client: "Client") -> None:
        async for processing in client.processings(request, status, transform=transform):
            if as_json:
                write_json(processing)
            else:
                write(_line(processing))

    converse(context, talk)


def _line(p: Processing) -> str:
    took = duration(p.ended_at - p.submitted_at) if p.ended_at is not None and p.submitted_at is not None else ""
    ended = f"{p.done} done, {p.failed} failed" if p.done or p.failed else ""
    parts = (f"{p.id:>9}  {p.status:<11}  attempt {p.attempt}  on {p.provider:<12}", took, ended, p.reason or "")
    return plain("  ".join(part for part in parts if part).rstrip())


def logs(
    context: typer.Context,
    processing: Annotated[
        int | None, typer.Argument(metavar="PROCESSING", min=1, help="See: idds processings REQUEST")
    ] = None,
    request: Annotated[
        int | None, typer.Option("--request", min=1, help="Instead: the only processing of this request.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the log is complete.")] = False,
    stream: Annotated[Stream, typer.Option(help="Which log.")] = Stream.STDOUT,
) -> None:
    """Print what a processing's job wrote."""

    async def talk(client: "Client") -> None:
        number = await _which(client, processing, request)
        offset = 0
        while True:
            try:
                chunk = await client.logs(number, stream, offset)
            except NotFound:
                # Known, and not started: there will be a log.
                if not follow or (await client.processing(number)).status.is_terminal:
                    raise
                await asyncio.sleep(LOG_INTERVAL_S)
                continue
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


async def _which(client: "Client", processing: int | None, request: int | None) -> int:
    """The processing that is meant. Raises Conflict where a request has another number of them than one."""
    if (processing is None) == (request is None):
        raise InvalidInput([Problem("", "name a processing, or a request by --request")])
    if processing is not None:
        return processing
    assert request is not None
    found = [each async for each in client.processings(request)]
    if len(found) == 1:
        return found[0].id
    if not found:
        raise Conflict(f"request {request} has no processings yet; see what it waits for: idds why {request}")
    named = ", ".join(f"{each.id} ({each.status})" for each in islice(reversed(found), NAMED))
    more = ", ..." if len(found) > NAMED else ""
    raise Conflict(f"request {request} has {len(found)} processings; name one of them, latest first: {named}{more}")
