"""Reading: requests and all that belongs to them, for who may see it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from idds.domain.agent import AgentProcess
from idds.domain.collection import Collection
from idds.domain.content import Move
from idds.domain.errors import NotFound
from idds.domain.identifiers import CollectionId, ProcessingId, RequestId, TransformId
from idds.domain.job import LogChunk
from idds.domain.processing import Processing
from idds.domain.replica import Window
from idds.domain.request import Principal, Request, RequestSummary, Role
from idds.domain.statuses import ContentStatus, Status
from idds.domain.transform import Transform
from idds.ports.provider import Provider
from idds.services.discretion import bounded_by
from idds.services.grouping import Grouping
from idds.services.remembering import Remembered
from idds.store.database import Database, Transaction
from idds.store.listings import Listed, Listings
from idds.store.requests import EVERY, RequestFilter
from idds.store.visibility import sees

STREAM_PAGE = 5000
OVERVIEWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Overview:
    request: Request
    transforms: Sequence[Transform]
    collections: Sequence[Collection]


class Catalogue:
    """What the API does for who reads. All raise NotFound for what is not there or not the caller's to see."""

    def __init__(self, database: Database, providers: Mapping[str, Provider]) -> None:
        self._database = database
        self._replicas: Remembered[str, Sequence[tuple[str, str, int, int]]] = Remembered(self._summary)
        self._providers = providers
        self._overviews: Grouping[None, tuple[Principal, RequestId], Overview] = Grouping(
            self._read_overviews, OVERVIEWS_AT_ONCE, lambda _: 1
        )

    async def requests(
        self, principal: Principal, wanted: RequestFilter = EVERY, *, before: int | None = None, limit: int = 100
    ) -> Sequence[RequestSummary]:
        """Requests, newest first, with ids below `before`."""
        async with self._database.snapshot(timeless=True) as tx:
            return await tx.requests.list(principal, wanted, before=before, limit=limit)

    async def campaigns(
        self, principal: Principal, wanted: RequestFilter = EVERY, *, before: int | None = None, limit: int = 100
    ) -> Sequence[tuple[RequestSummary, Sequence[Collection]]]:
        """The same with the collections of each, as of one moment."""
        async with self._database.snapshot(timeless=True) as tx:
            requests = await tx.requests.list(principal, wanted, before=before, limit=limit)
            collections = await tx.collections.of_requests([request.id for request in requests])
        return [(request, collections[request.id]) for request in requests]

    async def request(self, principal: Principal, request: RequestId) -> Request:
        async with self._database.snapshot(timeless=True) as tx:
            return await _request(tx, principal, request)

    async def overview(self, principal: Principal, request: RequestId) -> Overview:
        """A request with all that belongs to it, as of one moment. Those asked for at a time are read together."""
        return await self._overviews.order(None, (principal, request))

    async def _read_overviews(
        self, _: None, wanted: Sequence[tuple[Principal, RequestId]]
    ) -> list[Overview | Exception]:
        ids = {request for _, request in wanted}
        async with self._database.snapshot(timeless=True) as tx:
            requests = await tx.requests.get_all(ids)
            transforms = await tx.transforms.of_requests(ids)
            collections = await tx.collections.of_requests(ids)
        found: list[Overview | Exception] = []
        for principal, identifier in wanted:
            request = requests.get(identifier)
            if request is None or not sees(principal, owner=request.owner, vo=request.vo, share=request.share):
                found.append(NotFound(f"there is no request {identifier}"))
            else:
                found.append(Overview(request, transforms[identifier], collections[identifier]))
        return found

    async def transforms(self, principal: Principal, request: RequestId) -> Sequence[Transform]:
        async with self._database.snapshot(timeless=True) as tx:
            await _check(tx, principal, request)
            return await tx.transforms.of_request(request)

    async def transform(self, principal: Principal, transform: TransformId) -> tuple[Transform, Sequence[Collection]]:
        """A transform, and its collections."""
        async with self._database.snapshot(timeless=True) as tx:
            found = await tx.transforms.get(transform)
            if found is None or not await tx.requests.is_visible(found.request_id, principal):
                raise NotFound(f"there is no transform {transform}")
            collections = await tx.collections.of_request(found.request_id)
            return found, [collection for collection in collections if collection.transform_id == transform]

    async def collection(self, principal: Principal, collection: CollectionId) -> Collection:
        async with self._database.snapshot(timeless=True) as tx:
            return await _collection(tx, principal, collection)

    async def processings(
        self,
        principal: Principal,
        request: RequestId,
        *,
        statuses: frozenset[Status] = frozenset(),
        transform: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Sequence[Processing]:
        """Processings in id order, with ids above `after`; of any of these statuses (none: of all), of a transform."""
        async with self._database.snapshot(timeless=True) as tx:
            await _check(tx, principal, request)
            return await tx.processings.of_request(
                request, statuses=statuses, transform=transform, after=after, limit=limit
            )

    async def processing(self, principal: Principal, processing: ProcessingId) -> Processing:
        async with self._database.snapshot(timeless=True) as tx:
            return await _processing(tx, principal, processing)

    async def contents(
        self,
        principal: Principal,
        collection: CollectionId,
        *,
        status: ContentStatus | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Listed]:
        """Contents in id order, with ids above `after`."""
        async with self._database.snapshot(timeless=True) as tx:
            found = await _collection(tx, principal, collection)
            return await Listings(tx).page(found, status=status, after=after, limit=limit)

    async def stream(
        self, principal: Principal, collection: CollectionId, *, status: ContentStatus | None = None, after: int = 0
    ) -> AsyncGenerator[Sequence[Listed]]:
        """All contents with ids above `after`, page by page, in flat memory: each is read while the last is sent."""
        async with self._database.snapshot(timeless=True) as tx:
            found = await _collection(tx, principal, collection)

        async def read(after: int) -> Sequence[Listed]:
            async with self._database.snapshot(timeless=True) as tx:
                return await Listings(tx).page(found, status=status, after=after, limit=STREAM_PAGE)

        reading = asyncio.create_task(read(after), name="contents read ahead")
        try:
            while page := await reading:
                reading = asyncio.create_task(read(page[-1].id), name="contents read ahead")
                yield page
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def history(
        self,
        principal: Principal,
        request: RequestId,
        *,
        entity: str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> Sequence[Move]:
        """What happened to a request and all that belongs to it, oldest first, with ids above `after`.

        With an `entity` (`collection:ID` and the like) only what happened to that.
        """
        async with self._database.snapshot(timeless=True) as tx:
            await _check(tx, principal, request)
            return await tx.moves.of_request(request, entity=entity, after=after, limit=limit)

    async def latest(self, principal: Principal, request: RequestId, *, limit: int) -> Sequence[Move]:
        """What happened last to a request and all that belongs to it, newest first."""
        async with self._database.snapshot(timeless=True) as tx:
            await _check(tx, principal, request)
            return await tx.moves.latest(request, limit=limit)

    async def agents(self) -> Sequence[AgentProcess]:
        """The processes that run agents."""
        async with self._database.snapshot(timeless=True) as tx:
            return await tx.agents.all()

    async def windows(self, principal: Principal) -> Sequence[Window]:
        """Those of RSEs, and of the inputs that the principal may see."""
        async with self._database.snapshot(timeless=True) as tx:
            return bounded_by(principal, await tx.windows.all(principal))

    async def replicas(self, principal: Principal) -> Sequence[tuple[str, str, int, int]]:
        """(RSE, status, files, bytes) of all replicas that are not gone; of those that the principal's VO needs, where
        he is no operator.
        """
        if principal.role is Role.OPERATOR:
            return await self._summary()
        return await self._replicas.get(principal.vo)

    async def _summary(self, vo: str | None = None) -> Sequence[tuple[str, str, int, int]]:
        async with self._database.snapshot(timeless=True) as tx:
            return await tx.replicas.summary(vo)

    async def logs(
        self, principal: Principal, processing: ProcessingId, stream: str, *, offset: int, limit: int
    ) -> LogChunk:
        """Bytes of `stdout` or `stderr` of a processing's present attempt; a negative offset counts from the end."""
        async with self._database.snapshot(timeless=True) as tx:
            found = await _processing(tx, principal, processing)
        provider = self._providers.get(found.provider)
        if found.handle is None or provider is None:
            raise NotFound(f"processing {processing} has no logs yet")
        return await provider.logs(found.handle, stream, offset=offset, limit=limit)


async def _check(tx: Transaction, principal: Principal, request: RequestId) -> None:
    if not await tx.requests.is_visible(request, principal):
        raise NotFound(f"there is no request {request}")


async def _processing(tx: Transaction, principal: Principal, identifier: ProcessingId) -> Processing:
    found = await tx.processings.get([identifier])
    if not found or not await tx.requests.is_visible(found[0].request_id, principal):
        raise NotFound(f"there is no processing {identifier}")
    return found[0]


async def _request(tx: Transaction, principal: Principal, identifier: RequestId) -> Request:
    request = await tx.requests.get(identifier, principal)
    if request is None:
        raise NotFound(f"there is no request {identifier}")
    return request


async def _collection(tx: Transaction, principal: Principal, identifier: CollectionId) -> Collection:
    collection = await tx.collections.get(identifier, principal)
    if collection is None:
        raise NotFound(f"there is no collection {identifier}")
    return collection
