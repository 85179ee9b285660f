"""Claims of the dead are ended at the start of the one process that SQLite allows."""

from idds.domain.effect import NewEffect
from idds.domain.statuses import EffectKind
from tests.contract.store_world import World

LEASE = 60_000_000


async def test_what_the_dead_had_claimed_is_due_at_once(world: World) -> None:
    request = await world.submit()
    async with world.transaction() as tx:
        tx.effects.add([NewEffect(EffectKind.LIST, "collection:1", 0, {})], request.id)
        tx.messages.add(request.id, [("idds/vo/requests/running", {"type": "request.running"})])
    async with world.transaction() as tx:
        assert len(await tx.effects.claim(EffectKind.LIST, owner="dead", lease=LEASE, limit=1)) == 1
        assert await tx.messages.claim(owner="dead", lease=LEASE, limit=1) == [request.id]
    async with world.transaction() as tx:
        assert not await tx.effects.claim(EffectKind.LIST, owner="me", lease=LEASE, limit=1)
        assert not await tx.messages.claim(owner="me", lease=LEASE, limit=1)
        await tx.claims.give_back(None)
    async with world.transaction() as tx:
        (effect,) = await tx.effects.claim(EffectKind.LIST, owner="me", lease=LEASE, limit=1)
        assert effect.epoch == 2
        assert await tx.messages.claim(owner="me", lease=LEASE, limit=1) == [request.id]
