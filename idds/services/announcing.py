"""What follows from contents having moved: messages, pins given up, room in windows, requests to be advanced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds.domain.content import Content, Move, NewContent
from idds.domain.effect import NewEffect
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.message import MAX_CONTENTS
from idds.domain.request import Request
from idds.domain.statuses import ContentStatus, EffectKind, ReplicaStatus
from idds.domain.transform import Transform
from idds.ports.wakeups import Channel
from idds.services.ranges import cut_counted
from idds.services.telling import tell_complete, tell_drawn, tell_ended, tell_staged
from idds.store.collections import Address
from idds.store.database import Transaction

ANNOUNCED = frozenset(ContentStatus) - {ContentStatus.NEW, ContentStatus.LEASED}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known already of contents that moved: whose they are, all of one collection; and what they are by now."""

    address: Address
    contents: Mapping[ContentId, Content]

    def of(self, ids: Sequence[int]) -> list[Content]:
        return [self.contents[ContentId(each)] for each in ids]


async def follow(tx: Transaction, moves: Sequence[Move], *, advance: bool = True, known: Known | None = None) -> None:
    """Do what follows from these moves of contents, in the same transaction; and have their requests advanced."""
    if not moves:
        return
    if known is None:
        addresses = await tx.collections.addresses({CollectionId(int(move.entity.partition(":")[2])) for move in moves})
    else:
        addresses = {known.address.collection_id: known.address}
    ended = [move.ids for move in moves if ContentStatus(move.to_status).is_terminal]
    if len(ended) > 1 or any(len(ids) > MAX_CONTENTS for ids in ended):
        # All at once: part by part, two that end the same files could wait for each other in a circle.
        await tx.replicas.lock_pinned_by([content for ids in ended for content in ids])
    more: list[Move] = []
    for move in moves:
        address = addresses[CollectionId(int(move.entity.partition(":")[2]))]
        if ContentStatus(move.to_status) in ANNOUNCED:
            more += await _follow_one(tx, move, address, known)
    if advance:
        tx.requests.mark_due({address.request_id for address in addresses.values()})
    await follow(tx, more)


async def _follow_one(tx: Transaction, move: Move, address: Address, known: Known | None) -> list[Move]:
    """What else moves with it."""
    more: list[Move] = []
    status = ContentStatus(move.to_status)
    for start in range(0, len(move.ids), MAX_CONTENTS):
        ids = move.ids[start : start + MAX_CONTENTS]
        contents = await tx.contents.get(ids) if known is None else known.of(ids)
        await _announce(tx, address, status, contents)
        if address.workload_id is not None and address.is_study and move.from_status is None:
            await tell_drawn(tx, address, contents)
        if status is ContentStatus.DONE and address.is_counted:
            more += await cut_counted(tx, address.collection_id, contents)
        if status.is_terminal:
            await _give_back(tx, address, contents)
    if status is ContentStatus.AVAILABLE:
        tx.wake(Channel.CONTENTS)
    if address.workload_id is not None:
        await tell_complete(tx, address)
    return more


async def _announce(tx: Transaction, address: Address, status: ContentStatus, contents: Sequence[Content]) -> None:
    paths = await tx.contents.paths([c.id for c in contents if c.replica_id is not None])
    described = [describe(content, paths.get(content.id)) for content in contents]
    _tell_contents(tx, address, status, described)
    if status is ContentStatus.AVAILABLE and address.workload_id is not None and not address.is_study:
        tell_staged(tx, address, described)


async def announce_registered(
    tx: Transaction, collection: CollectionId, contents: Sequence[tuple[int, NewContent]]
) -> None:
    """Tell of contents, with their ids, that are available from the first: they need not be read back for it."""
    address = (await tx.collections.addresses([collection]))[collection]
    for start in range(0, len(contents), MAX_CONTENTS):
        described = [_describe_new(*each) for each in contents[start : start + MAX_CONTENTS]]
        _tell_contents(tx, address, ContentStatus.AVAILABLE, described)
    if contents:
        tx.wake(Channel.CONTENTS)


