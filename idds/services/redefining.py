"""Redefining studies while they run: a new version of the space, and what follows for the samples that wait."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from idds.domain.collection import Collection
from idds.domain.content import Move
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.redefinition import Change, Constrain, StudyVersion
from idds.domain.request import Principal
from idds.domain.space import Point
from idds.domain.statuses import Intent, SourceKind, Status
from idds.domain.workflow import Samples
from idds.engine.redefinition import Fitting, redefined, resolved
from idds.engine.spaces import model_of, spaces_of
from idds.search import feasibility
from idds.search.constraints import Constraints
from idds.services.announcing import follow
from idds.services.discretion import named
from idds.services.studies import Definition, definition, first_version, submitted
from idds.store.collections import Place
from idds.store.database import Database, Transaction
from idds.store.visibility import sees

TRIES = 3
"""So often a redefinition that names no version is made anew, where another came between."""
MOST_COSTS = 100_000_000
"""What evaluating constraints on samples that wait may cost, about a second; beyond that all are replaced."""
MOST_LOOKED_AT = 100_000
"""So many samples that wait are looked at; those beyond are replaced."""
MOST_WRITTEN = 500_000_000
"""Bytes of all versions of a study, counted as if each were as large as the next."""
PAGE = 4_000_000
"""Characters of JSON after which a page of versions ends."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody orders. With `if_version` only of that version."""

    principal: Principal
    changes: Sequence[Change]
    reason: str
    if_version: int | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """Some versions of a study, in order. `next` asks for those after them, where there are any."""

    versions: Sequence[StudyVersion]
    next: int | None


@dataclass(frozen=True, slots=True)
class Judged:
    """Samples that were looked at, and those among them that are none of the version that is to come."""

    seen: frozenset[ContentId] = frozenset()
    misfits: tuple[ContentId, ...] = ()

    def and_replaced(self, others: Sequence[ContentId]) -> "Judged":
        """With others, at which nobody looks."""
        return Judged(self.seen | frozenset(others), (*self.misfits, *others)) if others else self


NOBODY = Judged()


class _Outrun(Exception):
    """Another version came between."""


