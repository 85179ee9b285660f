"""Who sees what is the same rule twice: in statements, and in memory for who listens."""

from itertools import product

from sqlalchemy import select

from idds.domain.request import Principal, Role, Terms
from idds.domain.workflow import Workflow
from idds.store.schema import requests
from idds.store.visibility import sees, visible
from tests.contract.store_world import WORK, world_of

OWNERS, VOS, SHARES = ("alice", "bob"), ("atlas", "cms"), ("", "a", "b")
HELD_TO = (None, frozenset[str](), frozenset({"a"}), frozenset({"", "b"}))


async def test_statements_and_memory_say_the_same(database_url: str) -> None:
    async with world_of(database_url) as world:
        async with world.transaction() as tx:
            for owner, vo, share in product(OWNERS, VOS, SHARES):
                await tx.requests.add(Workflow(name="w", works=(WORK,)), Principal(owner, vo), Terms(share=share))
        async with world.database.snapshot() as tx:
            rows = await tx.connection.execute(select(requests))
            for owner, vo, role, shares in product(OWNERS, VOS, Role, HELD_TO):
                principal = Principal(owner, vo, role, shares)
                found = {row.id for row in await tx.connection.execute(visible(select(requests.c.id), principal))}
                assert found == {
                    row.id for row in rows if sees(principal, owner=row.owner, vo=row.vo, share=row.share)
                }, principal
                # What belongs to no request, and so to no share, is the service's own.
                assert sees(principal, owner=None, vo=None, share=None) == (role is Role.OPERATOR and shares is None)
