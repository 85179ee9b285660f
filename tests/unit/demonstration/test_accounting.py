"""`0 lost, 0 doubled` must not come out where something is: each way to lose or double something is found."""

from dataclasses import replace

import pytest

from idds.cli.demonstration.accounting import Evidence, Merged, doubled, lost
from idds.cli.demonstration.announcements import Announced
from idds.domain.statuses import ContentStatus
from idds.sdk.views import ContentView, MoveView

DONE, FAILED, LEASED = ContentStatus.DONE, ContentStatus.FAILED, ContentStatus.LEASED


def an_input(number: int, name: str, status: ContentStatus = DONE) -> ContentView:
    return ContentView(id=number, name=name, status=status)


def done(n: int) -> MoveView:
    return MoveView(id=n, entity="collection:1", event="processed", to_status="done", n=n, at=0)


def told(message: str, content: int, status: str = "available", attempt: int = 0) -> Announced:
    return Announced(message, "count", status, content, attempt, "ab"[content - 1])


GOOD = Evidence(
    files=("a", "b"),
    images=(3, 4),
    inputs=[an_input(1, "a"), an_input(2, "b")],
    outputs=[],
    counted=["a", "b"],
    moves=[done(1), done(1)],
    announced=[told("1.1", 1), told("1.2", 2), told("1.3", 1, "done"), told("1.3", 2, "done")],
    merged=Merged(("b", "a"), (3, 4)),
)


def test_where_all_is_well_nothing_is_found() -> None:
    assert lost(GOOD) == doubled(GOOD) == ()


@pytest.mark.parametrize(
    ("evidence", "finding"),
    [
        (replace(GOOD, inputs=[an_input(1, "a")], moves=[done(1)]), "b has no outcome"),
        (replace(GOOD, inputs=[an_input(1, "a"), an_input(2, "b", LEASED)], moves=[done(1)]), "b has no outcome"),
        (replace(GOOD, merged=Merged(("a",), (3, 4))), "b is missing in the merge"),
        (replace(GOOD, merged=Merged(("a", "b"), (3, 2))), "2 images of the digit 1 are lost"),
    ],
)
def test_what_is_lost_is_found(evidence: Evidence, finding: str) -> None:
    assert lost(evidence) == (finding,)
    assert doubled(evidence) == ()


def test_a_merge_that_never_was_loses_all_files() -> None:
    assert lost(replace(GOOD, merged=Merged())) == ("a is missing in the merge", "b is missing in the merge")


def test_a_file_that_failed_is_not_lost() -> None:
    inputs = [an_input(1, "a"), an_input(2, "b", FAILED)]
    assert lost(replace(GOOD, inputs=inputs, moves=[done(1)], merged=Merged(("a",), (2, 1)))) == ()


@pytest.mark.parametrize(
    ("evidence", "finding"),
    [
        (replace(GOOD, inputs=[*GOOD.inputs, an_input(3, "a")], moves=[done(3)]), "a is listed 2 times"),
        (replace(GOOD, moves=[done(1), done(2)]), "1 files were processed again"),
        (replace(GOOD, counted=["a", "b", "a"]), "a has outputs registered 2 times"),
        (replace(GOOD, merged=Merged(("a", "b", "b"), (3, 4))), "b is merged 2 times"),
        (replace(GOOD, merged=Merged(("a", "b"), (4, 4))), "1 images of the digit 0 are counted twice"),
        (
            replace(GOOD, announced=[*GOOD.announced, told("1.9", 1)]),
            "a was announced as available in 2 messages",
        ),
        (
            replace(GOOD, announced=[*GOOD.announced, told("1.9", 2, "done", attempt=2)]),
            "b was announced as done in 2 messages",
        ),
    ],
)
def test_what_is_doubled_is_found(evidence: Evidence, finding: str) -> None:
    assert doubled(evidence) == (finding,)
    assert lost(evidence) == ()


def test_what_was_given_back_and_is_available_again_may_be_announced_again() -> None:
    assert doubled(replace(GOOD, announced=[*GOOD.announced, told("1.9", 1, attempt=1)])) == ()
