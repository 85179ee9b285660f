"""Tokens, shares, owners and the audit log, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from idds.api.authentication import SESSION
from idds.domain.request import Principal, Role
from idds.identity.oidc import OidcIssuers
from idds.identity.options import GrantOptions, IssuerOptions, ProxyOptions
from idds.identity.proxy import CertificateProxy
from idds.runtime.settings import ApiSettings
from idds.services.access import Access
from tests.integration.api import STUDY, Answer, Api, api_on
from tests.integration.browsing import Browser
from tests.servers.issuer import AUDIENCE, CLIENT, Issuer

REMEMBERING = ApiSettings(authentication_memory_s=3600)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url, REMEMBERING) as api:
        yield api


async def token_of(api: Api, owner: str, vo: str = "vo", role: Role = Role.USER, *shares: str) -> str:
    return await api.doors.access.issue(Principal(owner, vo, role, frozenset(shares) or None))


async def test_a_caller_is_told_who_it_is(api: Api) -> None:
    assert await api.get("/v1/whoami") == {
        "owner": "owner",
        "vo": "vo",
        "role": "user",
        "shares": None,
        "collection": None,
        "by": "token",
        "expires_at": None,
    }
    held = await token_of(api, "robot", "vo", Role.WFMS, "b", "a")
    assert (await api.get("/v1/whoami", token=held))["shares"] == ["a", "b"]


async def test_a_payload_is_told_who_it_is(api: Api) -> None:
    """It is the request's owner, as a user, whoever made the token: no more than it must be."""
    collection = await api.input_of(await api.submit())
    robot = await token_of(api, "robot", "vo", Role.WFMS, "")
    token = (await api.post(f"/v1/collections/{collection}:token", {"lifetime_s": 600}, token=robot))["token"]
    told = await api.get("/v1/whoami", token=token)
    assert told.pop("expires_at") is not None
    assert told == {
        "owner": "owner",
        "vo": "vo",
        "role": "user",
        "shares": None,
        "collection": collection,
        "by": "token",
    }


async def test_a_token_is_made_shown_once_used_and_revoked(api: Api) -> None:
    robot = await token_of(api, *ROBOT)
    made = await api.post("/v1/tokens", {"role": "reader", "lifetime_s": 60, "note": "for the page"}, token=robot)
    assert (made["owner"], made["vo"], made["role"], made["note"]) == ("robot", "vo", "reader", "for the page")
    assert made["expires_at"] - made["created_at"] == 60_000_000
    secret = made.pop("token")
    assert (await api.get("/v1/whoami", token=secret))["role"] == "reader"
    assert (await api.call("POST", "/v1/requests", {"workflow": STUDY}, token=secret)).status == 403
    listed = (await api.get("/v1/tokens", token=robot))["tokens"]
    assert listed[-1] == made
    assert secret not in str(listed)
    revoked = await api.post(f"/v1/tokens/{made['id']}:revoke", None, token=robot)
    assert revoked == made | {"revoked_at": revoked["revoked_at"]}
    assert revoked["revoked_at"] >= made["created_at"]
    assert await api.post(f"/v1/tokens/{made['id']}:revoke", None, token=robot) == revoked
    answer = await api.call("GET", "/v1/whoami", token=secret)
    assert answer.status == 401, "it is remembered for an hour, but not after a revocation"
    assert (await api.get("/v1/tokens", token=robot))["tokens"][-1] == revoked


async def test_only_the_hash_of_a_token_is_kept(api: Api) -> None:
    secret = (await api.post("/v1/tokens", {}))["token"]
    assert len(secret) >= len("idds_") + 43, "256 random bits"
    async with api.database.snapshot() as tx:
        for table in ("tokens", "audit"):
            rows = (await tx.connection.driver(f"SELECT * FROM {table}", ())).all()
            assert rows
            assert secret.removeprefix("idds_") not in str(rows)


ROBOT = ("robot", "vo", Role.WFMS)
HELD = ("held", "vo", Role.WFMS, "a", "b")
OPERATOR = ("operator", "local", Role.OPERATOR)
USER = ("user", "vo", Role.USER)


