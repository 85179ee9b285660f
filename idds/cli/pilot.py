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
    from collections.abc import Awaitable, Callable

    from idds.sdk.client import Client
    from idds.sdk.pilot import Limits, Pilot

Url = Annotated[str | None, typer.Option(help="Where the service is; else IDDS_URL.")]
Walltime = Annotated[
    float | None, typer.Option("--walltime", "--walltime-s", min=1, help="The job's; without it there is no end.")
]
Margin = Annotated[float, typer.Option("--margin-s", min=0, help="Of the walltime, kept for winding up.")]
Ttl = Annotated[float, typer.Option("--ttl-s", min=1, help="How long leases outlast one that is killed.")]
Grace = Annotated[float, typer.Option("--grace-s", min=0, help="What the command has to end in when told to.")]
Patience = Annotated[float, typer.Option("--patience-s", min=0, help="How long the service may be away.")]
Idle = Annotated[float | None, typer.Option("--idle-s", min=0, help="Leave when nothing came for so long.")]


def pilot(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What is run on the contents.")],
    collection: Annotated[int, typer.Option(min=1, help="The id; see: idds show REQUEST")],
    url: Url = None,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Contents that the command gets at once.")] = 1,
    walltime_s: Walltime = None,
    margin_s: Margin = 60.0,
    ttl_s: Ttl = 300.0,
    grace_s: Grace = 10.0,
    patience_s: Patience = 600.0,
    idle_s: Idle = None,
    scratch: Annotated[Path | None, typer.Option(help="Where the command's folders are made.")] = None,
    as_json: AsJson = False,
) -> None:
    """Lease contents, run a command on them and report each, until nothing more comes or the time is over.

    The token comes from IDDS_TOKEN or IDDS_TOKEN_FILE. On SIGTERM what is finished is reported, the rest given back,
    and the exit code is 143; on Ctrl-C it is 130.
    """
    from idds.sdk.dialects import Jobs
    from idds.sdk.pilot import Limits, Pilot

    limits = Limits(
        count=count,
        walltime_s=walltime_s,
        margin_s=margin_s,
        ttl_s=ttl_s,
        grace_s=grace_s,
        patience_s=patience_s,
        idle_s=idle_s,
    )

    async def make(client: "Client") -> "Pilot":
        return Pilot(client, collection, command, limits, Jobs(scratch))

    fly(context, url, None, make, limits, as_json)


def fly(
    context: typer.Context,
    url: str | None,
    token_file: Path | None,
    make: "Callable[[Client], Awaitable[Pilot]]",
    limits: "Limits",
    as_json: bool,
) -> None:
    """Have a pilot made and fly until it ends or is told to; what came of it is told, however it ends."""
    from idds.sdk.pilot import Useless

    target = context.find_object(Target) or Target(None, None)
    try:
        asyncio.run(_fly(url or target.url, token_file or target.token_file, make, limits.patience_s, as_json))
    except IddsError as error:
        raise leave(error) from None
    except Useless as error:
        typer.echo(f"idds: {error}", err=True)
        raise typer.Exit(Exit.REFUSED) from None
    except OSError as error:
        typer.echo(f"idds: {error.filename or 'the command'} cannot be run: {error.strerror}", err=True)
        raise typer.Exit(Exit.REFUSED) from None


async def _fly(
    url: str | None,
    token_file: Path | None,
    make: "Callable[[Client], Awaitable[Pilot]]",
    patience_s: float,
    as_json: bool,
) -> None:
    from idds.sdk.client import Client

    async with Client(url, token_file=token_file, patience_s=patience_s) as client:
        flying = await make(client)
        loop = asyncio.get_running_loop()
        signalled: list[int] = []

        def stop(number: int) -> None:
            signalled.append(number)
            flying.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
        try:
            await flying.run()
        finally:
            _tell(flying, as_json)
        if signalled:
            # Who sent it is not to take this for the end of the work.
            raise typer.Exit(Exit.TERMINATED if signalled[0] == signal.SIGTERM else Exit.INTERRUPTED)


def _tell(flying: "Pilot", as_json: bool) -> None:
    if as_json:
        write_json(flying.tally)
    else:
        write(str(flying.tally))
