"""Tokens: made, listed, revoked."""

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.exits import leave
from idds.cli.output import ago, instant, write, write_json, write_table
from idds.cli.session import AsJson, CollectionNumber, converse
from idds.domain.errors import InvalidInput, Problem
from idds.domain.request import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from idds.sdk.client import Client
    from idds.sdk.views import TokenView

app = typer.Typer(help="Make, list or revoke tokens.", no_args_is_help=True)

Lifetime = Annotated[
    float | None, typer.Option("--lifetime", min=1, help="Seconds that it is good for; else what the service says.")
]
File = Annotated[
    Path | None, typer.Option("--file", help="New file to write it to, for its owner's eyes only; else it is printed.")
]


@app.command("new")
def new(
    context: typer.Context,
    role: Annotated[Role | None, typer.Option(help="No more than your own.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose it is to be; for workload managers and operators.")] = None,
    vo: Annotated[str | None, typer.Option(help="Of which VO; for operators.")] = None,
    share: Annotated[list[str] | None, typer.Option(help="A share that it is held to; may be given again.")] = None,
    lifetime: Lifetime = None,
    note: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once."""

    async def talk(client: "Client") -> "TokenView":
        return await client.new_token(role, owner=owner, vo=vo, shares=share or None, lifetime_s=lifetime, note=note)

    with new_file(file) as give:
        made = converse(context, talk)
        if as_json:
            write_json(made if file is None else replace(made, token=None))
        if file is not None or not as_json:
            give(made.token or "")
    if file is not None and not as_json:
        write(f"token {made.id}, good until {instant(made.expires_at)}, is in {file}")


@app.command("payload")
def payload(
    context: typer.Context,
    collection: CollectionNumber,
    lifetime: Annotated[float, typer.Option("--lifetime", min=1, help="Seconds that it is good for.")] = 86400,
    file: File = None,
    as_json: AsJson = False,
) -> None:
    """Make a token that is good for leases and reports of one collection, and nothing else."""
    with new_file(file) as give:
        secret = converse(context, lambda client: client.payload_token(collection, lifetime))
        if as_json and file is None:
            write_json({"token": secret})
        else:
            give(secret)


@app.command("list")
def list_tokens(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Those of this owner only.")] = None,
    as_json: AsJson = False,
) -> None:
    """List tokens, ended ones too; without their secrets, which nobody knows but who holds them."""

    async def talk(client: "Client") -> "list[TokenView]":
        return [token async for token in client.tokens(owner)]

    found = converse(context, talk)
    if as_json:
        for token in found:
            write_json(token)
        return
    rows = [
        (
            token.id,
            f"{token.owner}/{token.vo}",
            token.role if token.collection is None else f"payload of {token.collection}",
            "any" if token.shares is None else ", ".join(token.shares),
            _end(token),
            ago(token.last_used_at) or "never",
            token.note,
        )
        for token in found
    ]
    write_table(("token", "owner", "role", "shares", "ends", "used", "note"), rows)


def _end(token: "TokenView") -> str:
    if token.revoked_at is not None:
        return f"revoked {instant(token.revoked_at)}"
    return instant(token.expires_at) or "never"


@app.command("revoke")
def revoke(
    context: typer.Context,
    token: Annotated[int, typer.Argument(metavar="TOKEN", min=1, help="Its number; see: idds token list")],
    as_json: AsJson = False,
) -> None:
    """End a token now, and all that were made with it."""
    ended = converse(context, lambda client: client.revoke_token(token))
    if as_json:
        write_json(ended)
    else:
        write(f"token {ended.id} of {ended.owner} was revoked at {instant(ended.revoked_at)}")


@contextmanager
def new_file(path: Path | None, option: str = "--file") -> "Iterator[Callable[[str], object]]":
    """Where to write what comes: made before a token is, so that none is made in vain, and removed if none is.

    `option` is the one that named it.
    """
    if path is None:
        yield write
        return
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise leave(InvalidInput([Problem(option, f"{path} cannot be made: {error.strerror}")])) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        try:
            yield lambda text: file.write(text + "\n")
        except BaseException:
            path.unlink(missing_ok=True)
            raise
