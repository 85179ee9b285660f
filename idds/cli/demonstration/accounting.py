"""What was lost and what was doubled, found by comparing what everybody says: source, service, messages, result."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from idds.cli.demonstration.announcements import Announced
from idds.domain.statuses import ContentStatus
from idds.sdk.views import ContentView, MoveView


@dataclass(frozen=True, slots=True)
class Merged:
    """What the merge found: the files that came in, as often as they came, and the images of each digit."""

    files: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    means: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """`files` were put on tape and hold `images` of each digit; `inputs` and `outputs` are contents of the first work.

    `counted` names the file that each registered output is of, read from the output itself; `moves` are the first
    work's inputs' alone.
    """

    files: tuple[str, ...]
    images: tuple[int, ...]
    inputs: Sequence[ContentView]
    outputs: Sequence[ContentView]
    counted: Sequence[str]
    moves: Sequence[MoveView]
    announced: Sequence[Announced]
    merged: Merged


def lost(evidence: Evidence) -> tuple[str, ...]:
    """Files without an outcome; files that were processed and are not in the result; images that were not counted."""
    outcomes = {content.name: content.status for content in evidence.inputs}
    without = [name for name in evidence.files if not _is_terminal(outcomes.get(name))]
    done = [name for name, status in outcomes.items() if status is ContentStatus.DONE]
    unmerged = sorted(set(done) - set(evidence.merged.files))
    # The images of a file that failed, with its reason, are not lost.
    images = evidence.images if len(done) == len(evidence.files) else ()
    return (
        *(f"{name} has no outcome" for name in without),
        *(f"{name} is missing in the merge" for name in unmerged),
        *_fewer(evidence.merged.images, images, "lost"),
    )


def doubled(evidence: Evidence) -> tuple[str, ...]:
    """Whatever was listed, processed, registered, merged, counted or announced more often than once."""
    return (
        *_repeated("is listed", [content.name for content in evidence.inputs]),
        *_processed_again(evidence),
        *_repeated("has outputs registered", evidence.counted),
        *_repeated("is merged", evidence.merged.files),
        *_fewer(evidence.images, evidence.merged.images, "counted twice"),
        *_announced_again(evidence),
    )


def _is_terminal(status: ContentStatus | None) -> bool:
    return status is not None and status.is_terminal


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, times in sorted(Counter(names).items()):
        if times > 1:
            yield f"{name} {what} {times} times"


def _fewer(images: Sequence[int], expected: Sequence[int], what: str) -> Iterator[str]:
    for digit, (n, wanted) in enumerate(zip(images, expected, strict=False)):
        if n < wanted:
            yield f"{wanted - n} images of the digit {digit} are {what}"


def _processed_again(evidence: Evidence) -> Iterator[str]:
    """History counts moves, not names: more of them than contents that are done cannot be."""
    moved = sum(move.n for move in evidence.moves if move.to_status == ContentStatus.DONE)
    done = sum(content.status is ContentStatus.DONE for content in evidence.inputs)
    if moved > done:
        yield f"{moved - done} files were processed again"


def _announced_again(evidence: Evidence) -> Iterator[str]:
    """A content is done once, and available once an attempt; under one message id, however often that comes."""
    names = {each.content: each.name for each in evidence.announced}
    told = Counter(
        (each.content, each.status, each.attempt if each.status == ContentStatus.AVAILABLE else 0)
        for each in evidence.announced
    )
    for (content, status, _), times in sorted(told.items()):
        if times > 1:
            yield f"{names[content]} was announced as {status} in {times} messages"
