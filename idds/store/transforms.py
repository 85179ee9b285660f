"""Transforms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, insert, select, update

from idds.domain.identifiers import RequestId, TransformId
from idds.domain.statuses import Status
from idds.domain.transform import Transform
from idds.store.noun import Noun
from idds.store.schema import transforms
from idds.store.sets import among

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


class Transforms(Noun):
    """What is counted is written at the end of the transaction, and before anything is read."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._opened: Counter[TransformId] = Counter()

    async def add(self, request: RequestId, works: Iterable[str]) -> None:
        """Record a new transform for each of these works."""
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
        await self._execute(insert(transforms), rows)

    async def of_request(self, request: RequestId) -> Sequence[Transform]:
        await self.flush()
        query = select(*_COLUMNS).where(transforms.c.request_id == request).order_by(transforms.c.id)
        return [_transform(row) for row in await self._execute(query)]

    async def names(self, ids: Iterable[int]) -> dict[TransformId, str]:
        """The works that these are instances of."""
        query = select(transforms.c.id, transforms.c.work).where(among(transforms.c.id, ids))
        return {TransformId(row.id): row.work for row in await self._execute(query)}

    async def get(self, transform: TransformId) -> Transform | None:
        await self.flush()
        row = (await self._execute(select(*_COLUMNS).where(transforms.c.id == transform))).first()
        return None if row is None else _transform(row)

    async def save(self, changed: Sequence[tuple[Transform, Transform, str]]) -> None:
        """Write what changed: (before, after, event) of each, with its history."""
        for before, after, event in changed:
            values = {"status": after.status, "changed_at": self._tx.now, "reason": after.reason}
            await self._execute(update(transforms).where(transforms.c.id == after.id).values(values))
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
        """Write what was counted."""
        opened, self._opened = self._opened, Counter()
        by_number: dict[int, list[int]] = {}
        for transform, number in opened.items():
            by_number.setdefault(number, []).append(transform)
        for number, ids in sorted(by_number.items()):
            counted = update(transforms).where(among(transforms.c.id, ids))
            await self._execute(counted.values(open_processings=transforms.c.open_processings + number))


def _transform(row: Row[Any]) -> Transform:
    return Transform(**{**row._asdict(), "status": Status(row.status)})
