"""Redefining studies while they run: a new version of the space, and what follows for the samples that wait."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from idds.domain.content import Move
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.redefinition import Change, Constrain, StudyVersion
from idds.domain.request import Principal
from idds.domain.space import Point
from idds.domain.statuses import Intent, SourceKind, Status
from idds.domain.workflow import Samples
from idds.engine.redefinition import Fitting, redefined
from idds.engine.spaces import spaces_of
from idds.search import feasibility
from idds.search.constraints import Constraints
from idds.services.announcing import follow
from idds.services.studies import Definition, definition, first_version, submitted
from idds.store.collections import Place
from idds.store.database import Database, Transaction
from idds.store.visibility import sees

TRIES = 3
"""So often a redefinition that names no version is made anew, where another came between."""
MOST_COSTS = 100_000_000
"""What evaluating constraints on samples that wait may cost, about a second; beyond that all are replaced."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody orders. With `if_version` only of that version."""

    principal: Principal
    changes: Sequence[Change]
    reason: str
    if_version: int | None = None


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
                collection = await tx.collections.get(identifier, order.principal)
                if collection is None or collection.source is not SourceKind.SAMPLES:
                    raise NotFound(f"there is no study {identifier}")
                before = await definition(tx, collection)
            _check_version(identifier, before.version, order.if_version)
            after = await _checked(before.samples, order.changes)
            try:
                return await self._record(identifier, order, before, after)
            except _Outrun:
                continue
        raise Conflict(f"study {identifier} is being redefined again and again; say which version is meant")

    async def _record(self, identifier: CollectionId, order: Order, before: Definition, after: Samples) -> StudyVersion:
        async with self._database.transaction("api") as tx:
            place = await tx.collections.place(identifier)
            if place is None or not sees(order.principal, owner=place.owner, vo=place.vo, share=place.share):
                raise NotFound(f"there is no study {identifier}")
            if refusal := _refusal(place, (await tx.studies.course(place.collection)).stopped):
                raise Conflict(f"study {identifier} cannot be redefined: {refusal}")
            newest = await tx.studies.newest(identifier)
            if (1 if newest is None else newest.version) != before.version:
                raise _Outrun
            version = StudyVersion(
                study=identifier,
                version=before.version + 1,
                parent=before.version,
                space=after.space,
                fixed=after.fixed,
                constraints=after.constraints,
                changes=tuple(order.changes),
                reason=order.reason,
                author=order.principal.owner,
                first=await tx.studies.first_undrawn(place.collection),
                iteration=None,
                at=tx.now,
            )
            await record(tx, place, version, after)
            details = {"version": version.version, "reason": order.reason}
            tx.audit.record(order.principal, "redefine", f"collection:{identifier}", details)
            return version

    async def versions(
        self, principal: Principal, identifier: CollectionId, *, after: int, limit: int
    ) -> list[StudyVersion]:
        """The versions of a study above `after`, in order. Raises NotFound."""
        async with self._database.snapshot(timeless=True) as tx:
            collection = await tx.collections.get(identifier, principal)
            if collection is None or collection.source is not SourceKind.SAMPLES:
                raise NotFound(f"there is no study {identifier}")
            found: list[StudyVersion] = []
            if after < 1:
                request = await tx.requests.get(collection.request_id)
                assert request is not None
                samples = await submitted(tx, collection)
                found.append(first_version(identifier, samples, request.owner, request.created_at))
            return [*found, *await tx.studies.versions(identifier, after=max(1, after), limit=limit - len(found))]


async def record(tx: Transaction, place: Place, version: StudyVersion, samples: Samples) -> None:
    """Have this version hold from now on; `samples` is the study as it says. The caller holds the request's lock."""
    await tx.studies.add(version)
    entity, change = f"collection:{version.study}", (f"version {version.parent}", f"version {version.version}")
    tx.moves.record(entity, "redefined", change, request=place.collection.request_id, n=0, reason=version.reason)
    _tell(tx, place, version)
    waiting = await tx.studies.waiting(version.study)
    changes = await tx.studies.changes(version.study)
    misfits = await asyncio.to_thread(_misfits, waiting, changes, samples)
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


def _misfits(
    waiting: Iterable[tuple[ContentId, int, Point]], changes: Sequence[Sequence[Change]], samples: Samples
) -> list[ContentId]:
    """Those that are no samples as they are drawn by now."""
    found, space = list(waiting), spaces_of(samples)[0]
    fitting, constraints = Fitting(space), Constraints(space)
    if len(found) * constraints.cost > MOST_COSTS:
        return [content for content, _, _ in found]
    fits = {
        content
        for content, version, point in found
        if fitting.carried(point, changes[version - 1 :]) == point and constraints.let_through(point)
    }
    return [content for content, _, _ in found if content not in fits]


async def _checked(before: Samples, changes: Sequence[Change]) -> Samples:
    """The study with these changes. Raises InvalidInput."""
    after, problems = redefined(before, changes)
    if problems:
        raise InvalidInput(problems)
    # Initial points were looked at before; those that fit no more are passed over.
    unfit = await asyncio.to_thread(feasibility.problems, replace(after, initial=()), "")
    if unfit:
        raise InvalidInput([_placed(problem, after, changes) for problem in unfit])
    return after


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
