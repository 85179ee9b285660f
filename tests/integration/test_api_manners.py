"""How the API speaks HTTP: what may be kept, what is packed, what every answer says."""

import gzip
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from idds.api.registry import ROUTES
from tests.integration.api import STUDY, api_on

NDJSON = "application/x-ndjson"


async def test_what_a_client_has_already_is_not_sent_again(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        request = await api.submit()
        path = f"/v1/requests/{request}"
        first = await api.call("GET", path)
        tag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "private, no-cache"
        assert "Authorization" in first.headers["Vary"]
        for given in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
            again = await api.call("GET", path, headers={"If-None-Match": given})
            assert (again.status, again.document, again.headers["ETag"]) == (304, b"", tag), given
            assert again.headers["X-Request-Id"]
        for given in ('"other"', "nonsense", ""):
            assert (await api.call("GET", path, headers={"If-None-Match": given})).status == 200, given
        await api.post(f"{path}:suspend", None)
        changed = await api.call("GET", path, headers={"If-None-Match": tag})
        assert (changed.status, changed.document["intent"]) == (200, "suspend")
        assert changed.headers["ETag"] != tag


async def test_what_is_no_plain_reading_is_not_kept(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        submitted = await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers={"If-None-Match": "*"})
        missing = await api.call("GET", "/v1/requests/99", headers={"If-None-Match": "*"})
        for answer, status in ((submitted, 201), (missing, 404)):
            assert answer.status == status
            assert "ETag" not in answer.headers
            assert answer.headers["Cache-Control"] == "no-store"


async def test_every_answer_is_safe_to_show(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        for path in ("/v1/requests", "/nowhere", "/metrics", "/v1/events", "/healthz"):
            headers = (await api.call("GET", path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Server"] == "iDDS"
            assert not any(name.startswith("Access-Control") for name in headers)
        # Nobody's page may call this from a browser: there is no CORS.
        asked = await api.call(
            "OPTIONS", "/v1/requests", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
        )
        assert asked.status == 405
        assert not any(name.startswith("Access-Control") for name in asked.headers)


NEVER_TWICE_THE_SAME = {
    "explainRequest",
    "forecastRequest",
    "listTroubles",
    "metrics",
    "showCarousel",
    "showLandings",
    "showSeries",
    "showStudy",
}
"""They tell the time, or count calls."""


async def test_head_tells_what_get_would(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        await api.submit()
        for route in ROUTES:
            path = route.path.replace("{id}", "1").replace("{stream}", "stdout").replace("{number}", "0")
            if route.method != "GET" or route.name in NEVER_TWICE_THE_SAME:
                continue
            for accept in ("*/*", NDJSON):
                told = await api.call("HEAD", path, headers={"Accept": accept})
                meant = await api.call("GET", path, headers={"Accept": accept})
                assert (told.status, told.document or b"") == (meant.status, b""), path
                for name in ("Content-Type", "ETag", "Cache-Control"):
                    assert told.headers.get(name) == meant.headers.get(name), (path, name)


async def test_streams_of_lines_are_packed_for_who_takes_it(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        collection = await api.input_of(await api.submit())
        path = f"/v1/collections/{collection}/contents"
        plain = await api.call("GET", path, headers={"Accept": NDJSON, "Accept-Encoding": "identity"})
        packed = await api.call("GET", path, headers={"Accept": NDJSON, "Accept-Encoding": "gzip"})
        assert plain.document.count(b"\n") == 4
        assert packed.document == plain.document
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers


async def test_bodies_are_taken_packed(sqlite_url: str) -> None:
    body = gzip.compress(json.dumps({"workflow": STUDY}).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with api_on(sqlite_url) as api:
        answer = await api.call("POST", "/v1/requests", headers=headers, data=body)
        assert (answer.status, answer.document["name"]) == (201, "study")


@pytest.fixture
def at_level_debug() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("at_level_debug")
async def test_lines_of_the_log_name_the_call(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from idds.services.submission import Submission

    whole = Submission.submit

    async def told(self: Submission, *args: object, **more: object) -> object:
        structlog.get_logger().info("from a service")
        return await whole(self, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Submission, "submit", told)
    async with api_on(sqlite_url) as api:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers={"X-Request-Id": "call-7"})
    inside, answered = logs
    assert (inside["event"], inside["request_id"]) == ("from a service", "call-7")
    assert (answered["event"], answered["status"], answered["request_id"]) == ("answered", 201, "call-7")
    assert (answered["method"], answered["path"]) == ("POST", "/v1/requests")
