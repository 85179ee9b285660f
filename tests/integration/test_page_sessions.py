"""Logging in and out of the page, and what a session may and may not."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

from idds.api.authentication import SESSION
from idds.domain.access import Grant, Proof
from idds.domain.request import Principal, Role
from idds.ports.identity import Proxy
from idds.runtime.settings import ApiSettings
from tests.integration.api import STUDY, Api, api_on
from tests.integration.browsing import Browser

MINUTE = 60_000_000


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with api_on(sqlite_url) as api:
        yield api


async def test_a_token_becomes_a_session_of_its_own(api: Api) -> None:
    browser = Browser(api)
    shown = await browser.log_in(api.token, next="/requests?status=running")
    assert (shown.status, shown.headers["Location"]) == (303, "/requests?status=running")
    cookie = shown.cookies[SESSION]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
    assert cookie.value != api.token
    assert "owner" in (await browser.get("/")).words
    tokens = (await api.get("/v1/tokens"))["tokens"]
    assert [(token["note"], token["role"]) for token in tokens] == [(None, "user"), ("session of a browser", "user")]
    assert tokens[1]["expires_at"] - tokens[1]["created_at"] == 12 * 60 * MINUTE
    secure = await Browser(api).post("/login", {"token": api.token}, X_Forwarded_Proto="https")
    assert secure.cookies[SESSION]["secure"] is True


async def test_a_session_ends_with_the_token_it_came_of_at_the_latest(api: Api) -> None:
    token = await api.doors.access.issue(Principal("owner", "vo"), lifetime=5 * MINUTE)
    await Browser(api).log_in(token)
    mother, session = (await api.get("/v1/tokens"))["tokens"][-2:]
    assert session["note"] == "session of a browser"
    assert session["expires_at"] <= mother["expires_at"]


@pytest.mark.parametrize("token", ["", "idds_unknown", "not a token at all", "x" * 9000])
async def test_who_has_no_token_is_told_so_and_nothing_is_kept(api: Api, token: str) -> None:
    browser = Browser(api)
    shown = await browser.log_in(token, next="/requests/7")
    assert shown.status == 401
    assert not shown.cookies
    assert "not known" in shown.words
    assert shown.reading.fields["next"] == "/requests/7"
    assert shown.reading.fields["token"] == ""


async def test_a_payloads_token_opens_no_page(api: Api) -> None:
    collection = await api.input_of(await api.submit())
    token = (await api.post(f"/v1/collections/{collection}:token", {}))["token"]
    shown = await Browser(api).log_in(token)
    assert shown.status == 403
    assert not shown.cookies


@pytest.mark.parametrize("target", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "x"])
async def test_nobody_is_led_elsewhere(api: Api, target: str) -> None:
    browser = Browser(api)
    assert (await browser.get(f"/login?next={quote(target)}")).reading.fields["next"] == "/"
    assert (await browser.log_in(api.token, next=target)).headers["Location"] == "/"


async def test_who_is_not_logged_in_is_asked_to_and_comes_back(api: Api) -> None:
    browser = Browser(api)
    shown = await browser.get("/requests?status=running&name=a")
    target = "/login?next=%2Frequests%3Fstatus%3Drunning%26name%3Da"
    assert (shown.status, shown.headers["Location"]) == (303, target)
    part = await browser.get("/requests", HX_Request="true")
    assert (part.status, part.headers["HX-Redirect"]) == (200, "/login?next=%2Frequests")
    # By a link of another site the browser keeps the cookie back: from this page it does not.
    arriving = await browser.get("/requests/1", Sec_Fetch_Site="cross-site")
    assert arriving.status == 200
    assert arriving.reading.all("meta", "content")[-1] == "0; url=/requests/1"


async def test_a_session_reads_the_api_and_changes_nothing_there(api: Api) -> None:
    request = await api.submit()
    browser = Browser(api)
    await browser.log_in(api.token)
    cookie = {"Cookie": f"{SESSION}={browser.cookie}"}
    whole = await api.get(f"/v1/requests/{request}", token="", headers=cookie)
    assert whole["id"] == request
    for path, body in ((f"/v1/requests/{request}:cancel", None), ("/v1/requests", {"workflow": STUDY})):
        assert (await api.call("POST", path, body, token="", headers=cookie)).status == 401
    assert (await api.get(f"/v1/requests/{request}"))["intent"] == "run"
    # A token that is shown goes before the cookie.
    other = await api.new_token("other")
    assert (await api.get("/v1/whoami", token=other, headers=cookie))["owner"] == "other"


async def test_a_form_of_no_page_of_this_session_is_refused(api: Api) -> None:
    request = await api.submit()
    browser, other = Browser(api), Browser(api)
    await browser.log_in(api.token)
    await other.log_in(api.token)
    place = f"/requests/{request}/orders/cancel"
    good = {"csrf": await browser.csrf()}
    for fields, headers in (
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": await other.csrf()}, {}),
        (good, {"Sec_Fetch_Site": "cross-site"}),
        (good, {"Sec_Fetch_Site": "same-site"}),
    ):
        assert (await browser.post(place, fields, **headers)).status == 403, (fields, headers)
        assert (await browser.post("/logout", fields, **headers)).status == 403, (fields, headers)
    nobody = await Browser(api).post(place, good)
    assert (nobody.status, nobody.headers["Location"]) == (303, "/login?next=%2F")
    assert (await browser.post("/login", {"token": api.token}, Sec_Fetch_Site="cross-site")).status == 403
    async with api.client.post(place, json=good, headers={"Cookie": f"{SESSION}={browser.cookie}"}) as answer:
        assert answer.status == 403
    assert (await api.get(f"/v1/requests/{request}"))["intent"] == "run"


async def test_a_form_that_is_too_large_or_none_is_refused(api: Api) -> None:
    browser = Browser(api)
    assert (await browser.post("/login", {"token": "x" * 100_000})).status == 413
    many = await browser.post("/login", {f"field{n}": "" for n in range(200)})
    assert many.status == 400
    assert "no form" in many.words


async def test_who_logs_out_leaves_nothing_that_works(api: Api) -> None:
    browser = Browser(api)
    await browser.log_in(api.token)
    fields = {"csrf": await browser.csrf()}
    shown = await browser.post("/logout", fields)
    assert (shown.status, shown.headers["Location"]) == (303, "/login")
    assert shown.cookies[SESSION].value == ""
    assert (await browser.get("/")).status == 303
    audit = await api.get("/v1/audit", token=await api.new_token("operator", role=Role.OPERATOR))
    actions = [entry["action"] for entry in audit["entries"]]
    assert [action for action in actions if action != "issue"] == ["log-in", "revoke"]
    # The token that it came of is as good as before.
    assert (await api.get("/v1/whoami"))["owner"] == "owner"


async def test_who_logs_in_again_and_again_is_told_to_wait_and_leaves_no_more_tokens(sqlite_url: str) -> None:
    async with api_on(sqlite_url, ApiSettings(rate_per_s=0.001, burst=2)) as api:
        answers = [(await Browser(api).log_in(api.token)).status for _ in range(4)]
        assert answers == [303, 303, 429, 429]
        tokens = await api.doors.access.tokens(Principal("owner", "vo"))
        assert len([token for token in tokens if token.note == "session of a browser"]) == 2


async def test_behind_a_proxy_that_checks_certificates_no_token_is_needed(sqlite_url: str) -> None:
    class Known:
        """Fulfils `Proxy`."""

        header = "X-Client-Name"

        def identify(self, _peer: str, names: list[str]) -> Grant:
            return Grant(Principal(names[0], "vo"), by=Proof.PROXY)

    proxy: Proxy = Known()
    async with api_on(sqlite_url, proxy=proxy) as api:
        browser = Browser(api)
        shown = await browser.post("/login", {"token": ""}, X_Client_Name="robot")
        assert shown.status == 303
        browser.cookie = shown.cookies[SESSION].value
        assert "robot" in (await browser.get("/")).words
