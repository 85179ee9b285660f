"""Effects: recorded once, claimed by one at a time, fenced."""

import pytest

from idds.domain.effect import Effect, NewEffect
from idds.domain.statuses import EffectKind
from idds.engine.retry import FIRST_DELAY
from idds.store.effects import Fenced
from tests.contract.store_world import World

LIST, STAGE = EffectKind.LIST, EffectKind.STAGE
LEASE = 1000


def an_effect(entity: str = "collection:1", attempt: int = 0, kind: EffectKind = LIST, delay: int = 0) -> NewEffect:
    return NewEffect(kind, entity, attempt, {"of": entity}, delay)


async def add(world: World, *new: NewEffect) -> None:
    async with world.transaction() as tx:
        tx.effects.add(new, None)


async def claim(world: World, owner: str = "me", kind: EffectKind = LIST, limit: int = 10) -> list[Effect]:
    async with world.transaction() as tx:
        return await tx.effects.claim(kind, owner=owner, lease=LEASE, limit=limit)


async def finish(world: World, effects: list[Effect], *new: NewEffect) -> None:
    async with world.transaction() as tx:
        tx.effects.add(new, None)
        await tx.effects.finish(effects)


async def test_what_is_recorded_is_claimed_as_it_was(world: World) -> None:
    request = await world.submit()
    async with world.transaction() as tx:
        tx.effects.add([NewEffect(STAGE, "replica:7", 3, {"rse": "DISK", "replicas": [7, 8]})], request.id)
    (effect,) = await claim(world, kind=STAGE)
    assert effect.kind is STAGE
    assert (effect.entity, effect.attempt, effect.request_id) == ("replica:7", 3, request.id)
    assert effect.payload == {"rse": "DISK", "replicas": [7, 8]}
    assert (effect.epoch, effect.tries) == (1, 1)


async def test_an_effect_is_recorded_once_by_its_natural_key(world: World) -> None:
    await add(world, an_effect(), an_effect())
    await add(world, an_effect(), an_effect(attempt=1), an_effect(kind=STAGE))
    assert len(await claim(world)) == 2
    assert len(await claim(world, kind=STAGE)) == 1


async def test_what_one_has_claimed_the_other_does_not_get(world: World) -> None:
    await add(world, *(an_effect(f"collection:{n}") for n in range(5)))
    first, second, third = await claim(world, "a", limit=3), await claim(world, "b", limit=3), await claim(world, "c")
    assert [effect.entity for effect in first] == [f"collection:{n}" for n in range(3)]
    assert [effect.entity for effect in second] == ["collection:3", "collection:4"]
    assert third == []


async def test_a_claim_that_ended_is_taken_over_and_its_former_holder_is_fenced(world: World) -> None:
    await add(world, an_effect())
    (stale,) = await claim(world, "a")
    world.clock.advance(LEASE)
    (taken,) = await claim(world, "b")
    assert (taken.epoch, taken.tries) == (2, 2)
    with pytest.raises(Fenced):
        async with world.transaction() as tx:
            await tx.effects.finish([stale])
    with pytest.raises(Fenced):
        async with world.transaction() as tx:
            await tx.effects.hold(stale, LEASE)
    async with world.transaction() as tx:
        await tx.effects.postpone([stale], "late", 0)
    assert await claim(world, "c") == []
    async with world.transaction() as tx:
        await tx.effects.finish([taken])
    with pytest.raises(Fenced):
        async with world.transaction() as tx:
            await tx.effects.finish([taken])


async def test_a_fenced_finish_takes_back_all_that_was_written_with_it(world: World) -> None:
    await add(world, an_effect(), an_effect("collection:2"))
    first, second = await claim(world)
    async with world.transaction() as tx:
        await tx.effects.finish([first])
    with pytest.raises(Fenced):
        await finish(world, [second, first], an_effect("collection:3"))
    world.clock.advance(LEASE)
    assert [effect.entity for effect in await claim(world)] == ["collection:2"]


async def test_a_claim_that_is_held_on_to_does_not_end(world: World) -> None:
    await add(world, an_effect())
    (mine,) = await claim(world)
    world.clock.advance(LEASE - 1)
    async with world.transaction() as tx:
        await tx.effects.hold(mine, LEASE)
    world.clock.advance(LEASE - 1)
    assert await claim(world, "other") == []
    async with world.transaction() as tx:
        await tx.effects.finish([mine])


async def test_what_is_postponed_comes_back_after_its_pause(world: World) -> None:
    await add(world, an_effect(), an_effect("collection:2"))
    first, second = await claim(world)
    async with world.transaction() as tx:
        await tx.effects.postpone([first], "it did not answer")
        await tx.effects.postpone([second], None, 7)
    world.clock.advance(7)
    assert [effect.entity for effect in await claim(world)] == ["collection:2"]
    world.clock.advance(FIRST_DELAY - 7)
    (again,) = [effect for effect in await claim(world) if effect.entity == "collection:1"]
    assert again.tries == 2
    async with world.transaction() as tx:
        await tx.effects.postpone([again], "still not")
        assert await tx.effects.next_due([LIST]) is not None
    world.clock.advance(FIRST_DELAY)
    assert all(effect.entity != "collection:1" for effect in await claim(world))


async def test_a_delayed_effect_is_due_later_and_next_due_tells_when(world: World) -> None:
    await add(world, an_effect(delay=50), an_effect("collection:2", delay=30))
    async with world.transaction() as tx:
        assert await tx.effects.next_due([LIST]) == world.now + 30
        assert await tx.effects.next_due([STAGE]) is None
    assert await claim(world) == []
    world.clock.advance(50)
    assert len(await claim(world)) == 2


async def test_only_what_nobody_has_claimed_is_taken_back(world: World) -> None:
    await add(world, an_effect())
    await claim(world)
    await add(world, an_effect(attempt=1), an_effect(kind=STAGE), an_effect("collection:2"))
    async with world.transaction() as tx:
        assert len(await tx.effects.drop("collection:1", [LIST])) == 1
    assert [effect.entity for effect in await claim(world)] == ["collection:2"]
    assert len(await claim(world, kind=STAGE)) == 1


async def test_who_stops_cleanly_leaves_nothing_claimed(world: World) -> None:
    await add(world, an_effect(), an_effect("collection:2"))
    await claim(world, "a", limit=1)
    await claim(world, "b", limit=1)
    async with world.transaction() as tx:
        await tx.claims.give_back("a")
    assert [effect.entity for effect in await claim(world)] == ["collection:1"]


async def test_what_is_added_is_seen_in_the_same_transaction(world: World) -> None:
    request = await world.submit()
    async with world.transaction() as tx:
        tx.effects.add([an_effect()], request.id)
        assert [row["entity"] for row in await tx.effects.of_request(request.id)] == ["collection:1"]
        assert len(await tx.effects.drop("collection:1", [LIST])) == 1
    assert await claim(world) == []
