"""The stream of events, as somebody who listens has it."""

import asyncio
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import make_url

from idds.api.application import LISTENERS
from idds.api.listening import Listener, Listeners, Parcel
from idds.domain.errors import Unavailable
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal, Role
from idds.runtime.postgres_wakeups import PostgresWakeups
from idds.runtime.settings import ApiSettings
from idds.services.events import Tail
from idds.store.database import Database
from idds.store.schema import tokens
from tests.integration.api import Api, api_on
from tests.integration.listening import DEADLINE_S, Stream, Told, listening

QUICK = ApiSettings(authentication_memory_s=0, event_beat_s=0.05)
PATH = "/v1/events"


async def happen(api: Api, number: int = 1, *, request: int | None = None, entity: str = "test") -> None:
    """Have something happen, in a transaction each."""
    for _ in range(number):
        async with api.database.transaction("test") as tx:
            owner = None if request is None else RequestId(request)
            tx.moves.record(entity, "happened", (None, "new"), request=owner)


async def history(api: Api, request: int) -> list[dict[str, Any]]:
    """What the store says of a request, as it is told."""
    moves = (await api.get(f"/v1/requests/{request}/history?limit=1000"))["moves"]
    return [{name: value for name, value in (m | {"request": request}).items() if name != "ids"} for m in moves]


async def operator(api: Api) -> str:
    return await api.new_token("operator", role=Role.OPERATOR)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_happens_is_told_as_it_happens(database_url: str) -> None:
    async with api_on(database_url) as api, listening(api) as stream:
        request = await api.submit()
        expected = await history(api, request)
        told = await stream.take(len(expected))
        assert [each.kind for each in told] == ["move"] * len(expected)
        assert [each.id for each in told] == [each["id"] for each in expected]
        assert [each.document for each in told] == expected


