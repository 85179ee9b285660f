"""What is asked of the database about a study is found by indexes, beside other studies as large."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, text, update

from idds.domain.collection import Collection
from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.statuses import ContentStatus
from idds.engine.transitions import ContentEvent
from idds.store.contents import of_ids
from idds.store.database import Database, Transaction
from idds.store.leases import Wanted
from idds.store.schema import contents, moves, samples, study_versions
from idds.store.study_listings import StudyListings
from idds.store.upgrade import upgrade
from tests.integration.test_plans import Hot, faults, hot
from tests.integration.test_pruning_plans import SAMPLES, STUDIES, fill

WAITING = LEASED = 40
"""So many of each study, the last ones, are available, and as many before them leased."""
NUMBERS = ("uq_samples_study_id_number", "sqlite_autoindex_samples_1")
SAID = ("pk_intermediates", "sqlite_autoindex_intermediates_1")
MOVES = ("ix_moves_entity_id", "pk_moves")
GROWING = ("contents", "samples", "intermediates", "moves")
"""Of the others each study has few rows: a plan may read them whole."""


async def _go_on(database: Database) -> None:
    """Their samples have points and scores; of each some wait, and some are leased; and so they moved."""
    async with database.transaction("test") as tx:
        first = (contents.c.id - 1) % SAMPLES
        free, taken = first >= SAMPLES - WAITING, first >= SAMPLES - WAITING - LEASED
        point = {"parameters": {"x": 1.0}, "number": 0}
        await tx.connection.execute(update(contents).values(payload=point))
        await tx.connection.execute(update(contents).where(taken).values(status="leased", lessee="l", lease_until=1))
        await tx.connection.execute(update(contents).where(free).values(status="available"))
        done = samples.c.number < SAMPLES - WAITING - LEASED
        await tx.connection.execute(update(samples).where(done).values(score=samples.c.number))
        await tx.connection.execute(
            update(samples).where(~done).values(objective_values=None, is_pruned=False, score=None)
        )
        await tx.connection.execute(insert(moves), [each for study in range(1, STUDIES + 1) for each in _moves(study)])
        document: dict[str, Any] = {"space": {}, "fixed": {}, "constraints": []}
        version = {"document": document, "changes": [], "reason": "", "author": "", "first": 0, "at": 1}
        await tx.connection.execute(
            insert(study_versions),
            [
                {"study_id": study, "version": number, "parent": number - 1, **version}
                for study in range(1, STUDIES + 1)
                for number in range(2, 20)
            ],
        )
    async with database.transaction("test") as tx:
        if not tx.is_sqlite:  # where nobody gathers statistics
            await tx.connection.execute(text("ANALYZE"))


def _moves(study: int) -> list[dict[str, Any]]:
    step = {"request_id": study, "entity": f"collection:{study}", "n": 4, "agent": "t"}
    statuses = [("landed", None, "available"), ("leased", "available", "leased"), ("processed", "leased", "done")]
    return [
        {"event": event, "from_status": before, "to_status": after, "at": at, **step}
        | {"ids": [(study - 1) * SAMPLES + at + place for place in range(1, 5)]}
        for at in range(0, SAMPLES - WAITING - LEASED, 4)
        for event, before, after in statuses
    ]


def _steps(study: Collection, heard: int) -> list[Hot]:
    last = study.id * SAMPLES
    free: Sequence[ContentId] = [ContentId(last - n) for n in range(20)]
    held = [ContentId(last - WAITING - n) for n in range(20)]
    of_samples, of_available = ("pk_samples", *NUMBERS), "ix_contents_available"
    outcomes = [Outcome(each, 1, True, None, objective_values=(0.5,)) for each in held]
    return [
        hot("give", lambda tx: tx.leases.give(study, [Wanted(10, "l", 5)]), of_available),
        hot("keep", lambda tx: tx.leases.extend(study.id, [(dict.fromkeys(held, 0), 9)])),
        hot("report", lambda tx: _report(tx, held), of_available),
        hot("results", lambda tx: _note(tx, study, outcomes), *of_samples),
        hot("news", lambda tx: tx.samples.news(study.id, heard), "pk_samples", *MOVES, *SAID),
        hot("best points", lambda tx: tx.samples.best(study.id, "maximize", 20), *of_samples, "ix_samples_score"),
        hot("finished", lambda tx: tx.study_series.finished(study.id), "ix_samples_score", *NUMBERS),
        hot("waiting", lambda tx: tx.studies.waiting(study.id), of_available, *of_samples),
        hot("taken back", lambda tx: tx.studies.take_back(study.id, free, "r"), *of_samples, of_available),
        hot("ended", lambda tx: tx.studies.ended_since(study, heard), *MOVES, *of_samples),
        hot("results of another", lambda tx: tx.studies.results(study.id, 50), *of_samples, "ix_samples_complete"),
        hot("page", lambda tx: StudyListings(tx).samples(study.id, after=50, limit=20), *of_samples),
        hot("sample", lambda tx: StudyListings(tx).sample(study.id, 7), *of_samples),
        hot("best", lambda tx: StudyListings(tx).best(study.id, "minimize", 20), *of_samples, "ix_samples_score"),
        hot("origins", lambda tx: StudyListings(tx).origins(study.id), "ix_samples_origin"),
        hot("pruned", lambda tx: StudyListings(tx).pruned(study.id), "ix_samples_pruned"),
        hot("pace", lambda tx: StudyListings(tx).ended_since(study.id, 0), *MOVES),
        hot("running", lambda tx: tx.study_series.running(study.id, 20), "ix_contents_lessee",
            "ix_contents_lease", *SAID, *of_samples),
        hot("setbacks", lambda tx: tx.study_series.setbacks(study.id, 20), "pk_samples", *MOVES),
        hot("curves", lambda tx: tx.study_series.curves(study.id, 5, 10), *of_samples, *SAID),
    ]  # fmt: skip


async def _note(tx: Transaction, study: Collection, outcomes: Sequence[Outcome]) -> None:
    """As it is written at the end of a delivery, in one statement on PostgreSQL."""
    tx.messages.go_on_from(study.request_id, 0)
    tx.samples.note_results(outcomes)
    tx.windows.give_back_samples(study.id, len(outcomes))
    await tx.collections.count(study.id, {ContentStatus.DONE: 1, ContentStatus.LEASED: -1})
    tx.messages.add(study.request_id, [("topic", {"type": "x"})])
    tx.moves.record(f"collection:{study.id}", "processed", ("leased", "done"), request=study.request_id, n=1)
    await tx.flush()


async def _report(tx: Transaction, held: Sequence[ContentId]) -> None:
    await tx.contents.get(held)
    await tx.contents.move_these(ContentEvent.PROCESSED, ContentStatus.LEASED, held, values={}, reason=None)
    await tx.contents.move(ContentEvent.RETURNED, of_ids(held), sources=(ContentStatus.LEASED,))


async def test_what_is_asked_about_a_study_is_found_by_indexes(database_url: str) -> None:
    database = Database(database_url)
    try:
        await upgrade(database)
        await fill(database)
        await _go_on(database)
        async with database.snapshot() as tx:
            (study,) = await tx.collections.of_request(RequestId(2))
            heard, _ = await tx.samples.news(study.id, None)
        found = await faults(database, _steps(study, heard - 9))
        found = [each for each in found if any(f": {table} by " in each for table in GROWING)]
        assert not found, "\n".join(found)
    finally:
        await database.close()
