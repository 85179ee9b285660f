"""Knowing callers, and remembering them for a moment."""

import pytest

from idds.api.authentication import Authentication, admit
from idds.api.route import Caller
from idds.api.settings import ApiSettings
from idds.domain.errors import Forbidden, Unauthenticated
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal, Role
from idds.services.access import Access
from idds.store.tokens import Grant

USER = Grant(Principal("owner", "vo"), None)
OPERATOR = Grant(Principal("operator", "vo", Role.OPERATOR), None)
PAYLOAD = Grant(Principal("owner", "vo"), CollectionId(5))


class CountingAccess(Access):
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.known = {"idds_a", "idds_b", "idds_c"}

    async def authenticate(self, secret: str) -> Grant:
        self.asked.append(secret)
        if secret not in self.known:
            raise Unauthenticated("unknown")
        return USER


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


async def test_who_is_unknown_is_not_remembered() -> None:
    parts = Parts()
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await parts.call("idds_new")
    parts.access.known.add("idds_new")
    await parts.call("idds_new")
    assert len(parts.access.asked) == 3


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


@pytest.mark.parametrize(
    ("caller", "grant", "number", "is_let_in"),
    [
        (Caller.USER, USER, 1, True),
        (Caller.USER, OPERATOR, 1, True),
        (Caller.USER, PAYLOAD, 5, False),
        (Caller.PAYLOAD, USER, 1, True),
        (Caller.PAYLOAD, PAYLOAD, 5, True),
        (Caller.PAYLOAD, PAYLOAD, 6, False),
        (Caller.OPERATOR, USER, 0, False),
        (Caller.OPERATOR, PAYLOAD, 0, False),
        (Caller.OPERATOR, OPERATOR, 0, True),
    ],
)
def test_a_route_lets_in_whom_it_is_for(caller: Caller, grant: Grant, number: int, is_let_in: bool) -> None:
    if is_let_in:
        admit(caller, grant, number)
    else:
        with pytest.raises(Forbidden):
            admit(caller, grant, number)