async def test_each_is_told_what_it_may_see(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api, AsyncExitStack() as stack:

        async def stream(owner: str, vo: str, role: Role, shares: frozenset[str] | None = None) -> Stream:
            token = await api.doors.access.issue(Principal(owner, vo, role, shares))
            return await stack.enter_async_context(listening(api, token=token))

        streams = {
            "owner": await stream("owner", "vo", Role.USER),
            "another": await stream("another", "vo", Role.USER),
            "reader": await stream("reader", "vo", Role.READER),
            "wfms of a share": await stream("wfms", "vo", Role.WFMS, frozenset({"gold"})),
            "reader of another vo": await stream("reader", "other", Role.READER),
            "operator": await stream("operator", "other", Role.OPERATOR),
        }
        plain = await api.submit()
        gold = (await api.post("/v1/requests", {"workflow": {"name": "w", "works": [WORK]}, "share": "gold"}))["id"]
        await happen(api, entity="nobody's")
        everything = [*await history(api, plain), *await history(api, gold)]
        of_gold = await history(api, gold)
        last = await streams["operator"].take(len(everything) + 1)
        assert [told.document for told in last[:-1]] == everything
        assert (last[-1].document["entity"], last[-1].document["request"]) == ("nobody's", None)
        expected = {"owner": everything, "reader": everything, "wfms of a share": of_gold}
        for name, moves in expected.items():
            assert [told.document for told in await streams[name].take(len(moves))] == moves, name
        # Who was told nothing so far is told its own next: nothing else came before.
        for name, owner, vo in (("another", "another", "vo"), ("reader of another vo", "x", "other")):
            token = await api.new_token(owner, vo)
            its = (await api.post("/v1/requests", {"workflow": {"name": "w", "works": [WORK]}}, token=token))["id"]
            [first] = await streams[name].take(1)
            assert first.document["request"] == its


WORK = {"name": "w", "payload": {"argv": ["x"]}}


async def test_a_part_of_what_happens(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        one, other = await api.submit(), await api.submit()
        async with (
            listening(api, f"{PATH}?request={one}") as of_one,
            listening(api, f"{PATH}?request={one}&entity=collection:1&after=0") as of_collection,
            listening(api, f"{PATH}?entity=request:{other}", after=0) as of_other,
        ):
            await happen(api, request=other, entity=f"request:{other}")
            await happen(api, request=one, entity="collection:1")
            await happen(api, request=one, entity="transform:1")
            assert [told.document["entity"] for told in await of_one.take(2)] == ["collection:1", "transform:1"]
            before = [move for move in await history(api, one) if move["entity"] == "collection:1"]
            assert [told.document for told in await of_collection.take(len(before))] == before
            assert before[-1]["event"] == "happened"
            told = [told.document for told in await of_other.take(3)]
            assert [each["event"] for each in told if each["event"] == "happened"] == ["happened"]
            assert {each["entity"] for each in told} == {f"request:{other}"}


async def test_a_stream_goes_on_where_it_was_left_at_any_point(database_url: str) -> None:
    """While others write, a client comes and goes: together its streams are the history, each event once."""
    chance = random.Random(1)
    async with api_on(database_url) as api:
        token, told = await operator(api), list[Told]()
        stop = asyncio.Event()

        async def write() -> None:
            while not stop.is_set():
                await happen(api, chance.randint(1, 3))

        writers = [asyncio.create_task(write()) for _ in range(4)]
        last = 0
        for _ in range(25):
            async with listening(api, token=token, after=last) as stream:
                told += await stream.take(chance.randint(1, 12))
                last = stream.id
        stop.set()
        await asyncio.gather(*writers)
        async with api.database.snapshot() as tx:
            ids = [event.move.id for event in await tx.moves.events(0, 100_000)]
        async with listening(api, token=token, after=last) as stream:
            told += await stream.take(len([each for each in ids if each > last]))
        assert [each.id for each in told] == ids


async def test_catching_up_goes_through_any_number(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idds.services.events.AT_ONCE", 7)
    monkeypatch.setattr("idds.services.events.SPAN", 10)
    async with api_on(sqlite_url) as api:
        one, other = await api.submit(), await api.submit()
        for number in range(30):
            await happen(api, request=one if number % 3 else other)
        for path, request in ((PATH, None), (f"{PATH}?request={one}", one)):
            expected = [*await history(api, one), *(await history(api, other) if request is None else [])]
            async with listening(api, path, after=0) as stream:
                told = await stream.take(len(expected))
                assert [each.document for each in told] == sorted(expected, key=lambda each: each["id"])


async def test_the_stream_of_a_request_ends_with_it(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit()
        path = f"/v1/requests/{request}/events"
        async with listening(api, path, after=0) as stream, listening(api, path) as late:
            begun = await stream.take(len(await history(api, request)))
            await api.post(f"/v1/requests/{request}:cancel", None)
            await api.advance()
            moves = await history(api, request)
            rest = await stream.rest()
            assert [told.document for told in [*begun, *rest][:-1]] == moves
            assert rest[-1].kind == "end"
            assert [told.kind for told in await late.rest()] == ["move"] * (len(rest) - 1) + ["end"]
        # It has ended: what was missed comes, and the end.
        async with listening(api, path, after=moves[-3]["id"]) as stream:
            assert [told.document for told in await stream.rest()] == [*moves[-2:], {}]
        async with listening(api, path) as stream:
            assert [told.kind for told in await stream.rest()] == ["end"]


async def test_what_cannot_be_listened_to(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        request = await api.submit()
        other = await api.new_token("other")
        for path in (f"{PATH}?request={request}", f"/v1/requests/{request}/events"):
            assert (await api.call("GET", path, token=other)).status == 404
        last = (await history(api, request))[-1]["id"]
        for header in ("x", "-1", "1.5", "9" * 19, str(last + 1)):
            answer = await api.call("GET", PATH, headers={"Last-Event-ID": header})
            assert (answer.status, answer.document["problems"][0]["pointer"]) == (422, "Last-Event-ID"), header
        assert (await api.call("GET", PATH, headers={"Last-Event-ID": str(last)})).status == 200
        for query in ("request=x", "request=0", "entity=", "after=-1", "nothing=1"):
            assert (await api.call("GET", f"{PATH}?{query}")).status == 422, query


async def test_streams_are_counted(sqlite_url: str) -> None:
    settings = ApiSettings(authentication_memory_s=0, event_beat_s=0.05, max_streams=3, max_streams_each=2)
    async with api_on(sqlite_url, settings) as api:
        other, third = await api.new_token("other"), await api.new_token("third")
        async with listening(api), listening(api, token=other), AsyncExitStack() as stack:
            await stack.enter_async_context(listening(api))
            refused = await api.call("GET", PATH)
            assert (refused.status, refused.headers["Retry-After"]) == (429, "2")
            assert (await api.call("GET", PATH, token=third)).status == 503
            await stack.aclose()
            async with asyncio.timeout(DEADLINE_S):
                while (await api.call("GET", PATH)).status != 200:
                    await asyncio.sleep(0.01)


async def test_signs_of_life_tell_where_the_stream_stands(sqlite_url: str) -> None:
    async with api_on(sqlite_url, QUICK) as api, listening(api) as stream:
        begun = await stream.alive()
        await happen(api, 3, entity="nobody's")
        while await stream.alive() < begun + 3:
            pass
        # Coming back with that id misses nothing.
        request = await api.submit()
        moves = await history(api, request)
        async with listening(api, after=begun + 3) as again:
            assert [told.document for told in await again.take(len(moves))] == moves


@pytest.mark.parametrize("how", ["revoked", "expired", "another role"])
async def test_a_stream_ends_with_its_token(sqlite_url: str, how: str) -> None:
    async with api_on(sqlite_url, QUICK) as api:
        token = await api.doors.access.issue(Principal("some", "vo", Role.READER))
        async with listening(api, token=token) as stream:
            await stream.alive()
            changes = {"revoked": {"revoked_at": 1}, "expired": {"expires_at": 1}, "another role": {"role": "user"}}
            async with api.database.transaction("test") as tx:
                await tx.connection.execute(tokens.update().where(tokens.c.owner == "some").values(changes[how]))
            assert await stream.next() is None


async def test_a_stream_that_is_never_idle_ends_with_its_token(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Listener.take

    async def take_more(listener: Listener) -> Sequence[Parcel]:
        listener.give(Parcel(b": more\n\n", 0, has_end=False))
        await asyncio.sleep(0)
        return await take(listener)

    monkeypatch.setattr(Listener, "take", take_more)
    async with api_on(sqlite_url, QUICK) as api:
        token = await api.doors.access.issue(Principal("some", "vo", Role.READER))
        async with listening(api, token=token) as stream:
            await stream.alive()
            async with api.database.transaction("test") as tx:
                await tx.connection.execute(tokens.update().where(tokens.c.owner == "some").values(revoked_at=1))
            assert await stream.next() is None


async def test_streams_outlive_an_outage_of_the_database(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idds.api.listening.RETRY_S", 0.01)
    errors: list[Exception] = [Unavailable("away"), RuntimeError("a defect"), Unavailable("away")]
    whole = Tail.look

    async def look(self: Tail) -> Any:
        if errors:
            raise errors.pop()
        return await whole(self)

    monkeypatch.setattr(Tail, "look", look)
    async with api_on(sqlite_url, QUICK) as api, listening(api) as stream:
        request = await api.submit()
        moves = await history(api, request)
        assert [told.document for told in await stream.take(len(moves))] == moves
        assert not errors


async def test_nobody_follows_where_nobody_listens(sqlite_url: str) -> None:
    def following() -> int:
        return sum(task.get_name() == "events" for task in asyncio.all_tasks())

    async with api_on(sqlite_url, QUICK) as api:
        async with listening(api) as stream, listening(api):
            await stream.alive()
            assert following() == 1
        await until(lambda: following() == 0)


async def test_streams_end_with_the_service(sqlite_url: str) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_on(sqlite_url))
        streams = [await stack.enter_async_context(listening(api)) for _ in range(3)]
        await happen(api, 2)
        ended = asyncio.gather(*(stream.rest() for stream in streams))
        await api.client.server.close()
        assert await ended == [[], [], []]


def listeners_of(api: Api) -> Listeners:
    application: web.Application = api.client.app
    return application[LISTENERS]


@asynccontextmanager
async def deaf(api: Api, *headers: str) -> AsyncIterator[None]:
    """A client that opens a stream and never reads from it."""
    lines = (f"GET {PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.token}", *headers, "", "")
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, (api.client.host, api.client.port))
        await loop.sock_sendall(client, "\r\n".join(lines).encode())
        yield


async def flood(api: Api, request: int, while_: Callable[[], bool]) -> None:
    """Have large things happen."""
    async with asyncio.timeout(DEADLINE_S):
        while while_():
            async with api.database.transaction("test") as tx:
                for _ in range(20):
                    tx.moves.record("x", "e", (None, "new"), request=RequestId(request), reason="x" * 20_000)


async def test_what_another_process_commits_is_told_at_once(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idds.api.listening.LOOK_AGAIN_S", 3600.0)
    mine, its = PostgresWakeups(make_url(postgres_url)), PostgresWakeups(make_url(postgres_url))
    await mine.start()
    await its.start()
    other = Database(postgres_url, wakeups=its)
    try:
        async with api_on(postgres_url, wakeups=mine) as api, listening(api, token=await operator(api)) as stream:
            for number in range(3):
                async with other.transaction("another") as tx:
                    tx.moves.record(str(number), "happened", (None, "new"), request=None)
                assert (await stream.take(1))[0].document["entity"] == str(number)
    finally:
        await other.close()
        await mine.stop()
        await its.stop()


async def test_who_does_not_read_is_dropped_and_holds_up_nobody(sqlite_url: str) -> None:
    settings = ApiSettings(authentication_memory_s=0, max_event_bytes=200_000)
    async with api_on(sqlite_url, settings) as api:
        listeners = listeners_of(api)
        request = await api.submit()
        async with deaf(api), listening(api, f"{PATH}?entity=collection:1") as stream:
            await until(lambda: listeners.open == 2)
            await flood(api, request, lambda: listeners.tally.dropped == 0)
            await until(lambda: listeners.open == 1)
            await happen(api, request=request, entity="collection:1")
            assert (await stream.take(1))[0].document["event"] == "happened"
        assert listeners.tally.dropped == 1


async def test_who_does_not_read_what_the_store_has_is_dropped(sqlite_url: str) -> None:
    async with api_on(sqlite_url, QUICK) as api:
        request = await api.submit()
        left = iter(range(30))
        await flood(api, request, lambda: next(left, None) is not None)
        async with deaf(api, "Last-Event-ID: 0"):
            await until(lambda: listeners_of(api).tally.dropped == 1)


async def test_who_does_not_read_costs_no_memory(sqlite_url: str) -> None:
    settings = ApiSettings(authentication_memory_s=0, max_event_bytes=200_000)
    async with api_on(sqlite_url, settings) as api:
        request = await api.submit()
        listeners = listeners_of(api)
        async with deaf(api), deaf(api), listening(api, f"{PATH}?entity=collection:1"):
            await until(lambda: listeners.open == 3)
            tracemalloc.start()
            try:
                await flood(api, request, lambda: listeners.tally.dropped < 2)
                left = iter(range(60))  # 24 MB more, of which nobody is told
                await flood(api, request, lambda: next(left, None) is not None)
                await until(lambda: listeners.open == 1)
                held, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert held < 5_000_000