@pytest.mark.parametrize(
    ("caller", "body", "place"),
    [
        (USER, {"role": "wfms"}, "/role"),
        (USER, {"role": "reader"}, "/role"),
        (USER, {"owner": "somebody"}, "/owner"),
        (USER, {"vo": "other"}, "/vo"),
        (ROBOT, {"role": "operator"}, "/role"),
        (ROBOT, {"owner": "somebody", "vo": "other"}, "/vo"),
        (HELD, {"shares": ["a", "c"]}, "/shares"),
        (HELD, {"owner": "somebody", "shares": ["c"]}, "/shares"),
    ],
)
async def test_nobody_makes_a_token_for_more_than_it_may(
    sqlite_url: str, caller: tuple[Any, ...], body: dict[str, Any], place: str
) -> None:
    async with api_on(sqlite_url) as api:
        token = await token_of(api, *caller)
        before = await api.rows()
        answer = await api.call("POST", "/v1/tokens", body, token=token)
        assert answer.status == 403
        assert answer.document["detail"].startswith(f"{place}: ")
        assert await api.rows() == before


@pytest.mark.parametrize(
    ("caller", "body", "made"),
    [
        (USER, {}, ("user", "vo", "user", None)),
        (USER, {"owner": "user", "vo": "vo", "role": "user"}, ("user", "vo", "user", None)),
        (USER, {"shares": ["a"]}, ("user", "vo", "user", ["a"])),
        (ROBOT, {"owner": "somebody", "role": "user"}, ("somebody", "vo", "user", None)),
        (HELD, {"role": "reader"}, ("held", "vo", "reader", ["a", "b"])),
        (HELD, {"shares": ["b"]}, ("held", "vo", "wfms", ["b"])),
        (OPERATOR, {"owner": "robot", "vo": "other", "role": "wfms"}, ("robot", "other", "wfms", None)),
    ],
)
async def test_a_token_is_no_more_than_who_makes_it(
    sqlite_url: str, caller: tuple[Any, ...], body: dict[str, Any], made: tuple[Any, ...]
) -> None:
    async with api_on(sqlite_url) as api:
        secret = (await api.post("/v1/tokens", body, token=await token_of(api, *caller)))["token"]
        told = await api.get("/v1/whoami", token=secret)
        assert (told["owner"], told["vo"], told["role"], told["shares"]) == made


async def test_a_token_does_not_outlive_the_one_that_makes_it(api: Api) -> None:
    short = (await api.post("/v1/tokens", {"lifetime_s": 600}))["token"]
    answer = await api.call("POST", "/v1/tokens", {"lifetime_s": 3600}, token=short)
    assert answer.status == 422
    assert answer.document["problems"][0]["pointer"] == "/lifetime_s"
    await api.post("/v1/tokens", {"lifetime_s": 60}, token=short)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"lifetime_s": 366 * 86400}, "/lifetime_s"),
        ({"lifetime_s": 0}, "/lifetime_s"),
        ({"role": "king"}, "/role"),
        ({"shares": []}, "/shares"),
        ({"owner": ""}, "/owner"),
        ({"note": "x" * 257}, "/note"),
        ({"secret": "mine"}, "/secret"),
    ],
)
async def test_what_is_wrong_with_a_token_is_told_at_its_place(sqlite_url: str, body: Any, place: str) -> None:
    async with api_on(sqlite_url) as api:
        answer = await api.call("POST", "/v1/tokens", body)
        assert answer.status == 422
        assert [problem["pointer"] for problem in answer.document["problems"]] == [place]


async def test_a_token_is_revoked_by_its_owner_and_those_above(api: Api) -> None:
    mine = (await api.post("/v1/tokens", {}))["id"]
    path = f"/v1/tokens/{mine}:revoke"
    for stranger in (USER, ("robot", "other", Role.WFMS), HELD):
        assert (await api.call("POST", path, token=await token_of(api, *stranger))).status == 404
    operators = await token_of(api, "owner-2", "vo", Role.OPERATOR)
    number = (await api.get("/v1/tokens?owner=owner-2", token=operators))["tokens"][0]["id"]
    robot = await token_of(api, *ROBOT)
    answer = await api.call("POST", f"/v1/tokens/{number}:revoke", token=robot)
    assert answer.status == 403, "an operator's token is above a workload manager"
    assert (await api.call("POST", path, token=robot)).status == 200


