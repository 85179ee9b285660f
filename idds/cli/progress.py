"""How the progress of a request is put into words and bars."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from idds.cli.output import plain, size
from idds.cli.updates import Update
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, Relation
from idds.domain.transform import Transform

if TYPE_CHECKING:
    from idds.sdk.views import CollectionView

BAR = 32
AROUND = 8
"""Lines of the picture beside those of the works."""

# In the order of a content's life, seen from its end.
SEGMENTS: tuple[tuple[str, tuple[ContentStatus, ...], str, str], ...] = (
    ("done", (ContentStatus.DONE,), "█", "green"),
    ("failed", (ContentStatus.FAILED, ContentStatus.MISSING), "█", "red"),
    ("cancelled", (ContentStatus.CANCELLED,), "█", "magenta"),
    ("leased", (ContentStatus.LEASED,), "▓", "yellow"),
    ("available", (ContentStatus.AVAILABLE,), "▒", "cyan"),
    ("new", (ContentStatus.NEW,), "░", "bright_black"),
)


def sentences(update: Update) -> Iterator[tuple[str, str]]:
    """(subject, what is so): of the request, its works, and its windows."""
    request = update.request
    reason = f": {request.reason}" if request.reason else ""
    yield f"request {request.id}", f"is {request.status}{reason}"
    inputs = _inputs(update)
    for transform in request.transforms:
        collection = inputs.get(transform.id)
        reason = f": {transform.reason}" if transform.reason else ""
        said = f"is {transform.status}{reason}; {_amounts(transform, collection)}"
        yield f"work {_name(transform)}", said.rstrip("; ")
    for window in update.windows:
        yield f"window {window.ref}" if window.kind == "rse" else f"window of collection {window.ref}", _room(window)


def picture(update: Update, height: int) -> RenderableType:
    """At most `height` lines: what has not ended goes first."""
    request = update.request
    title = Text(plain(f"request {request.id}  {request.name}  "), style="bold")
    title.append(request.status, style=_style(request.status))
    if request.reason:
        title.append(plain(f"  {request.reason}"))
    room = max(1, height - AROUND - len(update.windows))
    transforms = sorted(request.transforms, key=lambda transform: transform.status.is_terminal)
    inputs = _inputs(update)
    rows = Table.grid(padding=(0, 2))
    for transform in transforms[:room]:
        collection = inputs.get(transform.id)
        status = Text(transform.status, style=_style(transform.status))
        bar = _bar(collection) if collection else Text()
        rows.add_row(Text(plain(_name(transform))), status, bar, Text(plain(_amounts(transform, collection))))
    parts: list[RenderableType] = [title, rows]
    if rest := Counter(transform.status for transform in transforms[room:]):
        more = ", ".join(f"{n} {status}" for status, n in rest.items())
        parts.append(Text(f"and {sum(rest.values())} more: {more}", style="dim"))
    parts += [_window(window) for window in update.windows]
    return Group(*parts, _legend())


def _inputs(update: Update) -> "Mapping[int, CollectionView]":
    return {c.transform: c for c in update.request.collections if c.relation is Relation.INPUT}


def _name(transform: Transform) -> str:
    return transform.work if transform.iteration == 0 else f"{transform.work}#{transform.iteration}"


def _amounts(transform: Transform, collection: "CollectionView | None") -> str:
    said = []
    if collection is not None:
        counts = [(name, collection.count(*statuses)) for name, statuses, _, _ in SEGMENTS]
        total = f"{collection.total}{'' if collection.is_closed else '+'}"
        said.append(f"{counts[0][1]} of {total} done")
        said += [f"{n} {name}" for name, n in counts[1:] if n]
    if transform.open_processings:
        said.append(f"{transform.open_processings} processings open")
    return ", ".join(said)


def _bar(collection: "CollectionView") -> Text:
    """Whole cells, in the proportion of the counts; the ends of segments are rounded, so they always fill the bar."""
    bar = Text()
    count, drawn = 0, 0
    for _, statuses, block, colour in SEGMENTS:
        count += collection.count(*statuses)
        end = round(BAR * count / collection.total) if collection.total else 0
        bar.append(block * (end - drawn), style=colour)
        drawn = end
    bar.append(" " * (BAR - drawn))
    return bar


def _room(window: Window) -> str:
    of_bytes = f" of {size(window.limit_bytes)}" if window.limit_bytes is not None else ""
    of_files = f" of {window.limit_files}" if window.limit_files is not None else ""
    contents = f"holds {window.reserved_files}{of_files} contents"
    has_bytes = window.reserved_bytes or of_bytes  # samples have none
    return f"{contents}, {size(window.reserved_bytes)}{of_bytes}" if has_bytes else contents


def _window(window: Window) -> Text:
    name = window.ref if window.kind == "rse" else f"of collection {window.ref}"
    return Text(plain(f"window {name} {_room(window)}"))


def _legend() -> Text:
    legend = Text()
    for name, _, block, colour in SEGMENTS:
        legend.append(block, style=colour)
        legend.append(f" {name}  ", style="dim")
    return legend


def _style(status: str) -> str:
    return {"finished": "green", "failed": "red", "subfinished": "yellow", "running": "cyan"}.get(status, "")