class Redefining:
    """What the API does for who redefines a study."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def redefine(self, identifier: CollectionId, order: Order) -> StudyVersion:
        """Give a study a new version. What it was told stays; what waits and is no sample of the new one is replaced.

        Raises InvalidInput with pointers into a document of `changes`, NotFound, and Conflict where the study has
        ended or has another version than the one that is named.
        """
        for _ in range(TRIES):
            async with self._database.snapshot(timeless=True) as tx:
                before = await definition(tx, await _study(tx, order.principal, identifier))
                waiting = await tx.studies.waiting(identifier)
                points = await tx.studies.points(waiting[:MOST_LOOKED_AT])
                changes = await tx.studies.changes(identifier)
            _check_version(identifier, before.version, order.if_version)
            after = await asyncio.to_thread(_checked, before.samples, order.changes)
            _check_room(identifier, before.version + 1, after, order.changes)
            # Before anybody is kept waiting: on SQLite nobody else writes from when a transaction has begun.
            judged = await asyncio.to_thread(_judged, points, [*changes, order.changes], after)
            judged = judged.and_replaced(waiting[MOST_LOOKED_AT:])
            try:
                return await self._record(identifier, order, before, after, judged)
            except _Outrun:
                continue
        raise Conflict(f"study {identifier} is being redefined again and again; say which version is meant")

    async def _record(
        self, identifier: CollectionId, order: Order, before: Definition, after: Samples, judged: Judged
    ) -> StudyVersion:
        async with self._database.transaction("api") as tx:
            place = await tx.collections.place(identifier)
            if place is None or not sees(order.principal, owner=place.owner, vo=place.vo, share=place.share):
                raise NotFound(f"there is no study {identifier}")
            if refusal := _refusal(place, (await tx.studies.course(place.collection)).stopped):
                raise Conflict(f"study {identifier} cannot be redefined: {refusal}")
            if await tx.studies.latest(identifier) != before.version:
                raise _Outrun
            version = StudyVersion(
                study=identifier,
                version=before.version + 1,
                parent=before.version,
                space=after.space,
                fixed=after.fixed,
                constraints=after.constraints,
                changes=resolved(before.samples, order.changes),
                reason=order.reason,
                author=named(order.principal),
                first=await tx.studies.first_undrawn(place.collection),
                iteration=None,
                at=tx.now,
                segments=after.segments,
            )
            await record(tx, place, version, after, judged)
            details = {"version": version.version, "reason": order.reason}
            tx.audit.record(order.principal, "redefine", f"collection:{identifier}", details)
            return version

    async def versions(self, principal: Principal, identifier: CollectionId, *, after: int, limit: int) -> Versions:
        """The versions of a study above `after`, in order, as many as make a page. Raises NotFound."""
        async with self._database.snapshot(timeless=True) as tx:
            study = await _study(tx, principal, identifier)
            found = [await _first_version(tx, study)] if after < 1 else []
            if limit > len(found):
                found += await tx.studies.versions(
                    identifier, beyond=max(1, after), limit=limit - len(found), characters=PAGE
                )
            last = found[-1].version if found else after
            return Versions(found, last if last < await tx.studies.latest(identifier) else None)

    async def newest(self, principal: Principal, identifier: CollectionId, *, limit: int) -> Sequence[StudyVersion]:
        """The last versions of a study, in order, as many as make a page. Raises NotFound."""
        async with self._database.snapshot(timeless=True) as tx:
            study = await _study(tx, principal, identifier)
            end = await tx.studies.latest(identifier) + 1
            found = await tx.studies.versions(identifier, beyond=end, limit=limit, characters=PAGE, newest_first=True)
            is_whole = end - len(found) == 2 and len(found) < limit
            return [await _first_version(tx, study), *found] if is_whole else found


async def _study(tx: Transaction, principal: Principal, identifier: CollectionId) -> Collection:
    collection = await tx.collections.get(identifier, principal)
    if collection is None or collection.source is not SourceKind.SAMPLES:
        raise NotFound(f"there is no study {identifier}")
    return collection


async def _first_version(tx: Transaction, study: Collection) -> StudyVersion:
    request = await tx.requests.get(study.request_id)
    assert request is not None
    return first_version(study.id, await submitted(tx, study), request.owner, request.created_at)


async def record(
    tx: Transaction, place: Place, version: StudyVersion, samples: Samples, judged: Judged = NOBODY
) -> None:
    """Have this version hold from now on; `samples` is the study as it says. The caller holds the request's lock.

    Of what waits only those are looked at that were not `judged` before.
    """
    await tx.studies.add(version)
    entity, change = f"collection:{version.study}", (f"version {version.parent}", f"version {version.version}")
    tx.moves.record(entity, "redefined", change, request=place.collection.request_id, n=0, reason=version.reason)
    _tell(tx, place, version)
    misfits = list(judged.misfits)
    if late := [each for each in await tx.studies.waiting(version.study) if each not in judged.seen]:
        points, changes = await tx.studies.points(late), await tx.studies.changes(version.study)
        misfits += (await asyncio.to_thread(_judged, points, changes, samples)).misfits
    moves: list[Move] = []
    if misfits:
        reason = f"version {version.version} of its study has no such sample"
        moves = await tx.studies.take_back(version.study, misfits, reason)
    drawn = place.collection.total - place.collection.taken_back - sum(move.n for move in moves)
    if place.collection.is_closed and drawn < samples.count:
        await tx.collections.reopen(place.collection)
    await follow(tx, moves)
    tx.requests.mark_due([place.collection.request_id])


def _tell(tx: Transaction, place: Place, version: StudyVersion) -> None:
    address = place.address
    body = {
        "type": "study.redefined",
        "request": address.request_id,
        "transform": address.transform_id,
        "work": address.work,
        "collection": version.study,
        "version": version.version,
        "reason": version.reason,
    }
    tx.messages.add(address.request_id, [(f"idds/{address.vo}/studies/redefined", body)])


def _judged(
    waiting: Sequence[tuple[ContentId, int, Point]], changes: Sequence[Sequence[Change]], samples: Samples
) -> Judged:
    """Which of those that wait are no samples as they are drawn by now."""
    spaces = spaces_of(samples)
    fittings = {model_of(samples, space.fixed): Fitting(space) for space in spaces}
    constraints = {model_of(samples, space.fixed): Constraints(space) for space in spaces}
    seen = frozenset(content for content, _, _ in waiting)
    if len(waiting) * max(each.cost for each in constraints.values()) > MOST_COSTS:
        return Judged(seen, tuple(seen))
    misfits = []
    for content, version, point in waiting:
        model = model_of(samples, point)
        carried = fittings[model].carried(point, changes[version - 1 :])
        if carried != point or not constraints[model].let_through(point):
            misfits.append(content)
    return Judged(seen, tuple(misfits))


def _checked(before: Samples, changes: Sequence[Change]) -> Samples:
    """The study with these changes. It takes up to a second or two. Raises InvalidInput."""
    after, problems = redefined(before, changes)
    if problems:
        raise InvalidInput(problems)
    # Initial points were looked at before; those that fit no more are passed over.
    unfit = feasibility.problems(replace(after, initial=()), "")
    if unfit:
        raise InvalidInput([_placed(problem, after, changes) for problem in unfit])
    return after


def _check_room(identifier: CollectionId, version: int, samples: Samples, changes: Sequence[Change]) -> None:
    if version * len(msgspec.json.encode((samples.space, samples.segments, changes))) > MOST_WRITTEN:
        text = f"it has {version - 1:,} versions of so large a space: have another study begin with its results"
        raise Conflict(f"study {identifier} cannot be redefined: {text}")


def _placed(problem: Problem, after: Samples, changes: Sequence[Change]) -> Problem:
    """A problem of a constraint, at the change that brought it, or at all of them."""
    text = after.constraints[int(problem.pointer.rpartition("/")[2])] if "/" in problem.pointer[1:] else ""
    for number, change in enumerate(changes):
        if isinstance(change, Constrain) and change.expression == text:
            return Problem(f"/changes/{number}/expression", problem.message)
    return Problem("/changes", f"constraint {text!r}: {problem.message}")


def _check_version(identifier: CollectionId, version: int, wanted: int | None) -> None:
    if wanted is not None and wanted != version:
        raise Conflict(f"study {identifier} has version {version} by now, and not {wanted}")


def _refusal(place: Place, stopped: str | None) -> str | None:
    if stopped is not None:
        return f"it has stopped: {stopped}"
    if place.status is not Status.RUNNING:
        return f"it has ended {place.status}"
    if place.intent not in (Intent.RUN, Intent.SUSPEND):
        return f"its request is to {place.intent}"
    return None
