"""Files one by one: how each stands, what happened to it, and which give trouble. No read goes through a collection."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, func, literal, select

from idds.domain.content import Content, Move
from idds.domain.identifiers import CollectionId, ReplicaId
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.domain.story import Standing
from idds.engine.transitions import ContentEvent
from idds.store.contents import COLUMNS, read_content
from idds.store.noun import Noun
from idds.store.schema import contents, moves, replicas
from idds.store.sets import among, is_status

LOOKED_AT = 50_000
"""At most so many moves, the last ones, are looked through for what concerns one file."""
IDS_LOOKED_AT = 1_000_000
"""And so many ids in them: a move names thousands of files."""


_STANDING = (
    replicas.c.id,
    replicas.c.rse,
    replicas.c.status,
    replicas.c.bytes,
    replicas.c.ours,
    replicas.c.rule_id,
    replicas.c.source_rse.label("source"),
    replicas.c.path,
    replicas.c.ordered_at,
    replicas.c.ordered_times,
    replicas.c.landed_at,
    replicas.c.stalled_times,
    replicas.c.stalled_at,
    replicas.c.changed_at,
)
_TOLD = tuple(column for column in moves.c if column.name != "ids")


class Files(Noun):
    async def replica(self, identifier: ReplicaId) -> Standing | None:
        row = (await self._execute(select(*_STANDING).where(replicas.c.id == identifier))).first()
        return None if row is None else _standing(row)

    async def story(self, content: Content) -> list[Move]:
        """What happened to a content and to its replica, oldest first, each without its ids; see `LOOKED_AT`."""
        wanted: list[tuple[str, int]] = [(f"collection:{content.collection_id}", content.id)]
        if content.replica_id is not None:
            rse = select(replicas.c.rse).where(replicas.c.id == content.replica_id)
            wanted.append((f"rse:{(await self._execute(rse)).scalar_one()}", content.replica_id))
        found: list[Move] = []
        for entity, identifier in wanted:
            found += [Move(**row._asdict(), ids=()) for row in await self._execute(self._told_of(entity, identifier))]
        return sorted(found, key=lambda move: move.id)

    def _told_of(self, entity: str, identifier: int) -> Select[Any]:
        last = select(moves.c.id, moves.c.n).where(moves.c.entity == entity).order_by(moves.c.id.desc())
        looked = last.limit(LOOKED_AT).subquery()
        behind = func.sum(looked.c.n).over(order_by=looked.c.id.desc()) - looked.c.n
        counted = select(looked.c.id, behind.label("behind")).subquery()
        query = select(*_TOLD).join(counted, counted.c.id == moves.c.id).where(counted.c.behind < IDS_LOOKED_AT)
        return query.where(self._holds(moves.c.ids, identifier)).order_by(moves.c.id)

    def _holds(self, ids: ColumnElement[Any], identifier: int) -> ColumnElement[bool]:
        """Whether a JSON list of ids holds this one."""
        if self._is_sqlite:
            each = func.json_each(ids).table_valued("value")
            return select(literal(1)).select_from(each).where(each.c.value == identifier).exists()
        return ids.op("@>")(func.to_jsonb(literal(identifier, BigInteger)))

    async def on_their_way(self, collections: Sequence[CollectionId], limit: int) -> list[tuple[Content, Standing]]:
        """Contents that wait for a replica being staged: those whose recall was ordered first."""
        # Those that are admitted come first in the index of what is new, so that the limit ends the search.
        found: list[tuple[Content, Standing]] = []
        for collection in collections:
            pinned = (
                select(contents.c.id.label("content_id"), contents.c.replica_id)
                .where(
                    contents.c.collection_id == collection,
                    is_status(contents.c.status, ContentStatus.NEW),
                    contents.c.replica_id.is_not(None),
                )
                .order_by(contents.c.group_no, contents.c.id)
                .limit(LOOKED_AT)
                .subquery()
            )
            query = select(pinned.c.content_id, *_STANDING).join(pinned, pinned.c.replica_id == replicas.c.id)
            query = query.where(is_status(replicas.c.status, ReplicaStatus.STAGING))
            rows = (await self._execute(query.order_by(replicas.c.ordered_at, replicas.c.id).limit(limit))).all()
            by_id = await self._contents([row.content_id for row in rows])
            found += [(by_id[row.content_id], _standing(row)) for row in rows]
        return sorted(found, key=lambda pair: pair[1].ordered_at or 0)[:limit]

    async def ended_badly(self, collections: Sequence[CollectionId], limit: int) -> list[Content]:
        """Contents that failed or are missing by now: those of the last moves."""
        bad = (ContentEvent.FAILED, ContentEvent.LOST)
        ids: list[int] = []
        for collection in collections:
            last = select(moves.c.event, moves.c.ids).where(moves.c.entity == f"collection:{collection}")
            looked = last.order_by(moves.c.id.desc()).limit(LOOKED_AT).subquery()
            query = select(looked.c.ids).where(looked.c.event.in_(bad), looked.c.ids.is_not(None)).limit(limit)
            ids += [identifier for row in await self._execute(query) for identifier in row.ids][:limit]
        by_id = await self._contents(ids)
        ended = (ContentStatus.FAILED, ContentStatus.MISSING)
        return [found for each in dict.fromkeys(ids) if (found := by_id.get(each)) and found.status in ended][:limit]

    async def _contents(self, ids: Sequence[int]) -> dict[int, Content]:
        rows = await self._execute(select(*COLUMNS).where(among(contents.c.id, ids)))
        return {row.id: read_content(row) for row in rows}


def _standing(row: Row[Any]) -> Standing:
    values = {name: getattr(row, name) for name in Standing.__slots__}
    return Standing(**{**values, "status": ReplicaStatus(row.status)})
