"""Files one by one: what happened to each, and which give trouble.

That is looked for in a bounded part of the history, which may be long all the same: answers are remembered.
"""

from idds.domain.errors import NotFound
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.request import Principal
from idds.domain.statuses import ContentStatus, Relation
from idds.domain.story import OnItsWay, Story, Troubles
from idds.services.remembering import Remembered
from idds.store.database import Database
from idds.store.files import Files as Store

TOLD = 20


class Files:
    """What the API does for who asks about single files. All raise NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stories: Remembered[ContentId, Story] = Remembered(self._story)
        self._troubles: Remembered[RequestId, Troubles] = Remembered(self._find_troubles)

    async def story(self, principal: Principal, identifier: ContentId) -> Story:
        """What happened to a content."""
        async with self._database.snapshot(timeless=True) as tx:
            found = await tx.contents.get([identifier])
            if not found or not await tx.requests.is_visible(found[0].request_id, principal):
                raise NotFound(f"there is no content {identifier}")
        return await self._stories.get(identifier)

    async def troubles(self, principal: Principal, request: RequestId) -> Troubles:
        """Which files of a request give trouble, or may."""
        async with self._database.snapshot(timeless=True) as tx:
            if not await tx.requests.is_visible(request, principal):
                raise NotFound(f"there is no request {request}")
        return await self._troubles.get(request)

    async def _story(self, identifier: ContentId) -> Story:
        async with self._database.snapshot(timeless=True) as tx:
            found = await tx.contents.get([identifier])
            if not found:
                raise NotFound(f"there is no content {identifier}")
            content, store = found[0], Store(tx)
            replica = await store.replica(content.replica_id) if content.replica_id is not None else None
            return Story(content, replica, tuple(await store.story(content)))

    async def _find_troubles(self, request: RequestId) -> Troubles:
        async with self._database.snapshot() as tx:
            inputs = [each for each in await tx.collections.of_request(request) if each.relation is Relation.INPUT]
            waiting = [each.id for each in inputs if each.counts[ContentStatus.NEW] > each.unadmitted]
            bad = [
                each.id for each in inputs if each.counts[ContentStatus.FAILED] or each.counts[ContentStatus.MISSING]
            ]
            store = Store(tx)
            on_their_way = await store.on_their_way(waiting, TOLD)
            return Troubles(
                request,
                tx.now,
                tuple(OnItsWay(content, replica) for content, replica in on_their_way),
                tuple(await store.ended_badly(bad, TOLD)),
            )
