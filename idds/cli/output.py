"""What is printed: tables and sentences for people, one JSON document a line for programs."""

import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
UNBOUNDED = 10_000
"""Columns of a line where there is no terminal to fit it to."""
LAST = 12
"""The last column, mostly of reasons, is no narrower."""


def plain(text: str) -> str:
    """The text without what a terminal might obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def console() -> "Console":
    """Standard output. Nothing in a text is taken for markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else UNBOUNDED
    return Console(markup=False, highlight=False, emoji=False, width=width)


def write(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def cut(found: Sequence[T], limit: int) -> Sequence[T]:
    """At most so many; that there are more is said on standard error."""
    if len(found) > limit:
        sys.stderr.write(f"idds: these are {limit:,}, and there are more: --limit says how many\n")
    return found[:limit]


def write_json(thing: Any) -> None:
    """One document, on one line."""
    document = asdict(thing) if is_dataclass(thing) and not isinstance(thing, type) else thing
    write(json.dumps(document, separators=(",", ":")))


def write_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns; numbers stand to the right. On a narrow terminal the last is folded, and others are cut with a sign."""
    from rich.table import Table
    from rich.text import Text

    entries = [list(row) for row in rows]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(titles):
        are_numbers = bool(entries) and all(isinstance(row[number], int) for row in entries)
        if number == len(titles) - 1:
            table.add_column(title, overflow="fold", justify="right" if are_numbers else "left", min_width=LAST)
        else:
            table.add_column(title, overflow="ellipsis", no_wrap=True, justify="right" if are_numbers else "left")
    for row in entries:
        table.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    console().print(table)


def size(count: int) -> str:
    """Bytes, in the decimal units that disks are bought in."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 999.95 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{count} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def instant(at: int | None) -> str:
    """A time (microseconds UTC), to the second."""
    return "" if at is None else datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def ago(at: int | None) -> str:
    """How long ago a time (microseconds UTC) was."""
    return "" if at is None else f"{duration(time.time_ns() // 1000 - at)} ago"


def duration(microseconds: int) -> str:
    """A span of time in its two largest units."""
    left = max(0, microseconds // 1_000_000)
    parts: list[str] = []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, seconds)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
