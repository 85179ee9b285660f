"""Commands about what happened, and what happens: moves, told afterwards or live."""

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import instant, plain, write, write_json
from idds.cli.session import AsJson, EventNumber, RequestNumber, converse

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import MoveView

PATIENCE_S = 60.0
"""Listening outlives a restart of the service."""

Entity = Annotated[str | None, typer.Option(help="Only of this: request:7, transform:3, collection:5, rse:DISK.")]


def history(
    context: typer.Context,
    request: RequestNumber,
    entity: Entity = None,
    with_ids: Annotated[bool, typer.Option("--ids", help="With --json: whose status changed, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what happened to a request and all that belongs to it, oldest first."""

    async def talk(client: "Client") -> None:
        async for move in client.history(request, entity=entity, with_ids=with_ids):
            _tell(move, as_json)

    converse(context, talk)


def events(
    context: typer.Context,
    request: Annotated[
        int | None, typer.Argument(metavar="[REQUEST]", min=1, help="Of this request, until it ends; else of all.")
    ] = None,
    entity: Entity = None,
    after: EventNumber = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happens, as it happens, until Ctrl-C."""

    async def talk(client: "Client") -> None:
        async with aclosing(client.events(request, entity=entity, after=after)) as moves:
            async for move in moves:
                _tell(move, as_json)
                sys.stdout.flush()

    converse(context, talk, patience_s=PATIENCE_S)


def _tell(move: "MoveView", as_json: bool) -> None:
    if as_json:
        write_json(move)
        return
    change = f"{move.from_status or 'nothing'} to {move.to_status}"
    told = f"({move.reason})" if move.reason else ""
    write(plain(f"{instant(move.at)}  {move.entity:<16}  {move.n:>7}  {change:<22}  {move.event} {told}".rstrip()))
