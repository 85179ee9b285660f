"""Rucio's events at the API: who may tell them, what they have looked at, and what they leave alone."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.engine.transitions import ReplicaEvent
from idds.ports.wakeups import Channel
from idds.runtime.settings import AccessSettings
from tests.integration.api import Answer, Api, api_on

SECRET = "a secret of many words"
PATH = "/v1/rucio/events"


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"hermes:{password}".encode()).decode()


def event(number: int, kind: str = "RULE_OK", **payload: Any) -> dict[str, Any]:
    return {"id": f"{number:032}", "created_at": "2026-01-01 00:00:00", "event_type": kind, "payload": payload}


def lines(*events: dict[str, Any]) -> str:
    """As hermes writes them."""
    return "".join('{ "index":{ } }\n' + json.dumps(one) + "\n" for one in events)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return file


@pytest.fixture
async def api(database_url: str, secret: Path) -> AsyncIterator[Api]:
    async with api_on(database_url, access=AccessSettings(rucio_secret_file=secret)) as api:
        yield api


async def tell(api: Api, body: str, password: str = SECRET) -> Answer:
    headers = {"Authorization": basic(password), "Content-Type": "application/json"}
    return await api.call("POST", PATH, token="", data=body, headers=headers)


async def replicas(api: Api, rse: str, *names: str) -> None:
    """On their way to the disk, by an order of ours."""
    async with api.database.transaction("test") as tx:
        admitted = await tx.replicas.admit(rse, [File(Did("s", name), 10) for name in names], None)
        await tx.replicas.move(ReplicaEvent.RECALLED, rse, [replica.id for replica in admitted])


async def hinted(api: Api) -> dict[str, set[str]]:
    async with api.database.transaction("test") as tx:
        return {rse: {did.name for did in dids} for rse, dids in (await tx.hints.take(1000)).items()}


async def test_files_of_ours_are_looked_at_and_no_others(api: Api) -> None:
    await replicas(api, "DISK", "a", "b", "c")
    await replicas(api, "OTHER", "a")
    seen = api.wakeups.count(Channel.REPLICAS)
    answer = await tell(
        api,
        lines(
            event(1, scope="s", name="a", rule_id="1"),
            event(2, "transfer-done", **{"scope": "s", "name": "b", "dst-rse": "DISK", "src-rse": "TAPE"}),
            event(3, "deletion-done", scope="s", name="c", rse="OTHER"),
            event(4, "transfer-submitted", **{"scope": "s", "name": "c", "dst-rse": "DISK"}),
            event(5, scope="s", name="unknown"),
            event(6, "email", to=["x"], subject="y"),
            event(7, "OPEN", scope="s", name="c", rse=None),
        ),
    )
    assert (answer.status, answer.document) == (200, {"received": 7, "news": 3})
    assert await hinted(api) == {"DISK": {"a", "b", "c"}, "OTHER": {"a"}}
    assert api.wakeups.count(Channel.REPLICAS) > seen


async def test_an_event_that_is_told_again_is_no_news(api: Api) -> None:
    await replicas(api, "DISK", "a", "b")
    first, second = event(1, scope="s", name="a"), event(2, scope="s", name="b")
    assert (await tell(api, lines(first, first))).document == {"received": 2, "news": 1}
    assert (await tell(api, lines(second, first))).document == {"received": 2, "news": 1}
    assert await hinted(api) == {"DISK": {"a", "b"}}
    assert (await tell(api, lines(first, second))).document == {"received": 2, "news": 0}
    assert await hinted(api) == {}


async def test_what_no_database_holds_is_of_no_file_of_ours(api: Api) -> None:
    await replicas(api, "DISK", "a")
    odd = [event(1, scope="s", name="a\0"), event(2, scope="\0", name="a"), event(3, scope="s", name="a", rse="D\0")]
    answer = await tell(api, lines(*odd, event(4, scope="s", name="a")))
    assert (answer.status, answer.document) == (200, {"received": 4, "news": 1})


async def test_what_is_gone_is_not_looked_at(api: Api) -> None:
    await replicas(api, "DISK", "a")
    async with api.database.transaction("test") as tx:
        (replica,) = await tx.replicas.find("DISK", [Did("s", "a")])
        for move in (ReplicaEvent.RELEASED, ReplicaEvent.DELETED):
            await tx.replicas.move(move, "DISK", [replica.id])
    assert (await tell(api, lines(event(1, scope="s", name="a")))).document == {"received": 1, "news": 0}
    assert await hinted(api) == {}


@pytest.mark.parametrize("password", ["", "wrong", SECRET + "x", SECRET[:-1]])
async def test_who_does_not_know_the_secret_tells_nothing(api: Api, password: str) -> None:
    await replicas(api, "DISK", "a")
    answer = await tell(api, lines(event(1, scope="s", name="a")), password)
    assert answer.status == 401
    assert SECRET not in json.dumps(answer.document)
    assert await hinted(api) == {}


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer x", ""])
async def test_what_is_no_basic_authentication_is_none(api: Api, header: str) -> None:
    answer = await api.call("POST", PATH, token="", data="", headers={"Authorization": header})
    assert answer.status == 401


async def test_a_secret_can_be_changed_and_an_empty_one_lets_nobody_in(api: Api, secret: Path) -> None:
    secret.write_text("another")
    assert (await tell(api, "")).status == 401
    assert (await tell(api, "", "another")).status == 200
    secret.write_text("\n")
    assert (await tell(api, "", "")).status == 503
    secret.unlink()
    assert (await tell(api, "", "another")).status == 503


async def test_no_events_are_taken_where_no_secret_is_set(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        assert (await tell(api, "", "")).status == 404


@pytest.mark.parametrize("bad", ["{", '{"id": 1}', "[]", '{"id": "1", "payload": {"scope": 1}}', "\xff"])
async def test_a_bad_line_is_named(api: Api, bad: str) -> None:
    answer = await tell(api, lines(event(1, scope="s", name="a")) + bad + "\n")
    assert answer.status in (400, 422)
    assert answer.document["problems"][0]["pointer"] == "/2"
