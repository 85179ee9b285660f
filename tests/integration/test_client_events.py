"""The stream of events, as a service sends it that breaks off, sends things twice, or will have none of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp import web

from idds.domain.errors import Forbidden, Unavailable
from idds.sdk.events import ServerEvent, server_events
from idds.sdk.exchange import Delays
from tests.integration.test_client_faults import (
    REQUEST,
    Answer,
    Service,
    busy,
    client_of,
    hangs_up,
    is_silent,
    says,
    streams,
)

END = "event: end\ndata: {}\n\n"


def move(number: int) -> str:
    return (
        f'id: {number}\nevent: move\ndata: {{"id": {number}, "request": 1, "entity": "request:1", "event": "e",'
        f' "from_status": null, "to_status": "running", "n": 1, "agent": "a", "reason": null, "at": 5}}\n\n'
    )


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: a\n\n", [("message", "a", "")]),
        ("id: 7\nevent: move\ndata: a\ndata:b\n\ndata: c\n\n", [("move", "a\nb", "7"), ("message", "c", "7")]),
        ("event: move\r\ndata: a\r\n\r\n", [("move", "a", "")]),
        (": hush\n\n", [("", "", ""), ("", "", "")]),
        ("id: 9\n\ndata: a\n\n", [("", "", "9"), ("message", "a", "9")]),
        ("id: 9\0\ndata: a\n\n", [("message", "a", "")]),
        ("retry: 5\nodd\ndata: a\n\n", [("message", "a", "")]),
        ("data: cut off", []),
    ],
)
async def test_events_as_the_standard_has_them(text: str, events: list[tuple[str, str, str]]) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for line in text.encode().split(b"\n")[:-1]:
            yield line

    assert [event async for event in server_events(lines())] == [ServerEvent(*event) for event in events]


async def test_each_event_comes_once_over_broken_connections() -> None:
    service = Service(
        streams(": hello\n\n", move(3), move(4), move(5)[:20], complete=False),
        hangs_up,
        busy,
        streams(move(5), ": still here\n\n", complete=True),
        streams(move(6), END, complete=True),
    )
    async with client_of(service) as client:
        moves = [move async for move in client.events(1)]
    assert [(move.id, move.request, move.to_status) for move in moves] == [(n, 1, "running") for n in (3, 4, 5, 6)]
    assert [path for _, path, _ in service.calls] == ["/v1/requests/1/events"] * 5
    assert [headers.get("Last-Event-ID") for headers in service.headers] == [None, "4", "4", "4", "5"]
    assert {headers["Accept"] for headers in service.headers} == {"text/event-stream"}


async def test_events_of_everything_go_on_where_it_was_said_and_end_when_they_are_left() -> None:
    async def for_ever(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(move(8).encode())
        return await is_silent(request)

    service = Service(for_ever)
    async with client_of(service) as client:
        async for event in client.events(entity="request:1", after=7):
            assert event.id == 8
            break
    assert [path for _, path, _ in service.calls] == ["/v1/events?entity=request:1"]
    assert service.headers[0]["Last-Event-ID"] == "7"


async def test_news_give_patience_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    class Counted(Delays):
        def __init__(self, patience_s: float) -> None:
            begun.append(patience_s)
            super().__init__(patience_s)

    monkeypatch.setattr("idds.sdk.events.Delays", Counted)
    service = Service(busy, busy, streams(": hello\n", complete=False), busy, streams(END, complete=True))
    async with client_of(service, patience_s=9) as client:
        assert [move async for move in client.events(1)] == []
    assert begun == [9, 9]


async def test_a_stream_that_says_nothing_is_given_up() -> None:
    async with client_of(Service(*[streams(complete=True)] * 20), patience_s=0.3) as client:
        with pytest.raises(Unavailable, match="broke off"):
            [move async for move in client.events(1)]


async def test_a_stream_that_is_refused() -> None:
    async with client_of(Service(says({"detail": "not for you"}, 403))) as client:
        with pytest.raises(Forbidden, match="not for you"):
            [move async for move in client.events()]


class Followed(Service):
    """A request that changes when its `states` are asked for, and a stream of events."""

    def __init__(self, stream: Answer, *states: str) -> None:
        super().__init__()
        self._stream = stream
        self._states = list(states)
        self.looks = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/events"):
            return await self._stream(request)
        self.looks += 1
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return await says(REQUEST | {"status": state})(request)


async def test_following_goes_by_events() -> None:
    told, looked = asyncio.Event(), asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b": hello\n\n")
        while service.looks < 2:  # at once, and when the stream stands
            await asyncio.sleep(0.005)
        looked.set()
        await told.wait()
        service._states = ["finished"]
        await response.write(move(2).encode())
        return await is_silent(request)

    service = Followed(stream, "running")
    async with client_of(service) as client, aclosing(client.follow(1, interval_s=0.01)) as seen:
        assert (await anext(seen)).status == "running"
        following = asyncio.create_task(anext(seen))
        await looked.wait()
        before = service.looks
        told.set()
        assert (await following).status == "finished"
    assert service.looks - before <= 2, "it looks when it is told to, not all the time"


@pytest.mark.parametrize("refused", [says({"detail": "no"}, 403), says({"detail": "no"}, 404), hangs_up])
async def test_following_does_without_a_stream(refused: Answer) -> None:
    service = Followed(refused, "new", "running", "running", "finished")
    async with client_of(service) as client:
        seen = [request.status.value async for request in client.follow(1, interval_s=0.01)]
        assert seen == ["new", "running", "finished"]
        assert (await client.wait(1, interval_s=0.01)).status == "finished"