async def test_revoking_a_token_ends_all_that_was_made_with_it(api: Api) -> None:
    """A thief keeps neither a token of his own making, nor a browser's session, nor a payload's token."""
    collection = await api.input_of(await api.submit())
    stolen = await api.post("/v1/tokens", {})
    child = (await api.post("/v1/tokens", {"lifetime_s": 60}, token=stolen["token"]))["token"]
    payload = (await api.post(f"/v1/collections/{collection}:token", {}, token=child))["token"]
    browser = Browser(api)
    session = (await browser.log_in(stolen["token"])).cookies[SESSION].value
    for token in (child, payload, session):
        await api.get("/v1/whoami", token=token)
    await api.post(f"/v1/tokens/{stolen['id']}:revoke", {})
    for token in (stolen["token"], child, payload, session):
        assert (await api.call("GET", "/v1/whoami", token=token)).status == 401
    await api.get("/v1/whoami")


async def test_tokens_are_listed_in_pages(api: Api) -> None:
    for _ in range(4):
        await api.post("/v1/tokens", {})
    found, after = [], 0
    while after is not None:
        page = await api.get(f"/v1/tokens?limit=2&after={after}")
        found += [token["id"] for token in page["tokens"]]
        after = page["next"]
    assert found == sorted(set(found))
    assert len(found) == 5


async def test_when_a_token_was_used_last_is_noted_at_the_end_if_not_before(database_url: str) -> None:
    async with api_on(database_url, ApiSettings(token_usage_interval_s=3600)) as api:
        await api.post("/v1/tokens", {})
        await api.client.close()
        tokens = await Access(api.database).tokens(Principal("operator", "local", Role.OPERATOR))
        assert [token.last_used_at is not None for token in tokens] == [True, False]


async def test_when_a_token_was_used_last_is_noted_now_and_then(database_url: str) -> None:
    async with api_on(database_url, ApiSettings(token_usage_interval_s=0.01)) as api, asyncio.timeout(60):
        while (await api.get("/v1/tokens"))["tokens"][0]["last_used_at"] is None:
            await asyncio.sleep(0.01)


async def submitted(api: Api, token: str, **more: Any) -> Answer:
    return await api.call("POST", "/v1/requests", {"workflow": STUDY, **more}, token=token)


async def test_who_is_held_to_shares_submits_to_these_only(api: Api) -> None:
    held = await token_of(api, "alice", "vo", Role.USER, "a", "b")
    for share in ("c", ""):
        answer = await submitted(api, held, share=share)
        assert answer.status == 422
        problem = {"pointer": "/share", "message": "this token submits to these only: a, b"}
        assert answer.document["problems"] == [problem]
    assert (await submitted(api, held, share="b")).status == 201


async def test_workload_managers_submit_for_others(api: Api) -> None:
    robot = await token_of(api, *ROBOT)
    answer = await submitted(api, robot, owner="alice")
    assert answer.status == 201
    assert (answer.document["owner"], answer.document["vo"]) == ("alice", "vo")
    number = answer.document["id"]
    alice = await token_of(api, "alice")
    assert (await api.get(f"/v1/requests/{number}", token=alice))["owner"] == "alice"
    refused = await submitted(api, alice, owner="bob")
    assert refused.status == 403
    assert "/owner" in refused.document["detail"]
    entries = await audit_of(api, f"request:{number}")
    assert [(e["owner"], e["role"], e["action"], e["details"]["owner"]) for e in entries] == [
        ("robot", "wfms", "submit", "alice")
    ]


async def audit_of(api: Api, entity: str) -> list[dict[str, Any]]:
    operator = await token_of(api, *OPERATOR)
    found: list[dict[str, Any]] = (await api.get(f"/v1/audit?entity={entity}", token=operator))["entries"]
    return found


