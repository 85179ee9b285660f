"""Requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Integer, Row, bindparam, func, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import ProcessingId, RequestId
from idds.domain.request import Principal, Request, RequestSummary, Terms
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Workflow
from idds.engine.request import EXPIRING
from idds.engine.retry import backoff
from idds.ports.wakeups import Channel
from idds.store.documents import read_workflow
from idds.store.noun import Noun
from idds.store.schema import processings, requests, transforms
from idds.store.sets import among_bound, among_selected, is_status
from idds.store.visibility import sees, visible

if TYPE_CHECKING:
    from idds.store.database import Transaction

_COLUMNS = (
    requests.c.id,
    requests.c.name,
    requests.c.status,
    requests.c.intent,
    requests.c.owner,
    requests.c.vo,
    requests.c.share,
    requests.c.priority,
    requests.c.digest,
    requests.c.created_at,
    requests.c.changed_at,
    requests.c.expires_at,
    requests.c.reason,
    requests.c.retries,
)


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which requests: of any of these statuses (none: of all), of an owner, of a share, with a name that begins so."""

    statuses: frozenset[Status] = frozenset()
    owner: str | None = None
    share: str | None = None
    name: str | None = None


EVERY = RequestFilter()
NO_TERMS = Terms()
_SUMMARY = tuple(column for column in _COLUMNS if column is not requests.c.digest)
_OF_PROCESSINGS = (
    select(processings.c.id.label("processing"), transforms.c.work, *_COLUMNS)
    .join(transforms, transforms.c.id == processings.c.transform_id)
    .join(requests, requests.c.id == processings.c.request_id)
    .where(among_bound(processings.c.id, "ids"))
)
_BY_ID = select(*_COLUMNS).where(requests.c.id == bindparam("request"))
_BY_IDS = select(*_COLUMNS).where(among_bound(requests.c.id, "ids"))
_ADD = {
    True: sqlite.insert(requests).on_conflict_do_nothing().returning(requests.c.id),
    False: postgresql.insert(requests).on_conflict_do_nothing().returning(requests.c.id),
}
"""By whether it is for SQLite."""
_DOCUMENTS = select(requests.c.id, requests.c.workflow).where(among_bound(requests.c.id, "ids"))
_KNOWN: dict[tuple[RequestId, str], Workflow] = {}
"""Documents by request and digest, the one used last at the end."""
_MOST_KNOWN = 512
# Of the row but its key: who records what happened to a request that it has not locked need not wait for who has, and
# might hold what that one wants.
_LOCK = (
    select(requests.c.id)
    .where(among_bound(requests.c.id, "ids"))
    .order_by(requests.c.id)
    .with_for_update(key_share=True)
)
_DUE = (
    select(requests.c.id)
    .where(requests.c.due_at <= bindparam("until"))
    .order_by(requests.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True, key_share=True)
)
# Broken tries count as long as none succeeds: where this one breaks, it is rolled back.
_TAKE_DUE = (
    update(requests).where(among_selected(requests.c.id, _DUE)).values(due_at=None, tries=0).returning(*_COLUMNS)
)
_EXPIRING = (
    requests.c.expires_at.is_not(None)
    & is_status(requests.c.status, Status.NEW, Status.RUNNING, Status.SUSPENDED)
    & is_status(requests.c.intent, *EXPIRING)
)
_OVERDUE = (
    select(requests.c.id)
    .where(_EXPIRING, requests.c.expires_at <= bindparam("until"))
    .order_by(requests.c.expires_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True, key_share=True)
)
_MARK_DUE = (
    update(requests)
    .where(
        among_bound(requests.c.id, "ids"),
        or_(requests.c.due_at.is_(None), requests.c.due_at > bindparam("at", type_=BigInteger)),
    )
    .values(due_at=bindparam("at", type_=BigInteger))
)


