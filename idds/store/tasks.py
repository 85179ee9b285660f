"""Tasks of workload managers: which request is whose, and whether its end was told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, select, update

from idds.domain.content import Content, Move
from idds.domain.identifiers import CollectionId, ContentId, Did, RequestId
from idds.domain.request import Principal
from idds.domain.statuses import ContentStatus, Relation, SourceKind
from idds.domain.task import Task
from idds.engine.transitions import ContentEvent
from idds.store.contents import COLUMNS, read_content, whole_files
from idds.store.noun import Noun
from idds.store.schema import collections, contents, requests, samples, tasks
from idds.store.sets import among_bound, among_selected, is_status
from idds.store.visibility import visible

_ANNOUNCED = (ContentStatus.AVAILABLE,)
_OF_REQUESTS = select(tasks).where(among_bound(tasks.c.request_id, "ids"))
_TELL_CLOSED = (
    update(tasks)
    .where(tasks.c.request_id == bindparam("request"), tasks.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample, what came of it so far, and whose it is."""

    content: Content
    objective_values: tuple[float, ...]
    owner: str
    vo: str
    share: str


_SAMPLES = (
    select(*COLUMNS, samples.c.objective_values, requests.c.owner, requests.c.vo, requests.c.share)
    .join(samples, samples.c.content_id == contents.c.id)
    .join(requests, requests.c.id == contents.c.request_id)
    .where(among_bound(contents.c.id, "ids"))
)


@dataclass(frozen=True, slots=True)
class TaskInput:
    """What a task asked for: files, or the samples of a study."""

    request: RequestId
    collection: CollectionId
    is_study: bool


class Tasks(Noun):
    async def add(self, request: RequestId, task: Task) -> None:
        """Note that a task asked for this request."""
        values = {
            "request_id": request,
            "workload_id": task.workload_id,
            "scope": task.dataset.scope,
            "name": task.dataset.name,
            "document": task.document,
        }
        await self._execute(insert(tasks), values)

    async def of_requests(self, ids: Iterable[RequestId]) -> dict[RequestId, Task]:
        """The tasks of those of these requests that a workload manager asked for."""
        rows = await self._execute(_OF_REQUESTS, {"ids": list(ids)})
        return {RequestId(row.request_id): _task(row) for row in rows}

    async def requests_of(
        self, workload_id: int, principal: Principal, *, before: int | None, limit: int
    ) -> Sequence[RequestId]:
        """The requests of a task that the principal may see, newest first, with ids below `before`."""
        query = select(tasks.c.request_id).join(requests, requests.c.id == tasks.c.request_id)
        query = visible(query.where(tasks.c.workload_id == workload_id), principal)
        if before is not None:
            query = query.where(tasks.c.request_id < before)
        query = query.order_by(tasks.c.request_id.desc()).limit(limit)
        return [RequestId(row.request_id) for row in await self._execute(query)]

    async def samples(self, ids: Iterable[int]) -> dict[ContentId, Drawn]:
        """Those of these contents that are samples."""
        return {
            ContentId(row.id): Drawn(read_content(row), tuple(row.objective_values or ()), row.owner, row.vo, row.share)
            for row in await self._execute(_SAMPLES, {"ids": list(ids)})
        }

    async def inputs_of(self, workload_id: int, principal: Principal) -> Sequence[TaskInput]:
        """The input collections of all requests of a task of the principal's VO, as far as it may see them.

        They come in the order of their requests.
        """
        query = (
            select(collections.c.request_id, collections.c.id, collections.c.source)
            .join(tasks, tasks.c.request_id == collections.c.request_id)
            .join(requests, requests.c.id == tasks.c.request_id)
            .where(tasks.c.workload_id == workload_id, collections.c.relation == Relation.INPUT)
            .where(requests.c.vo == principal.vo)  # an operator sees others, whose tasks may have the same number
            .order_by(collections.c.request_id, collections.c.id)
        )
        found = await self._execute(visible(query, principal))
        return [
            TaskInput(RequestId(row.request_id), CollectionId(row.id), row.source == SourceKind.SAMPLES)
            for row in found
        ]

    async def processed(self, collection: CollectionId, names: Sequence[str]) -> list[Move]:
        """Move those of these files that are available to `done`. `names` may go without their scope."""
        moves: list[Move] = []
        scopes = await self._scopes_of(collection)
        for scope in scopes:
            own = f"{scope}:"
            bare = {name.removeprefix(own) for name in names if ":" not in name or name.startswith(own)}
            moves += await self._tx.contents.move(
                ContentEvent.PROCESSED, whole_files(collection, scope, sorted(bare)), sources=_ANNOUNCED
            )
        return moves

    async def _scopes_of(self, collection: CollectionId) -> Sequence[str]:
        """The scopes of what is in a collection, however much that is: from one to the next in the index."""
        found: list[str] = []
        after: str | None = None
        while True:
            query = select(func.min(contents.c.scope)).where(contents.c.collection_id == collection)
            if after is not None:
                query = query.where(contents.c.scope > after)
            after = (await self._execute(query)).scalar()
            if after is None:
                return found
            found.append(after)

    async def all_processed(self, collection: CollectionId, limit: int) -> list[Move]:
        """Move up to `limit` of all that is available to `done`."""
        some = select(contents.c.id).where(
            contents.c.collection_id == collection, is_status(contents.c.status, *_ANNOUNCED)
        )
        some = some.order_by(contents.c.collection_id, contents.c.id).limit(limit)
        these = among_selected(contents.c.id, some)
        return await self._tx.contents.move(ContentEvent.PROCESSED, these, sources=_ANNOUNCED)

    async def note_closed(self, request: RequestId) -> bool:
        """Note that all that comes of it has come; False when that was noted before."""
        return (await self._execute(_TELL_CLOSED, {"request": request, "at": self._tx.now})).rowcount == 1


def _task(row: Row[Any]) -> Task:
    return Task(row.workload_id, Did(row.scope, row.name), row.document)
