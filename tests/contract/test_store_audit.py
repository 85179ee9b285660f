"""The audit log: written with the change it tells of, or not at all."""

import pytest

from idds.domain.request import Principal, Role
from idds.store.audit import CALL
from tests.contract.store_world import World

ALICE = Principal("alice", "atlas")
ROBOT = Principal("robot", "atlas", Role.WFMS)


async def test_entries_are_read_in_order_by_entity_and_by_owner(world: World) -> None:
    call = CALL.set("call-1")
    async with world.transaction() as tx:
        tx.audit.record(ALICE, "submit", "request:1", {"name": "first"})
        tx.audit.record(ROBOT, "cancel", "request:1")
        tx.audit.record(ALICE, "submit", "request:2")
    CALL.reset(call)
    async with world.transaction() as tx:
        every = await tx.audit.page()
        assert [(e.owner, e.role, e.action, e.entity, e.call, e.details) for e in every] == [
            ("alice", Role.USER, "submit", "request:1", "call-1", {"name": "first"}),
            ("robot", Role.WFMS, "cancel", "request:1", "call-1", None),
            ("alice", Role.USER, "submit", "request:2", "call-1", None),
        ]
        assert {e.at for e in every} == {world.now}
        assert await tx.audit.page(limit=2) == every[:2]
        assert await tx.audit.page(after=every[1].id) == every[2:]
        assert await tx.audit.page(entity="request:1") == every[:2]
        assert await tx.audit.page(owner="alice") == [every[0], every[2]]


async def test_an_entry_goes_with_its_change(world: World) -> None:
    async def broken() -> None:
        async with world.transaction() as tx:
            tx.audit.record(ALICE, "submit", "request:1")
            await tx.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken()
    async with world.transaction() as tx:
        assert await tx.audit.page() == []


async def test_old_entries_are_forgotten_the_oldest_first(world: World) -> None:
    for _ in range(3):
        async with world.transaction() as tx:
            tx.audit.record(ALICE, "submit", "request:1")
        world.clock.advance(10)
    async with world.transaction() as tx:
        every = await tx.audit.page()
        assert await tx.audit.forget_before(world.now - 10, limit=1) == 1
        assert await tx.audit.page() == every[1:]
        assert await tx.audit.forget_before(world.now - 10, limit=5) == 1
        assert await tx.audit.forget_before(world.now - 10, limit=5) == 0
        assert await tx.audit.page() == every[2:]
