"""Words, tables and bars."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from idds.cli.output import duration, plain, size, write_table
from idds.cli.progress import BAR, SEGMENTS, picture, sentences
from idds.cli.updates import Update
from idds.cli.watch import Lines
from idds.domain.identifiers import RequestId, TransformId, WindowId
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, Intent, Relation, Status
from idds.domain.transform import Transform
from idds.sdk.views import CollectionView, RequestView


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (48_000, "48.0 kB"), (999_960, "1.0 MB"), (10**18, "1000.0 PB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (3600, "1 h"), (3661, "1 h 1 min"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(int(seconds * 1e6)) == text


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    assert plain("a\x1b[31mb\x07\n") == "a\ufffd[31mb\ufffd\ufffd"


def test_tables_hold_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[red]x[/red] " + "y" * 300
    write_table(("id", "name"), [(1, name), (10, "é\x1b")])
    lines = capsys.readouterr().out.splitlines()
    assert name in lines[1], "no markup, and no line is broken where there is no terminal"
    assert lines[1].startswith(" 1"), "numbers stand to the right"
    assert "\x1b" not in lines[2]


def update(counts: dict[ContentStatus, int], *, transforms: int = 1, status: Status = Status.RUNNING) -> Update:
    collection = CollectionView(
        id=3,
        request=9,
        transform=TransformId(1),
        relation=Relation.INPUT,
        is_closed=False,
        counts=counts,
        total=sum(counts.values()),
    )
    works = tuple(
        Transform(TransformId(n), RequestId(9), f"work{n}", 0, status, 2 if n == 1 else 0, 0)
        for n in range(1, transforms + 1)
    )
    request = RequestView(
        id=9, name="carousel", status=status, intent=Intent.RUN, transforms=works, collections=(collection,)
    )
    window = Window(WindowId(1), "rse", "DISK", 50_000, 48_000, None, 12)
    return Update(request, (window,))


def drawn(what: Update, height: int = 40) -> str:
    screen = Console(file=io.StringIO(), width=200, markup=False, force_terminal=False)
    screen.print(picture(what, height))
    text: str = screen.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_picture_tells_all() -> None:
    text = drawn(update({ContentStatus.DONE: 5, ContentStatus.LEASED: 2, ContentStatus.NEW: 3}))
    for told in ("carousel", "work1", "5 of 10+ done", "2 leased", "3 new", "2 processings open", "48.0 kB of 50.0 kB"):
        assert told in text


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {ContentStatus.DONE: 1},
        {ContentStatus.NEW: 1, ContentStatus.DONE: 1, ContentStatus.FAILED: 1},
        dict.fromkeys(ContentStatus, 1),
        {ContentStatus.NEW: 10**7, ContentStatus.DONE: 1},
    ],
)
def test_a_bar_is_always_full_and_never_longer(counts: dict[ContentStatus, int]) -> None:
    blocks = {block for _, _, block, _ in SEGMENTS}
    (line,) = [line for line in drawn(update(counts)).splitlines() if "work1" in line]
    assert sum(line.count(block) for block in blocks) == (BAR if counts else 0)


def test_a_picture_is_no_higher_than_the_terminal() -> None:
    text = drawn(update({ContentStatus.DONE: 5}, transforms=1000), height=24)
    assert len(text.splitlines()) <= 24
    assert "more: " in text


def test_every_content_status_has_its_place_in_the_bar() -> None:
    assert sorted(status for _, statuses, _, _ in SEGMENTS for status in statuses) == sorted(ContentStatus)


def test_lines_are_printed_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Lines()
    first = update({ContentStatus.DONE: 1, ContentStatus.NEW: 1})
    screen.show(first)
    assert len(capsys.readouterr().out.splitlines()) == len(list(sentences(first))) == 3
    screen.show(first)
    assert capsys.readouterr().out == ""
    screen.show(replace(first, windows=()))
    assert capsys.readouterr().out == ""
    screen.show(update({ContentStatus.DONE: 2}))
    (line,) = capsys.readouterr().out.splitlines()
    assert "work work1 is running; 2 of 2+ done" in line
