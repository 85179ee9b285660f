"""Commands that order something about a request."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from idds.cli.output import instant, plain, write, write_json
from idds.cli.session import AsJson, RequestNumber, converse
from idds.domain.statuses import Intent

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import RequestView

Talk = Callable[["Client"], Awaitable["RequestView"]]


def cancel(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Order a request to stop."""
    _order(context, lambda client: client.cancel(request), as_json)


def suspend(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Order a request to pause."""
    _order(context, lambda client: client.suspend(request), as_json)


def resume(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Order a request to go on."""
    _order(context, lambda client: client.resume(request), as_json)


def finish(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Order a request to end early, with what there is."""
    _order(context, lambda client: client.finish(request), as_json)


def retry(
    context: typer.Context,
    request: RequestNumber,
    lifetime_s: Annotated[
        float | None, typer.Option("--lifetime", min=1, help="Seconds from now after which it expires.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with what did not succeed of a request."""
    _order(context, lambda client: client.retry(request, lifetime_s), as_json)


def extend(
    context: typer.Context,
    request: RequestNumber,
    lifetime_s: Annotated[
        float | None, typer.Argument(metavar="[SECONDS]", min=1, help="From now; left out, it never expires.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a request live on: for some seconds from now, or without an end."""
    _order(context, lambda client: client.extend(request, lifetime_s), as_json)


def _order(context: typer.Context, talk: Talk, as_json: bool) -> None:
    request = converse(context, talk)
    if as_json:
        write_json(request)
        return
    until = f", until {instant(request.expires_at)}" if request.expires_at is not None else ""
    write(f"request {request.id}: {plain(request.name)} is {state(request)}{until}")


def state(request: "RequestView") -> str:
    """What it is and, where that is not done yet, what was ordered."""
    if request.intent is Intent.RUN or request.status.is_terminal:
        return request.status
    return f"{request.status}, ordered to {request.intent}"
