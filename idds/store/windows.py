"""Windows: how much may be admitted at once, and how much is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Executable, Row, and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import CollectionId, WindowId
from idds.domain.replica import Window
from idds.domain.request import Principal
from idds.domain.statuses import ReplicaStatus
from idds.ports.wakeups import Channel
from idds.store.connection import Rows
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import collections, replicas, requests, windows
from idds.store.sets import among, among_texts
from idds.store.visibility import visible

if TYPE_CHECKING:
    from idds.store.database import Transaction

_COLUMNS = tuple(windows.c[field.name] for field in fields(Window))
_SAMPLES = bindparam("number", type_=BigInteger)
_RESERVE_SAMPLES = (
    update(windows)
    .where(windows.c.kind == "collection", windows.c.ref == bindparam("study"))
    .where(or_(windows.c.limit_files.is_(None), windows.c.reserved_files + _SAMPLES <= windows.c.limit_files))
    .values(reserved_files=windows.c.reserved_files + _SAMPLES)
)


class Windows(Noun):
    """Those of inputs that have ended are ended at the end of the transaction, all at once; and the places of samples
    given back.
    """

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._ended: list[str] = []
        self._places: Counter[str] = Counter()

    async def add(
        self, kind: str, ref: str, *, limit_bytes: int | None, limit_files: int | None, share: str | None = None
    ) -> WindowId:
        """Record a new window; one of an input counts in the quota of its `share`."""
        values = {"kind": kind, "ref": ref, "limit_bytes": limit_bytes, "limit_files": limit_files, "share": share}
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
        self._tx.wake(Channel.PLANNING)

    async def change(
        self, window: WindowId, *, limit_bytes: int | None, limit_files: int | None, by: str | None
    ) -> Window | None:
        """Give a window other limits, in the name of `by`; None: those of the settings, which rule it again."""
        limits: dict[str, Any] = {"limit_bytes": limit_bytes, "limit_files": limit_files}
        limits |= {"set_by": by, "set_at": None if by is None else self._tx.now}
        changed = update(windows).where(windows.c.id == window).values(limits).returning(*_COLUMNS)
        row = (await self._execute(changed)).first()
        self._tx.wake(Channel.PLANNING)
        return None if row is None else _window(row)

    async def declare_quotas(self, quotas: Mapping[str, int]) -> None:
        """Have these shares hold so many bytes at most, and no other share be bounded.

        A new one starts with what the inputs of its share hold.
        """
        former = and_(windows.c.kind == "share", ~among_texts(windows.c.ref, quotas))
        await self._execute(delete(windows).where(former, windows.c.set_by.is_(None)))
        known = {ref for _, ref in await self.find([("share", share) for share in quotas])} if quotas else set()
        for share, size in sorted(quotas.items()):
            await self.declare("share", share, limit_bytes=size, limit_files=None)
            if share not in known:
                await self._count_share(share)

    async def _count_share(self, share: str) -> None:
        inputs = windows.alias("inputs")
        held = [func.coalesce(func.sum(inputs.c[name]), 0) for name in ("reserved_bytes", "reserved_files")]
        size, files = [select(each).where(inputs.c.kind == "collection", inputs.c.share == share) for each in held]
        quota = update(windows).where(windows.c.kind == "share", windows.c.ref == share)
        counted = {"reserved_bytes": size.scalar_subquery(), "reserved_files": files.scalar_subquery()}
        await self._execute(quota.values(counted))

    async def find(self, refs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Window]:
        """The windows of these (kind, ref) that exist."""
        wanted = or_(*((windows.c.kind == kind) & (windows.c.ref == ref) for kind, ref in refs))
        rows = await self._read(select(*_COLUMNS).where(wanted).order_by(windows.c.id))
        return {(row.kind, row.ref): _window(row) for row in rows}

    async def of_collections(self, ids: Iterable[int]) -> Mapping[CollectionId, Window]:
        """The windows of these inputs that have one."""
        wanted = and_(windows.c.kind == "collection", among_texts(windows.c.ref, map(str, ids)))
        found = [_window(row) for row in await self._read(select(*_COLUMNS).where(wanted))]
        return {CollectionId(int(window.ref)): window for window in found}

    async def reopen(self, kind: str, ref: str) -> bool:
        """Have a window stay that was to go with the last that was admitted through it; False where it is gone."""
        there = (windows.c.kind == kind) & (windows.c.ref == ref)
        return (await self._execute(update(windows).where(there).values(is_ended=False))).rowcount == 1

    def end(self, collection: CollectionId) -> None:
        """The input of this window has ended: it goes, now or with the last that was admitted through it.

        That is done at the end of the transaction, as windows are locked after all replicas.
        """
        self._ended.append(str(collection))

    async def flush(self) -> None:
        """End the windows that are to be ended."""
        ended, self._ended = sorted(self._ended), []
        if ended:
            of_inputs = and_(windows.c.kind == "collection", among_texts(windows.c.ref, ended))
            found = select(windows.c.id).where(of_inputs).order_by(windows.c.id)
            if not self._is_sqlite:
                await self._execute(found.with_for_update())
            await self._execute(update(windows).where(of_inputs).values(is_ended=True))
            await self._execute(delete(windows).where(of_inputs, windows.c.reserved_files <= 0))

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
        """Return (bytes, files) to each window, what an input held also to the quota of its share.

        The caller has seen to it that no replica points at it any more that is gone.
        """
        amounts = {**amounts, **await self._of_shares(amounts)}
        for window, (size, files) in sorted(amounts.items()):
            returned = {
                "reserved_bytes": windows.c.reserved_bytes - size,
                "reserved_files": windows.c.reserved_files - files,
            }
            await self._execute(update(windows).where(windows.c.id == window).values(returned))
        if amounts:
            ended = and_(among(windows.c.id, amounts), windows.c.is_ended, windows.c.reserved_files <= 0)
            await self._execute(delete(windows).where(ended))

    async def reserve_samples(self, study: CollectionId, number: int) -> bool:
        """Reserve the places of so many samples, never above the window's limit; False when there are not enough."""
        more = number - self._places[str(study)]
        if (await self._execute(_RESERVE_SAMPLES, {"study": str(study), "number": more})).rowcount != 1:
            return False
        del self._places[str(study)]
        return True

    def give_back_samples(self, study: CollectionId, number: int) -> None:
        """Return the places of so many samples: they take no room on a disk, and count in no share."""
        self._places[str(study)] += number

    def gathered(self) -> Gathered:
        """The places that were given back, and are not written yet: the caller is about to."""
        places, self._places = self._places, Counter()
        return {"places": [{"study": study, "number": number} for study, number in sorted(places.items()) if number]}

    async def _read(self, statement: Executable) -> Rows:
        await self._tx.write(self.gathered())
        return await self._execute(statement)

    async def _of_shares(self, amounts: Mapping[WindowId, tuple[int, int]]) -> dict[WindowId, tuple[int, int]]:
        """What is returned to the quotas of shares along with what is returned to the windows of their inputs."""
        quotas = windows.alias("quotas")
        of_share = and_(quotas.c.kind == "share", quotas.c.ref == windows.c.share)
        query = select(windows.c.id, quotas.c.id.label("quota")).join(quotas, of_share)
        found: dict[WindowId, tuple[int, int]] = {}
        for row in await self._execute(query.where(among(windows.c.id, amounts))):
            (size, files), (more, others) = amounts[row.id], found.get(row.quota, (0, 0))
            found[row.quota] = (size + more, files + others)
        return found

    async def all(self, principal: Principal | None = None) -> Sequence[Window]:
        """Those that bound something: of RSEs, and of collections that the principal may see."""
        bounds = or_(windows.c.limit_bytes.is_not(None), windows.c.limit_files.is_not(None), windows.c.kind == "rse")
        rows = await self._read(select(*_COLUMNS).where(bounds).order_by(windows.c.id))
        found = [_window(row) for row in rows]
        inputs = [int(window.ref) for window in found if window.kind == "collection"]
        query = select(collections.c.id).join(requests, requests.c.id == collections.c.request_id)
        query = visible(query.where(among(collections.c.id, inputs)), principal)
        seen = {str(row.id) for row in await self._execute(query)} if inputs else set()
        return [window for window in found if window.kind != "collection" or window.ref in seen]


def _window(row: Row[Any]) -> Window:
    return Window(**row._asdict())
