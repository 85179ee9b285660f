"""One command's conversation with the service."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from idds.cli.completion import complete_request
from idds.cli.exits import Exit, leave
from idds.domain.errors import IddsError

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.logins import Logins

T = TypeVar("T")

SHORT_PATIENCE_S = 2.0
"""Who types a command wants to know soon that nobody is there."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document a line, for programs.")]
RequestNumber = Annotated[
    int, typer.Argument(metavar="REQUEST", min=1, help="The request's id.", autocompletion=complete_request)
]
CollectionNumber = Annotated[int, typer.Argument(metavar="COLLECTION", min=1, help="The id; see: idds show REQUEST")]
StudyNumber = Annotated[int, typer.Argument(metavar="STUDY", min=1, help="The id; see: idds study list")]
EventNumber = Annotated[int | None, typer.Option("--after", min=0, help="Only what came after this id.")]


@dataclass(frozen=True, slots=True)
class Target:
    """What was said about the service on the command line."""

    url: str | None
    token_file: Path | None


def configuration() -> Path:
    """The user's own settings of the client."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "idds" / "client.toml"


def logins() -> "Logins":
    """Where the user's logins are kept."""
    from idds.sdk.logins import Logins

    return Logins(configuration().parent / "logins")


def converse(
    context: typer.Context,
    talk: Callable[["Client"], Awaitable[T]],
    *,
    patience_s: float = SHORT_PATIENCE_S,
    is_login: bool = False,
) -> T:
    """What `talk` returns. An error it meets is told, and ends the command with its exit code.

    Who names no token is who has logged in, unless this is to be the login itself.
    """
    try:
        return asyncio.run(_converse(context.find_object(Target), talk, patience_s, is_login))
    except IddsError as error:
        raise leave(error) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


async def _converse(
    target: Target | None, talk: Callable[["Client"], Awaitable[T]], patience_s: float, is_login: bool
) -> T:
    from idds.sdk.client import Client
    from idds.sdk.connection import find_connection
    from idds.sdk.ending import end

    assert target is not None
    found = find_connection(target.url, None, target.token_file, configuration())
    token = found.token if found.token or is_login else await logins().token(found.url)
    async with Client(found.url, token, patience_s=patience_s) as client:
        talking = asyncio.ensure_future(talk(client))
        try:
            await asyncio.wait({talking})
        finally:
            # Who interrupts says so once, to this task: it hears of it for sure.
            await end(talking)
        return talking.result()