class Requests(Noun):
    """What is marked as due is written at the end of the transaction."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._due: set[int] = set()

    async def add(
        self,
        workflow: Workflow,
        principal: Principal,
        terms: Terms = NO_TERMS,
        *,
        idempotency_key: str | None = None,
        expires_at: int | None = None,
    ) -> Request | None:
        """Record a new request, due at once; None where the principal's key brought one before."""
        values: dict[str, Any] = {
            "name": workflow.name,
            "status": Status.NEW,
            "intent": Intent.RUN,
            "owner": principal.owner,
            "vo": principal.vo,
            "share": terms.share,
            "priority": terms.priority,
            "created_at": self._tx.now,
            "changed_at": self._tx.now,
            "expires_at": expires_at,
        }
        document = msgspec.to_builtins(workflow)
        hidden = {"workflow": document, "digest": _digest(document, terms), "due_at": self._tx.now}
        parameters = values | hidden | {"idempotency_key": idempotency_key}
        row = (await self._execute(_ADD[self._is_sqlite], parameters)).first()
        if row is None:
            return None
        self._tx.wake(Channel.REQUESTS)
        return Request(id=RequestId(row.id), workflow=workflow, **values)

    async def by_key(self, principal: Principal, idempotency_key: str) -> tuple[Request, str] | None:
        """The request that was submitted under this key, and the digest of what was submitted."""
        query = select(*_COLUMNS).where(
            requests.c.owner == principal.owner,
            requests.c.vo == principal.vo,
            requests.c.idempotency_key == idempotency_key,
        )
        rows = await self._execute(query)
        found = await self._read(rows)
        return (found[0], rows[0].digest) if found else None

    async def get(self, request: RequestId, principal: Principal | None = None) -> Request | None:
        """A request, if it is there and the principal may see it."""
        rows: Sequence[Row[Any]] = await self._execute(_BY_ID, {"request": request})
        if principal is not None:
            rows = [row for row in rows if sees(principal, owner=row.owner, vo=row.vo, share=row.share)]
        found = await self._read(rows)
        return found[0] if found else None

    async def get_all(self, ids: Iterable[RequestId]) -> dict[RequestId, Request]:
        """Those of these requests that are there."""
        rows = await self._execute(_BY_IDS, {"ids": list(ids)})
        return {request.id: request for request in await self._read(rows)}

    async def workflow(self, request: RequestId, digest: str) -> Workflow:
        """The document of a request whose digest is known."""
        return (await self._documents([(request, digest)]))[request]

    async def _read(self, rows: Sequence[Row[Any]]) -> Sequence[Request]:
        documents = await self._documents([(row.id, row.digest) for row in rows])
        return [_request(row, documents[row.id]) for row in rows]

    async def _documents(self, wanted: Iterable[tuple[RequestId, str]]) -> dict[RequestId, Workflow]:
        """A stored document never changes: it is read once, not at every step."""
        found: dict[RequestId, Workflow] = {}
        missing: dict[RequestId, str] = {}
        for request, digest in wanted:
            known = _KNOWN.pop((request, digest), None)
            if known is None:
                missing[request] = digest
            else:
                found[request] = _KNOWN[request, digest] = known
        rows = await self._execute(_DOCUMENTS, {"ids": list(missing)}) if missing else []
        for row in rows:
            found[row.id] = _KNOWN[row.id, missing[row.id]] = read_workflow(row.workflow)
        while len(_KNOWN) > _MOST_KNOWN:
            del _KNOWN[next(iter(_KNOWN))]
        return found

    async def of_processings(self, ids: Iterable[int]) -> dict[ProcessingId, tuple[Request, str]]:
        """The request of each of these processings, and the name of its work."""
        rows = await self._execute(_OF_PROCESSINGS, {"ids": list(ids)})
        read = zip(rows, await self._read(rows), strict=True)
        return {ProcessingId(row.processing): (request, row.work) for row, request in read}

    async def is_visible(self, request: RequestId, principal: Principal) -> bool:
        """Whether it is there and the principal may see it."""
        query = visible(select(requests.c.id).where(requests.c.id == request), principal)
        return (await self._execute(query)).first() is not None

    async def list(
        self, principal: Principal, wanted: RequestFilter = EVERY, *, before: int | None = None, limit: int
    ) -> Sequence[RequestSummary]:
        """Requests that the principal may see, newest first, with ids below `before`."""
        query = visible(select(requests.c.id), principal)
        if wanted.owner is not None:
            query = query.where(requests.c.owner == wanted.owner)
        if wanted.share is not None:
            query = query.where(requests.c.share == wanted.share)
        if wanted.name:
            query = query.where(*self._begins(wanted.name))
        if before is not None:
            query = query.where(requests.c.id < before)
        query = query.order_by(requests.c.id.desc()).limit(limit)
        if wanted.statuses:
            # A walk through an index for each: together they would be sorted, however many there are.
            each = [
                select(query.where(is_status(requests.c.status, status)).subquery("each"))
                for status in sorted(wanted.statuses)
            ]
            query = select(union_all(*each).subquery("each"))
        found = select(*_SUMMARY).where(among_selected(requests.c.id, query))
        return [_summary(row) for row in await self._execute(found.order_by(requests.c.id.desc()).limit(limit))]

    def _begins(self, prefix: str) -> tuple[ColumnElement[bool], ...]:
        """The name begins so, byte by byte, whatever the order of the database's texts."""
        name, last = requests.c.name, prefix + chr(0x10FFFF)
        if self._is_sqlite:
            return name >= prefix, name <= last
        return name.op("~>=~", is_comparison=True)(prefix), name.op("~<=~", is_comparison=True)(last)

    async def lock(self, ids: Iterable[int]) -> None:
        """Lock these requests, in id order: the first thing that a transaction which writes does."""
        wanted = sorted(set(ids))
        if wanted and not self._is_sqlite:
            await self._execute(_LOCK, {"ids": wanted})

    async def take_due(self, limit: int) -> Sequence[Request]:
        """Lock up to `limit` requests that are due and that nobody else works on; they are due no more."""
        await self.flush()
        return await self._read(await self._execute(_TAKE_DUE, {"until": self._tx.now, "most": limit}))

    async def expire(self, limit: int) -> Sequence[RequestId]:
        """Order those to end whose time is over, up to `limit` that nobody else works on; which."""
        ordered = update(requests).where(among_selected(requests.c.id, _OVERDUE)).returning(requests.c.id)
        values = {"intent": Intent.EXPIRE, "changed_at": self._tx.now, "due_at": self._tx.now}
        bound = {"until": self._tx.now, "most": limit}
        expired = sorted(RequestId(row.id) for row in await self._execute(ordered.values(values), bound))
        for request in expired:
            change = (None, f"intent {Intent.EXPIRE}")
            self._tx.moves.record(f"request:{request}", "overdue", change, request=request)
        if expired:
            self._tx.wake(Channel.REQUESTS)
        return expired

    async def next_expiry(self) -> int | None:
        """When the next request's time is over."""
        found: int | None = (await self._execute(select(func.min(requests.c.expires_at)).where(_EXPIRING))).scalar()
        return found

    def mark_due(self, ids: Iterable[int]) -> None:
        """Have these requests advanced once this transaction is committed."""
        self._due.update(ids)

    async def have_due(self, request: RequestId, at: int) -> None:
        """Have a request advanced at this time, if it is not before."""
        await self._execute(_MARK_DUE, {"ids": [request], "at": at})

    async def flush(self) -> None:
        """Write what was marked."""
        due, self._due = self._due, set()
        if due:
            await self._execute(_MARK_DUE, {"ids": list(due), "at": self._tx.now})
            self._tx.wake(Channel.REQUESTS)

    async def next_due(self) -> int | None:
        await self.flush()
        query = select(func.min(requests.c.due_at)).where(requests.c.due_at.is_not(None))
        found: int | None = (await self._execute(query)).scalar()
        return found

    async def save(self, before: Request, after: Request, event: str) -> None:
        """Write what changed, with its history."""
        if before == after:
            return
        values = {
            "status": after.status,
            "intent": after.intent,
            "changed_at": self._tx.now,
            "expires_at": after.expires_at,
            "reason": after.reason,
            "retries": after.retries,
        }
        await self._execute(update(requests).where(requests.c.id == after.id).values(values))
        if before.intent != after.intent and after.intent is Intent.RUN:
            self._tx.wake(Channel.PLANNING)
        change: tuple[str, str] = (before.status, after.status)
        if before.intent != after.intent and before.status == after.status:
            change = (f"intent {before.intent}", f"intent {after.intent}")
        entity = f"request:{after.id}"
        self._tx.moves.record(entity, event, change, request=after.id, reason=after.reason)

    async def count_failure(self, request: RequestId) -> int:
        """Note that advancing it broke, to be tried again after a growing pause; how often it broke."""
        failed = update(requests).where(requests.c.id == request)
        counted = failed.values(tries=requests.c.tries + 1).returning(requests.c.tries)
        tries = int((await self._execute(counted)).scalar_one())
        await self._execute(failed.values(due_at=self._tx.now + backoff(tries)))
        return tries


def digest(workflow: Workflow, terms: Terms) -> str:
    """The same for the same document under the same terms, however they were written."""
    return _digest(msgspec.to_builtins(workflow), terms)


def _digest(document: Mapping[str, Any], terms: Terms) -> str:
    return hashlib.sha256(json.dumps([document, asdict(terms)], sort_keys=True).encode()).hexdigest()


def _summary(row: Row[Any]) -> RequestSummary:
    return RequestSummary(**{**row._asdict(), "status": Status(row.status), "intent": Intent(row.intent)})


def _request(row: Row[Any], workflow: Workflow) -> Request:
    return Request(
        id=RequestId(row.id),
        name=row.name,
        status=Status(row.status),
        intent=Intent(row.intent),
        owner=row.owner,
        vo=row.vo,
        share=row.share,
        priority=row.priority,
        workflow=workflow,
        created_at=row.created_at,
        changed_at=row.changed_at,
        expires_at=row.expires_at,
        reason=row.reason,
        retries=row.retries,
    )
