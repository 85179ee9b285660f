"""`idds payload`: evaluate samples of a study by a command, wherever a URL and a token are known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.exits import leave
from idds.cli.pilot import Grace, Idle, Margin, Patience, Ttl, Url, Walltime, fly
from idds.cli.session import AsJson
from idds.domain.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.pilot import Pilot


def payload(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="What evaluates a sample.")],
    url: Url = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token; else IDDS_TOKEN, IDDS_TOKEN_FILE.")
    ] = None,
    study: Annotated[int | None, typer.Option(min=1, help="Its id, where the token is not of one study.")] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for what unfinished samples are gone on with; payloads may share it.")
    ] = None,
    walltime_s: Walltime = None,
    margin_s: Margin = 120.0,
    ttl_s: Ttl = 300.0,
    grace_s: Grace = 60.0,
    patience_s: Patience = 600.0,
    idle_s: Idle = None,
    as_json: AsJson = False,
) -> None:
    """Take samples of a study, run a command on each and report it, until the study ends or the time is over.

    The command runs in this folder: it reads input.json, the parameters, and leaves output.json: {"status": 0, "loss":
    0.5}. On SIGTERM it is told to end; what it left in IDDS_CHECKPOINT is gone on with by the next payload. The exit
    code is 143 then, and 130 on Ctrl-C.
    """
    from idds.sdk.checkpoints import Checkpoints
    from idds.sdk.pilot import Limits, Pilot
    from idds.sdk.points import Points

    limits = Limits(
        walltime_s=walltime_s,
        margin_s=margin_s,
        ttl_s=ttl_s,
        grace_s=grace_s,
        patience_s=patience_s,
        idle_s=idle_s,
    )

    async def make(client: "Client") -> "Pilot":
        number = study or (await client.whoami()).collection
        if number is None:
            raise InvalidInput([Problem("--study", "this token is not of one study: say which one")])
        kept = Checkpoints(checkpoints, client.url, number) if checkpoints is not None else None
        return Pilot(client, number, command, limits, Points(Path.cwd(), kept))

    with _alone(Path.cwd()):
        fly(context, url, token_file, make, limits, as_json)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two in one folder would take each other's input.json."""
    from idds.sdk.locks import try_lock

    try:
        lock = try_lock(folder / ".idds-payload.lock")
    except OSError as error:
        raise leave(InvalidInput([Problem("", f"{folder} cannot be written to: {error.strerror}")])) from None
    if lock is None:
        problem = Problem("", f"another payload runs in {folder}: start this one in a folder of its own")
        raise leave(InvalidInput([problem]))
    try:
        yield
    finally:
        lock.leave()
