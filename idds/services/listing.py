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
from idds.engine.ranges import pieces, unfinished
from idds.engine.retry import TRIES
from idds.engine.transitions import ContentEvent
from idds.ports.ddm import DDM
from idds.services.announcing import follow, tell_collection_closed
from idds.services.ranges import UNTOLD, known_files, register
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
        rule = await self._rule(collection)
        brought_to = await self._ddm.destination(rule) if rule is not None else None
        if rule is not None and not collection.next_no:
            await self._place(effect, collection, rule, brought_to)
        try:
            page = await self._ddm.list_files(collection.did, after=collection.listed_to, limit=PAGE)
        except UnknownDid as error:
            async with self._database.transaction(AGENT) as tx:
                await give_up(tx, effect, "input/dataset", str(error))
            return False
        awaited = (rule, brought_to) if rule is not None and brought_to is not None else None
        while (more := await self._record(effect, collection, page, awaited)) is None:
            pass
        return more

    async def _rule(self, collection: Collection) -> str | None:
        """The rule of somebody else that brings the dataset to a disk, where its work names one."""
        async with self._database.snapshot() as tx:
            request = await tx.requests.get(collection.request_id)
            transform = await tx.transforms.get(collection.transform_id)
        assert request is not None
        assert transform is not None
        source = request.workflow.work(transform.work).input
        return None if source is None else source.rule

    async def _place(self, effect: Effect, collection: Collection, rule: str, rse: str | None) -> None:
        """Before anything of a dataset is known: have it delivered where that rule brings it to."""
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([collection.request_id])
            await tx.effects.hold(effect, LEASE)
            reason = f"rule {rule} brings them nowhere (any more): they are staged by rules of this service"
            if rse is not None:
                await tx.collections.note_destination([collection.id], rse)
                reason = f"rule {rule} brings them there"
            change = (collection.rse, rse or str(collection.rse))
            entity = f"collection:{collection.id}"
            tx.moves.record(entity, "destination", change, request=collection.request_id, n=0, reason=reason)

    async def _record(
        self, effect: Effect, listed: Collection, page: FilePage, awaited: tuple[str, str] | None
    ) -> bool | None:
        """Register what is new in a page; whether there is another, None while more is to come of this one."""
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock([listed.request_id])
            await tx.effects.hold(effect, LEASE)
            collection = await tx.collections.get(listed.id)
            assert collection is not None
            if collection.is_closed:  # cancelled, or ended early, while the page was fetched
                await tx.effects.finish([effect])
                return False
            if collection.range_events is None:
                again = effect.tries > 1 or "again" in effect.payload
                new = await _register_files(tx, collection, page, again=again)
                if awaited is not None and awaited[1] == collection.rse:
                    # It needs no room of ours: it is on its way before anybody asks for it.
                    await tx.replicas.await_others(collection.rse, new, awaited[0], collection.request_id)
            elif not await _register_ranges(tx, collection, page):
                return None
            return await self._conclude(tx, effect, collection, page)

    async def _conclude(self, tx: Transaction, effect: Effect, collection: Collection, page: FilePage) -> bool:
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


async def _register_files(tx: Transaction, collection: Collection, page: FilePage, *, again: bool) -> Sequence[File]:
    """Those that are new."""
    # What was looked at before comes again with what a growing dataset has more, and has its numbers. It may come again
    # within one look, too: then the database finds it.
    known = await known_files(tx, collection, page.files) if again else {}
    new = [file for file in page.files if file.did not in known]
    if new or page.next is not None:
        contents = [_new_content(file) for file in new]
        await tx.contents.register_more(collection, contents, ContentEvent.LISTED, listed_to=page.next)
        tx.requests.mark_due([collection.request_id])
    return new


async def _register_ranges(tx: Transaction, collection: Collection, page: FilePage) -> bool:
    """Register some of the ranges of these files; whether that was all."""
    known = await known_files(tx, collection, page.files)
    cut = pieces(collection, unfinished(page.files, known), UNTOLD, known=known)
    piece = next(cut)
    is_last = next(cut, None) is None
    listed_to = page.next if is_last else None
    await follow(tx, await register(tx, collection, piece, ContentEvent.LISTED, listed_to=listed_to))
    return is_last


def _new_content(file: File) -> NewContent:
    return NewContent(name=file.did.name, group_no=0, scope=file.did.scope, bytes=file.bytes, adler32=file.adler32)
