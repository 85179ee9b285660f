"""Transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import RequestId, TransformId
from idds.domain.statuses import Status
from idds.domain.transform import Transform
from idds.store.noun import Noun
from idds.store.schema import transforms
from idds.store.sets import among_bound

if TYPE_CHECKING:
    from idds.store.database import Transaction

_COLUMNS = (
    transforms.c.id,
    transforms.c.request_id,
    transforms.c.work,
    transforms.c.iteration,
    transforms.c.status,
    transforms.c.open_processings,
    transforms.c.changed_at,
    transforms.c.reason,
)


_OF_REQUEST = select(*_COLUMNS).where(transforms.c.request_id == bindparam("request")).order_by(transforms.c.id)
_OF_REQUESTS = select(*_COLUMNS).where(among_bound(transforms.c.request_id, "ids")).order_by(transforms.c.id)
_SAVE = (
    update(transforms)
    .where(transforms.c.id == bindparam("transform"))
    .values(status=bindparam("to"), reason=bindparam("why"), changed_at=bindparam("at"))
)
_COUNT = (
    update(transforms)
    .where(among_bound(transforms.c.id, "ids"))
    .values(open_processings=transforms.c.open_processings + bindparam("opened", type_=Integer))
)


class Transforms(Noun):
    """What changed is written at the end of the transaction, and before anything is read."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._changed: dict[TransformId, dict[str, Any]] = {}
        self._opened: Counter[TransformId] = Counter()

    async def add(self, request: RequestId, works: Iterable[str]) -> None:
        """Record a new transform for each of these works that has none."""
        rows = [
            {
                "request_id": request,
                "work": work,
                "iteration": 0,
                "status": Status.NEW,
                "created_at": self._tx.now,
                "changed_at": self._tx.now,
            }
            for work in works
        ]
        new = sqlite.insert(transforms) if self._is_sqlite else postgresql.insert(transforms)
        await self._execute(new.on_conflict_do_nothing(), rows)

    async def of_request(self, request: RequestId) -> Sequence[Transform]:
        await self.flush()
        return [_transform(row) for row in await self._execute(_OF_REQUEST, {"request": request})]

    async def of_requests(self, requests: Collection[RequestId]) -> dict[RequestId, list[Transform]]:
        """The transforms of each of these requests."""
        await self.flush()
        found: dict[RequestId, list[Transform]] = {request: [] for request in requests}
        for row in await self._execute(_OF_REQUESTS, {"ids": list(requests)}):
            found[row.request_id].append(_transform(row))
        return found

    async def get(self, transform: TransformId) -> Transform | None:
        await self.flush()
        row = (await self._execute(select(*_COLUMNS).where(transforms.c.id == transform))).first()
        return None if row is None else _transform(row)

    def save(self, before: Transform, after: Transform, event: str) -> None:
        """Note what changed, with its history."""
        changed = {"transform": after.id, "to": after.status, "why": after.reason, "at": self._tx.now}
        self._changed[after.id] = changed
        self._tx.moves.record(
            f"transform:{after.id}",
            event,
            (before.status, after.status),
            request=after.request_id,
            reason=after.reason,
        )

    def count_processings(self, transform: TransformId, opened: int) -> None:
        """Fold how many processings of a transform were opened (or, below zero, ended)."""
        self._opened[transform] += opened

    async def flush(self) -> None:
        """Write what changed and what was counted."""
        changed, self._changed = self._changed, {}
        if changed:
            await self._execute(_SAVE, list(changed.values()))
        opened, self._opened = self._opened, Counter()
        by_number: dict[int, list[int]] = {}
        for transform, number in opened.items():
            by_number.setdefault(number, []).append(transform)
        for number, ids in sorted(by_number.items()):
            await self._execute(_COUNT, {"ids": ids, "opened": number})


def _transform(row: Row[Any]) -> Transform:
    return Transform(**{**row._asdict(), "status": Status(row.status)})
