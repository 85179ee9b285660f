"""Studies that go by iterations: before the next is drawn, the space is redefined around the best."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from idds.domain.course import Around
from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import Change, StudyVersion
from idds.domain.space import Point
from idds.domain.statuses import SourceKind, Status
from idds.domain.workflow import Samples
from idds.engine.redefinition import Fitting, redefined
from idds.engine.regions import around, leading, limits_of
from idds.engine.spaces import model_of, spaces_of
from idds.search import feasibility
from idds.services.redefining import record
from idds.services.studies import as_defined, submitted
from idds.store.database import Database

AUTHOR = "idds"
RANKED = 10_000
"""So many results, the best, are looked at."""


@dataclass(frozen=True, slots=True)
class _Results:
    """The best results of a study, each with its version, of so many in total; and what made the versions."""

    best: Sequence[tuple[int, Point]]
    total: int
    changes: Sequence[Sequence[Change]]


async def redefine_for(database: Database, identifier: CollectionId, iteration: int) -> bool:
    """Redefine a study for an iteration by the rule that it has, once; False where another version came between."""
    async with database.snapshot(timeless=True) as tx:
        collection = await tx.collections.get(identifier)
        assert collection is not None
        assert collection.source is SourceKind.SAMPLES
        original = await submitted(tx, collection)
        rule = original.iterations.redefine if original.iterations is not None else None
        redefinitions = await tx.studies.redefinitions(identifier)
        if rule is None or any(each.iteration == iteration for each in redefinitions):
            return True
        before = as_defined(original, await tx.studies.newest(identifier))
        best = await tx.samples.best(identifier, original.directions[0], RANKED)
        total = len(best) if len(best) < RANKED else await tx.study_series.finished(identifier)
    limits = limits_of(original, redefinitions)
    results = _Results(best, total, [each.changes for each in redefinitions])
    after, made, n = await asyncio.to_thread(_redefined, before.samples, limits, results, rule)
    if not made:
        return True
    async with database.transaction("transformer") as tx:
        place = await tx.collections.place(identifier)
        assert place is not None
        if place.collection.is_closed or place.status is not Status.RUNNING:
            return True
        newest = await tx.studies.newest(identifier)
        if (1 if newest is None else newest.version) != before.version:
            return False
        version = StudyVersion(
            study=identifier,
            version=before.version + 1,
            parent=before.version,
            space=after.space,
            fixed=after.fixed,
            constraints=after.constraints,
            changes=tuple(made),
            reason=f"iteration {iteration}: around the best of {n:,} results",
            author=AUTHOR,
            first=await tx.studies.first_undrawn(place.collection),
            iteration=iteration,
            at=tx.now,
            segments=after.segments,
        )
        await record(tx, place, version, after)
    return True


def _redefined(before: Samples, limits: Samples, results: _Results, rule: Around) -> tuple[Samples, list[Change], int]:
    """The study around its best, by which changes, and of how many results; no changes where nothing would be left."""
    made, n = list[Change](), 0
    for space, outer in zip(spaces_of(before), spaces_of(limits), strict=True):
        model = model_of(before, outer.fixed)
        own = [each for each in results.best if model_of(before, each[1]) == model]
        fitting = Fitting(outer)
        ranked = [fitting.carried(point, results.changes[version - 1 :]) for version, point in own]
        total = round(results.total * len(own) / max(1, len(results.best)))
        best, fitted = leading(ranked, total, rule.best)
        made += [replace(change, model_id=model) for change in around(space, outer, best, rule)]
        n += fitted
    after, problems = redefined(before, made)
    assert not problems, "the rule makes sound spaces of sound ones"
    if made and feasibility.problems(replace(after, initial=()), ""):
        made = []
    return after, made, n
