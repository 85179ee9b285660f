"""Processings: submissions to providers, and the claims of who polls them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Integer, Row, bindparam, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import Handle, ProcessingId, RequestId, TransformId
from idds.domain.processing import Processing
from idds.domain.statuses import TERMINAL, Intent, Status
from idds.engine.transform import End
from idds.store.noun import Noun
from idds.store.schema import processings
from idds.store.sets import among, among_bound, among_bound_texts, among_selected, is_status

_COLUMNS = (
    processings.c.id,
    processings.c.request_id,
    processings.c.transform_id,
    processings.c.group_no,
    processings.c.attempt,
    processings.c.status,
    processings.c.intent,
    processings.c.provider,
    processings.c.handle,
    processings.c.exit_code,
    processings.c.usage,
    processings.c.reason,
    processings.c.submitted_at,
    processings.c.ended_at,
    processings.c.changed_at,
    processings.c.done,
    processings.c.failed,
    processings.c.spent,
)
_CHANGING = (
    "attempt",
    "status",
    "handle",
    "exit_code",
    "usage",
    "reason",
    "submitted_at",
    "ended_at",
    "changed_at",
    "done",
    "failed",
    "due_at",
)
_UNDER_WAY = is_status(processings.c.status, Status.READY, Status.RUNNING)
_BY_ID = select(*_COLUMNS).where(among_bound(processings.c.id, "ids")).order_by(processings.c.id)
_ALONE = select(processings.c.transform_id, processings.c.status, processings.c.reason).where(
    among_bound(processings.c.transform_id, "ids")
)
_TO_POLL = (
    select(processings.c.id)
    .where(
        _UNDER_WAY,
        processings.c.provider == bindparam("of_provider"),
        or_(processings.c.due_at <= bindparam("until"), among_bound_texts(processings.c.handle, "hinted")),
    )
    .order_by(processings.c.due_at)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_CLAIM_TO_POLL = (
    update(processings)
    .where(among_selected(processings.c.id, _TO_POLL))
    .values(owner=bindparam("by"), epoch=processings.c.epoch + 1, due_at=bindparam("again_at"))
    .returning(*_COLUMNS, processings.c.epoch)
)
_SAVE = (
    update(processings)
    .where(
        processings.c.id == bindparam("processing"),
        processings.c.status == bindparam("status_before"),
        processings.c.attempt == bindparam("attempt_before"),
    )
    .values({name: bindparam(f"new_{name}") for name in _CHANGING})
)
_OPEN = is_status(processings.c.status, Status.NEW, Status.READY, Status.RUNNING)


class Processings(Noun):
    async def add(
        self, request: RequestId, transform: TransformId, provider: str, groups: Sequence[int]
    ) -> dict[int, ProcessingId]:
        """Record a new processing for each group that has none; their ids by group."""
        rows = [
            {
                "request_id": request,
                "transform_id": transform,
                "group_no": group,
                "attempt": 1,
                "status": Status.NEW,
                "intent": Intent.RUN,
                "provider": provider,
                "created_at": self._tx.now,
                "changed_at": self._tx.now,
            }
            for group in groups
        ]
        new = sqlite.insert(processings) if self._is_sqlite else postgresql.insert(processings)
        added = new.on_conflict_do_nothing().returning(processings.c.id, processings.c.group_no)
        ids = {row.group_no: ProcessingId(row.id) for row in await self._execute(added, rows)}
        for processing in ids.values():
            self._tx.moves.record(f"processing:{processing}", "made", (None, Status.NEW), request=request)
        return ids

    async def retry(self, transform: TransformId, provider: str, groups: Sequence[int]) -> list[Processing]:
        """Have those of these groups' processings that have ended submitted again, as their next attempt."""
        ended = among(processings.c.group_no, groups) & processings.c.status.in_(TERMINAL)
        query = select(*_COLUMNS).where(processings.c.transform_id == transform, ended)
        before = {row.id: Status(row.status) for row in await self._execute(query)}
        fresh = {
            "status": Status.NEW,
            "intent": Intent.RUN,
            "attempt": processings.c.attempt + 1,
            "spent": processings.c.attempt,
            "provider": provider,
            "failed": 0,
            "changed_at": self._tx.now,
        }
        left = dict.fromkeys(("handle", "reason", "submitted_at", "ended_at", "due_at", "owner"))
        again = update(processings).where(among(processings.c.id, before)).values({**fresh, **left})
        renewed = [_processing(row) for row in await self._execute(again.returning(*_COLUMNS))]
        for processing in renewed:
            change = (before[processing.id], Status.NEW)
            self._tx.moves.record(f"processing:{processing.id}", "retried", change, request=processing.request_id)
        return renewed

    async def get(self, ids: Sequence[int]) -> list[Processing]:
        return [_processing(row) for row in await self._execute(_BY_ID, {"ids": list(ids)})]

    async def of_request(
        self,
        request: RequestId,
        *,
        statuses: frozenset[Status] = frozenset(),
        transform: int | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[Processing]:
        """In id order, with ids above `after`; those of these statuses (none: of all) and of this transform."""
        query = select(*_COLUMNS).where(processings.c.request_id == request, processings.c.id > after)
        if statuses:
            query = query.where(processings.c.status.in_(sorted(statuses)))
        if transform is not None:
            query = query.where(processings.c.transform_id == transform)
        return [_processing(row) for row in await self._execute(query.order_by(processings.c.id).limit(limit))]

    async def open_of(self, transform: TransformId) -> list[Processing]:
        """Those of a transform that have not ended."""
        query = select(*_COLUMNS).where(processings.c.transform_id == transform, _OPEN)
        rows = await self._execute(query.order_by(processings.c.transform_id, processings.c.id))
        return [_processing(row) for row in rows]

    async def end_of_alone(self, transforms: Sequence[TransformId]) -> Mapping[TransformId, End]:
        """How the one processing of each of these transforms, which have no input, ended."""
        rows = await self._execute(_ALONE, {"ids": list(transforms)})
        return {TransformId(row.transform_id): End(Status(row.status), row.reason) for row in rows}

    async def claim_to_poll(
        self, provider: str, hinted: Sequence[Handle], *, owner: str, lease: int, limit: int
    ) -> list[tuple[Processing, int]]:
        """Take processings under way that are due to be polled, or hinted at, for `lease` microseconds.

        Each comes with the epoch of the claim.
        """
        now = self._tx.now
        bound = {"of_provider": provider, "until": now, "hinted": list(hinted), "most": limit}
        rows = await self._execute(_CLAIM_TO_POLL, {**bound, "by": owner, "again_at": now + lease})
        return sorted(((_processing(row), row.epoch) for row in rows), key=lambda pair: pair[0].id)

    async def poll_again(self, claimed: Sequence[tuple[Processing, int]], delay: int) -> None:
        """Give claims back: these are to be polled again after `delay`."""
        by_epoch: dict[int, list[int]] = {}
        for processing, epoch in claimed:
            by_epoch.setdefault(epoch, []).append(processing.id)
        for epoch, ids in sorted(by_epoch.items()):
            ours = update(processings).where(among(processings.c.id, ids), processings.c.epoch == epoch)
            await self._execute(ours.values(owner=None, due_at=self._tx.now + delay))

    async def next_poll(self, provider: str) -> int | None:
        query = select(func.min(processings.c.due_at)).where(_UNDER_WAY, processings.c.provider == provider)
        found: int | None = (await self._execute(query)).scalar()
        return found

    async def kept(self, provider: str, before: int, limit: int) -> list[Processing]:
        """Those that ended before this time and whose jobs the provider still knows."""
        query = select(*_COLUMNS).where(
            processings.c.provider == provider, processings.c.handle.is_not(None), processings.c.ended_at < before
        )
        rows = await self._execute(query.order_by(processings.c.ended_at).limit(limit))
        return [_processing(row) for row in rows]

    async def note_forgotten(self, ids: Sequence[int]) -> None:
        """Their provider knows nothing of them any more."""
        ended = update(processings).where(among(processings.c.id, ids), processings.c.ended_at.is_not(None))
        await self._execute(ended.values(handle=None))

    async def save(self, before: Processing, after: Processing, event: str, *, poll_at: int | None = None) -> bool:
        """Write what changed, with its history; False when the row has moved on since `before` was read.

        The intent stays: it is changed by `order` alone, which may have come meanwhile.
        """
        values: dict[str, Any] = {
            "attempt": after.attempt,
            "status": after.status,
            "handle": after.handle,
            "exit_code": after.exit_code,
            "usage": after.usage,
            "reason": after.reason,
            "submitted_at": after.submitted_at,
            "ended_at": after.ended_at,
            "changed_at": self._tx.now,
            "done": after.done,
            "failed": after.failed,
            "due_at": poll_at,
        }
        bound = {f"new_{name}": value for name, value in values.items()}
        bound |= {"processing": before.id, "status_before": before.status, "attempt_before": before.attempt}
        if (await self._execute(_SAVE, bound)).rowcount != 1:
            return False
        if (before.status, before.attempt) != (after.status, after.attempt):
            change = (f"{before.status}", f"{after.status}")
            reason = after.reason
            if after.attempt != before.attempt:
                reason = f"attempt {before.attempt} failed: {after.reason}"
            entity = f"processing:{after.id}"
            self._tx.moves.record(entity, event, change, request=after.request_id, reason=reason)
        return True

    async def order(self, ids: Sequence[int], intent: Intent) -> None:
        """Note what is wanted of processings that have not ended."""
        await self._execute(update(processings).where(among(processings.c.id, ids), _OPEN).values(intent=intent))


def _processing(row: Row[Any]) -> Processing:
    values = {column.name: getattr(row, column.name) for column in _COLUMNS}
    return Processing(**{**values, "status": Status(row.status), "intent": Intent(row.intent)})
