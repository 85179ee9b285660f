"""Transforms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update

from idds.domain.identifiers import RequestId, TransformId
from idds.domain.statuses import Status
from idds.domain.transform import Transform
from idds.store.noun import Noun
from idds.store.schema import transforms
from idds.store.sets import among

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
        query = select(*_COLUMNS).where(transforms.c.request_id == request).order_by(transforms.c.id)
        return [_transform(row) for row in await self._execute(query)]

    async def get(self, transform: TransformId) -> Transform | None:
        row = (await self._execute(select(*_COLUMNS).where(transforms.c.id == transform))).first()
        return None if row is None else _transform(row)

    async def save(self, changed: Sequence[tuple[Transform, Transform, str]]) -> None:
        """Write what changed: (before, after, event) of each, with its history."""
        for before, after, event in changed:
            values = {"status": after.status, "changed_at": self._tx.now, "reason": after.reason}
            await self._execute(update(transforms).where(transforms.c.id == after.id).values(values))
            await self._tx.moves.record(
                f"transform:{after.id}",
                event,
                (before.status, after.status),
                request=after.request_id,
                reason=after.reason,
            )

    async def count_processings(self, opened: Mapping[TransformId, int]) -> None:
        """Fold how many processings were opened (or, below zero, ended) for each transform."""
        by_number: dict[int, list[int]] = {}
        for transform, number in opened.items():
            by_number.setdefault(number, []).append(transform)
        for number, ids in sorted(by_number.items()):
            counted = update(transforms).where(among(transforms.c.id, ids))
            await self._execute(counted.values(open_processings=transforms.c.open_processings + number))


def _transform(row: Row[Any]) -> Transform:
    return Transform(**{**row._asdict(), "status": Status(row.status)})
