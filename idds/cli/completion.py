"""What a shell may complete that only the service knows."""

import asyncio
from typing import TYPE_CHECKING

import typer

from idds.domain.errors import IddsError

if TYPE_CHECKING:
    from idds.sdk.logins import Logins
    from idds.sdk.views import RequestView

OFFERED = 50
LIMIT_S = 2.0
"""Who presses a key does not wait longer."""


def complete_request(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids of the latest requests that begin like this, each with its name and status; none where nobody answers."""
    from idds.cli.session import configuration, logins
    from idds.sdk.connection import find_connection

    given = context.find_root().params
    try:
        found = find_connection(given.get("url"), None, given.get("token_file"), configuration())
        requests = asyncio.run(_latest(found.url, found.token, logins()))
    except (IddsError, TimeoutError):
        return []
    named = [(str(each.id), f"{each.name}, {each.status}") for each in requests]
    return [each for each in named if each[0].startswith(incomplete)]


async def _latest(url: str, token: str | None, logins: "Logins") -> "list[RequestView]":
    from idds.sdk.client import Client

    async with asyncio.timeout(LIMIT_S), Client(url, token or await logins.token(url), patience_s=0) as client:
        return [request async for request in client.requests(limit=OFFERED)]
