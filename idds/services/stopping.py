"""The course of studies: where one stands by now, and its end before all its samples are drawn."""

from dataclasses import replace

from idds.domain.collection import Collection
from idds.domain.workflow import Samples
from idds.engine import stopping
from idds.engine.transform import Course
from idds.services.announcing import follow, tell_collection_closed
from idds.services.drawing import call_off, not_drawn
from idds.store.database import Transaction


async def course_of(tx: Transaction, study: Collection, samples: Samples) -> Course | None:
    """Where a study stands, folded on from what came of its samples; None where nothing is said of its course.

    The caller holds the request's lock, and has it advanced again when time alone may end the study.
    """
    if samples.stop is None and samples.iterations is None:
        return None
    course = await tx.studies.course(study)
    if samples.stop is None or course.stopped is not None:
        return Course(course.iteration, course.stopped)
    ended = await tx.studies.ended_since(study, course.heard)
    if ended.heard > course.heard:
        minimize = samples.directions[0] == "minimize"
        standing = stopping.folded(course.standing, samples.stop, ended.scores, minimize=minimize)
        spent, running = standing.spent + ended.spent, standing.running + ended.running
        course = replace(course, heard=ended.heard, standing=replace(standing, spent=spent, running=running))
        await tx.studies.keep_course(study.id, course)
    due_at = stopping.due_at(samples.stop, course.standing, tx.now)
    if due_at is not None and due_at > tx.now:
        await tx.requests.have_due(study.request_id, due_at)
    return Course(course.iteration, None, met=stopping.met(samples.stop, course.standing, tx.now))


async def stop(tx: Transaction, study: Collection, reason: str) -> None:
    """End a study: nothing more is drawn, what waits is taken back, and what is being evaluated goes on."""
    course = await tx.studies.course(study)
    await tx.studies.keep_course(study.id, replace(course, stopped=reason))
    entity = f"collection:{study.id}"
    tx.moves.record(entity, "stopped", (None, "stopped"), request=study.request_id, n=0, reason=reason)
    await call_off(tx, study.id)
    waiting = await tx.studies.waiting(study.id)
    moves = await tx.studies.take_back(study.id, waiting, reason) if waiting else []
    await not_drawn(tx, study, study.next_no - study.total)
    if await tx.collections.close(study, reason):
        await tell_collection_closed(tx, study.id)
    await follow(tx, moves)


async def begin_iteration(tx: Transaction, study: Collection, iteration: int) -> None:
    """Note that all of the one before has ended, and that this one is asked for."""
    course = await tx.studies.course(study)
    await tx.studies.keep_course(study.id, replace(course, iteration=iteration))
    entity, change = f"collection:{study.id}", (f"iteration {course.iteration}", f"iteration {iteration}")
    tx.moves.record(entity, "iteration", change, request=study.request_id, n=0)
