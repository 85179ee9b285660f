"""The command `study watch`: how a search goes, drawn anew on a terminal, line by line elsewhere."""

import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import typer

from idds.cli.exits import Exit
from idds.cli.output import console, plain, write, write_json
from idds.cli.session import AsJson, StudyNumber, converse
from idds.cli.study_words import amounts, best, pace, sentences
from idds.cli.watch import PATIENCE_S
from idds.domain.statuses import Status

if TYPE_CHECKING:
    from rich.live import Live

    from idds.domain.study import Study
    from idds.sdk.client import Client


class Screen(Protocol):
    """Where progress is shown."""

    def show(self, study: "Study") -> None: ...


def watch(context: typer.Context, study: StudyNumber, as_json: AsJson = False) -> None:
    """Watch a study until it ends: how far it is, and the best so far. The exit code is 0 only when it finished."""
    raise typer.Exit(watch_until_end(context, study, as_json=as_json))


def watch_until_end(context: typer.Context, study: int, *, as_json: bool) -> Exit:
    """Show progress until the study has ended; the exit code."""
    converse(context, lambda client: client.study(study))

    async def talk(client: "Client") -> Status:
        status = Status.NEW
        with _screen(as_json) as screen:
            async with aclosing(updates(client, study)) as news:
                async for now in news:
                    screen.show(now)
                    status = now.status
        return status

    status = converse(context, talk, patience_s=PATIENCE_S)
    return Exit.DONE if status is Status.FINISHED else Exit.NOT_FINISHED


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
    """The study, a line for each change, without its definition."""

    def show(self, study: "Study") -> None:
        write_json({name: value for name, value in asdict(study).items() if name != "definition"})
        sys.stdout.flush()


class Lines:
    """A line for each thing that changed: for logs and pipes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def show(self, study: "Study") -> None:
        clock = datetime.now(UTC).strftime("%H:%M:%SZ")
        for subject, sentence in sentences(study):
            if self._last.get(subject) != sentence:
                self._last[subject] = sentence
                write(plain(f"{clock} {subject} {sentence}"))
        sys.stdout.flush()


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
