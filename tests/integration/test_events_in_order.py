"""No event is missed and none comes twice, in whatever order transactions give ids, commit and roll back."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import select

from idds.domain.request import Principal, Role
from idds.services.events import Events, Interest, Tail
from idds.store.database import Database, Transaction
from idds.store.schema import moves
from idds.store.upgrade import upgrade

ALL = Interest(Principal("operator", "vo", Role.OPERATOR))


class Undone(Exception):
    """A transaction is rolled back."""


@asynccontextmanager
async def upgraded(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()


class Writer:
    """A transaction that is held open. Its moves have their ids at once, and are seen when it has ended."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self._database = database
        self._stack = AsyncExitStack()
        self._tx: Transaction | None = None

    async def begin(self) -> Transaction:
        """Begin by writing something else: it has its transaction's number from here on."""
        if self._tx is None:
            self._tx = await self._stack.enter_async_context(self._database.transaction(self.name))
            await self._tx.windows.add("rse", self.name, limit_bytes=None, limit_files=None)
        return self._tx

    async def write(self, number: int = 1) -> None:
        tx = await self.begin()
        for _ in range(number):
            tx.moves.record(self.name, "test", (None, "new"), request=None)
        await tx.write_gathered()

    async def commit(self) -> None:
        await self._stack.aclose()

    async def roll_back(self) -> None:
        assert not await self._stack.__aexit__(Undone, Undone(), None)


async def stored(database: Database) -> list[int]:
    async with database.snapshot() as tx:
        return [row.id for row in await tx.connection.execute(select(moves.c.id).order_by(moves.c.id))]


async def seen(tail: Tail) -> list[str]:
    return [event.move.entity for event in await tail.look()]


async def test_a_lower_id_that_is_committed_later_is_waited_for(postgres_url: str) -> None:
    async with upgraded(postgres_url) as database:
        tail = Events(database).tail()
        assert await tail.start()
        # The one that begins later takes the lower id: its transaction's number is above all that have ended.
        early, late = Writer(database, "early"), Writer(database, "late")
        await early.begin()
        await late.write()
        await early.write(2)
        await early.commit()
        for _ in range(3):
            assert await seen(tail) == []
            assert tail.look_again_s
        await late.commit()
        assert await seen(tail) == ["late", "early", "early"]
        assert tail.look_again_s is None


async def test_what_was_rolled_back_is_waited_for_no_longer_than_it_may_come(postgres_url: str) -> None:
    async with upgraded(postgres_url) as database:
        tail = Events(database).tail()
        assert await tail.start()
        undone, slow, quick = Writer(database, "undone"), Writer(database, "slow"), Writer(database, "quick")
        await undone.write()
        await quick.write()
        await slow.write()
        await quick.write()
        await quick.commit()
        assert await seen(tail) == []
        await undone.roll_back()
        # Only those that were writing when the gap was seen are waited for, but for all of them.
        assert await seen(tail) == []
        another = Writer(database, "another")
        await another.write()
        await slow.commit()
        assert await seen(tail) == ["quick", "slow", "quick"]
        await another.commit()
        assert await seen(tail) == ["another"]


async def test_a_transaction_that_writes_no_moves_holds_up_nobody(postgres_url: str) -> None:
    async with upgraded(postgres_url) as database:
        tail = Events(database).tail()
        assert await tail.start()
        undone, done = Writer(database, "undone"), Writer(database, "done")
        async with database.transaction("test") as tx:
            await tx.windows.add("rse", "A", limit_bytes=None, limit_files=None)
            await undone.write()
            await done.write()
            await undone.roll_back()
            await done.commit()
            assert await seen(tail) + await seen(tail) == ["done"]


async def test_listening_begins_where_nothing_lower_can_come(postgres_url: str) -> None:
    async with upgraded(postgres_url) as database:
        before, between = Writer(database, "before"), Writer(database, "between")
        await before.write()
        await between.write()
        await between.commit()
        tail = Events(database).tail()
        assert not await tail.start()
        assert tail.look_again_s
        after = Writer(database, "after")
        await after.write()
        await after.commit()
        assert not await tail.start()
        await before.commit()
        assert await tail.start()
        assert await seen(tail) == ["after"]
        found, until = await Events(database).page(ALL, 0, tail.place)
        assert ([event.move.entity for event in found], until) == (["before", "between", "after"], tail.place)


async def test_gaps_that_stay_are_passed(database_url: str) -> None:
    async with upgraded(database_url) as database:
        tail = Events(database).tail()
        assert await tail.start()
        for name in "abcd":
            writer = Writer(database, name)
            await writer.write(3)
            await writer.commit()
        async with database.transaction("test") as tx:
            await tx.connection.execute(moves.delete().where(moves.c.entity.in_(["a", "c"])))
        assert await seen(tail) + await seen(tail) + await seen(tail) == ["b"] * 3 + ["d"] * 3


@pytest.mark.parametrize("seed", range(4))
async def test_many_writers_in_any_order(postgres_url: str, seed: int) -> None:
    """Transactions are held open and ended by chance, while tails come and go: each goes on where one before was."""
    chance = random.Random(seed)
    async with upgraded(postgres_url) as database:
        events = Events(database)
        tail = events.tail()
        assert await tail.start()
        told: list[int] = []
        open_ones: list[Writer] = []
        for step in range(250):
            match chance.choice(("write", "write", "commit", "commit", "roll back", "look", "look", "again")):
                case "write" if (len(open_ones) < 6 and chance.random() < 0.6) or not open_ones:
                    writer = Writer(database, str(step))
                    await writer.write(chance.randint(1, 3))
                    open_ones.append(writer)
                case "write":
                    await chance.choice(open_ones).write(chance.randint(1, 3))
                case "commit" if open_ones:
                    await open_ones.pop(chance.randrange(len(open_ones))).commit()
                case "roll back" if open_ones and chance.random() < 0.5:
                    await open_ones.pop(chance.randrange(len(open_ones))).roll_back()
                case "again":
                    # A new tail begins later: what is between is read from the store.
                    fresh = events.tail()
                    if await fresh.start():
                        told += await between(events, told[-1] if told else 0, fresh.place)
                        tail = fresh
                case _:
                    told += [event.move.id for event in await tail.look()]
            assert told == sorted(set(told))
        for writer in open_ones:
            await writer.commit()
        async with asyncio.timeout(30):
            while len(told) < len(await stored(database)):
                told += [event.move.id for event in await tail.look()]
        assert told == await stored(database)


async def between(events: Events, after: int, until: int) -> list[int]:
    found: list[int] = []
    while after < until:
        page, after = await events.page(ALL, after, until)
        found += [event.move.id for event in page]
    return found


async def test_writers_and_readers_at_once(database_url: str) -> None:
    async with upgraded(database_url) as database:
        events = Events(database)
        tail = events.tail()
        assert await tail.start()
        told: list[int] = []
        done = asyncio.Event()

        async def write(name: str) -> None:
            chance = random.Random(name)
            for _ in range(25):
                try:
                    async with database.transaction(name) as tx:
                        for _ in range(chance.randint(1, 4)):
                            tx.moves.record(name, "test", (None, "new"), request=None)
                            await tx.write_gathered()
                        if chance.random() < 0.2:
                            raise Undone  # noqa: TRY301 -- this is how a transaction is rolled back
                except Undone:
                    pass

        async def read() -> None:
            while not done.is_set() or told != await stored(database):
                told.extend(event.move.id for event in await tail.look())
                assert told == sorted(set(told))

        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await asyncio.gather(*(tasks.create_task(write(name)) for name in "abcdefgh"))
            done.set()
