"""Listing datasets into contents: page by page, going on where it stood."""

from collections.abc import Sequence

import structlog

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.effect import Effect
from idds.domain.errors import Unavailable, UnknownDid
from idds.domain.files import File, FilePage
from idds.domain.identifiers import CollectionId
from idds.domain.statuses import EffectKind
from idds.engine.retry import TRIES
from idds.engine.transitions import ContentEvent
from idds.ports.ddm import DDM
from idds.services.announcing import follow, tell_collection_closed
from idds.services.sources import give_up
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced

AGENT = "carrier"
PAGE = 1000
LEASE = 30_000_000
GROWTH = 30_000_000
"""How often a dataset that may still grow is looked at again, in microseconds."""

log = structlog.get_logger()


class Listing:
    """What the carrier does to learn what is in a dataset."""

    def __init__(self, database: Database, ddm: DDM, owner: str) -> None:
        self._database = database
        self._ddm = ddm
        self._owner = owner

    async def step(self) -> int:
        """List datasets that wait for it; how many."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(EffectKind.LIST, owner=self._owner, lease=LEASE, limit=1)
        for effect in claimed:
            try:
                while await self._page(effect):
                    pass
            except Unavailable as error:
                async with self._database.transaction(AGENT) as tx:
                    await tx.effects.postpone([effect], str(error))
            except Fenced:
                raise
            except Exception as error:
                # A defect of the adapter, or met by this dataset: it ends alone.
                log.exception("a listing breaks", collection=effect.entity, tries=effect.tries)
                reason = f"the data management breaks on it ({type(error).__name__})"
                async with self._database.transaction(AGENT) as tx:
                    if effect.tries < TRIES:
                        await tx.effects.postpone([effect], reason)
                    else:
                        await give_up(tx, effect, "input/dataset", reason)
        return len(claimed)

    async def _page(self, effect: Effect) -> bool:
        """Register one more page; whether there is another."""
        identifier = CollectionId(int(effect.entity.partition(":")[2]))
        async with self._database.snapshot() as tx:
            collection = await tx.collections.get(identifier)
        assert collection is not None
        assert collection.did is not None
        try:
            page = await self._ddm.list_files(collection.did, after=collection.listed_to, limit=PAGE)
        except UnknownDid as error:
            async with self._database.transaction(AGENT) as tx:
                await give_up(tx, effect, "input/dataset", str(error))
            return False
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([collection.request_id])
            await tx.effects.hold(effect, LEASE)
            return await self._record(tx, effect, identifier, page)

    async def _record(self, tx: Transaction, effect: Effect, identifier: CollectionId, page: FilePage) -> bool:
        collection = await tx.collections.get(identifier)
        assert collection is not None
        if collection.is_closed:  # cancelled, or ended early, while the page was fetched
            await tx.effects.finish([effect])
            return False
        # What was looked at before comes again with what a growing dataset has more, and has its numbers.
        files = await _unknown(tx, collection, page) if effect.tries > 1 else page.files
        if files or page.next is not None:
            new = _new_contents(collection, files)
            move = await tx.contents.register(collection, new, ContentEvent.LISTED, listed_to=page.next)
            await follow(tx, [move])
        if page.next is not None and page.files:
            return True
        if page.is_open:
            await tx.effects.postpone([effect], None, GROWTH)
            return False
        await tx.effects.finish([effect])
        await tx.collections.close(collection)
        await tell_collection_closed(tx, collection.id)
        tx.requests.mark_due([collection.request_id])
        return False


async def _unknown(tx: Transaction, collection: Collection, page: FilePage) -> list[File]:
    by_scope: dict[str, list[str]] = {}
    for file in page.files:
        by_scope.setdefault(file.did.scope, []).append(file.did.name)
    known = {scope: await tx.contents.known(collection.id, scope, names) for scope, names in by_scope.items()}
    return [file for file in page.files if file.did.name not in known[file.did.scope]]


def _new_contents(collection: Collection, files: Sequence[File]) -> list[NewContent]:
    return [
        NewContent(
            name=file.did.name,
            group_no=number // collection.batch if collection.batch else 0,
            scope=file.did.scope,
            bytes=file.bytes,
            adler32=file.adler32,
        )
        for number, file in enumerate(files, collection.next_no)
    ]
