"""Replicas on disk RSEs: admitted, staged, pinned by contents, deleted when nobody pins them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Text, and_, bindparam, func, or_, select, text, update

from idds.domain.files import File
from idds.domain.identifiers import Did, ReplicaId, RequestId, WindowId
from idds.domain.replica import Replica
from idds.domain.statuses import ReplicaStatus
from idds.engine.transitions import PINNING, REPLICA, ReplicaEvent
from idds.ports.wakeups import Channel
from idds.store.noun import Noun
from idds.store.schema import contents, replicas
from idds.store.sets import among, among_texts, is_status
from idds.store.visibility import pinned_in

COLUMNS = (
    replicas.c.id,
    replicas.c.rse,
    replicas.c.scope,
    replicas.c.name,
    replicas.c.bytes,
    replicas.c.adler32,
    replicas.c.status,
    replicas.c.rule_id,
    replicas.c.ours,
    replicas.c.window_id,
    replicas.c.changed_at,
    replicas.c.source_rse,
    replicas.c.ordered_at,
    replicas.c.stalled_times,
    replicas.c.stalled_at,
)

_HERE = text("replicas.status <> 'gone'")
_LEAVING = (ReplicaEvent.DELETED, ReplicaEvent.VANISHED)
KEPT_AT_FIRST = 900_000_000
"""So long after it was ordered nothing need be done for a replica to be kept, in microseconds."""
_INSERTING = """
INSERT INTO replicas (rse, scope, name, bytes, adler32, path, status, ours, window_id, source_rse, changed_at)
SELECT :rse, value ->> 'scope', value ->> 'name', CAST(value ->> 'bytes' AS bigint), value ->> 'adler32',
       value ->> 'path', {status}, {ours}, :window, :source, :now
  FROM {{each}} WHERE true
    ON CONFLICT (rse, scope, name) DO UPDATE
   SET status = excluded.status, ours = excluded.ours, path = excluded.path, window_id = excluded.window_id,
       bytes = excluded.bytes, adler32 = excluded.adler32, rule_id = NULL, changed_at = excluded.changed_at,
       source_rse = excluded.source_rse, ordered_at = NULL, landed_at = NULL, ordered_times = 0, stalled_times = 0,
       stalled_at = NULL, kept_until = NULL
 {where} RETURNING {{columns}}
