"""Logging in, and who one is."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import instant, plain, write, write_json
from idds.cli.session import AsJson, converse, logins
from idds.domain.errors import Conflict, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idds.sdk.client import Client
    from idds.sdk.login import Prompt
    from idds.sdk.views import Issuer, Whoami

PATIENCE_S = 10.0


def login(
    context: typer.Context,
    issuer: Annotated[str | None, typer.Option(help="Its name, where the service knows several.")] = None,
) -> None:
    """Log in with a browser, here or on another machine. The token is kept for the next commands."""

    async def talk(client: "Client") -> "tuple[Whoami, str]":
        from idds.sdk.client import Client as FreshClient
        from idds.sdk.login import log_in

        chosen = _choose(await client.issuers(), issuer)
        got = await log_in(chosen, _show)
        # Asked with the new token, so that one which is good for nothing is not kept.
        async with FreshClient(client.url, got.access_token, patience_s=PATIENCE_S) as fresh:
            told = await fresh.whoami()
        kept = logins()
        kept.keep(client.url, got)
        return told, str(kept.path(client.url))

    told, path = converse(context, talk, is_login=True)
    write(f"logged in as {_sentence(told)}; kept in {path}")


def logout(context: typer.Context) -> None:
    """Forget the login at this service, and have its issuer take it back."""

    async def talk(client: "Client") -> str:
        from idds.sdk.login import revoke

        login = await logins().forget(client.url)
        if login is None:
            return f"nobody was logged in at {client.url}"
        if await revoke(login):
            return f"logged out of {client.url}"
        ends = f"ends {instant(int(login.expires_at * 1e6))}" if login.expires_at else "never ends by itself"
        return f"logged out of {client.url} here; its issuer takes nothing back, and the token {ends}"

    write(plain(converse(context, talk, is_login=True)))


def _choose(issuers: "Sequence[Issuer]", name: str | None) -> "Issuer":
    names = ", ".join(issuer.name for issuer in issuers)
    if not issuers:
        raise Conflict("this service knows no issuer to log in at; use a token file")
    if name is None and len(issuers) > 1:
        raise InvalidInput([Problem("--issuer", f"choose one of: {names}")])
    found = [issuer for issuer in issuers if name in (None, issuer.name)]
    if not found:
        raise InvalidInput([Problem("--issuer", f"there are: {names}")])
    return found[0]


def _show(prompt: "Prompt") -> None:
    write(f"Open {plain(prompt.whole_url or prompt.url)}")
    write(f"and enter the code {plain(prompt.code)}, within {prompt.lasts_s / 60:.0f} minutes.")
    sys.stdout.flush()  # somebody waits for it, also at the other end of a pipe


def whoami(context: typer.Context, as_json: AsJson = False) -> None:
    """Tell who the service takes one for."""
    told = converse(context, lambda client: client.whoami())
    if as_json:
        write_json(told)
    else:
        write(_sentence(told))


def _sentence(told: "Whoami") -> str:
    parts = [f"{told.owner} of {told.vo}, with the role {told.role}"]
    if told.shares is not None:
        parts.append(f"held to the shares {', '.join(told.shares)}")
    if told.collection is not None:
        parts.append(f"for collection {told.collection} only")
    if told.expires_at is not None:
        parts.append(f"until {instant(told.expires_at)}")
    return plain(", ".join(parts))
