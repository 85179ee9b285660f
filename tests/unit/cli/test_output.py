"""Words, tables and bars."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from idds.cli.estimate import Estimate
from idds.cli.output import cut, duration, plain, size, write_table
from idds.cli.progress import MOST_BAR, SEGMENTS, picture, sentences
from idds.cli.screens import Lines
from idds.cli.updates import Update
from idds.domain.identifiers import RequestId, TransformId, WindowId
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus, Intent, Relation, Status
from idds.domain.transform import Transform
from idds.sdk.views import Answer, CollectionView, RequestView, SentenceView, TransformAnswer


def test_what_a_list_leaves_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert cut([1, 2, 3], 3) == [1, 2, 3]
    assert capsys.readouterr().err == ""
    assert cut([1, 2, 3], 2) == [1, 2]
    assert capsys.readouterr().err == "idds: these are 2, and there are more: --limit says how many\n"


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
    waits = TransformAnswer(1, "work1", status, (SentenceView("3 files wait for room", 1_000_000, "soon"),))
    answer = Answer(9, status, Intent.RUN, 61_000_000, (SentenceView("0 of 1 works ended"),), (waits,))
    return Update(request, answer, (window,))


def drawn(what: Update, height: int = 40, width: int = 200, left: float | None = None) -> str:
    screen = Console(file=io.StringIO(), width=width, markup=False, force_terminal=False)
    screen.print(picture(what, width, height, {3: left}))
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
    (line,) = [line for line in drawn(update(counts)).splitlines() if line.startswith("work1")]
    bar = line.partition("running")[2].partition(" of ")[0]
    assert sum(bar.count(block) for block in blocks) == (MOST_BAR if counts else 0)


def test_a_picture_is_no_higher_than_the_terminal() -> None:
    for width in (40, 80, 120):
        text = drawn(update({ContentStatus.DONE: 5, ContentStatus.NEW: 5}, transforms=1000), 24, width)
        assert len(text.splitlines()) <= 24
        assert "more: " in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_picture_is_no_wider_than_the_terminal(width: int) -> None:
    what = update(dict.fromkeys(ContentStatus, 123_456))
    long = replace(what.request.transforms[0], work="a-work-with-a-very-long-name-" * 4)
    text = drawn(replace(what, request=replace(what.request, name="n" * 100, transforms=(long,))), 24, width)
    assert max(map(len, text.splitlines())) <= width
    assert "a-work-w" in text
    assert "…" in text
    assert "123," in text


def test_a_picture_says_what_is_waited_for_and_how_long_it_takes() -> None:
    text = drawn(update({ContentStatus.NEW: 1, ContentStatus.DONE: 1}), left=150.0)
    assert "waits: work1: 3 files wait for room, for 1 min; next: soon" in text
    assert "about 2 min 30 s left" in text
    assert "waits" not in drawn(update({ContentStatus.DONE: 1}, status=Status.FINISHED))


def test_an_estimate_goes_by_what_was_seen_of_late() -> None:
    estimate = Estimate()
    assert estimate.left_s(100) is None
    estimate.note(0.0, 0)
    estimate.note(1.0, 50)
    assert estimate.left_s(100) is None, "a second is too little"
    estimate.note(10.0, 50)
    assert estimate.left_s(100) == 10.0
    assert estimate.left_s(50) is None
    for minute in range(1, 20):
        estimate.note(60.0 * minute, 50 + minute)
    assert estimate.left_s(79) == 600.0, "the first rush is forgotten"
    estimate.note(1200.0, 10)
    assert estimate.left_s(79) is None, "it begins anew"


def test_every_content_status_has_its_place_in_the_bar() -> None:
    assert sorted(status for _, statuses, _, _ in SEGMENTS for status in statuses) == sorted(ContentStatus)


def test_lines_are_printed_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Lines(sentences)
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
