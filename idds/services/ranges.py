"""Files become ranges of events: cut as they are listed, or as another work has counted them."""

from collections.abc import Sequence

from idds.domain.collection import Collection
from idds.domain.content import Content, Move
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did
from idds.domain.statuses import ContentStatus
from idds.engine.ranges import AT_ONCE, EMPTY, Piece, pieces, unfinished
from idds.engine.transitions import ContentEvent
from idds.store.contents import whole_files
from idds.store.database import Transaction

UNTOLD = "nobody knows how many events it has: set its `events` in the data management, or have a work count them"
UNCOUNTED = "it was reported done without how many events it has: report `events` with it"


async def register(
    tx: Transaction, collection: Collection, piece: Piece, event: ContentEvent, *, listed_to: str | None = None
) -> list[Move]:
    """Register a piece; the moves that are to be followed. A file without a range ends at once, and says why."""
    moves = [await tx.contents.register(collection, piece.ranges, event, listed_to=listed_to, numbers=piece.files)]
    if not piece.odd:
        return moves
    await tx.contents.register(collection, [file for file, _ in piece.odd], ContentEvent.LISTED, numbers=0)
    alike: dict[tuple[str, str], list[str]] = {}
    for file, why in piece.odd:
        alike.setdefault((why, file.scope), []).append(file.name)
    for (why, scope), names in sorted(alike.items()):
        these = whole_files(collection.id, scope, names)
        if why == EMPTY:
            await tx.contents.move(ContentEvent.LANDED, these)
            moves += await tx.contents.move(ContentEvent.PROCESSED, these, reason=why)
        else:
            moves += await tx.contents.move(ContentEvent.FAILED, these, reason=why)
    return moves


async def cut_counted(tx: Transaction, counted: CollectionId, contents: Sequence[Content]) -> list[Move]:
    """Make ranges of files that are counted, for the works that take them; the moves that are to be followed.

    Each range pins the replica that its file has, before the file itself gives it up.
    """
    moves: list[Move] = []
    for fed in await tx.collections.fed_by(counted):
        replicas = {_did(content): content.replica_id for content in contents}
        for piece in pieces(fed, [_file(content) for content in contents], UNCOUNTED, replicas=replicas):
            moves += await register(tx, fed, piece, ContentEvent.LANDED)
    return moves


async def cut_missed(tx: Transaction, counted: CollectionId, taking: CollectionId) -> list[Move]:
    """Make ranges of files that were counted while an input took none; the moves that are to be followed.

    Their replicas may be gone by now: they are admitted anew, where the input is staged at all.
    """
    moves: list[Move] = []
    async for page in tx.contents.stream(counted, after=0, limit=AT_ONCE):
        fed = await tx.collections.get(taking)
        assert fed is not None
        done = [content for content in page if content.status is ContentStatus.DONE]
        files = [_file(content) for content in done]
        known = await known_files(tx, fed, files)
        event = ContentEvent.LANDED if fed.rse is None else ContentEvent.LISTED
        replicas = {_did(c): c.replica_id for c in done} if fed.rse is None else {}
        for piece in pieces(fed, unfinished(files, known), UNCOUNTED, known=known, replicas=replicas):
            moves += await register(tx, fed, piece, event)
    return moves


async def known_files(tx: Transaction, collection: Collection, files: Sequence[File]) -> dict[Did, int]:
    """Those of these files that are registered already, and up to which event; 0 where it is the whole file."""
    by_scope: dict[str, list[str]] = {}
    for file in files:
        by_scope.setdefault(file.did.scope, []).append(file.did.name)
    return {
        Did(scope, name): last
        for scope, names in by_scope.items()
        for name, last in (await tx.contents.known(collection.id, scope, names)).items()
    }


def _did(content: Content) -> Did:
    return Did(content.scope, content.name)


def _file(content: Content) -> File:
    return File(_did(content), content.bytes, content.adler32, content.events)
