"""How far a set of contents is, as parts of a bar."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from idds.domain.collection import Collection
from idds.domain.statuses import ContentStatus, Relation

_C = ContentStatus
ORDER = (_C.DONE, _C.LEASED, _C.AVAILABLE, _C.NEW, _C.CANCELLED, _C.MISSING, _C.FAILED)
WORDS: Mapping[ContentStatus, str] = {
    _C.DONE: "processed",
    _C.LEASED: "being processed",
    _C.AVAILABLE: "on disk",
    _C.NEW: "waiting",
    _C.CANCELLED: "cancelled",
    _C.MISSING: "missing",
    _C.FAILED: "failed",
}


OF_SAMPLES: Mapping[ContentStatus, str] = {
    **WORDS,
    _C.DONE: "evaluated",
    _C.LEASED: "being evaluated",
    _C.AVAILABLE: "waiting to be taken",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """`files` of one status, which take the bar from `start` on, `width` of 100."""

    status: ContentStatus
    word: str
    files: int
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """All contents of some collections, by status."""

    total: int
    counts: Mapping[ContentStatus, int]
    words: Mapping[ContentStatus, str] = field(default_factory=lambda: WORDS)

    @property
    def pieces(self) -> list[Piece]:
        """Those that there are, in order."""
        found, start = [], 0.0
        for status in ORDER:
            files = self.counts.get(status, 0)
            if files:
                width = 100 * files / self.total
                found.append(Piece(status, self.words[status], files, round(start, 3), round(width, 3)))
                start += width
        return found

    @property
    def done(self) -> int:
        return self.counts.get(_C.DONE, 0)

    @property
    def taken(self) -> int:
        return self.counts.get(_C.LEASED, 0)

    @property
    def untaken(self) -> int:
        return self.counts.get(_C.AVAILABLE, 0)

    @property
    def cancelled(self) -> int:
        return self.counts.get(_C.CANCELLED, 0)

    @property
    def on_disk(self) -> int:
        return self.untaken + self.taken

    @property
    def waiting(self) -> int:
        return self.counts.get(_C.NEW, 0)

    @property
    def bad(self) -> int:
        return self.counts.get(_C.FAILED, 0) + self.counts.get(_C.MISSING, 0)


def bar(collections: Iterable[Collection], *, outputs: bool = False) -> Bar:
    """How far the inputs among these are; with `outputs` the outputs, too."""
    counts = dict.fromkeys(ContentStatus, 0)
    for collection in collections:
        if outputs or collection.relation is Relation.INPUT:
            for status, files in collection.counts.items():
                counts[status] += files
    return Bar(sum(counts.values()), counts)