async def test_changes_are_in_the_audit_log_under_the_id_of_their_call(api: Api) -> None:
    answer = await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers={"X-Request-Id": "one"})
    number = answer.document["id"]
    await api.call("POST", f"/v1/requests/{number}:suspend", headers={"X-Request-Id": "two"})
    await api.call("POST", f"/v1/requests/{number}:suspend", headers={"X-Request-Id": "three"})
    await api.call("POST", f"/v1/requests/{number}:resume", headers={"X-Request-Id": "four"})
    answer = await api.call("POST", f"/v1/requests/{number}:cancel", token=await token_of(api, *USER))
    assert answer.status == 404
    entries = await audit_of(api, f"request:{number}")
    assert [(e["action"], e["call"]) for e in entries] == [("submit", "one"), ("suspend", "two"), ("resume", "four")]
    assert {(e["owner"], e["vo"], e["role"]) for e in entries} == {("owner", "vo", "user")}


async def test_tokens_are_in_the_audit_log(api: Api) -> None:
    made = await api.post("/v1/tokens", {})
    for _ in range(2):
        await api.post(f"/v1/tokens/{made['id']}:revoke", None)
    entries = await audit_of(api, f"token:{made['id']}")
    assert [(e["owner"], e["action"]) for e in entries] == [("owner", "issue"), ("owner", "revoke")]
    assert made["token"] not in str(entries)


async def test_the_audit_log_is_read_in_pages(api: Api) -> None:
    for _ in range(3):
        await api.post("/v1/tokens", {})
    operator = await token_of(api, *OPERATOR)
    found, after = [], 0
    while after is not None:
        page = await api.get(f"/v1/audit?owner=owner&limit=2&after={after}", token=operator)
        found += [entry["id"] for entry in page["entries"]]
        after = page["next"]
    assert len(found) == len(set(found)) == 4
    assert found == sorted(found)


async def test_who_calls_too_often_is_told_when_to_come_again(sqlite_url: str) -> None:
    async with api_on(sqlite_url, ApiSettings(rate_per_s=0.001, burst=2)) as api:
        other = await api.new_token("other")
        for _ in range(2):
            await api.get("/v1/whoami")
        answer = await api.call("GET", "/v1/whoami")
        assert answer.status == 429
        assert 900 < int(answer.headers["Retry-After"]) <= 1000
        assert answer.document["type"] == "urn:idds:problem:too-many"
        await api.get("/v1/whoami", token=other)
        assert (await api.call("GET", "/healthz", token="")).status == 200


async def test_a_token_of_an_issuer_is_as_good_as_one_of_our_own(database_url: str) -> None:
    async with Issuer().running() as issuer, trusting(issuer) as issuers, api_on(database_url, issuers=issuers) as api:
        token = issuer.sign()
        told = await api.get("/v1/whoami", token=token)
        assert told.pop("expires_at") > 0
        assert told == {
            "owner": "alice",
            "vo": "atlas",
            "role": "wfms",
            "shares": None,
            "collection": None,
            "by": "oidc",
        }
        assert (await submitted(api, token)).status == 201
        assert (await api.get("/v1/requests", token=token))["requests"][0]["owner"] == "alice"
        local = (await api.post("/v1/tokens", {"lifetime_s": 7200, "role": "user"}, token=token))["token"]
        assert (await api.get("/v1/whoami", token=local))["by"] == "token"
        assert (await api.get("/v1/whoami"))["by"] == "token", "those of our own go on beside"


async def test_what_is_wrong_with_an_issuers_token_is_told(sqlite_url: str) -> None:
    async with Issuer().running() as issuer, trusting(issuer) as issuers, api_on(sqlite_url, issuers=issuers) as api:
        for claims, status, said in [
            ({"exp": 1}, 401, "the token has ended"),
            ({"aud": "x"}, 401, "the token is for another service"),
            ({"wlcg__groups": []}, 403, "gives a role here"),
        ]:
            answer = await api.call("GET", "/v1/whoami", token=issuer.sign(issuer.claims(**claims)))
            assert (answer.status, said in answer.document["detail"]) == (status, True), answer.document
        huge = issuer.sign(issuer.claims(padding="x" * 8000))
        answer = await api.call("GET", "/v1/whoami", token=huge)
        assert answer.status in (400, 401)


