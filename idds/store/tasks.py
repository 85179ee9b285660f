"""Tasks of workload managers: which request is whose, and whether its end was told."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.request import Principal
from idds.domain.task import Task
from idds.store.noun import Noun
from idds.store.schema import collections, requests, tasks
from idds.store.sets import among_bound
from idds.store.visibility import visible

_OF_REQUESTS = select(tasks).where(among_bound(tasks.c.request_id, "ids"))
_TELL_CLOSED = (
    update(tasks)
    .where(tasks.c.request_id == bindparam("request"), tasks.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"))
)


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

    async def inputs_of(self, workload_id: int, vo: str) -> Sequence[tuple[RequestId, CollectionId]]:
        """The input collections of all requests of a VO's task, in the order of their requests."""
        query = (
            select(collections.c.request_id, collections.c.id)
            .join(tasks, tasks.c.request_id == collections.c.request_id)
            .join(requests, requests.c.id == tasks.c.request_id)
            .where(tasks.c.workload_id == workload_id, requests.c.vo == vo, collections.c.relation == "input")
            .order_by(collections.c.request_id, collections.c.id)
        )
        return [(RequestId(row.request_id), CollectionId(row.id)) for row in await self._execute(query)]

    async def note_closed(self, request: RequestId) -> bool:
        """Note that all that comes of it has come; False when that was noted before."""
        return (await self._execute(_TELL_CLOSED, {"request": request, "at": self._tx.now})).rowcount == 1


def _task(row: Row[Any]) -> Task:
    return Task(row.workload_id, Did(row.scope, row.name), row.document)
