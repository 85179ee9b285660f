"""A study with many samples, written into the store as if they had been drawn and evaluated."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, update

from idds.domain.identifiers import CollectionId
from idds.domain.statuses import ContentStatus
from idds.store.database import Database
from idds.store.schema import collections, contents, intermediates, samples

SECOND = 1_000_000


def point(number: int) -> dict[str, Any]:
    """Spread evenly over x, n and kind, and over tilt where there is one."""
    x, spread = number * math.pi % 1, number * math.e % 1
    kind = "plane" if number % 3 == 0 else "bowl"
    found = {"x": x, "n": round(64**spread), "kind": kind}
    return {**found, "tilt": number * math.sqrt(2) % 1} if kind == "plane" else found


def losses(parameters: Mapping[str, Any]) -> tuple[float, float]:
    """All depends on x, hardly anything on n; the second is least where the first is not."""
    tilt = 0.1 * parameters.get("tilt", 0.0)
    return (parameters["x"] - 0.3) ** 2 + parameters["n"] / 1e4 + tilt, (parameters["x"] - 0.6) ** 2 + tilt


async def fill(
    database: Database,
    study: CollectionId,
    numbers: Sequence[int],
    *,
    objectives: int = 1,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Samples with these numbers that are done, each a second after the one before; with `more` parameters."""
    async with database.transaction("test") as tx:
        request = (await tx.connection.execute(select(collections).where(collections.c.id == study))).one().request_id
        first = int((await tx.connection.execute(select(func.max(contents.c.id)))).scalar() or 0) + 1
        rows = [
            {
                "id": first + place,
                "request_id": request,
                "collection_id": study,
                "name": f"sample-{number:08d}",
                "bytes": 0,
                "group_no": number,
                "status": ContentStatus.DONE,
                "attempt": 1,
                "payload": {"parameters": {**point(number), **(more or {})}, "number": number},
                "changed_at": number * SECOND,
            }
            for place, number in enumerate(numbers)
        ]
        await tx.connection.execute(insert(contents), rows)
        scores = [list(losses(point(number))[:objectives]) for number in numbers]
        await tx.connection.execute(
            insert(samples),
            [
                {
                    "content_id": first + place,
                    "study_id": study,
                    "number": number,
                    "objective_values": values,
                    "score": values[0],
                }
                for place, (number, values) in enumerate(zip(numbers, scores, strict=True))
            ],
        )
        counted = update(collections).where(collections.c.id == study)
        await tx.connection.execute(counted.values(n_done=collections.c.n_done + len(rows)))


async def say(database: Database, study: CollectionId, number: int, values: Sequence[float]) -> None:
    """What was said of a sample on the way: a value a step."""
    async with database.transaction("test") as tx:
        found = select(samples.c.content_id).where(samples.c.study_id == study, samples.c.number == number)
        content = (await tx.connection.execute(found)).scalar_one()
        await tx.connection.execute(
            insert(intermediates),
            [
                {"content_id": content, "step": step, "value": value, "at": step * SECOND}
                for step, value in enumerate(values)
            ],
        )
