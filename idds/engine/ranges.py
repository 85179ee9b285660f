"""Cutting files into ranges of events: numbered from 1, both ends within, as PanDA's event service has them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.files import File
from idds.domain.identifiers import Did, ReplicaId

MAX_EVENTS = 10**9
MAX_RANGES = 10**6
"""Of one file. More is a number that nobody meant, or a grain too fine to be delivered."""
AT_ONCE = 5000
"""Ranges in a piece."""
EMPTY = "it has no events: there was nothing to do"


@dataclass(frozen=True, slots=True)
class Span:
    """The events `min_id`..`max_id` of a file."""

    min_id: int
    max_id: int


@dataclass(slots=True)
class Piece:
    """Ranges to be registered together. `files` were finished with it; `odd` are those of them without a range, why."""

    ranges: list[NewContent] = field(default_factory=list)
    odd: list[tuple[NewContent, str]] = field(default_factory=list)
    files: int = 0


def cut(events: int, longest: int, after: int = 0) -> Iterator[Span]:
    """Ranges of `longest` events, the last one shorter where it must be, of all events behind `after`, in order."""
    for first in range(after + 1, events + 1, longest):
        yield Span(first, min(first + longest - 1, events))


def refusal(events: int, longest: int) -> str | None:
    """Why a file with so many events is not cut; None when it is."""
    if events < 0 or events > MAX_EVENTS:
        return f"it is said to have {events:,} events; a file has {MAX_EVENTS:,} at most"
    ranges = -(-events // longest)
    if ranges > MAX_RANGES:
        of = f"{events:,} events make {ranges:,} ranges of {longest:,}"
        return f"its {of}, more than {MAX_RANGES:,}: make them longer"
    return None


def pieces(
    collection: Collection,
    files: Sequence[File],
    unknown: str,
    *,
    known: Mapping[Did, int] | None = None,
    replicas: Mapping[Did, ReplicaId | None] | None = None,
) -> Iterator[Piece]:
    """What these files come to, in pieces of bounded size; at least one, the last one may be empty.

    A file that is `known`, registered up to an event, is gone on with behind that. `unknown` says why a file fails
    whose events nobody has told. All ranges of a file are in its group, which is complete when the last piece of its
    files is registered.
    """
    known, replicas = known or {}, replicas or {}
    longest = collection.range_events
    assert longest is not None
    piece = Piece()
    # One that is begun has the next number already.
    for number, file in enumerate(sorted(files, key=lambda file: file.did not in known), collection.next_no):
        group = number // collection.batch if collection.batch else 0
        if (why := _odd(file, longest, unknown)) is not None:
            piece.odd.append((_content(file, group), why))
        else:
            for span in cut(file.events or 0, longest, known.get(file.did, 0)):
                if len(piece.ranges) == AT_ONCE:
                    yield piece
                    piece = Piece()
                piece.ranges.append(_content(file, group, span.min_id, span.max_id, replicas.get(file.did)))
        piece.files += 1
    yield piece


def unfinished(files: Sequence[File], known: Mapping[Did, int]) -> list[File]:
    """Those of which something is still to be registered, where they are `known` up to an event, 0 as a whole."""
    return [file for file in files if file.did not in known or 0 < known[file.did] < (file.events or 0)]


def _odd(file: File, longest: int, unknown: str) -> str | None:
    if file.events is None:
        return unknown
    return EMPTY if file.events == 0 else refusal(file.events, longest)


def _content(file: File, group: int, min_id: int = 0, max_id: int = 0, replica: ReplicaId | None = None) -> NewContent:
    return NewContent(
        name=file.did.name,
        group_no=group,
        scope=file.did.scope,
        min_id=min_id,
        max_id=max_id,
        bytes=file.bytes,
        adler32=file.adler32,
        replica_id=replica,
    )
