"""Knowing callers, and remembering them for a moment."""

import asyncio
import time
from dataclasses import replace

import pytest

from idds.api.authentication import Authentication, admit
from idds.api.route import Caller
from idds.domain.access import Grant
from idds.domain.errors import Forbidden, Unauthenticated
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import HOUSE, Principal, Role
from idds.runtime.settings import ApiSettings
from idds.services.access import Access

USER = Grant(Principal("owner", "vo"), token_id=TokenId(7))
READER = Grant(Principal("reader", "vo", Role.READER))
OF_HOUSE = Grant(Principal("prometheus", HOUSE, Role.READER))
WFMS = Grant(Principal("robot", "vo", Role.WFMS))
OPERATOR = Grant(Principal("operator", "vo", Role.OPERATOR))
PAYLOAD = Grant(Principal("owner", "vo"), CollectionId(5))


class CountingAccess(Access):
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known = {"idds_a", "idds_b", "idds_c"}
        self.revocations = 0
        self.proxy = None
        self.grant = USER
        self.is_overtaken = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def authenticate(self, secret: str) -> Grant:
        self.asked.append(secret)
        is_known = secret in self.known
        await self.gate.wait()
        if not is_known:
            raise Unauthenticated("unknown")
        self.revocations += self.is_overtaken
        return self.grant


class Parts:
    def __init__(self, size: int = 10) -> None:
        self.now = 100.0
        self.access = CountingAccess()
        settings = ApiSettings(authentication_memory_s=3, authentication_memory_size=size)
        self.authentication = Authentication(self.access, settings, lambda: self.now)

    async def call(self, secret: str) -> Grant:
        return await self.authentication.authenticate(f"Bearer {secret}")


async def test_a_caller_is_remembered_for_a_moment_only() -> None:
    parts = Parts()
    assert await parts.call("idds_a") is USER
    parts.access.known.clear()
    parts.now += 2.9
    await parts.call("idds_a")
    assert parts.access.asked == ["idds_a"]
    parts.now += 0.2
    with pytest.raises(Unauthenticated):
        await parts.call("idds_a")


async def test_a_crowd_with_one_token_asks_once() -> None:
    parts = Parts()
    assert await asyncio.gather(*(parts.call("idds_a") for _ in range(50))) == [USER] * 50
    assert parts.access.asked == ["idds_a"]


async def test_who_comes_after_a_revocation_does_not_take_an_answer_from_before() -> None:
    parts = Parts()
    parts.access.gate.clear()
    before = asyncio.create_task(parts.call("idds_a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert parts.access.asked == ["idds_a"]
    parts.access.revocations += 1
    parts.access.known.clear()
    after = asyncio.create_task(parts.call("idds_a"))
    await asyncio.sleep(0)
    parts.access.gate.set()
    assert await before is USER
    with pytest.raises(Unauthenticated):
        await after


async def test_who_hangs_up_takes_no_answer_from_others() -> None:
    parts = Parts()
    parts.access.gate.clear()
    first, second = (asyncio.create_task(parts.call("idds_a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    parts.access.gate.set()
    assert await second is USER
    assert first.cancelled()


async def test_who_is_unknown_is_not_remembered() -> None:
    parts = Parts()
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await parts.call("idds_new")
    parts.access.known.add("idds_new")
    await parts.call("idds_new")
    assert len(parts.access.asked) == 3


async def test_nobody_is_remembered_beyond_his_end() -> None:
    parts = Parts()
    parts.access.grant = replace(USER, expires_at=round((time.time() - 1) * 1e6))
    await parts.call("idds_a")
    await parts.call("idds_a")
    assert len(parts.access.asked) == 2
    parts.access.grant = replace(USER, expires_at=round((time.time() + 1000) * 1e6))
    await parts.call("idds_b")
    await parts.call("idds_b")
    assert len(parts.access.asked) == 3


async def test_after_a_revocation_everybody_is_asked_for_anew() -> None:
    parts = Parts()
    await parts.call("idds_a")
    parts.access.revocations += 1
    await parts.call("idds_a")
    await parts.call("idds_a")
    assert len(parts.access.asked) == 2


async def test_an_answer_that_a_revocation_overtakes_is_not_kept() -> None:
    parts = Parts()
    parts.access.is_overtaken = True
    await parts.call("idds_a")
    parts.access.is_overtaken = False
    await parts.call("idds_a")
    assert len(parts.access.asked) == 2


async def test_what_was_used_is_known_also_of_who_is_remembered() -> None:
    parts = Parts()
    await parts.call("idds_a")
    parts.authentication.used.clear()
    await parts.call("idds_a")
    assert parts.authentication.used == {7}
    assert len(parts.access.asked) == 1


async def test_the_memory_is_bounded() -> None:
    parts = Parts(size=2)
    for secret in ("idds_a", "idds_b", "idds_c", "idds_c", "idds_b", "idds_a"):
        await parts.call(secret)
    assert parts.access.asked == ["idds_a", "idds_b", "idds_c", "idds_a"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer a b", "Bearer \udce4", "Bearer a=b"])
async def test_what_is_no_bearer_token_costs_no_query(header: str | None) -> None:
    parts = Parts()
    with pytest.raises(Unauthenticated):
        await parts.authentication.authenticate(header)
    assert parts.access.asked == []


LET_IN = {
    Caller.PUBLIC: [USER, READER, WFMS, OPERATOR, PAYLOAD, OF_HOUSE],
    Caller.HOLDER: [USER, READER, WFMS, OPERATOR, PAYLOAD, OF_HOUSE],
    Caller.PAYLOAD: [USER, WFMS, OPERATOR, PAYLOAD],
    Caller.READER: [USER, READER, WFMS, OPERATOR, OF_HOUSE],
    Caller.HOUSE: [OPERATOR, OF_HOUSE],
    Caller.USER: [USER, WFMS, OPERATOR],
    Caller.WFMS: [WFMS, OPERATOR],
    Caller.OPERATOR: [OPERATOR],
}


@pytest.mark.parametrize("caller", Caller)
def test_a_route_lets_in_whom_it_is_for(caller: Caller) -> None:
    for grant in (USER, READER, WFMS, OPERATOR, PAYLOAD, OF_HOUSE):
        if grant in LET_IN[caller]:
            admit(caller, grant, 5)
        else:
            with pytest.raises(Forbidden):
                admit(caller, grant, 5)


def test_a_payload_reaches_its_own_collection_only() -> None:
    with pytest.raises(Forbidden, match="collection 5 only"):
        admit(Caller.PAYLOAD, PAYLOAD, 6)
    admit(Caller.PAYLOAD, USER, 6)
