"""The command `study watch`: how a search goes."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import typer

from idds.cli.exits import Exit
from idds.cli.output import plain
from idds.cli.screens import View, show_until_end
from idds.cli.session import AsJson, StudyNumber, converse
from idds.cli.study_words import amounts, best, pace, sentences

if TYPE_CHECKING:
    from rich.live import Live

    from idds.domain.study import Study
    from idds.sdk.client import Client


def watch(context: typer.Context, study: StudyNumber, as_json: AsJson = False) -> None:
    """Watch a study until it ends: how far it is, and the best so far. The exit code is 0 only when it finished."""
    raise typer.Exit(watch_until_end(context, study, as_json=as_json))


def watch_until_end(context: typer.Context, study: int, *, as_json: bool) -> Exit:
    """Show progress until the study has ended; the exit code."""
    converse(context, lambda client: client.study(study))
    view: View[Study] = View(lambda now: now.status, _document, sentences, Picture)
    return show_until_end(context, view, lambda client: updates(client, study), as_json=as_json)


def _document(study: "Study") -> Mapping[str, Any]:
    """Without its definition."""
    return {name: value for name, value in asdict(study).items() if name != "definition"}


async def updates(client: "Client", study: int, *, interval_s: float = 0.5) -> "AsyncGenerator[Study, None]":
    """The study now, and each time something has changed, until it has ended."""
    before: Study | None = None
    request = (await client.study(study)).request
    async with aclosing(client.changes(request, interval_s=interval_s)) as changes:
        async for _ in changes:
            now = await client.study(study)
            if before is None or _timeless(now) != _timeless(before):
                yield now
            if now.status.is_terminal:
                return
            before = now


def _timeless(study: "Study") -> "Study":
    """That time has passed is no news."""
    return replace(study, at=0, rate=replace(study.rate, span_s=0.0, per_s=0.0, ended=0))


class Picture:
    """A bar, the pace and the best, drawn anew at each update."""

    def __init__(self, live: "Live") -> None:
        self._live = live

    def show(self, study: "Study") -> None:
        from rich.console import Group
        from rich.text import Text

        from idds.cli.progress import LEAST_BAR, MOST_BAR, bar, legend

        width = self._live.console.size.width
        title = Text(plain(f"study {study.id}  {study.name}/{study.work}  {study.status}"), style="bold")
        drawn = bar(study.counts, study.wanted, max(LEAST_BAR, min(MOST_BAR, width - 4)))
        lines = [drawn.append(f"  {amounts(study)}"), Text(pace(study))]
        if study.best:
            lines.append(Text(plain(f"best: {best(study)}")))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        self._live.update(Group(title, *lines, legend()), refresh=True)
