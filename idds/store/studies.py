"""Studies: the versions of their spaces, and where one stands that goes by iterations or stops by what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import CTE, ColumnElement, FromClause, Row, Text, cast, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.collection import Collection
from idds.domain.content import Move
from idds.domain.course import Result
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.redefinition import (
    Add,
    Change,
    Choose,
    Constrain,
    Drop,
    Fix,
    Narrow,
    Redefinition,
    StudyVersion,
    Unconstrain,
    Widen,
)
from idds.domain.space import Point
from idds.domain.statuses import ContentStatus, EffectKind
from idds.engine.stopping import Standing
from idds.engine.transitions import ContentEvent
from idds.store.documents import read_parameter, read_segment
from idds.store.noun import Noun
from idds.store.schema import contents, effects, moves, samples, studies, study_versions
from idds.store.sets import among, is_status


@dataclass(frozen=True, slots=True)
class Course:
    """Where a study stands: in which iteration, why it `stopped` if it has, and what came of its samples.

    That was folded from its moves up to `heard`.
    """

    iteration: int
    stopped: str | None
    standing: Standing
    heard: int


@dataclass(frozen=True, slots=True)
class Ended:
    """What was folded of a study's moves, up to `heard`: the sum of the times at which samples came back, less that of
    those at which they were leased, from when the study began; how many more are leased; and the scores, in order.
    """

    heard: int
    spent: int
    running: int
    scores: tuple[float | None, ...]


_KINDS: Mapping[str, type[Change]] = {
    "narrow": Narrow,
    "widen": Widen,
    "choices": Choose,
    "drop": Drop,
    "fix": Fix,
    "add": Add,
    "constrain": Constrain,
    "unconstrain": Unconstrain,
}


class Studies(Noun):
    async def newest(self, study: CollectionId) -> StudyVersion | None:
        """The version of a study that holds, where it was redefined."""
        query = select(study_versions).where(study_versions.c.study_id == study)
        row = (await self._execute(query.order_by(study_versions.c.version.desc()).limit(1))).first()
        return None if row is None else _version(row)

    async def latest(self, study: CollectionId) -> int:
        """The number of the version that holds."""
        query = select(func.max(study_versions.c.version)).where(study_versions.c.study_id == study)
        return int((await self._execute(query)).scalar_one() or 1)

    async def versions(
        self, study: CollectionId, *, beyond: int, limit: int, characters: int, newest_first: bool = False
    ) -> list[StudyVersion]:
        """Versions that a study was redefined to, in order: from the next beyond one up, or down, as many as fit.

        At least one, where there is one; beside it no more when they have so many characters of JSON.
        """
        page = _page(study, beyond, -1 if newest_first else 1, limit, characters)
        query = select(study_versions).join(page, page.c.version == study_versions.c.version)
        rows = await self._execute(query.where(study_versions.c.study_id == study).order_by(study_versions.c.version))
        return [_version(row) for row in rows]

    async def redefinitions(self, study: CollectionId) -> list[Redefinition]:
        """What made each version that a study was redefined to, in order; their spaces, which may be large, unread."""
        query = select(study_versions.c.changes, study_versions.c.iteration).where(study_versions.c.study_id == study)
        found = await self._execute(query.order_by(study_versions.c.version))
        return [Redefinition(tuple(map(_change, row.changes)), row.iteration) for row in found]

    async def changes(self, study: CollectionId) -> list[tuple[Change, ...]]:
        """The changes alone."""
        return [each.changes for each in await self.redefinitions(study)]

    async def course(self, study: Collection) -> Course:
        """Where the course of a study stands, as of what was folded last."""
        row = (await self._execute(select(studies).where(studies.c.study_id == study.id))).first()
        if row is None:
            return Course(1, None, Standing(study.created_at), 0)
        standing = Standing(
            study.created_at, row.results, row.best, row.improved_at, row.is_on_target, row.spent, row.running
        )
        return Course(row.iteration, row.stopped, standing, row.heard)

    async def keep_course(self, study: CollectionId, course: Course) -> None:
        """Write where it stands."""
        standing = course.standing
        values = {
            "iteration": course.iteration,
            "stopped": course.stopped,
            "heard": course.heard,
            "results": standing.results,
            "best": standing.best,
            "improved_at": standing.improved_at,
            "is_on_target": standing.is_on_target,
            "spent": standing.spent,
            "running": standing.running,
        }
        kept = (sqlite if self._is_sqlite else postgresql).insert(studies).values(values | {"study_id": study})
        await self._execute(kept.on_conflict_do_update(index_elements=[studies.c.study_id], set_=values))

    async def ended_since(self, study: Collection, heard: int) -> Ended:
        """What of a study's samples was leased and came to an end since it was `heard` of, by the ids of moves."""
        await self._tx.write_gathered()
        entity = f"collection:{study.id}"
        query = select(moves).where(moves.c.entity == entity, moves.c.id > heard).order_by(moves.c.id)
        spent, running, done = 0, 0, list[int]()
        for row in await self._execute(query):
            heard = row.id
            sign = (row.from_status == ContentStatus.LEASED) - (row.to_status == ContentStatus.LEASED)
            spent += sign * row.n * (row.at - study.created_at)
            running -= sign * row.n
            if row.to_status == ContentStatus.DONE:
                done += row.ids or ()
        query = select(samples.c.content_id, samples.c.score).where(among(samples.c.content_id, done))
        scores = {row.content_id: row.score for row in await self._execute(query)} if done else {}
        return Ended(heard, spent, running, tuple(scores.get(each) for each in done))

    async def results(self, study: CollectionId, limit: int) -> list[Result]:
        """Points of a study and what came of them: the newest ones."""
        query = select(contents.c.payload, samples.c.objective_values, samples.c.constraint_values).join(
            contents, contents.c.id == samples.c.content_id
        )
        query = query.where(samples.c.study_id == study, samples.c.objective_values.is_not(None), ~samples.c.is_pruned)
        rows = await self._execute(query.order_by(samples.c.number.desc()).limit(limit))
        return [
            Result(
                parameters=row.payload["parameters"],
                values=tuple(row.objective_values),
                constraint_values=tuple(row.constraint_values or ()),
            )
            for row in rows
        ]

    async def waiting(self, study: CollectionId) -> list[ContentId]:
        """The samples that nobody has taken yet."""
        query = select(contents.c.id).where(
            contents.c.collection_id == study, is_status(contents.c.status, ContentStatus.AVAILABLE)
        )
        return [ContentId(row.id) for row in await self._execute(query.order_by(contents.c.id))]

    async def points(self, ids: Sequence[ContentId]) -> list[tuple[ContentId, int, Point]]:
        """Of these samples the version that each is of, and its point."""
        query = select(contents.c.id, contents.c.payload, samples.c.version)
        query = query.join(samples, samples.c.content_id == contents.c.id).where(among(contents.c.id, ids))
        return [(ContentId(row.id), row.version, row.payload["parameters"]) for row in await self._execute(query)]

    async def take_back(self, study: CollectionId, ids: Sequence[int], reason: str) -> list[Move]:
        """Cancel those of these samples that nobody has taken: they are wanted no more, and no retry brings them."""
        moves = await self._tx.contents.move(
            ContentEvent.CANCELLED, among(contents.c.id, ids), sources=(ContentStatus.AVAILABLE,), reason=reason
        )
        taken_back = [each for move in moves for each in move.ids]
        noted = update(samples).where(among(samples.c.content_id, taken_back))
        await self._execute(noted.values(is_taken_back=True))
        await self._tx.collections.count_taken_back(study, len(taken_back))
        return moves

    async def first_undrawn(self, study: Collection) -> int:
        """The lowest number that no sample has, of what was asked for or comes next."""
        asked_for = await self.asked_for(study.id, (EffectKind.ASK, EffectKind.STEER))
        return min([study.next_no, *(each.start for each in asked_for)])

    async def asked_for(self, study: CollectionId, kinds: Sequence[EffectKind]) -> list[range]:
        """The numbers of samples that orders of these kinds are to draw."""
        await self._tx.write_gathered()
        query = select(effects.c.payload).where(effects.c.entity == f"collection:{study}", effects.c.kind.in_(kinds))
        orders = [row.payload for row in await self._execute(query)]
        return [range(int(each["first"]), int(each["first"]) + int(each["count"])) for each in orders]

    async def add(self, version: StudyVersion) -> None:
        """Record a version. The caller holds the lock of its request, and has looked which one holds."""
        space = {name: msgspec.to_builtins(parameter) for name, parameter in version.space.items()}
        document = {"space": space, "fixed": dict(version.fixed), "constraints": list(version.constraints)}
        values = {
            "study_id": version.study,
            "version": version.version,
            "parent": version.parent,
            "document": document | {"segments": msgspec.to_builtins(version.segments)},
            "changes": [msgspec.to_builtins(change) for change in version.changes],
            "reason": version.reason,
            "author": version.author,
            "first": version.first,
            "iteration": version.iteration,
            "at": version.at,
        }
        await self._execute(insert(study_versions).values(values))


