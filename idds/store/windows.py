"""Windows: how much may be admitted at once, and how much is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, and_, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import WindowId
from idds.domain.replica import Window
from idds.domain.statuses import ReplicaStatus
from idds.store.noun import Noun
from idds.store.schema import replicas, windows
from idds.store.sets import among


class Windows(Noun):
    async def add(self, kind: str, ref: str, *, limit_bytes: int | None, limit_files: int | None) -> WindowId:
        """Record a new window."""
        values = {"kind": kind, "ref": ref, "limit_bytes": limit_bytes, "limit_files": limit_files}
        return WindowId((await self._execute(insert(windows).values(values).returning(windows.c.id))).scalar_one())

    async def declare(self, kind: str, ref: str, *, limit_bytes: int | None, limit_files: int | None) -> None:
        """Have a window with these limits; what is reserved in it stays. Shrinking one only stops admission.

        A new one of an RSE starts with what was admitted there without one. What an operator set stands.
        """
        values: dict[str, Any] = {"kind": kind, "ref": ref, "limit_bytes": limit_bytes, "limit_files": limit_files}
        if kind == "rse" and not await self.find([(kind, ref)]):
            size, number = func.coalesce(func.sum(replicas.c.bytes), 0).label("size"), func.count().label("number")
            live = and_(replicas.c.rse == ref, replicas.c.ours, replicas.c.status != ReplicaStatus.GONE)
            held = (await self._execute(select(size, number).where(live))).one()
            values |= {"reserved_bytes": int(held.size), "reserved_files": int(held.number)}
        limits = {"limit_bytes": limit_bytes, "limit_files": limit_files}
        dialect = sqlite if self._is_sqlite else postgresql
        declared = (
            dialect.insert(windows)
            .values(values)
            .on_conflict_do_update(
                index_elements=[windows.c.kind, windows.c.ref], set_=limits, where=windows.c.set_by.is_(None)
            )
        )
        await self._execute(declared)

    async def change(
        self, window: WindowId, *, limit_bytes: int | None, limit_files: int | None, by: str | None
    ) -> Window | None:
        """Give a window other limits, in the name of `by`; None: those of the settings, which rule it again."""
        limits: dict[str, Any] = {"limit_bytes": limit_bytes, "limit_files": limit_files}
        limits |= {"set_by": by, "set_at": None if by is None else self._tx.now}
        changed = update(windows).where(windows.c.id == window).values(limits).returning(*windows.c)
        row = (await self._execute(changed)).first()
        return None if row is None else _window(row)

    async def find(self, refs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Window]:
        """The windows of these (kind, ref) that exist."""
        wanted = or_(*((windows.c.kind == kind) & (windows.c.ref == ref) for kind, ref in refs))
        rows = await self._execute(select(windows).where(wanted).order_by(windows.c.id))
        return {(row.kind, row.ref): _window(row) for row in rows}

    async def lock(self, found: Iterable[Window]) -> list[Window]:
        """These windows as they are now, locked: nobody gives room back before this transaction has ended."""
        query = select(windows).where(among(windows.c.id, [window.id for window in found])).order_by(windows.c.id)
        return [_window(row) for row in await self._execute(query.with_for_update())]

    async def reserve(self, window: WindowId, *, bytes: int, files: int) -> bool:  # noqa: A002
        """Reserve room in a window, never above its limit; False when there is not enough."""
        room = update(windows).where(windows.c.id == window)
        if bytes:
            fits = windows.c.reserved_bytes + bytes <= windows.c.limit_bytes
            room = room.where(or_(windows.c.limit_bytes.is_(None), fits))
        if files:
            fits = windows.c.reserved_files + files <= windows.c.limit_files
            room = room.where(or_(windows.c.limit_files.is_(None), fits))
        reserved = {
            "reserved_bytes": windows.c.reserved_bytes + bytes,
            "reserved_files": windows.c.reserved_files + files,
        }
        return (await self._execute(room.values(reserved))).rowcount == 1

    async def give_back(self, amounts: Mapping[WindowId, tuple[int, int]]) -> None:
        """Return (bytes, files) to each window."""
        for window, (size, files) in sorted(amounts.items()):
            returned = {
                "reserved_bytes": windows.c.reserved_bytes - size,
                "reserved_files": windows.c.reserved_files - files,
            }
            await self._execute(update(windows).where(windows.c.id == window).values(returned))

    async def all(self) -> Sequence[Window]:
        return [_window(row) for row in await self._execute(select(windows).order_by(windows.c.id))]


def _window(row: Row[Any]) -> Window:
    return Window(**row._asdict())
