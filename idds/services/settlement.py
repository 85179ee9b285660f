"""Carrying out what was decided of a processing; and outputs finding their way to the works that take them."""

from collections.abc import Sequence

from idds.domain.collection import Collection
from idds.domain.content import Content, Move, NewContent
from idds.domain.effect import NewEffect
from idds.domain.files import File
from idds.domain.identifiers import ProcessingId
from idds.domain.processing import Processing
from idds.domain.statuses import ContentStatus, EffectKind
from idds.engine import processing as engine
from idds.engine.decision import Decision
from idds.engine.transitions import ContentEvent
from idds.services.announcing import follow
from idds.store.contents import of_ids, pinned_to
from idds.store.database import Transaction

HELD = (ContentStatus.LEASED,)


async def carry_out(tx: Transaction, decision: Decision[Processing, engine.Instruction]) -> None:
    """Settle the contents of a processing and have its next attempt submitted, as decided."""
    processing = decision.entity
    for instruction in decision.instructions:
        match instruction:
            case engine.SettleDone(ids):
                moves = await tx.contents.move(ContentEvent.PROCESSED, of_ids(ids), sources=HELD)
            case engine.SettleFailed(ids, reason):
                moves = await tx.contents.move(ContentEvent.FAILED, of_ids(ids), sources=HELD, reason=reason)
            case engine.SettleCancelled(ids):
                moves = await tx.contents.move(ContentEvent.CANCELLED, of_ids(ids), sources=HELD)
            case engine.SubmitAgain(delay):
                effect = submission(processing.id, processing.attempt, delay)
                tx.effects.add([effect], processing.request_id)
                continue
        await follow(tx, moves)


def submission(processing: ProcessingId, attempt: int, delay: int = 0) -> NewEffect:
    return NewEffect(EffectKind.SUBMIT, f"processing:{processing}", attempt, {"processing": processing}, delay)


def cancellation(processing: ProcessingId, attempt: int) -> NewEffect:
    return NewEffect(EffectKind.CANCEL, f"processing:{processing}", attempt, {"processing": processing})


async def add_outputs(tx: Transaction, outputs: Collection, rse: str, files: Sequence[tuple[File, str]]) -> None:
    """Register outputs (file, path) that are on disk, and pass them on to the works that take them."""
    replicas = await tx.replicas.register(rse, files)
    moves: list[Move] = []
    if ours := [(file, path) for file, path in files if file.did not in replicas]:
        # Somebody had just the same file recalled: for them it has landed.
        overtaken = await tx.replicas.take_over(rse, ours)
        moves += await tx.contents.move(ContentEvent.LANDED, pinned_to(overtaken.values()))
        replicas |= overtaken
    new = [
        NewContent(
            name=file.did.name,
            group_no=0,
            scope=file.did.scope,
            bytes=file.bytes,
            adler32=file.adler32,
            replica_id=replicas[file.did],
        )
        for file, _path in files
    ]
    moves += [await tx.contents.register(outputs, new, ContentEvent.LANDED)]
    moves += [await feed(tx, fed, new) for fed in await tx.collections.fed_by(outputs.id)]
    await follow(tx, moves)


async def feed(tx: Transaction, fed: Collection, new: Sequence[NewContent]) -> Move:
    """Make outputs contents of a collection whose source they are, numbered into its batches."""
    grouped = [
        content._replace(group_no=(fed.next_no + number) // fed.batch if fed.batch else 0)
        for number, content in enumerate(new)
    ]
    return await tx.contents.register(fed, grouped, ContentEvent.LANDED)


def as_new(content: Content) -> NewContent:
    """An output, to be taken by another work."""
    return NewContent(
        name=content.name,
        group_no=0,
        scope=content.scope,
        bytes=content.bytes,
        adler32=content.adler32,
        replica_id=content.replica_id,
    )
