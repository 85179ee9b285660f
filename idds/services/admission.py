"""Letting files into the windows: replicas admitted, bytes reserved, pins set, in one transaction an input."""

from collections.abc import Sequence

from idds.domain.collection import Collection
from idds.domain.effect import NewEffect
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did
from idds.domain.request import Request
from idds.domain.statuses import EffectKind, Intent, ReplicaStatus
from idds.engine.planner import Refusal
from idds.engine.transitions import PINNABLE, ContentEvent
from idds.engine.window import Wanted
from idds.services.announcing import follow
from idds.store.contents import Unadmitted, waiting_in
from idds.store.database import Transaction


class Outrun(Exception):
    """Somebody else took the room, or a replica away, since the plan was made."""


def as_wanted(content: Unadmitted) -> Wanted:
    """A file that waits, as the planner sees it."""
    return Wanted(
        content.id,
        f"{content.scope}:{content.name}",
        content.bytes,
        is_pinnable=_is_pinnable(content),
        blocked=content.replica_status == ReplicaStatus.DELETING,
        is_present=content.replica_status == ReplicaStatus.PRESENT,
    )


async def admit(tx: Transaction, collection_id: CollectionId, groups: Sequence[int]) -> int:
    """Admit those of these groups that still wait; how many files. Raises Outrun: then all is to be taken back."""
    held = await _hold(tx, collection_id)
    if held is None:
        return 0
    request, collection = held
    waiting = await tx.contents.unadmitted_in(collection, groups)
    if waiting:
        await _admit(tx, request, collection, waiting)
    return len(waiting)


async def refuse(tx: Transaction, collection_id: CollectionId, refusals: Sequence[Refusal]) -> None:
    """Have groups fail that no window will ever admit."""
    held = await _hold(tx, collection_id)
    for refusal in refusals if held is not None else ():
        waiting = waiting_in(collection_id, [refusal.group.group_no])
        await follow(tx, await tx.contents.move(ContentEvent.FAILED, waiting, reason=refusal.reason))


async def _hold(tx: Transaction, collection_id: CollectionId) -> tuple[Request, Collection] | None:
    """An input and its request, which is locked; None where nothing of it is to be admitted any more."""
    found = await tx.collections.get(collection_id)
    if found is None:
        return None
    await tx.requests.lock([found.request_id])
    request, collection = await tx.requests.get(found.request_id), await tx.collections.get(collection_id)
    if request is None or request.intent is not Intent.RUN or collection is None or collection.rse != found.rse:
        return None
    return request, collection


async def _admit(tx: Transaction, request: Request, collection: Collection, waiting: Sequence[Unadmitted]) -> None:
    assert collection.rse is not None
    rse, groups = collection.rse, sorted({file.group_no for file in waiting})
    await tx.replicas.lock_of_contents(rse, [file.id for file in waiting])
    wanted = [
        File(Did(content.scope, content.name), content.bytes, content.adler32)
        for content in waiting
        if not _is_pinnable(content)
    ]
    refs = [("rse", rse), ("collection", str(collection.id)), ("share", request.share)]
    windows = await tx.windows.find(refs)
    own = windows.get(("collection", str(collection.id)))
    admitted = await tx.replicas.admit(rse, wanted, own.id if own else None, collection.source_rse)
    size = sum(replica.bytes for replica in admitted)
    for window in windows.values() if admitted else ():
        if not await tx.windows.reserve(window.id, bytes=size, files=len(admitted)):
            raise Outrun(window.ref)
    if not await tx.contents.pin(collection, groups):
        raise Outrun("a replica that was to be pinned is being deleted by now")
    tx.replicas.record_admission(rse, [replica.id for replica in admitted], request.id)
    # What is on disk already has nothing to wait for.
    await follow(tx, await tx.contents.land_present(collection, groups))
    if admitted:
        replica_ids = sorted(replica.id for replica in admitted)
        payload = {"rse": rse, "replicas": replica_ids}
        tx.effects.add([NewEffect(EffectKind.STAGE, f"replica:{replica_ids[0]}", tx.now, payload)], None)


def _is_pinnable(content: Unadmitted) -> bool:
    if content.replica_status == ReplicaStatus.PRESENT and not content.replica_ours and not content.replica_is_pinned:
        return False  # somebody else's, unwatched for a while: it is asked for again
    return content.replica_status in PINNABLE