def _tell_contents(
    tx: Transaction, address: Address, status: ContentStatus, described: Sequence[Mapping[str, Any]]
) -> None:
    body = {
        "type": f"contents.{status}",
        "request": address.request_id,
        "transform": address.transform_id,
        "work": address.work,
        "collection": address.collection_id,
        "contents": described,
    }
    tx.messages.add(address.request_id, [(f"idds/{address.vo}/contents/{status}", body)])


def _describe_new(identifier: int, content: NewContent) -> dict[str, Any]:
    """As `describe` does once it is there."""
    return {
        "id": identifier,
        "scope": content.scope,
        "name": content.name,
        "min_id": content.min_id,
        "max_id": content.max_id,
        "bytes": content.bytes,
        "adler32": content.adler32,
        "attempt": 0,
        "path": None,
        "parameters": (content.payload or {}).get("parameters"),
        "reason": None,
    }


def describe(content: Content, path: str | None) -> dict[str, Any]:
    """A content as messages, payloads and the API tell of it."""
    payload: Mapping[str, Any] = content.payload or {}
    return {
        "id": content.id,
        "scope": content.scope,
        "name": content.name,
        "min_id": content.min_id,
        "max_id": content.max_id,
        "bytes": content.bytes,
        "adler32": content.adler32,
        "attempt": content.attempt,
        "path": path,
        "parameters": payload.get("parameters"),
        "reason": content.reason,
    }


async def _give_back(tx: Transaction, address: Address, contents: Sequence[Content]) -> None:
    await release(tx, [c.replica_id for c in contents if c.replica_id is not None])
    if address.is_study:
        tx.windows.give_back_samples(address.collection_id, len(contents))


async def release(tx: Transaction, replica_ids: Sequence[int]) -> None:
    """Have those of these replicas deleted that are ours and that nobody pins."""
    if not replica_ids:
        return
    await tx.replicas.lock(replica_ids)
    found = await tx.replicas.get(replica_ids)
    admitted = [replica.id for replica in found if replica.status is ReplicaStatus.ADMITTED]
    if unwanted := await tx.replicas.unpinned(admitted):
        # Who has their order gives their room back, and does not wait to be refused once more.
        await tx.effects.hasten_recalls(unwanted)
    by_rse: dict[str, list[int]] = {}
    for replica in found:
        by_rse.setdefault(replica.rse, []).append(replica.id)
    for rse, ids in sorted(by_rse.items()):
        released = sorted(replica.id for replica in await tx.replicas.release_unpinned(rse, ids))
        if released:
            payload = {"rse": rse, "replicas": released}
            # The smallest of the ids, at this time, names the set: a replica is released once a time.
            effect = NewEffect(EffectKind.RELEASE, f"replica:{released[0]}", tx.now, payload)
            tx.effects.add([effect], None)


async def tell_collection_closed(tx: Transaction, collection: CollectionId) -> None:
    address = (await tx.collections.addresses([collection]))[collection]
    body = {
        "type": "collection.closed",
        "request": address.request_id,
        "transform": address.transform_id,
        "work": address.work,
        "collection": collection,
    }
    tx.messages.add(address.request_id, [(f"idds/{address.vo}/collections/closed", body)])
    if address.workload_id is not None:
        await tell_complete(tx, address)


async def tell_transform(tx: Transaction, request: Request, transform: Transform) -> None:
    body = {
        "type": f"transform.{transform.status}",
        "request": request.id,
        "transform": transform.id,
        "work": transform.work,
        "status": transform.status,
        "reason": transform.reason,
    }
    tx.messages.add(request.id, [(f"idds/{request.vo}/transforms/{transform.status}", body)])


async def tell_request(tx: Transaction, request: Request) -> None:
    body = {
        "type": f"request.{request.status}",
        "request": request.id,
        "status": request.status,
        "reason": request.reason,
    }
    tx.messages.add(request.id, [(f"idds/{request.vo}/requests/{request.status}", body)])
    if request.status.is_terminal:
        await tell_ended(tx, request)
