"""Tokens: what they give, until when, and to whom they are shown."""

import asyncio

from sqlalchemy import text

from idds.domain.identifiers import TokenId
from idds.domain.request import Principal, Role
from idds.store.database import Transaction
from tests.contract.store_world import ALICE, World

BOB = Principal("bob", "atlas")
ROBOT = Principal("robot", "atlas", Role.WFMS)
HELD = Principal("robot", "atlas", Role.WFMS, frozenset({"physics"}))
OTHER = Principal("alice", "cms")
OPERATOR = Principal("operator", "local", Role.OPERATOR)
SECOND = 1_000_000


async def test_a_token_gives_what_it_was_made_for_until_it_ends(world: World) -> None:
    collection = await world.collection()
    async with world.transaction() as tx:
        made = await tx.tokens.add("secret", HELD, note="for the robot")
        await tx.tokens.add("short", ALICE, collection=collection.id, expires_at=world.now + 10, note="payload")
        found = await tx.tokens.find("secret")
        assert found is not None
        assert (found.principal, found.collection_id, found.token_id, found.expires_at) == (HELD, None, made.id, None)
        short = await tx.tokens.find("short")
        assert short is not None
        assert (short.principal, short.collection_id, short.expires_at) == (ALICE, collection.id, world.now + 10)
        assert await tx.tokens.find("unknown") is None
    world.clock.advance(10)
    async with world.transaction() as tx:
        assert await tx.tokens.find("short") is None
        assert await tx.tokens.find("secret") == found


async def test_a_revoked_token_gives_nothing_and_stays(world: World) -> None:
    async with world.transaction() as tx:
        made = await tx.tokens.add("secret", ALICE)
        revoked = await tx.tokens.revoke(made.id)
        assert revoked is not None
        assert revoked.revoked_at == world.now
        assert await tx.tokens.find("secret") is None
        assert await tx.tokens.get(made.id, ALICE) == revoked
        assert await tx.tokens.revoke(made.id) is None
        assert await tx.tokens.revoke(TokenId(999)) is None


async def test_what_was_made_with_a_token_ends_with_it(world: World) -> None:
    async with world.transaction() as tx:
        first = await tx.tokens.add("first", ALICE)
        child = await tx.tokens.add("child", ALICE, made_by=first.id)
        await tx.tokens.add("grandchild", ALICE, made_by=child.id)
        other = await tx.tokens.add("other child", ALICE, made_by=first.id)
        await tx.tokens.add("apart", ALICE)
        await tx.tokens.revoke(other.id)
    world.clock.advance(SECOND)
    async with world.transaction() as tx:
        assert await tx.tokens.hold(first.id)
        assert (await tx.tokens.revoke(first.id)) is not None
        assert not await tx.tokens.hold(first.id)
        found = [await tx.tokens.find(secret) for secret in ("first", "child", "grandchild", "other child", "apart")]
        assert [grant is not None for grant in found] == [False, False, False, False, True]
        again = await tx.tokens.get(other.id, ALICE)
        assert again is not None
        assert again.revoked_at == world.now - SECOND, "it had been before"


async def test_a_token_stays_as_long_as_any_that_was_made_with_it(world: World) -> None:
    async with world.transaction() as tx:
        first = await tx.tokens.add("first", ALICE, expires_at=world.now)
        await tx.tokens.add("child", ALICE, expires_at=world.now + SECOND, made_by=first.id)
        assert await tx.tokens.forget_before(world.now + 1, limit=10) == 0
        assert await tx.tokens.forget_before(world.now + 2 * SECOND, limit=10) == 1
        assert await tx.tokens.forget_before(world.now + 2 * SECOND, limit=10) == 1


async def test_what_is_being_made_while_its_token_is_revoked_ends_with_it(postgres_world: World) -> None:
    world = postgres_world
    async with world.transaction() as tx:
        first = await tx.tokens.add("first", ALICE)
        child = await tx.tokens.add("child", ALICE, made_by=first.id)

    async def revoke() -> None:
        async with world.transaction() as tx:
            await tx.tokens.revoke(first.id)

    async with world.transaction() as tx:
        assert await tx.tokens.hold(child.id)
        await tx.tokens.add("grandchild", ALICE, made_by=child.id)
        revoking = asyncio.create_task(revoke())
        await until_somebody_waits(tx)
    await revoking
    async with world.transaction() as tx:
        assert await tx.tokens.find("grandchild") is None


async def until_somebody_waits(tx: Transaction) -> None:
    """Until another transaction waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(30):
        while not (await tx.connection.execute(waiting)).scalar_one():
            await asyncio.sleep(0.01)


async def test_tokens_are_shown_to_who_may_see_them(world: World) -> None:
    every = [ALICE, BOB, ROBOT, HELD, OTHER, OPERATOR]
    async with world.transaction() as tx:
        made = [await tx.tokens.add(f"secret {number}", principal) for number, principal in enumerate(every)]
        for principal, seen in [
            (ALICE, [0]),
            (BOB, [1]),
            (ROBOT, [0, 1, 2, 3]),
            (HELD, [2, 3]),
            (OTHER, [4]),
            (OPERATOR, [0, 1, 2, 3, 4, 5]),
        ]:
            assert await tx.tokens.list(principal) == [made[number] for number in seen]
            got = [await tx.tokens.get(token.id, principal) for token in made]
            assert got == [token if number in seen else None for number, token in enumerate(made)]
        assert await tx.tokens.list(OPERATOR, owner="alice") == [made[0], made[4]]
        assert await tx.tokens.list(OPERATOR, after=made[1].id, limit=2) == made[2:4]


async def test_when_a_token_was_used_last(world: World) -> None:
    async with world.transaction() as tx:
        first = await tx.tokens.add("first", ALICE)
        await tx.tokens.add("second", ALICE)
    world.clock.advance(SECOND)
    async with world.transaction() as tx:
        await tx.tokens.note_used({first.id})
        assert [token.last_used_at for token in await tx.tokens.list(ALICE)] == [world.now, None]


async def test_two_that_note_the_same_tokens_do_not_wait_for_each_other(postgres_world: World) -> None:
    world = postgres_world
    async with world.transaction() as tx:
        tokens = [await tx.tokens.add(str(number), ALICE) for number in range(3)]
    async with world.transaction() as one:
        await one.tokens.note_used({tokens[0].id, tokens[1].id})
        async with world.transaction() as other:
            await other.tokens.note_used({token.id for token in tokens})
    async with world.transaction() as tx:
        assert all(token.last_used_at == world.now for token in await tx.tokens.list(ALICE))


async def test_tokens_are_forgotten_after_their_end(world: World) -> None:
    async with world.transaction() as tx:
        endless = await tx.tokens.add("endless", ALICE)
        revoked = await tx.tokens.add("revoked", ALICE, expires_at=world.now + 1000 * SECOND)
        await tx.tokens.add("short", ALICE, expires_at=world.now)
        later = await tx.tokens.add("later", ALICE, expires_at=world.now + 2 * SECOND)
        await tx.tokens.revoke(revoked.id)
    world.clock.advance(SECOND)
    async with world.transaction() as tx:
        assert await tx.tokens.forget_before(world.now - 2 * SECOND, limit=10) == 0
        assert await tx.tokens.forget_before(world.now, limit=1) == 1
        assert await tx.tokens.forget_before(world.now, limit=10) == 1
        assert await tx.tokens.list(ALICE) == [endless, later]
