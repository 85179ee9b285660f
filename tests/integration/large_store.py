"""A store in which most has happened already: what a plan has to find its way around."""

from dataclasses import asdict

from sqlalchemy import insert, text

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, RequestId, TransformId
from idds.domain.statuses import ContentStatus, EffectKind, Intent, ReplicaStatus, Status
from idds.domain.workflow import Input, Payload, Work, Workflow
from idds.store.database import Database, Transaction
from idds.store.schema import (
    collections,
    contents,
    effects,
    messages,
    processings,
    replicas,
    requests,
    tasks,
    transforms,
)

RSE = "DISK"
REQUESTS = 2000
LIVE = 5
"""So many requests, the last ones, have a collection with contents in it."""
DONE, LEASED, HELD, AVAILABLE, PINNED, UNADMITTED = 4000, 500, 500, 200, 300, 700
"""So many contents of each collection: of `HELD` a processing holds ten each, `PINNED` wait for their replicas."""
BATCH = 10
NOW = 10**12

_WORKFLOW = Workflow(name="w", works=(Work(name="w", input=Input(dataset="a:b"), payload=Payload(argv=("x",))),))


async def fill(database: Database) -> list[Collection]:
    """Fill it; the live collections."""
    async with database.transaction("test") as tx:
        await _requests(tx)
        await _replicas(tx)
        for number in range(LIVE):
            await _contents(tx, number)
        await _processings(tx)
        await _effects(tx)
        await _messages(tx)
    async with database.transaction("test") as tx:
        if not tx.is_sqlite:  # where nobody gathers statistics
            await tx.connection.execute(text("ANALYZE"))
        return list(await tx.collections.get_all(range(REQUESTS - LIVE + 1, REQUESTS + 1)))


async def _requests(tx: Transaction) -> None:
    document = asdict(_WORKFLOW)
    ids = range(1, REQUESTS + 1)
    live = REQUESTS - LIVE
    fixed = {"name": "w", "intent": Intent.RUN, "vo": "atlas", "share": "", "priority": 0, "workflow": document}
    await tx.connection.execute(
        insert(requests),
        [
            {
                "status": Status.RUNNING if i > live else Status.FINISHED,
                "owner": f"user{i % 50}",
                "digest": "",
                "due_at": NOW - i if i > live else None,
                "created_at": NOW,
                "changed_at": NOW,
                **fixed,
            }
            for i in ids
        ],
    )
    task = {"scope": "a", "name": "b", "document": {}}
    await tx.connection.execute(insert(tasks), [{"request_id": i, "workload_id": i, **task} for i in ids if i % 2])
    times = {"created_at": NOW, "changed_at": NOW}
    await tx.connection.execute(
        insert(transforms),
        [{"request_id": i, "work": "w", "iteration": 0, "status": Status.RUNNING, **times} for i in ids],
    )
    await tx.connection.execute(
        insert(collections),
        [
            {
                "request_id": i,
                "transform_id": i,
                "relation": "input",
                "source": "dataset",
                "scope": "a",
                "name": "b",
                "rse": RSE,
                "batch": BATCH,
                "is_closed": True,
                "unadmitted": UNADMITTED if i > live else 0,
                "next_no": DONE + LEASED + HELD + AVAILABLE + PINNED + UNADMITTED,
                "created_at": NOW,
            }
            for i in ids
        ],
    )


async def _replicas(tx: Transaction) -> None:
    """Those of the first contents have gone, those of the last are not there yet."""
    rows = []
    for number in range(LIVE):
        for i in range(DONE + LEASED + HELD + AVAILABLE + PINNED):
            status = ReplicaStatus.GONE if i < DONE else ReplicaStatus.PRESENT
            if i >= DONE + LEASED + HELD + AVAILABLE:
                status = ReplicaStatus.STAGING
            elif i < 50:
                status = ReplicaStatus.DELETING
            rows.append(
                {
                    "rse": RSE,
                    "scope": f"s{number}",
                    "name": f"f{i:06d}",
                    "bytes": 10,
                    "status": status,
                    "ours": True,
                    "changed_at": NOW,
                }
            )
    await tx.connection.execute(insert(replicas), rows)


async def _contents(tx: Transaction, number: int) -> None:
    collection = REQUESTS - LIVE + 1 + number
    first_replica = number * (DONE + LEASED + HELD + AVAILABLE + PINNED) + 1
    rows = []
    for i in range(DONE + LEASED + HELD + AVAILABLE + PINNED + UNADMITTED):
        status, lessee, until, pinned = ContentStatus.NEW, None, None, True
        if i < DONE:
            status, lessee = ContentStatus.DONE, f"processing:{number}{i // BATCH}"
        elif i < DONE + LEASED:
            status, lessee, until = ContentStatus.LEASED, f"worker{i % 40}", NOW + i
        elif i < DONE + LEASED + HELD:
            status, lessee = ContentStatus.LEASED, f"processing:{number}{i // BATCH}"
        elif i < DONE + LEASED + HELD + AVAILABLE:
            status = ContentStatus.AVAILABLE
        elif i >= DONE + LEASED + HELD + AVAILABLE + PINNED:
            pinned = False
        rows.append(
            {
                "request_id": collection,
                "collection_id": collection,
                "scope": f"s{number}",
                "name": f"f{i:06d}",
                "bytes": 10,
                "group_no": i // BATCH,
                "status": status,
                "attempt": 1 if lessee else 0,
                "lessee": lessee,
                "lease_until": until,
                "replica_id": first_replica + i if pinned else None,
                "changed_at": NOW,
            }
        )
    await tx.connection.execute(insert(contents), rows)


async def _processings(tx: Transaction) -> None:
    rows = []
    for number in range(LIVE):
        owner = REQUESTS - LIVE + 1 + number
        for group in range((DONE + LEASED + HELD) // BATCH):
            under_way = group >= (DONE + LEASED) // BATCH
            rows.append(
                {
                    "request_id": owner,
                    "transform_id": owner,
                    "group_no": group,
                    "attempt": 1,
                    "status": Status.RUNNING if under_way else Status.FINISHED,
                    "intent": Intent.RUN,
                    "provider": "local",
                    "handle": f"h{number}.{group}",
                    "due_at": NOW + group if under_way else None,
                    "created_at": NOW,
                    "changed_at": NOW,
                }
            )
    await tx.connection.execute(insert(processings), rows)


async def _effects(tx: Transaction) -> None:
    kinds = [EffectKind.SUBMIT] * 18 + [EffectKind.LIST, EffectKind.STAGE]
    await tx.connection.execute(
        insert(effects),
        [
            {
                "kind": kinds[i % 20],
                "entity": f"processing:{i}",
                "attempt": 1,
                "request_id": REQUESTS - i % LIVE,
                "payload": {"processing": i},
                "due_at": NOW + (i - 200) * 1000,
                "created_at": NOW,
            }
            for i in range(8000)
        ],
    )


async def _messages(tx: Transaction) -> None:
    await tx.connection.execute(
        insert(messages),
        [
            {
                "request_id": request,
                "seq": seq,
                "topic": "t",
                "body": "{}",
                "created_at": NOW,
                "sent_at": None if request > REQUESTS - LIVE and seq > 480 else NOW,
            }
            for request in [*range(1, 200), *range(REQUESTS - LIVE + 1, REQUESTS + 1)]
            for seq in range(1, 501 if request > REQUESTS - LIVE else 51)
        ],
    )


def ids_of(collection: Collection) -> tuple[RequestId, TransformId, CollectionId]:
    return collection.request_id, collection.transform_id, collection.id
