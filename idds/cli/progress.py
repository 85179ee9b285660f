"""How the progress of a request is put into words and bars."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from idds.cli.output import duration, plain, size
from idds.cli.updates import Update
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, Relation
from idds.domain.transform import Transform

if TYPE_CHECKING:
    from idds.sdk.views import CollectionView

WIDE = 110
"""From so many columns on, what is counted stands beside its bar, and not below."""
LEAST_BAR, MOST_BAR = 8, 32
NAME = 24
AROUND = 8
"""Lines of the picture beside those of the works and windows."""
SENTENCES = 3

# In the order of a content's life, seen from its end. Colours only repeat what the signs say.
SEGMENTS: tuple[tuple[str, tuple[ContentStatus, ...], str, str], ...] = (
    ("done", (ContentStatus.DONE,), "█", "green"),
    ("failed", (ContentStatus.FAILED, ContentStatus.MISSING), "×", "red"),
    ("cancelled", (ContentStatus.CANCELLED,), "-", "magenta"),
    ("leased", (ContentStatus.LEASED,), "▓", "yellow"),
    ("available", (ContentStatus.AVAILABLE,), "▒", "cyan"),
    ("new", (ContentStatus.NEW,), "░", "bright_black"),
)

Left = Mapping[int, float | None]
"""In how many seconds a collection will have ended, where that can be told."""


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
        yield f"window {_named(window)}", _room(window)


def picture(update: Update, width: int, height: int, left: Left) -> RenderableType:
    """At most `height` lines: what has not ended goes first. Each is cut at `width`."""
    request = update.request
    title = _line(plain(f"request {request.id}  {request.name}  "), "bold")
    title.append(request.status, style=_style(request.status))
    if request.reason:
        title.append(plain(f"  {request.reason}"))
    layout = _Layout.of(request.transforms, width)
    lines = max(1, height - AROUND - len(update.windows) - SENTENCES)
    room = lines if layout.is_wide else max(1, lines // 2)
    transforms = sorted(request.transforms, key=lambda transform: transform.status.is_terminal)
    inputs = _inputs(update)
    parts: list[RenderableType] = [title]
    for transform in transforms[:room]:
        parts += _work(transform, inputs.get(transform.id), layout, left)
    if rest := Counter(transform.status for transform in transforms[room:]):
        more = ", ".join(f"{n} {status}" for status, n in rest.items())
        parts.append(_line(f"and {sum(rest.values())} more: {more}", "dim"))
    parts += [_line(plain(f"window {_named(window)} {_room(window)}")) for window in update.windows]
    parts += [_line(f"waits: {sentence}") for sentence in _waits(update)]
    return Group(*parts, legend())


@dataclass(frozen=True, slots=True)
class _Layout:
    """Columns of names and bars; `is_wide` says that all of a work stands on one line."""

    name: int
    status: int
    bar: int
    is_wide: bool

    @classmethod
    def of(cls, transforms: Sequence[Transform], width: int) -> "_Layout":
        longest = max((len(_name(transform)) for transform in transforms), default=0)
        name = min(longest, NAME, max(8, width // 4))
        status = max((len(transform.status) for transform in transforms), default=0)
        is_wide = width >= WIDE
        bar = max(LEAST_BAR, min(MOST_BAR, width - name - status - (80 if is_wide else 32)))
        return cls(name, status, bar, is_wide)


def _work(
    transform: Transform, collection: "CollectionView | None", layout: _Layout, left: Left
) -> Iterator[RenderableType]:
    ended = _ended(collection) if collection else ""
    rest = ", ".join([*_in(left.get(collection.id) if collection else None), *_rest(transform, collection)])
    line = _line("")
    line.append(_fit(_name(transform), layout.name)).append("  ")
    line.append(_fit(transform.status, layout.status, _style(transform.status))).append("  ")
    counts, total = (collection.counts, collection.total) if collection else ({}, 0)
    line.append(bar(counts, total, layout.bar)).append("  ").append(ended)
    if layout.is_wide and rest:
        line.append(f", {rest}" if ended else rest)
    yield line
    if not layout.is_wide and rest:
        yield _line(f"{' ' * (layout.name + 2)}{rest}", "dim")


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _fit(text: str, width: int, style: str = "") -> Text:
    fitted = Text(plain(text), style=style)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def _waits(update: Update) -> Iterator[str]:
    """What the first of its works wait for, or the request itself."""
    answer = update.answer
    if update.request.status.is_terminal:
        return
    open_ = [each for each in answer.transforms if not each.status.is_terminal]
    of_works = [(f"{each.work}: ", sentence) for each in open_ for sentence in each.sentences[:1]]
    for subject, sentence in (of_works or [("", sentence) for sentence in answer.sentences])[:SENTENCES]:
        since = "" if sentence.since is None else f", for {duration(answer.at - sentence.since)}"
        following = "" if not sentence.next else f"; next: {sentence.next}"
        yield plain(f"{subject}{sentence.text}{since}{following}")


def _inputs(update: Update) -> "Mapping[int, CollectionView]":
    return {c.transform: c for c in update.request.collections if c.relation is Relation.INPUT}


def _name(transform: Transform) -> str:
    return transform.work if transform.iteration == 0 else f"{transform.work}#{transform.iteration}"


def _amounts(transform: Transform, collection: "CollectionView | None") -> str:
    return ", ".join([*([_ended(collection)] if collection else []), *_rest(transform, collection)])


def _ended(collection: "CollectionView") -> str:
    total = f"{collection.total:,}{'' if collection.is_closed else '+'}"
    return f"{collection.count(ContentStatus.DONE):,} of {total} done"


def _rest(transform: Transform, collection: "CollectionView | None") -> Iterator[str]:
    if collection is not None:
        for name, statuses, _, _ in SEGMENTS[1:]:
            if number := collection.count(*statuses):
                yield f"{number:,} {name}"
    if number := transform.open_processings:
        yield f"{number:,} processing{'s' if number > 1 else ''} open"


def _in(seconds: float | None) -> Iterator[str]:
    if seconds is not None:
        yield f"about {duration(int(seconds * 1e6))} left"


def bar(counts: Mapping[ContentStatus, int], total: int, cells: int) -> Text:
    """Whole cells, in the proportion of the counts; the ends of segments are rounded, so that all fill the bar."""
    drawn_bar = Text()
    count, drawn = 0, 0
    for _, statuses, block, colour in SEGMENTS:
        count += sum(counts.get(status, 0) for status in statuses)
        end = min(cells, round(cells * count / total)) if total else 0
        drawn_bar.append(block * (end - drawn), style=colour)
        drawn = end
    drawn_bar.append(" " * (cells - drawn))
    return drawn_bar


def _named(window: Window) -> str:
    return window.ref if window.kind == "rse" else f"of collection {window.ref}"


def _room(window: Window) -> str:
    of_bytes = f" of {size(window.limit_bytes)}" if window.limit_bytes is not None else ""
    of_files = f" of {window.limit_files:,}" if window.limit_files is not None else ""
    contents = f"holds {window.reserved_files:,}{of_files} contents"
    has_bytes = window.reserved_bytes or of_bytes  # samples have none
    return f"{contents}, {size(window.reserved_bytes)}{of_bytes}" if has_bytes else contents


def legend() -> Text:
    legend = _line("")
    for name, _, block, colour in SEGMENTS:
        legend.append(block, style=colour)
        legend.append(f" {name}  ", style="dim")
    return legend


def _style(status: str) -> str:
    return {"finished": "green", "failed": "red", "subfinished": "yellow", "running": "cyan"}.get(status, "")
