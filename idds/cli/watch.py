"""The command `watch`: a request's progress."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from idds.cli.estimate import Estimate
from idds.cli.exits import Exit
from idds.cli.screens import View, show_until_end
from idds.cli.session import AsJson, RequestNumber, converse
from idds.cli.updates import Update, updates
from idds.domain.statuses import CONTENT_TERMINAL

if TYPE_CHECKING:
    from rich.live import Live

    from idds.sdk.views import CollectionView


def watch(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Watch a request until it ends; the exit code is 0 only when it finished."""
    raise typer.Exit(watch_until_end(context, request, as_json=as_json))


def watch_until_end(context: typer.Context, request: int, *, as_json: bool) -> Exit:
    """Show progress until the request has ended; the exit code."""
    converse(context, lambda client: client.request(request))
    view = View(lambda update: update.request.status, _document, _sentences, Picture)
    return show_until_end(context, view, lambda client: updates(client, request), as_json=as_json)


def _document(update: Update) -> Mapping[str, Any]:
    request = asdict(replace(update.request, workflow=None))
    return {"request": request, "why": asdict(update.answer), "windows": [*map(asdict, update.windows)]}


def _sentences(update: Update) -> Iterator[tuple[str, str]]:
    from idds.cli.progress import sentences

    return sentences(update)


class Picture:
    """Bars, drawn anew at each update."""

    def __init__(self, live: "Live") -> None:
        self._live = live
        self._estimates: dict[int, Estimate] = {}

    def show(self, update: Update) -> None:
        from idds.cli.progress import picture

        left = {each.id: self._left_s(each) for each in update.request.collections if each.is_closed}
        size = self._live.console.size
        self._live.update(picture(update, size.width, size.height, left), refresh=True)

    def _left_s(self, collection: "CollectionView") -> float | None:
        estimate = self._estimates.setdefault(collection.id, Estimate())
        estimate.note(time.monotonic(), collection.count(*CONTENT_TERMINAL))
        return estimate.left_s(collection.total)
