"""The command `watch`: a request's progress, drawn anew on a terminal, line by line elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import typer

from idds.cli.estimate import Estimate
from idds.cli.exits import Exit
from idds.cli.output import console, plain, write, write_json
from idds.cli.session import AsJson, RequestNumber, converse
from idds.cli.updates import Update, updates
from idds.domain.statuses import CONTENT_TERMINAL, Status

if TYPE_CHECKING:
    from idds.sdk.client import Client
    from idds.sdk.views import CollectionView

PATIENCE_S = 60.0
"""A watch outlives a restart of the service."""


class Screen(Protocol):
    """Where progress is shown."""

    def show(self, update: Update) -> None: ...


def watch(context: typer.Context, request: RequestNumber, as_json: AsJson = False) -> None:
    """Watch a request until it ends; the exit code is 0 only when it finished."""
    raise typer.Exit(watch_until_end(context, request, as_json=as_json))


def watch_until_end(context: typer.Context, request: int, *, as_json: bool) -> Exit:
    """Show progress until the request has ended; the exit code."""
    converse(context, lambda client: client.request(request))

    async def talk(client: "Client") -> Status:
        status = Status.NEW
        with _screen(as_json) as screen:
            async with contextlib.aclosing(updates(client, request)) as news:
                async for update in news:
                    screen.show(update)
                    status = update.request.status
        return status

    status = converse(context, talk, patience_s=PATIENCE_S)
    return Exit.DONE if status is Status.FINISHED else Exit.NOT_FINISHED


@contextmanager
def _screen(as_json: bool) -> Iterator[Screen]:
    if as_json:
        yield JsonLines()
    elif not sys.stdout.isatty():
        yield Lines()
    else:
        from rich.live import Live

        with Live(console=console(), auto_refresh=False, vertical_overflow="crop") as live:
            yield Picture(live)


class JsonLines:
    """An update a line."""

    def show(self, update: Update) -> None:
        request = asdict(replace(update.request, workflow=None))
        write_json({"request": request, "why": asdict(update.answer), "windows": [*map(asdict, update.windows)]})
        sys.stdout.flush()


class Lines:
    """A line for each thing that changed: for logs and pipes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def show(self, update: Update) -> None:
        from idds.cli.progress import sentences

        clock = datetime.now(UTC).strftime("%H:%M:%SZ")
        for subject, sentence in sentences(update):
            if self._last.get(subject) != sentence:
                self._last[subject] = sentence
                write(plain(f"{clock} {subject} {sentence}"))
        sys.stdout.flush()


class Picture:
    """Bars, drawn anew at each update."""

    def __init__(self, live: object) -> None:
        from rich.live import Live

        assert isinstance(live, Live)
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
