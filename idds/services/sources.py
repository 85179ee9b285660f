"""What cannot go on is ended, and what it holds is given back: a dataset that is not there, a request that breaks."""

from idds.domain.effect import Effect
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.request import Request
from idds.domain.statuses import EffectKind, Intent, Relation, Status
from idds.domain.transform import Transform
from idds.engine import transform as engine
from idds.services.announcing import follow, tell_collection_closed, tell_transform
from idds.services.drawing import call_off
from idds.services.opening import close_window
from idds.services.settlement import cancellation
from idds.store.database import Transaction

CANCELLED_AT_ONCE = 10_000


async def give_up(tx: Transaction, effect: Effect, field: str, reason: str) -> None:
    """End the transform that waits for this effect, and take back what is not taken yet.

    `field` is the source's place in the work. Raises Fenced.
    """
    assert effect.request_id is not None
    await tx.requests.lock([effect.request_id])
    await tx.effects.finish([effect])
    collection = await tx.collections.get(CollectionId(int(effect.entity.partition(":")[2])))
    assert collection is not None
    if collection.is_closed:
        return  # nobody waits for it any more: it was stopped, or has enough
    transform = await tx.transforms.get(collection.transform_id)
    request = await tx.requests.get(collection.request_id)
    assert transform is not None
    assert request is not None
    names = [work.name for work in request.workflow.works]
    broke = engine.Broke(f"/works/{names.index(transform.work)}/{field}: {reason}")
    decision = engine.decide(transform, request.workflow.work(transform.work), broke, tx.now)
    if decision.entity.status is transform.status:
        return
    await _end(tx, request, transform, decision.entity)
    tx.requests.mark_due([request.id])


async def abandon(tx: Transaction, request_id: RequestId, reason: str) -> None:
    """End all transforms of a request that cannot be advanced, and have their processings ended."""
    await tx.requests.lock([request_id])
    request = await tx.requests.get(request_id)
    assert request is not None
    for transform in await tx.transforms.of_request(request.id):
        if transform.status.is_terminal:
            continue
        work = request.workflow.work(transform.work)
        await _end(tx, request, transform, engine.decide(transform, work, engine.Broke(reason), tx.now).entity)
        for processing in await tx.processings.open_of(transform.id):
            await tx.processings.order([processing.id], Intent.CANCEL)
            if processing.status is Status.NEW:
                await tx.effects.hasten(f"processing:{processing.id}", [EffectKind.SUBMIT])
            else:
                tx.effects.add([cancellation(processing.id, processing.attempt)], request.id)


async def _end(tx: Transaction, request: Request, before: Transform, after: Transform) -> None:
    tx.transforms.save(before, after, "broke")
    await tell_transform(tx, request, after)
    ended = [each for each in await tx.collections.of_request(request.id) if each.transform_id == before.id]
    for each in ended:
        if await tx.collections.close(each, after.reason, cut_off=each.relation is Relation.INPUT):
            await tell_collection_closed(tx, each.id)
        if each.relation is Relation.INPUT:
            await call_off(tx, each.id)
            while moves := await tx.contents.cancel_untaken(each.id, CANCELLED_AT_ONCE):
                await follow(tx, moves)
            close_window(tx, each)