def _page(study: CollectionId, beyond: int, step: int, limit: int, characters: int) -> CTE:
    """The numbers of versions that fit into a page. Its end is found on the way there: no other is looked at."""
    first, each = study_versions.alias("first"), study_versions.alias("each")
    page = select(first.c.version, _length(first).label("characters"))
    page_of = page.where(first.c.study_id == study, first.c.version == beyond + step).cte("page", recursive=True)
    following = select(each.c.version, page_of.c.characters + _length(each)).where(
        each.c.study_id == study,
        each.c.version == page_of.c.version + step,
        page_of.c.version != beyond + step * limit,
        page_of.c.characters < characters,
    )
    return page_of.union_all(following)


def _length(table: FromClause) -> ColumnElement[int]:
    return func.length(cast(table.c.document, Text)) + func.length(cast(table.c.changes, Text))


def _version(row: Row[Any]) -> StudyVersion:
    document = row.document
    return StudyVersion(
        study=CollectionId(row.study_id),
        version=row.version,
        parent=row.parent,
        space={name: read_parameter(each) for name, each in document["space"].items()},
        fixed=document["fixed"],
        constraints=tuple(document["constraints"]),
        changes=tuple(map(_change, row.changes)),
        reason=row.reason,
        author=row.author,
        first=row.first,
        iteration=row.iteration,
        at=row.at,
        segments=tuple(map(read_segment, document.get("segments", ()))),
    )


def _change(document: Mapping[str, Any]) -> Change:
    values = dict(document)
    if "space" in values:
        values["space"] = read_parameter(values["space"])
    if "choices" in values:
        values["choices"] = tuple(values["choices"])
    return _KINDS[values["change"]](**values)
