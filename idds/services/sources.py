"""Sources of contents that turn out to be none: a dataset that is not there, a sampler that breaks."""

from idds.domain.effect import Effect
from idds.domain.identifiers import CollectionId
from idds.engine import transform as engine
from idds.services.announcing import follow, tell_transform
from idds.store.database import Transaction

CANCELLED_AT_ONCE = 10_000


async def give_up(tx: Transaction, effect: Effect, field: str, reason: str) -> None:
    """End the transform that waits for this effect, and take back what is not taken yet.

    `field` is the source's place in the work. Raises Fenced.
    """
    collection = await tx.collections.get(CollectionId(int(effect.entity.partition(":")[2])))
    assert collection is not None
    await tx.requests.lock([collection.request_id])
    await tx.effects.finish([effect])
    transform = await tx.transforms.get(collection.transform_id)
    request = await tx.requests.get(collection.request_id)
    assert transform is not None
    assert request is not None
    names = [work.name for work in request.workflow.works]
    broke = engine.Broke(f"/works/{names.index(transform.work)}/{field}: {reason}")
    decision = engine.decide(transform, request.workflow.work(transform.work), broke, tx.now)
    if decision.entity.status is transform.status:
        return
    tx.transforms.save(transform, decision.entity, "broke")
    await tell_transform(tx, request, decision.entity)
    for each in await tx.collections.of_request(request.id):
        if each.transform_id == transform.id:
            while moves := await tx.contents.cancel_untaken(each.id, CANCELLED_AT_ONCE):
                await follow(tx, moves)
            await tx.collections.close(each, reason)
    tx.requests.mark_due([request.id])
