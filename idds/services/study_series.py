"""What charts of a study show: bounded in what is told, and remembered, as many ask for it time and again."""

from collections.abc import Sequence
from itertools import accumulate

from idds.domain.errors import NotFound
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.domain.statuses import SourceKind
from idds.domain.study_series import (
    ParameterImportance,
    StudyCurves,
    StudyDelivery,
    StudyImportance,
    StudyPoint,
    StudyPoints,
    StudySeries,
)
from idds.domain.workflow import Samples
from idds.engine.spaces import spaces_of
from idds.ports.importance import Importance, ImportanceFailure, Weighed
from idds.services.remembering import Remembered
from idds.services.studies import definition
from idds.store.database import Database, Transaction

TIMES = 200
"""So many points of time at most: more than a chart has room for."""
POINTS, BEST = 300, 100
CURVES, STEPS = 30, 100
WIDE = 50
"""Of a study of more parameters fewer samples are told."""
RUNNING, SETBACKS = 50, 30
WEIGHED, FEWEST = 2000, 50
"""Importance is told of so many samples at most, and of no fewer: less than five in their best tenth are chance."""


class StudyCharts:
    """What the API does for who draws charts of studies. All raise NotFound for what is not the caller's to see."""

    def __init__(self, database: Database, importance: Importance) -> None:
        self._database = database
        self._importance = importance
        self._series: Remembered[CollectionId, StudySeries] = Remembered(self._read_series)
        self._points: Remembered[CollectionId, StudyPoints] = Remembered(self._read_points)
        self._curves: Remembered[CollectionId, StudyCurves] = Remembered(self._read_curves)
        self._delivery: Remembered[CollectionId, StudyDelivery] = Remembered(self._read_delivery)
        self._weights: Remembered[CollectionId, StudyImportance] = Remembered(self._weigh)

    async def series(self, principal: Principal, study: CollectionId) -> StudySeries:
        """The best value over time."""
        await self._check(principal, study)
        return await self._series.get(study)

    async def points(self, principal: Principal, study: CollectionId) -> StudyPoints:
        """Finished samples, as many as a chart has room for."""
        await self._check(principal, study)
        return await self._points.get(study)

    async def curves(self, principal: Principal, study: CollectionId) -> StudyCurves:
        """What was said of the newest samples on the way."""
        await self._check(principal, study)
        return await self._curves.get(study)

    async def importance(self, principal: Principal, study: CollectionId) -> StudyImportance:
        """How much each parameter had to do with the best results."""
        await self._check(principal, study)
        return await self._weights.get(study)

    async def delivery(self, principal: Principal, study: CollectionId) -> StudyDelivery:
        """What is being evaluated, and what came back without a result."""
        await self._check(principal, study)
        return await self._delivery.get(study)

    async def _check(self, principal: Principal, study: CollectionId) -> None:
        async with self._database.snapshot(timeless=True) as tx:
            found = await tx.collections.get(study, principal)
            if found is None or found.source is not SourceKind.SAMPLES:
                raise NotFound(f"there is no study {study}")

    async def _read_series(self, study: CollectionId) -> StudySeries:
        async with self._database.snapshot(timeless=True) as tx:
            directions = (await _definition(tx, study)).directions
            finished = await tx.study_series.finished(study)
            rows = await tx.study_series.best(study, directions, max(1, -(-finished // TIMES)))
        least = [
            tuple(accumulate((row.values[n] for row in rows), min if direction == "minimize" else max))
            for n, direction in enumerate(directions)
        ]
        times = tuple(row.at for row in rows)
        return StudySeries(study, directions, times, tuple(accumulate(row.finished for row in rows)), tuple(least))

    async def _read_points(self, study: CollectionId) -> StudyPoints:
        async with self._database.snapshot(timeless=True) as tx:
            defined = await _definition(tx, study)
            directions, finished = defined.directions, await tx.study_series.finished(study)
            points = await _chosen(tx, study, finished, _at_most(POINTS, defined))
            if finished > len(points):
                best = max(1, _at_most(BEST, defined) // len(directions))
                for n, direction in enumerate(directions):
                    points += await tx.study_series.foremost(study, n, direction, best)
        unlike = {point.number: point for point in points}
        return StudyPoints(study, directions, finished, tuple(unlike[number] for number in sorted(unlike)))

    async def _read_curves(self, study: CollectionId) -> StudyCurves:
        async with self._database.snapshot(timeless=True) as tx:
            direction = (await _definition(tx, study)).directions[0]
            curves = await tx.study_series.curves(study, CURVES, STEPS)
        return StudyCurves(study, direction, tuple(sorted(curves, key=lambda curve: curve.number)))

    async def _read_delivery(self, study: CollectionId) -> StudyDelivery:
        async with self._database.snapshot() as tx:
            running = await tx.study_series.running(study, RUNNING)
            setbacks = await tx.study_series.setbacks(study, SETBACKS)
            return StudyDelivery(study, tx.now, tuple(running), tuple(setbacks))

    async def _weigh(self, study: CollectionId) -> StudyImportance:
        async with self._database.snapshot(timeless=True) as tx:
            defined = await _definition(tx, study)
            points = await _chosen(tx, study, await tx.study_series.finished(study), _at_most(WEIGHED, defined))
        if len(points) < FEWEST:
            reason = f"it is told of {FEWEST} finished samples or more; there are {len(points)}"
            return StudyImportance(study, len(points), (), reason)
        try:
            weights = await self._importance.weigh(_weighed(defined, points))
        except ImportanceFailure as failure:
            return StudyImportance(study, len(points), (), str(failure))
        whole = sum(weights.values())
        parts = [ParameterImportance(name, weight / whole if whole else 0.0) for name, weight in weights.items()]
        return StudyImportance(study, len(points), tuple(sorted(parts, key=lambda part: -part.importance)))


def _at_most(samples: int, defined: Samples) -> int:
    """So many samples, and fewer of a study of very many parameters."""
    widest = max(len(space.parameters) for space in spaces_of(defined))
    return max(FEWEST, min(samples, samples * WIDE // max(1, widest)))


async def _chosen(tx: Transaction, study: CollectionId, finished: int, most: int) -> list[StudyPoint]:
    parts = 1
    while finished > most * parts:
        parts *= 2
    return await tx.study_series.chosen(study, parts, 2 * most)


def _weighed(defined: Samples, points: Sequence[StudyPoint]) -> Weighed:
    spaces = [space.parameters for space in spaces_of(defined)]
    return Weighed(
        directions=defined.directions,
        spaces=spaces,
        space_of=[point.number % len(spaces) for point in points],
        points=[point.parameters for point in points],
        values=[point.values for point in points],
    )


async def _definition(tx: Transaction, study: CollectionId) -> Samples:
    collection = await tx.collections.get(study)
    if collection is None:
        raise NotFound(f"there is no study {study}")
    return (await definition(tx, collection)).samples
