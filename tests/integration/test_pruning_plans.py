"""What pruners ask the database costs what they compare with, not what was ever said."""

from sqlalchemy import insert, text

from idds.domain.content import Intermediate
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus, Intent, Status
from idds.engine.pruning import COMPARED, ON_RUNG, Progress, Standing
from idds.store.database import Database, Transaction
from idds.store.intermediates import OnRung
from idds.store.schema import collections, contents, intermediates, requests, rungs, samples, transforms
from idds.store.upgrade import upgrade
from tests.integration.test_plans import faults, hot

STUDIES, SAMPLES, STEPS = 3, 4000, 10
HALF = 2000.0
INDEXES = (
    "pk_samples",
    "ix_samples_complete",
    "pk_intermediates",
    "sqlite_autoindex_intermediates_1",
    "ix_rungs_study_id_bracket_rung_content_id_value",
)
THEIR_OWN = tuple(f"{name} by a scan" for name in ("complete", "newest", "ranked", "said", "steps"))
"""What a statement has gathered itself."""


async def fill(database: Database) -> None:
    """Studies of which each second sample was pruned half way; values are the samples' numbers."""
    async with database.transaction("test") as tx:
        for study in range(1, STUDIES + 1):
            await _study(tx, study)
    async with database.transaction("test") as tx:
        if not tx.is_sqlite:  # where nobody gathers statistics
            await tx.connection.execute(text("ANALYZE"))


async def _study(tx: Transaction, study: int) -> None:
    times = {"created_at": 1, "changed_at": 1}
    who = {"name": "w", "owner": "o", "vo": "v", "share": "", "priority": 0, "workflow": {}, "digest": ""}
    await tx.connection.execute(
        insert(requests), [{"id": study, "status": Status.RUNNING, "intent": Intent.RUN, **who, **times}]
    )
    one = {"id": study, "request_id": study, "work": "w", "iteration": 0, "status": Status.RUNNING}
    await tx.connection.execute(insert(transforms), [{**one, **times}])
    where = {
        "id": study,
        "request_id": study,
        "transform_id": study,
        "relation": "input",
        "source": "samples",
        "scope": "",
        "name": "",
    }
    await tx.connection.execute(insert(collections), [{**where, "batch": 1, "is_closed": True, "created_at": 1}])
    numbers = [((study - 1) * SAMPLES + number + 1, number) for number in range(SAMPLES)]
    fixed = {"request_id": study, "collection_id": study, "bytes": 0, "status": ContentStatus.DONE, "changed_at": 1}
    await tx.connection.execute(
        insert(contents), [{"id": i, "name": f"s{number}", "group_no": number, **fixed} for i, number in numbers]
    )
    await tx.connection.execute(
        insert(samples),
        [
            {
                "content_id": i,
                "study_id": study,
                "number": number,
                "is_pruned": bool(number % 2),
                "objective_values": None if number % 2 else [1.0],
            }
            for i, number in numbers
        ],
    )
    await tx.connection.execute(
        insert(intermediates),
        [
            {"content_id": i, "step": step, "value": number, "at": 1}
            for i, number in numbers
            for step in range(STEPS // 2 if number % 2 else STEPS)
        ],
    )
    await tx.connection.execute(
        insert(rungs),
        [
            {"content_id": i, "rung": rung, "study_id": study, "bracket": number % 3, "value": number}
            for i, number in numbers
            for rung in range(3)
        ],
    )


async def test_what_is_compared_is_found_by_indexes_and_is_right(database_url: str) -> None:
    database = Database(database_url)
    study, mine = CollectionId(2), [ContentId(SAMPLES + n) for n in range(1, 40)]
    said = [Intermediate(content, 1, 3, 0.5) for content in mine]
    arrived = [OnRung(content, 0, 1, HALF) for content in mine]
    try:
        await upgrade(database)
        await fill(database)
        async with database.snapshot() as tx:
            assert await tx.intermediates.complete(study) == COMPARED
            standings = await tx.intermediates.standings(study, [2, 7, 99], 0.25)
            # Of the newest complete ones, the even numbers from 200 on, a quarter is below 399.5.
            first = SAMPLES - 2 * COMPARED
            around = (first + 2.0 * ((COMPARED - 1) // 4), first + 2.0 * ((COMPARED - 1) // 4 + 1))
            assert standings == {2: Standing(COMPARED, around), 7: Standing(COMPARED, around)}
            newest = [number for number in range(SAMPLES) if number % 3 == 0][-ON_RUNG:]
            below, above = sum(number < HALF for number in newest), sum(number > HALF for number in newest)
            assert 0 < below < above < len(newest) == ON_RUNG
            others = await tx.intermediates.others(study, arrived, maximize=False)
            assert set(others.values()) == {(ON_RUNG, below)}
            others = await tx.intermediates.others(study, arrived, maximize=True)
            assert set(others.values()) == {(ON_RUNG, above)}
        found = await faults(
            database,
            [
                hot("note", lambda tx: tx.intermediates.note([Intermediate(mine[0], 1, 5000, 0.5)]), *INDEXES),
                hot("progress", lambda tx: tx.intermediates.progress(mine), *INDEXES),
                hot("save", lambda tx: tx.intermediates.save({mine[0]: Progress(3, 0.5, 3)}), *INDEXES),
                hot("stopped", lambda tx: tx.intermediates.stopped(mine), *INDEXES),
                hot("complete", lambda tx: tx.intermediates.complete(study), *INDEXES),
                hot("standings", lambda tx: tx.intermediates.standings(study, [2, 7], 0.5), *INDEXES),
                hot("others", lambda tx: tx.intermediates.others(study, arrived, maximize=True), *INDEXES),
            ],
        )
        assert not [each for each in found if not any(own in each for own in THEIR_OWN)], "\n".join(found)
        async with database.transaction("test") as tx:
            await tx.intermediates.note([*said, Intermediate(mine[0], 1, 3, 0.25)])
            standings = await tx.intermediates.standings(study, [3], 0.0)
    finally:
        await database.close()
    assert standings[3].around[0] == first