async def test_without_its_keys_an_issuers_token_is_for_later(sqlite_url: str) -> None:
    async with Issuer().running() as issuer, trusting(issuer) as issuers, api_on(sqlite_url, issuers=issuers) as api:
        issuer.is_down = True
        answer = await api.call("GET", "/v1/whoami", token=issuer.sign())
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert (await api.get("/v1/whoami"))["by"] == "token"


async def test_everybody_is_told_where_to_log_in(sqlite_url: str) -> None:
    async with Issuer().running() as issuer, trusting(issuer) as issuers, api_on(sqlite_url, issuers=issuers) as api:
        assert (await api.get("/v1/login", token=""))["issuers"] == [
            {
                "name": "iam",
                "issuer": issuer.url,
                "client_id": CLIENT,
                "scopes": ["openid", "offline_access"],
                "audience": AUDIENCE,
            }
        ]
    async with api_on(sqlite_url) as api:
        assert (await api.get("/v1/login", token=""))["issuers"] == []


@asynccontextmanager
async def trusting(issuer: Issuer) -> AsyncIterator[OidcIssuers]:
    options = IssuerOptions(
        url=issuer.url,
        audiences=frozenset({AUDIENCE}),
        vo="atlas",
        client_id=CLIENT,
        scopes=("openid", "offline_access"),
        grants=(GrantOptions(group="/atlas/production", role=Role.WFMS),),
    )
    issuers = OidcIssuers({"iam": options})
    try:
        yield issuers
    finally:
        await issuers.close()


NAME = "/DC=org/DC=example/CN=Robot"


def proxy_at(folder: Path, network: str) -> CertificateProxy:
    names = folder / "names.toml"
    names.write_text(f'["{NAME}"]\nowner = "robot"\nvo = "atlas"\nrole = "wfms"\n')
    return CertificateProxy(ProxyOptions(networks=(network,), names=names))


async def test_a_certificate_that_the_proxy_tells_of_is_known(sqlite_url: str, tmp_path: Path) -> None:
    async with api_on(sqlite_url, proxy=proxy_at(tmp_path, "127.0.0.0/8")) as api:
        told = await api.get("/v1/whoami", token="", headers={"X-SSL-Client-S-DN": NAME})
        assert (told["owner"], told["vo"], told["role"], told["by"]) == ("robot", "atlas", "wfms", "proxy")
        told = await api.get("/v1/whoami", headers={"X-SSL-Client-S-DN": NAME})
        assert told["by"] == "token", "who shows a token is known by that"
        answer = await api.call("GET", "/v1/whoami", token="", headers={"X-SSL-Client-S-DN": "/CN=Unknown"})
        assert answer.status == 401
        answer = await api.call("GET", "/v1/whoami", token="bad", headers={"X-SSL-Client-S-DN": NAME})
        assert answer.status == 401, "a bad token is not made good by a certificate"


async def test_a_header_of_anybody_else_is_nothing(sqlite_url: str, tmp_path: Path) -> None:
    plain = await _without_a_header(sqlite_url)
    for proxy in (None, proxy_at(tmp_path, "10.0.0.0/8")):
        async with api_on(sqlite_url, proxy=proxy) as api:
            for headers in ({"X-SSL-Client-S-DN": NAME}, {"X-SSL-Client-S-DN": NAME, "X-Forwarded-For": "10.0.0.1"}):
                answer = await api.call("GET", "/v1/whoami", token="", headers=headers)
                assert (answer.status, answer.document["detail"]) == plain


async def _without_a_header(url: str) -> tuple[int, str]:
    async with api_on(url) as api:
        answer = await api.call("GET", "/v1/whoami", token="")
        return answer.status, answer.document["detail"]
