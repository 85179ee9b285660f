"""A service to be ill-treated: the API over a real store in which something of each kind is in each state.

Its agents don't run: nothing that is submitted here is ever carried out.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from idds.domain.request import Role
from idds.runtime.settings import ApiSettings
from tests.integration.api import STUDY, Api, api_on

PAYLOADS: Mapping[str, Any] = {
    "name": "payloads",
    "works": [
        {"name": "first", "payload": {"argv": ["/bin/true"]}},
        {"name": "second", "after": ["first"], "payload": {"argv": ["/bin/true"]}},
    ],
}


@dataclass(frozen=True)
class World:
    """The API, with the token of an operator."""

    api: Api
    operator: str
    payload: str
    """Good for collection 1."""


IMPATIENT = ApiSettings(authentication_memory_s=0, max_wait_s=0.05, max_body_bytes=2**20)


@asynccontextmanager
async def world(url: str, settings: ApiSettings = IMPATIENT) -> AsyncIterator[World]:
    """A world on a fresh database. Request 1 is a study that runs; its input is collection 1, half of it leased."""
    async with api_on(url, settings) as api:
        running = await api.submit()
        collection = await api.input_of(running)
        assert (running, collection) == (1, 1)
        held = (await api.post(f"/v1/collections/{collection}/contents:lease", {"lessee": "somebody", "count": 2}))[
            "contents"
        ]
        await api.post(
            f"/v1/collections/{collection}/contents:report",
            {"reports": [{"id": held[0]["id"], "attempt": 1, "status": "done", "objective_values": [0.5]}]},
        )
        await _others(api)
        payload = (await api.post(f"/v1/collections/{collection}:token", {}))["token"]
        yield World(api, await api.new_token("operator", role=Role.OPERATOR), payload)


async def _others(api: Api) -> None:
    for order in ("suspend", "cancel", "finish"):
        ordered = await api.submit(STUDY)
        await api.post(f"/v1/requests/{ordered}:{order}", None)
    await api.submit(PAYLOADS)
    await api.advance()
