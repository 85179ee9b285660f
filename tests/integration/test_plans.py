"""Hot statements find what they need by an index, however much has happened already."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.files import File
from idds.domain.identifiers import Did, Handle
from idds.domain.statuses import ContentStatus, EffectKind
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.store.contents import of_ids, pinned_to
from idds.store.database import Database, Transaction
from idds.store.leases import Wanted
from idds.store.listings import Listings
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.large_store import AVAILABLE, BATCH, DONE, HELD, LEASED, NOW, PINNED, RSE, fill
from tests.integration.plans import Plans, captured

SMALL = {"windows", "due", "ended", "each", "last", "waiting", "files", "named", "given", "json_each"}
"""Read as a whole: few rows, or what the statement itself has gathered."""
BY_KEY = {"pk_contents", "primary key", "pk_collections", "pk_requests", "pk_transforms", "pk_processings"}
BY_KEY |= {"pk_effects", "pk_replicas", "pk_messages", "pk_tasks", "sqlite_autoindex_messages_1"}
BY_KEY |= {"pk_stays", "sqlite_autoindex_stays_1"}


@dataclass(frozen=True)
class Hot:
    """A step, and the indexes that its statements may use besides primary keys."""

    name: str
    step: Callable[[Transaction], Awaitable[Any]]
    indexes: frozenset[str]


def hot(name: str, step: Callable[[Transaction], Awaitable[Any]], *indexes: str) -> Hot:
    return Hot(name, step, frozenset(indexes))


def steps(collection: Collection, contents: list[int], replicas: list[int]) -> list[Hot]:
    """`contents` are the ids of the collection in order, `replicas` those of some that are staging."""
    held = [f"processing:0{(DONE + LEASED) // 10 + n}" for n in range(20)]
    taken = contents[DONE : DONE + 20]
    ready = contents[DONE + LEASED + HELD : DONE + LEASED + HELD + 50]
    waiting = contents[DONE + LEASED + HELD + AVAILABLE + PINNED :][:50]
    first = (DONE + LEASED + HELD + AVAILABLE + PINNED) // BATCH
    groups = list(range(first, first + 5))
    files = [File(Did("s0", f"f{no:06d}"), 10) for no in range(100)]
    known = [NewContent(file.did.name, 0, file.did.scope) for file in files]
    key = {"uq_replicas_rse_scope_name", "sqlite_autoindex_replicas_1"}
    return [
        hot(
            "unadmitted",
            lambda tx: tx.contents.unadmitted(collection, 100),
            "ix_contents_new", "ix_contents_pins", *key,
        ),
        hot(
            "unadmitted of groups",
            lambda tx: tx.contents.unadmitted_in(collection, groups),
            "ix_contents_new", "ix_contents_pins", *key,
        ),
        hot(
            "heads of queues",
            lambda tx: tx.demands.heads(RSE, [collection], 100),
            "ix_contents_new", "ix_contents_pins", *key,
        ),
        hot("disks that something waits for", lambda tx: tx.demands.rses(), "ix_collections_waiting"),
        hot("what waits for a disk", lambda tx: tx.demands.waiting(RSE), "ix_collections_waiting"),
        hot("recalls", lambda tx: tx.demands.recalls(), "ix_replicas_recalled"),
        hot("what may be joined", lambda tx: tx.demands.pinnable(RSE, (NOW, 5), 100), "ix_replicas_pinnable"),
        hot(
            "who wants to join",
            lambda tx: tx.demands.wanting(replicas, [collection.id, collection.id - 1]),
            "uq_contents_collection_id_scope_name_min_id_max_id", "sqlite_autoindex_contents_1",
        ),
        hot(
            "ready groups",
            lambda tx: tx.contents.ready_groups(collection, 100),
            "ix_contents_available", "ix_contents_new",
        ),
        hot(
            "lease",
            lambda tx: tx.leases.give(collection, [Wanted(7, "me", NOW + 10**9), Wanted(3, "you", NOW)]),
            "ix_contents_available",
        ),
        hot("extend", lambda tx: tx.leases.extend(collection.id, [(dict.fromkeys(taken, 1), NOW + 10**9)])),
        hot("place", lambda tx: tx.collections.place(collection.id)),
        hot("report", lambda tx: tx.contents.move(ContentEvent.PROCESSED, of_ids(taken))),
        hot("return", lambda tx: tx.contents.move(ContentEvent.RETURNED, of_ids(taken))),
        hot("land by ids", lambda tx: tx.contents.move(ContentEvent.LANDED, of_ids(waiting))),
        hot("land what is present", lambda tx: tx.contents.land_present(collection, groups), "ix_contents_new"),
        hot(
            "land by replicas",
            lambda tx: tx.contents.move(ContentEvent.LANDED, pinned_to(replicas)),
            "ix_contents_pins",
        ),
        hot(
            "fail by replicas",
            lambda tx: tx.contents.move(ContentEvent.FAILED, pinned_to(replicas)),
            "ix_contents_pins",
        ),
        hot(
            "lease to processings",
            lambda tx: tx.contents.lease_to_processings(collection, collection.transform_id, ready),
            "uq_processings_transform_id_group_no", "sqlite_autoindex_processings_1",
        ),
        hot(
            "cancel",
            lambda tx: tx.contents.cancel_untaken(collection.id, 100),
            "ix_contents_new", "ix_contents_available",
        ),
        hot("ended leases", lambda tx: tx.contents.ended_leases(100), "ix_contents_lease"),
        hot("next lease end", lambda tx: tx.contents.next_lease_end(), "ix_contents_lease"),
        hot("pinning", lambda tx: tx.contents.pinning(replicas), "ix_contents_pins"),
        hot("pin", lambda tx: tx.contents.pin(collection, groups), "ix_contents_new", *key),
        hot("unpin", lambda tx: tx.contents.unpin(replicas), "ix_contents_pins"),
        hot(
            "known names",
            lambda tx: tx.contents.known(collection.id, "s0", [file.did.name for file in files]),
            "uq_contents_collection_id_scope_name_min_id_max_id",
            "sqlite_autoindex_contents_1",
        ),
        hot("held by", lambda tx: tx.contents.held_by(held), "ix_contents_lessee"),
        hot("contents by ids", lambda tx: tx.contents.get(taken)),
        hot("paths", lambda tx: tx.contents.paths(taken)),
        hot(
            "page",
            lambda tx: tx.contents.page(collection.id, status=None, after=contents[DONE], limit=100),
            "ix_contents_collection_id_id",
        ),
        hot(
            "page of a status",
            lambda tx: tx.contents.page(collection.id, status=ContentStatus.AVAILABLE, after=0, limit=100),
            "ix_contents_available",
        ),
        hot(
            "listing",
            lambda tx: Listings(tx).page(collection, status=None, after=contents[DONE], limit=5000),
            "ix_contents_collection_id_id",
        ),
        hot(
            "listing of a status",
            lambda tx: Listings(tx).page(collection, status=ContentStatus.AVAILABLE, after=0, limit=5000),
            "ix_contents_available",
        ),
        hot(
            "registering what is known",
            lambda tx: tx.contents.register_more(collection, known, ContentEvent.LISTED),
            "uq_contents_collection_id_scope_name_min_id_max_id", "sqlite_autoindex_contents_1",
        ),
        hot("lock replicas", lambda tx: tx.replicas.lock(replicas)),
        hot("lock replicas of contents", lambda tx: tx.replicas.lock_of_contents(RSE, waiting), *key),
        hot("lock replicas of pins", lambda tx: tx.replicas.lock_pinned_by(taken)),
        hot("move replicas", lambda tx: tx.replicas.move(ReplicaEvent.LANDED, RSE, replicas)),
        hot("release", lambda tx: tx.replicas.release_unpinned(RSE, replicas), "ix_contents_pins"),
        hot("in motion", lambda tx: tx.replicas.in_motion(), "ix_replicas_moving"),
        hot("find replicas", lambda tx: tx.replicas.find(RSE, [file.did for file in files]), *key),
        hot(
            "claim effects",
            lambda tx: tx.effects.claim(EffectKind.SUBMIT, owner="me", lease=1, limit=50),
            "ix_effects_kind_due_at",
        ),
        hot("next effect", lambda tx: tx.effects.next_due([EffectKind.LIST]), "ix_effects_kind_due_at"),
        hot(
            "drop effects",
            lambda tx: tx.effects.drop("processing:7", [EffectKind.SUBMIT]),
            "uq_effects_entity_attempt_kind", "sqlite_autoindex_effects_1",
        ),
        hot(
            "claim to poll",
            lambda tx: tx.processings.claim_to_poll("local", [Handle("h0.455")], owner="me", lease=1, limit=50),
            "ix_processings_poll", "ix_processings_handle",
        ),
        hot("next poll", lambda tx: tx.processings.next_poll("local"), "ix_processings_poll"),
        hot(
            "open processings",
            lambda tx: tx.processings.open_of(collection.transform_id),
            "ix_processings_open", "ix_processings_open",
        ),
        hot(
            "look through for a retry",
            lambda tx: tx.contents.ended_badly(collection, contents[DONE], 100),
            "ix_contents_collection_id_id",
        ),
        hot("retry contents", lambda tx: tx.contents.retry(collection, taken)),
        hot(
            "retry processings",
            lambda tx: tx.processings.retry(collection.transform_id, "local", range(20)),
            "uq_processings_transform_id_group_no", "sqlite_autoindex_processings_1",
        ),
        hot("take due", lambda tx: tx.requests.take_due(20), "ix_requests_due"),
        hot("next due", lambda tx: tx.requests.next_due(), "ix_requests_due"),
        hot(
            "claim messages",
            lambda tx: tx.messages.claim(owner="me", lease=1, limit=20),
            "ix_messages_unsent",
        ),
        hot("unsent messages", lambda tx: tx.messages.unsent(collection.request_id, 100), "ix_messages_unsent"),
        hot("mark sent", lambda tx: tx.messages.mark_sent(collection.request_id, 490), "ix_messages_unsent"),
        hot("collections of a request", lambda tx: tx.collections.of_request(collection.request_id),
            "ix_collections_request_id"),
        hot("collections of requests", lambda tx: tx.collections.of_requests([collection.request_id]),
            "ix_collections_request_id"),
        hot("transforms of requests", lambda tx: tx.transforms.of_requests([collection.request_id]),
            "uq_transforms_request_id_work_iteration", "sqlite_autoindex_transforms_1"),
        hot("requests by ids", lambda tx: tx.requests.get_all([collection.request_id])),
        hot("transforms of a request", lambda tx: tx.transforms.of_request(collection.request_id),
            "uq_transforms_request_id_work_iteration", "sqlite_autoindex_transforms_1"),
    ]  # fmt: skip


async def test_no_hot_statement_reads_a_whole_table(database_url: str) -> None:
    database = Database(database_url, clock=ManualClock(NOW))
    try:
        await upgrade(database)
        collection, *_ = await fill(database)
        async with database.snapshot() as tx:
            contents = [
                content.id for content in await tx.contents.page(collection.id, status=None, after=0, limit=10**6)
            ]
            replicas = [replica.id for replica in await tx.replicas.in_motion()][-50:]
        found = await faults(database, steps(collection, contents, replicas))
        assert not found, "\n".join(found)
    finally:
        await database.close()


class Undone(Exception):
    """Nothing of the step shall stay."""


async def faults(database: Database, of: list[Hot]) -> list[str]:
    """What is wrong with the plans of these steps."""
    plans, found = Plans(database), []
    for one in of:
        with captured(database) as statements:
            await undone(database, one)
        assert statements or (database.is_sqlite and one.name.startswith("lock ")), f"{one.name}: nothing was seen"
        for statement in statements:
            for sort, accesses in await plans.of(statement):
                sql = " ".join(statement.sql.split())
                found += [
                    f"{one.name} ({sort}): {access.table} by {access.index or 'a scan'}: {sql}"
                    for access in accesses
                    if access.table not in SMALL and access.index not in BY_KEY | one.indexes
                ]
    return found


async def undone(database: Database, one: Hot) -> None:
    try:
        async with database.transaction("test") as tx:
            await one.step(tx)
            raise Undone  # noqa: TRY301 -- this is how a transaction is rolled back
    except Undone:
        pass
