"""Letting files into the windows: replicas admitted, bytes reserved, pins set, in one transaction."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from idds.domain.collection import Collection
from idds.domain.effect import NewEffect
from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.domain.replica import Window
from idds.domain.request import Request
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.transitions import PINNABLE, ContentEvent
from idds.engine.window import Admission, Candidate, Wanted, admit
from idds.services.announcing import follow
from idds.store.contents import Unadmitted, waiting_in
from idds.store.database import Transaction

CANDIDATES = 1000


class Outrun(Exception):
    """Somebody else took the room, or a replica away, between looking and reserving."""


async def admit_files(tx: Transaction, request: Request, collection: Collection) -> None:
    """Admit what fits of a collection, in order; refuse, with its name, what never will."""
    assert collection.rse is not None
    waiting = await tx.contents.unadmitted(collection, CANDIDATES)
    if not waiting:
        return
    refs = [("rse", collection.rse), ("collection", str(collection.id))]
    windows = await tx.windows.find(refs)
    by_id = {content.id: content for content in waiting}
    groups = [
        Candidate(number, tuple(_wanted(content) for content in members))
        for number, members in groupby(waiting, key=lambda content: content.group_no)
    ]
    admission = admit(groups, list(windows.values()))
    for refusal in admission.refused:
        refused = waiting_in(collection, [refusal.group.group_no])
        await follow(tx, await tx.contents.move(ContentEvent.FAILED, refused, reason=refusal.reason))
    chosen = [by_id[wanted.content_id] for group in admission.admitted for wanted in group.contents]
    if chosen:
        try:
            async with tx.savepoint():
                await _admit(tx, request, collection, chosen, windows)
        except Outrun:
            tx.requests.mark_due([request.id])
        else:
            if sum(file.n for file in waiting) > CANDIDATES // 2:
                tx.requests.mark_due([request.id])
    if len(admission.admitted) + len(admission.refused) < len(groups) and not tx.is_sqlite:
        await _look_again(tx, request, list(windows.values()), admission)


async def _look_again(tx: Transaction, request: Request, seen: Sequence[Window], admission: Admission) -> None:
    """Who gives room back wakes those that wait. It may have looked for them before this one began to wait."""
    before = {window.id: (window.reserved_bytes, window.reserved_files) for window in seen}
    for window in await tx.windows.lock(seen):
        size, files = before[window.id]
        if window.reserved_bytes < size + admission.bytes or window.reserved_files < files + admission.files:
            tx.requests.mark_due([request.id])


def _wanted(content: Unadmitted) -> Wanted:
    return Wanted(
        content.id,
        f"{content.scope}:{content.name}",
        content.bytes,
        is_pinnable=_is_pinnable(content),
        blocked=content.replica_status == ReplicaStatus.DELETING,
    )


def _is_pinnable(content: Unadmitted) -> bool:
    if content.replica_status == ReplicaStatus.PRESENT and not content.replica_ours and not content.replica_is_pinned:
        return False  # somebody else's, unwatched for a while: it is asked for again
    return content.replica_status in PINNABLE


async def _admit(
    tx: Transaction,
    request: Request,
    collection: Collection,
    chosen: list[Unadmitted],
    windows: Mapping[tuple[str, str], Window],
) -> None:
    assert collection.rse is not None
    rse = collection.rse
    groups = sorted({file.group_no for file in chosen})
    await tx.replicas.lock_of_contents(rse, [file.id for file in chosen])
    own = windows.get(("collection", str(collection.id)))
    wanted = [
        File(Did(content.scope, content.name), content.bytes, content.adler32)
        for content in chosen
        if not _is_pinnable(content)
    ]
    admitted = await tx.replicas.admit(rse, wanted, own.id if own else None)
    size = sum(replica.bytes for replica in admitted)
    for window in windows.values():
        if admitted and not await tx.windows.reserve(window.id, bytes=size, files=len(admitted)):
            raise Outrun(window.ref)
    if not await tx.contents.pin(collection, groups):
        raise Outrun("a replica that was to be pinned is being deleted by now")
    tx.replicas.record_admission(rse, [replica.id for replica in admitted], request.id)
    # What is on disk already has nothing to wait for.
    await follow(tx, await tx.contents.land_present(collection, groups))
    if admitted:
        replica_ids = sorted(replica.id for replica in admitted)
        payload = {"rse": rse, "replicas": replica_ids}
        effect = NewEffect(EffectKind.STAGE, f"replica:{replica_ids[0]}", tx.now, payload)
        tx.effects.add([effect], None)