"""
# One that is not ours and that nobody pins was not watched: whether it is still there is asked again.
_UNWATCHED = """WHERE replicas.status = 'gone' OR replicas.status = 'present' AND NOT replicas.ours AND NOT EXISTS (
             SELECT 1 FROM contents
              WHERE contents.replica_id = replicas.id AND contents.status IN ('new', 'available', 'leased'))"""
_ADMITTING = _INSERTING.format(status="'admitted'", ours="true", where=_UNWATCHED)
_AWAITING = _INSERTING.format(status="'staging'", ours="false", where=_UNWATCHED)
_REGISTERING = _INSERTING.format(
    status="'present'", ours="false", where="WHERE replicas.status = 'gone' OR NOT replicas.ours"
)
_NOWHERE = {"window": None, "source": None}
_TAKING_OVER = _INSERTING.format(status="'present'", ours="false", where="")


class Replicas(Noun):
    async def lock(self, ids: Iterable[int]) -> None:
        """Lock these replicas, in id order, before anything is decided on their pins."""
        if not self._is_sqlite:
            query = select(replicas.c.id).where(among(replicas.c.id, ids)).order_by(replicas.c.id)
            await self._execute(query.with_for_update())

    async def lock_of_contents(self, rse: str, content_ids: Sequence[int]) -> None:
        """Lock the replicas on `rse` of the files that these contents are."""
        if not self._is_sqlite:
            same = and_(replicas.c.scope == contents.c.scope, replicas.c.name == contents.c.name)
            query = select(replicas.c.id).join(contents, same).where(replicas.c.rse == rse)
            query = query.where(among(contents.c.id, content_ids)).order_by(replicas.c.id)
            await self._execute(query.with_for_update(of=replicas))

    async def lock_pinned_by(self, content_ids: Sequence[int]) -> None:
        """Lock the replicas that these contents pin, or have pinned."""
        if not self._is_sqlite:
            query = select(replicas.c.id).join(contents, contents.c.replica_id == replicas.c.id)
            query = query.where(among(contents.c.id, content_ids)).order_by(replicas.c.id)
            await self._execute(query.with_for_update(of=replicas))

    async def admit(
        self, rse: str, files: Sequence[File], window: WindowId | None, source: str | None = None
    ) -> list[Replica]:
        """Admit replicas where none can be pinned; those newly admitted, whose bytes are to be reserved.

        They are to come from the tape `source`, None: from any. The history is written by `record_admission`, when they
        are.
        """
        if not files:
            return []
        values = {"window": window, "source": source}
        rows = await self._upsert(rse, [(file, None) for file in files], _ADMITTING, values)
        return [read_replica(row) for row in rows]

    async def await_others(self, rse: str, files: Sequence[File], rule_id: str, request: RequestId) -> None:
        """Note replicas that somebody else's rule brings: they count in no window, and whoever wants them pins them."""
        rows = await self._upsert(rse, [(file, None) for file in files], _AWAITING, _NOWHERE) if files else []
        ids = sorted(ReplicaId(row.id) for row in rows)
        await self.note_rules([(replica, rule_id, False) for replica in ids])
        if ids:
            change, reason = (None, ReplicaStatus.STAGING), f"rule {rule_id} brings them"
            self._tx.moves.record(f"rse:{rse}", "awaited", change, request=request, ids=ids, reason=reason)

    def record_admission(self, rse: str, ids: Sequence[int], request: RequestId) -> None:
        self._record(ReplicaEvent.ADMITTED, rse, ids, request=request)

    async def register(self, rse: str, files: Sequence[tuple[File, str]]) -> dict[Did, ReplicaId]:
        """Note replicas that are on disk and not ours to delete, with their paths; not those that are ours so far."""
        rows = await self._upsert(rse, files, _REGISTERING, _NOWHERE) if files else []
        return {Did(row.scope, row.name): ReplicaId(row.id) for row in rows}

    async def take_over(self, rse: str, files: Sequence[tuple[File, str]]) -> dict[Did, ReplicaId]:
        """Note that replicas of ours are somebody else's, and on disk; what they had reserved is given back."""
        known = [replica.id for replica in await self.find(rse, [file.did for file, _ in files])]
        await self.lock(known)
        await self._tx.turnover.end(known)
        await self.give_back([r for r in await self.get(known) if r.status is not ReplicaStatus.GONE])
        rows = await self._upsert(rse, files, _TAKING_OVER, _NOWHERE)
        return {Did(row.scope, row.name): ReplicaId(row.id) for row in rows}

    async def _upsert(
        self, rse: str, files: Sequence[tuple[File, str | None]], rule: str, values: Mapping[str, Any]
    ) -> Sequence[Row[Any]]:
        # Each once, and in one order: else two that insert the same files could wait for each other in a circle.
        named = {f.did: (f, path) for f, path in files}
        documents = [
            {"scope": did.scope, "name": did.name, "bytes": f.bytes, "adler32": f.adler32, "path": path}
            for did, (f, path) in sorted(named.items())
        ]
        each = "json_each(:files)" if self._is_sqlite else "jsonb_array_elements(CAST(:files AS jsonb)) AS each (value)"
        statement = text(rule.format(each=each, columns=", ".join(column.name for column in COLUMNS))).bindparams(
            bindparam("window", type_=BigInteger()),
            bindparam("now", type_=BigInteger()),
            bindparam("source", type_=Text()),
        )
        bound = {"rse": rse, "files": json.dumps(documents), "now": self._tx.now, **values}
        return (await self._execute(statement, bound)).all()

    async def move(
        self,
        event: ReplicaEvent,
        rse: str,
        ids: Sequence[int],
        *,
        values: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> list[Replica]:
        """Move those of these replicas that may move; all that moved."""
        if not ids:
            return []
        edge = REPLICA[event]
        changed = (
            update(replicas)
            .where(among(replicas.c.id, ids), is_status(replicas.c.status, *edge.sources))
            .values({**(values or {}), **self._stamps(event), "status": edge.target, "changed_at": self._tx.now})
        )
        moved = [read_replica(row) for row in await self._execute(changed.returning(*COLUMNS))]
        these = [replica.id for replica in moved]
        if event is ReplicaEvent.LANDED:
            await self._tx.throughput.note_landed(these)
        elif event in _LEAVING and these:
            await self._tx.turnover.end(these)
        self._record(event, rse, these, reason=reason)
        return moved

    def _stamps(self, event: ReplicaEvent) -> dict[str, Any]:
        match event:
            case ReplicaEvent.RECALLED:
                return {"ordered_at": self._tx.now, "ordered_times": replicas.c.ordered_times + 1}
            case ReplicaEvent.LANDED:
                return {"landed_at": self._tx.now}
            case _:
                return {}

    def _record(
        self,
        event: ReplicaEvent,
        rse: str,
        ids: Sequence[int],
        *,
        request: RequestId | None = None,
        reason: str | None = None,
    ) -> None:
        if ids:
            edge = REPLICA[event]
            source = edge.sources[0] if len(edge.sources) == 1 else None
            self._tx.moves.record(
                f"rse:{rse}", event, (source, edge.target), request=request, ids=sorted(ids), reason=reason
            )

    async def release_unpinned(self, rse: str, ids: Sequence[int]) -> list[Replica]:
        """Move those of these replicas to `deleting` that are ours, staging or present, and pinned by nobody.

        The caller has locked them with `lock`, so that no pin can come in between.
        """
        return await self.move(ReplicaEvent.RELEASED, rse, await self.unpinned(ids))

    async def unpinned(self, ids: Sequence[int]) -> list[ReplicaId]:
        """Those of these replicas that are ours, and that nobody pins."""
        if not ids:
            return []
        pin = select(contents.c.id).where(contents.c.replica_id == replicas.c.id, _pins())
        query = select(replicas.c.id).where(among(replicas.c.id, ids), replicas.c.ours, ~pin.exists())
        return [ReplicaId(row.id) for row in await self._execute(query)]

    async def note_rules(self, rules: Sequence[tuple[ReplicaId, str, bool]]) -> None:
        """Note (replica, rule, whether it is ours)."""
        if rules:
            noted = update(replicas).where(replicas.c.id == bindparam("replica"))
            noted = noted.values(rule_id=bindparam("rule"), ours=bindparam("is_ours"))
            await self._execute(noted, [{"replica": r, "rule": rule, "is_ours": ours} for r, rule, ours in rules])

    async def note_paths(self, paths: Mapping[ReplicaId, str | None]) -> None:
        """Note where payloads open these replicas."""
        if paths:
            noted = update(replicas).where(replicas.c.id == bindparam("replica")).values(path=bindparam("at"))
            await self._execute(noted, [{"replica": replica, "at": path} for replica, path in paths.items()])

    async def give_back(self, returned: Sequence[Replica]) -> None:
        """Return the bytes of these replicas to the windows of their RSE and of the collection they were for.

        Those that are not ours count in no window.
        """
        ours = [replica for replica in returned if replica.ours]
        refs = {("rse", replica.rse) for replica in ours}
        rse_windows = await self._tx.windows.find(sorted(refs)) if refs else {}
        amounts: dict[WindowId, tuple[int, int]] = {}
        for replica in ours:
            of_rse = rse_windows.get(("rse", replica.rse))
            for window in filter(None, (of_rse.id if of_rse else None, replica.window_id)):
                size, files = amounts.get(window, (0, 0))
                amounts[window] = (size + replica.bytes, files + 1)
        # What is gone holds nothing: only then may the window go that it was admitted through.
        await self.disown([replica.id for replica in ours if replica.window_id is not None])
        await self._tx.windows.give_back(amounts)
        if returned:
            self._tx.wake(Channel.PLANNING)

    async def disown(self, ids: Sequence[int]) -> None:
        """These count in no window."""
        if ids:
            await self._execute(update(replicas).where(among(replicas.c.id, ids)).values(window_id=None))

    async def get(self, ids: Iterable[int]) -> list[Replica]:
        query = select(*COLUMNS).where(among(replicas.c.id, ids)).order_by(replicas.c.id)
        return [read_replica(row) for row in await self._execute(query)]

    async def lock_unchanged(self, seen: Sequence[Replica]) -> list[Replica]:
        """Lock these replicas; those that nothing has happened to since they were read."""
        await self.lock([replica.id for replica in seen])
        fresh = {replica.id: replica for replica in await self.get([replica.id for replica in seen])}
        return [replica for replica in seen if fresh.get(replica.id) == replica]

    async def lock_unmoved(self, seen: Sequence[Replica]) -> list[Replica]:
        """Lock these replicas; those of them, as they are now, that have at most been found stalled since."""
        await self.lock([replica.id for replica in seen])
        before = {replica.id: _but_stalled(replica) for replica in seen}
        fresh = await self.get([replica.id for replica in seen])
        return [replica for replica in fresh if _but_stalled(replica) == before[replica.id]]

    async def find(self, rse: str, dids: Sequence[Did]) -> list[Replica]:
        """The replicas of these files on an RSE."""
        by_scope: dict[str, list[str]] = {}
        for did in dids:
            by_scope.setdefault(did.scope, []).append(did.name)
        found: list[Replica] = []
        for scope, names in sorted(by_scope.items()):
            query = select(*COLUMNS).where(replicas.c.rse == rse, replicas.c.scope == scope)
            rows = await self._execute(query.where(among_texts(replicas.c.name, names)))
            found += [read_replica(row) for row in rows]
        return found

    async def in_motion(self) -> list[Replica]:
        """All that are staging or deleting: what data management has to be asked about."""
        moving = is_status(replicas.c.status, ReplicaStatus.STAGING, ReplicaStatus.DELETING)
        query = select(*COLUMNS).where(moving).order_by(replicas.c.rse, replicas.c.id)
        return [read_replica(row) for row in await self._execute(query)]

    async def to_keep(self, limit: int) -> list[Replica]:
        """Those on their way or there, under a rule, that nothing has been done about for their time to be kept.

        One that is not ours counts only where it is there, and somebody pins it.
        """
        under_rule = and_(_HERE, replicas.c.rule_id.is_not(None))
        # What a rule of somebody else's brings was never ordered here.
        since = func.coalesce(replicas.c.ordered_at, replicas.c.changed_at)
        due = func.coalesce(replicas.c.kept_until, since + KEPT_AT_FIRST) <= self._tx.now
        is_there = is_status(replicas.c.status, ReplicaStatus.PRESENT)
        pin = select(contents.c.id).where(contents.c.replica_id == replicas.c.id, _pins())
        ours = and_(replicas.c.ours, is_status(replicas.c.status, ReplicaStatus.STAGING, ReplicaStatus.PRESENT))
        watched = or_(ours, and_(~replicas.c.ours, is_there, pin.exists()))
        query = select(*COLUMNS).where(under_rule, due, watched).order_by(replicas.c.id).limit(limit)
        return [read_replica(row) for row in await self._execute(query)]

    async def note_kept(self, ids: Sequence[int], until: int) -> None:
        """Note that nothing need be done for these to be kept, until then."""
        await self._execute(update(replicas).where(among(replicas.c.id, ids)).values(kept_until=until))

    async def summary(self, vo: str | None = None) -> list[tuple[str, str, int, int]]:
        """(RSE, status, files, bytes) of all replicas that are not gone; of those that something of a VO needs."""
        files, size = func.count().label("files"), func.sum(replicas.c.bytes).label("size")
        query = select(replicas.c.rse, replicas.c.status, files, size)
        query = query.where(replicas.c.status != ReplicaStatus.GONE).group_by(replicas.c.rse, replicas.c.status)
        if vo is not None:
            query = query.where(pinned_in(vo))
        return [(row.rse, row.status, int(row.files), int(row.size)) for row in await self._execute(query)]


def _pins() -> ColumnElement[bool]:
    return is_status(contents.c.status, *PINNING)


def _but_stalled(replica: Replica) -> Replica:
    return replace(replica, stalled_times=0, stalled_at=None)


def read_replica(row: Row[Any]) -> Replica:
    values = row._asdict()
    did = Did(values.pop("scope"), values.pop("name"))
    return Replica(**{**values, "did": did, "status": ReplicaStatus(row.status)})
