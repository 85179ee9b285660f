"""The pages over the real store: what they show to whom, what they are made of, and what can be ordered on them."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from idds.domain.request import Principal, Role
from idds.web import requests
from idds.web.orders import OF_CAROUSEL, OF_REQUEST
from idds.web.registry import PAGES
from idds.web.rendering import POLICY
from tests.integration.api import STUDY, Api, api_on
from tests.integration.browsing import Browser, Shown

HOSTILE = "<script>alert(1)</script>\"'&"
OPERATOR = Principal("op", "vo", Role.OPERATOR)
STAGED = {"name": "staged", "works": [{"name": "read", "input": {"dataset": "data:set", "window": {"bytes": 1000}}}]}


@pytest.fixture
async def api(sqlite_url: str) -> AsyncIterator[Api]:
    async with api_on(sqlite_url) as api:
        yield api


@pytest.fixture
async def each_api(database_url: str) -> AsyncIterator[Api]:
    """On each kind of database."""
    async with api_on(database_url) as api:
        yield api


async def browser_of(api: Api, owner: str = "owner", role: Role = Role.USER) -> Browser:
    browser = Browser(api)
    await browser.log_in(await api.doors.access.issue(Principal(owner, "vo", role)))
    return browser


def paths(number: int, study: int) -> list[str]:
    """Of all pages: about a request, or what has the same number; those of studies about one."""
    numbers = [study if page.path.startswith("/studies") else number for page in PAGES]
    return [page.path.format(id=found, number=0) for page, found in zip(PAGES, numbers, strict=True)]


def check_sound(shown: Shown) -> None:
    """That it is well-formed, runs no script but those served here, and has no style of its own."""
    assert shown.headers["Content-Security-Policy"] == POLICY
    assert shown.headers["Cache-Control"] == "no-store"
    assert "unsafe" not in POLICY
    reading = shown.reading
    assert all(address.startswith("/assets/") for address in reading.all("script", "src"))
    assert len([tag for tag, _ in reading.tags if tag == "script"]) == len(reading.all("script", "src"))
    for tag, attributes in reading.tags:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith(("on", "hx-on"))], (
            tag,
            attributes,
        )
    ids = [attributes["id"] for _, attributes in reading.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


async def test_every_page_is_sound_and_its_json_is_there(each_api: Api) -> None:
    api = each_api
    study = await api.input_of(await api.submit({**STUDY, "name": HOSTILE}))
    number = await api.submit(STAGED)
    browser = await browser_of(api, role=Role.OPERATOR)
    for path in paths(number, study):
        shown = await browser.get(path)
        assert shown.status == 200, (path, shown.words)
        check_sound(shown)
        assert "<script>alert" not in shown.text
        for call in [address for address in shown.reading.all("a", "href") if address.startswith("/v1/")]:
            assert (await browser.get(call)).status == 200, call
        for address in shown.reading.all("script", "src") + shown.reading.all("link", "href"):
            served = await browser.get(address)
            assert (served.status, "immutable" in served.headers["Cache-Control"]) == (200, True), address
    assert HOSTILE in (await browser.get("/requests")).reading.words


async def test_everybody_sees_what_is_his_to_see(api: Api) -> None:
    number = await api.submit(STAGED)
    study = await api.submit()
    stranger, reader = await browser_of(api, "stranger"), await browser_of(api, "reader", Role.READER)
    for path in (
        f"/requests/{number}",
        f"/collections/{await api.input_of(number)}",
        f"/requests/{study}",
        "/contents/1",
    ):
        refused = await stranger.get(path)
        assert refused.status == 404, path
        check_sound(refused)
        assert (await reader.get(path)).status == 200 or path == "/contents/1"
    assert "staged" not in (await stranger.get("/requests")).words
    for path in ("/", "/requests", "/carousel", f"/requests/{number}"):
        assert "/orders/" not in (await reader.get(path)).text
    for path in (f"/requests/{number}/orders/cancel", "/carousel/orders/hold?kind=tape&ref=TAPE"):
        assert (await reader.get(path)).status == 403


async def test_filters_live_in_the_address(api: Api) -> None:
    for n in range(3):
        await api.submit({**STUDY, "name": f"study-{n}"})
    cancelled = await api.submit({**STUDY, "name": "other"})
    await api.post(f"/v1/requests/{cancelled}:cancel", None)
    await api.advance()
    browser = await browser_of(api)

    async def names(query: str) -> list[str]:
        shown = await browser.get(f"/requests?{query}")
        assert shown.status == 200
        return re.findall(r"(study-\d|other)", shown.reading.words.split("Submitted")[-1])

    assert await names("") == ["other", "study-2", "study-1", "study-0"]
    assert await names("name=study&status=&owner=&share=") == ["study-2", "study-1", "study-0"]
    assert await names("status=cancelled") == ["other"]
    assert await names("status=running&owner=nobody") == []
    assert await names("limit=2") == ["other", "study-2"]
    shown = await browser.get("/requests?limit=2&name=study&status=running")
    [following] = [at for at in shown.reading.all("a", "href") if "before=" in at]
    assert await names(following.split("?")[1]) == ["study-0"]
    assert shown.reading.fields["name"] == "study"
    for query in ("status=odd", "before=x", "nonsense=1", "limit=0"):
        refused = await browser.get(f"/requests?{query}")
        assert refused.status == 422, query
        assert query.split("=", maxsplit=1)[0] in refused.words
    collection = await api.input_of(1)
    assert (await browser.get(f"/collections/{collection}?status=available&after=")).status == 200
    assert (await browser.get(f"/collections/{collection}?status=odd")).status == 422


REQUEST_ORDERS: dict[str, dict[str, str]] = {
    "suspend": {},
    "resume": {},
    "finish": {},
    "cancel": {},
    "retry": {},
    "force-staging": {},
    "release": {},
    "change-source": {"source": "TAPE2", "under_way": "true"},
    "change-destination": {"rse": "OTHER"},
}
CAROUSEL_ORDERS: dict[str, dict[str, str]] = {
    "hold": {"kind": "tape", "ref": "TAPE", "reason": "drives are cleaned"},
    "resume": {"kind": "tape", "ref": "TAPE"},
    "change-window": {"rse": "DISK", "bytes": "5 TB"},
    "retire-unused": {"rse": "DISK", "idle_s": "60"},
}


async def standing(api: Api, number: int) -> Any:
    """What an order could change."""
    rows = await api.rows()
    holds, windows = await api.doors.steering.holds(OPERATOR), await api.doors.catalogue.windows(OPERATOR)
    return rows, await api.get(f"/v1/requests/{number}"), holds, windows


@pytest.mark.parametrize("name", sorted(REQUEST_ORDERS))
async def test_an_order_about_a_request_is_shown_first_and_then_done(api: Api, name: str) -> None:
    number = await api.submit(STAGED)
    if name == "resume":
        await api.post(f"/v1/requests/{number}:suspend", None)
    if name == "retry":
        await api.post(f"/v1/requests/{number}:cancel", None)
        await api.advance()
    browser = await browser_of(api, role=Role.OPERATOR)
    assert f"/requests/{number}/orders/{name}" in (await browser.get(f"/requests/{number}")).text
    await _shown_and_done(api, browser, number, (f"/requests/{number}/orders/{name}", f"/requests/{number}"), name)


@pytest.mark.parametrize("name", sorted(CAROUSEL_ORDERS))
async def test_an_order_about_the_carousel_is_shown_first_and_then_done(api: Api, name: str) -> None:
    number = await api.submit(STAGED)
    browser = await browser_of(api, role=Role.OPERATOR)
    if name == "resume":
        fields = {**CAROUSEL_ORDERS["hold"], "csrf": await browser.csrf()}
        assert (await browser.post("/carousel/orders/hold", fields)).status == 303
        assert "drives are cleaned" in (await browser.get("/carousel")).words
    await _shown_and_done(api, browser, number, (f"/carousel/orders/{name}", "/carousel"), name)


async def _shown_and_done(api: Api, browser: Browser, number: int, places: tuple[str, str], name: str) -> None:
    at, back = places
    given = (REQUEST_ORDERS if back != "/carousel" else CAROUSEL_ORDERS)[name]
    before = await standing(api, number)
    for headers in ({}, {"HX_Request": "true"}):
        asked = await browser.get(f"{at}?{urlencode(given)}", **headers)
        assert asked.status == 200, asked.words
        shown = await browser.get(f"{at}?{urlencode({**given, 'previewed': '1'})}", **headers)
        assert "This touches" in shown.words, shown.words
    assert await standing(api, number) == before, "what is only shown changes nothing"
    fields = {field: value for field, value in shown.reading.fields.items() if field != "previewed"}
    assert fields.keys() == {*given, "csrf"}
    done = await browser.post(at, fields)
    assert (done.status, done.headers["Location"]) == (303, back), done.text
    assert await standing(api, number) != before
    assert (await browser.get(back)).status == 200


async def test_all_orders_are_tried() -> None:
    assert set(REQUEST_ORDERS) == set(OF_REQUEST)
    assert set(CAROUSEL_ORDERS) == set(OF_CAROUSEL)


async def test_what_is_filled_in_wrongly_is_told_at_its_field(api: Api) -> None:
    browser = await browser_of(api, role=Role.OPERATOR)
    number = await api.submit(STAGED)
    for query, words in (
        ("rse=DISK&bytes=much&previewed=1", "500 GB"),
        ("rse=DISK&files=-1&previewed=1", "greater than 0"),
        ("rse=NOWHERE&bytes=5&previewed=1", "not known here"),
    ):
        shown = await browser.get(f"/carousel/orders/change-window?{query}")
        assert shown.status == 422
        assert words in shown.words
        assert "Show what it touches" in shown.words
        assert (await browser.get(f"/carousel/orders/change-window?{query}", HX_Request="true")).status == 200
    for path in ("/carousel/orders/nothing", f"/requests/{number}/orders/hold", "/requests/999/orders/cancel"):
        assert (await browser.get(path)).status == 404, path
    csrf = await browser.csrf()
    for fields in ({"rse": "DISK", "bytes": "much"}, {"rse": "DISK", "collection": "1"}, {}):
        refused = await browser.post("/carousel/orders/change-window", {**fields, "csrf": csrf})
        assert refused.status == 422
    await api.post(f"/v1/requests/{number}:cancel", None)
    await api.advance()
    conflict = await browser.post(f"/requests/{number}/orders/suspend", {"csrf": csrf})
    assert conflict.status == 409
    assert "cancelled" in conflict.words


async def test_assets_that_are_none(api: Api) -> None:
    browser = Browser(api)
    for path in ("/assets/x/nothing.js", "/assets/x/manifest.json", "/assets/x/..%2F__init__.py", "/assets/x/page.py"):
        assert (await browser.get(path)).status == 404, path
    older = await browser.get("/assets/0123456789abcdef/page.css")
    assert (older.status, older.headers["Cache-Control"]) == (200, "no-cache")


async def test_a_very_large_request_is_shown_without_waiting_for_its_series(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await api.submit(STAGED)
    browser = await browser_of(api)
    assert "As tables" in (await browser.get(f"/requests/{number}")).words
    monkeypatch.setattr(requests, "AT_ONCE", -1)
    shown = await browser.get(f"/requests/{number}")
    assert shown.status == 200
    check_sound(shown)
    assert "As tables" not in shown.words
    assert "Bytes on disk" in shown.words
