"""Registering through the client: any number of contents, in blocks that may be sent again."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from idds.domain.errors import InvalidInput, Unavailable
from idds.sdk import contents as calls
from idds.sdk.views import NewContent, Registered
from tests.integration.test_client_faults import Service, busy, client_of, hangs_up, says


def taken(registered: int, known: int = 0) -> Any:
    return says({"registered": registered, "known": known})


def sent(service: Service) -> list[list[dict[str, Any]]]:
    """The contents of each call; aiohttp has unpacked them."""
    assert {headers["Content-Type"] for headers in service.headers} == {"application/x-ndjson"}
    assert {headers["Content-Encoding"] for headers in service.headers} == {"gzip"}
    return [[json.loads(line) for line in body.splitlines()] for _, _, body in service.calls]


async def test_blocks_are_sent_as_they_come_and_again_where_an_answer_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LINES_A_CALL", 2)
    drawn: list[int] = []
    drawn_at: list[int] = []

    def contents() -> Iterator[NewContent]:
        for number in range(5):
            drawn.append(number)
            yield NewContent(name=f"n{number}", bytes=0 if number == 0 else None)

    async def answer(request: web.Request) -> web.StreamResponse:
        drawn_at.append(len(drawn))
        return await taken(2)(request)

    service = Service(answer, hangs_up, busy, taken(0, 2), taken(1))
    async with client_of(service) as client:
        assert await client.register(3, contents()) == Registered(3, 2)
    blocks = sent(service)
    assert blocks[0] == [{"name": "n0", "bytes": 0}, {"name": "n1"}], "0 is a size, and is said"
    assert blocks[1] == blocks[2] == blocks[3] == [{"name": "n2"}, {"name": "n3"}]
    assert blocks[4] == [{"name": "n4"}]
    assert drawn_at == [3], "no more is held than a block and its next"


async def test_lines_that_are_long_make_smaller_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BYTES_A_CALL", 100)

    async def contents() -> AsyncIterator[dict[str, Any]]:
        for number in range(3):
            yield {"name": f"{number}" * 60}

    service = Service(taken(1), taken(1), taken(1))
    async with client_of(service) as client:
        assert await client.register(3, contents()) == Registered(3, 0)


async def test_what_is_wrong_is_counted_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "LINES_A_CALL", 2)
    refusal = says({"problems": [{"pointer": "/1/bytes", "message": "no"}, {"pointer": "", "message": "nor"}]}, 422)
    async with client_of(Service(taken(1, 1), refusal)) as client:
        with pytest.raises(InvalidInput) as caught:
            await client.register(3, [NewContent(name=f"n{number}") for number in range(4)])
        assert [problem.pointer for problem in caught.value.problems] == ["/3/bytes", ""]
        with pytest.raises(InvalidInput, match="JSON"):
            await client.register(3, [{"name": float("nan")}])


async def test_nothing_is_registered_without_a_call() -> None:
    service = Service()
    async with client_of(service) as client:
        assert await client.register(3, []) == Registered(0, 0)
    assert service.calls == []


async def test_patience_ends() -> None:
    async with client_of(Service(*[busy] * 20), patience_s=0.2) as client:
        with pytest.raises(Unavailable):
            await client.register(3, [NewContent(name="n")])


async def test_too_many_calls_are_waited_for_also_by_a_lease() -> None:
    lease = {"contents": [], "ended": True}
    service = Service(says({"detail": "too many calls"}, 429, Retry_After="0"), says(lease))
    async with client_of(service) as client:
        assert (await client.lease(3)).ended
    assert len(service.calls) == 2
