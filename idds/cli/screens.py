"""Where a watch shows what is new: drawn anew on a terminal, line by line elsewhere, or as JSON."""

import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import typer

from idds.cli.exits import Exit
from idds.cli.output import console, plain, write, write_json
from idds.cli.session import converse
from idds.domain.statuses import Status

if TYPE_CHECKING:
    from rich.live import Live

    from idds.sdk.client import Client

PATIENCE_S = 60.0
"""A watch outlives a restart of the service."""

U = TypeVar("U")
"""What is new: all that is shown of it."""
_Shown = TypeVar("_Shown", contravariant=True)


class Screen(Protocol[_Shown]):
    """Where progress is shown."""

    def show(self, update: _Shown, /) -> None: ...


@dataclass(frozen=True, slots=True)
class View(Generic[U]):
    """How something is shown: as a document, in sentences (subject, what is so), as a picture; and its status."""

    status: Callable[[U], Status]
    document: Callable[[U], Mapping[str, Any]]
    sentences: Callable[[U], Iterable[tuple[str, str]]]
    picture: "Callable[[Live], Screen[U]]"


def show_until_end(
    context: typer.Context, view: View[U], updates: "Callable[[Client], AsyncGenerator[U, None]]", *, as_json: bool
) -> Exit:
    """Show progress until it has ended; the exit code."""

    async def talk(client: "Client") -> Status:
        status = Status.NEW
        with _screen(view, as_json=as_json) as screen:
            async with aclosing(updates(client)) as news:
                async for update in news:
                    screen.show(update)
                    status = view.status(update)
        return status

    status = converse(context, talk, patience_s=PATIENCE_S)
    return Exit.DONE if status is Status.FINISHED else Exit.NOT_FINISHED


@contextmanager
def _screen(view: View[U], *, as_json: bool) -> Iterator[Screen[U]]:
    if as_json:
        yield JsonLines(view.document)
    elif not sys.stdout.isatty():
        yield Lines(view.sentences)
    else:
        from rich.live import Live

        with Live(console=console(), auto_refresh=False, vertical_overflow="crop") as live:
            yield view.picture(live)


class JsonLines(Generic[U]):
    """A document a line."""

    def __init__(self, document: Callable[[U], Mapping[str, Any]]) -> None:
        self._document = document

    def show(self, update: U) -> None:
        write_json(self._document(update))
        sys.stdout.flush()


class Lines(Generic[U]):
    """A line for each thing that changed: for logs and pipes."""

    def __init__(self, sentences: Callable[[U], Iterable[tuple[str, str]]]) -> None:
        self._sentences = sentences
        self._last: dict[str, str] = {}

    def show(self, update: U) -> None:
        clock = datetime.now(UTC).strftime("%H:%M:%SZ")
        for subject, sentence in self._sentences(update):
            if self._last.get(subject) != sentence:
                self._last[subject] = sentence
                write(plain(f"{clock} {subject} {sentence}"))
        sys.stdout.flush()
