"""`idds pilot`: run a command on a collection's contents, on a worker node."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.exits import Exit, leave
from idds.cli.output import write, write_json
from idds.cli.session import AsJson, Target
from idds.domain.errors import IddsError

if TYPE_CHECKING:
    from idds.sdk.pilot import Limits, Pilot


def pilot(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What is run on the contents.")],
    collection: Annotated[int, typer.Option(min=1, help="The id; see: idds show REQUEST")],
    url: Annotated[str | None, typer.Option(help="Where the service is; else IDDS_URL.")] = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Contents that the command gets at once.")] = 1,
    walltime_s: Annotated[float | None, typer.Option(min=1, help="The job's; without it there is no end.")] = None,
    margin_s: Annotated[float, typer.Option(min=0, help="Of the walltime, kept for winding up.")] = 60.0,
    ttl_s: Annotated[float, typer.Option(min=1, help="How long leases outlast a pilot that is killed.")] = 300.0,
    grace_s: Annotated[float, typer.Option(min=0, help="What the command has to end in when told to.")] = 10.0,
    patience_s: Annotated[float, typer.Option(min=0, help="How long the service may be away.")] = 600.0,
    idle_s: Annotated[float | None, typer.Option(min=0, help="Leave when nothing came for so long.")] = None,
    scratch: Annotated[Path | None, typer.Option(help="Where the command's folders are made.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lease contents, run a command on them and report each, until nothing more comes or the time is over.

    The token comes from IDDS_TOKEN or IDDS_TOKEN_FILE. On SIGTERM what is finished is reported, the rest given back.
    """
    from idds.sdk.pilot import Limits, Useless

    limits = Limits(
        count=count,
        walltime_s=walltime_s,
        margin_s=margin_s,
        ttl_s=ttl_s,
        grace_s=grace_s,
        patience_s=patience_s,
        idle_s=idle_s,
    )
    target = context.find_object(Target)
    try:
        asyncio.run(_fly(url or (target.url if target else None), collection, command, limits, scratch, as_json))
    except IddsError as error:
        raise leave(error) from None
    except Useless as error:
        typer.echo(f"idds: {error}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    except OSError as error:
        typer.echo(f"idds: {command[0]} cannot be run: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None


async def _fly(
    url: str | None, collection: int, command: list[str], limits: "Limits", scratch: Path | None, as_json: bool
) -> None:
    from idds.sdk.client import Client
    from idds.sdk.connection import find_connection
    from idds.sdk.pilot import Pilot

    found = find_connection(url)
    async with Client(found.url, found.token, patience_s=limits.patience_s) as client:
        flying = Pilot(client, collection, command, limits, scratch)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, flying.stop)
        try:
            await flying.run()
        finally:
            _tell(flying, as_json)


def _tell(flying: "Pilot", as_json: bool) -> None:
    if as_json:
        write_json(flying.tally)
    else:
        write(str(flying.tally))
