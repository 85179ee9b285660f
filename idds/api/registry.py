"""All routes of the API."""

import asyncio
from functools import cache
from typing import Any

from aiohttp import web

from idds.api import (
    agents,
    carousel,
    collections,
    contents,
    events,
    files,
    leases,
    metrics,
    operations,
    redefining,
    requests,
    rucio_events,
    series,
    steering,
    studies,
    study_series,
    tokens,
    transforms,
)
from idds.api.openapi import DESCRIBED_AT, PRESENTED_AT, describe
from idds.api.page import Page, present
from idds.api.route import Call, Caller, Reply, Route


async def _describe(_call: Call[None, None]) -> Reply:
    return Reply(await asyncio.to_thread(openapi))


async def _present(_call: Call[None, None]) -> web.StreamResponse:
    return (await asyncio.to_thread(_page)).respond()


ROUTES: tuple[Route, ...] = (
    *requests.ROUTES,
    *transforms.ROUTES,
    *collections.ROUTES,
    *contents.ROUTES,
    *leases.ROUTES,
    *operations.ROUTES,
    *series.ROUTES,
    *study_series.ROUTES,
    *studies.ROUTES,
    *files.ROUTES,
    *redefining.ROUTES,
    *carousel.ROUTES,
    *steering.ROUTES,
    *tokens.ROUTES,
    *events.ROUTES,
    *metrics.ROUTES,
    *agents.ROUTES,
    *rucio_events.ROUTES,
    Route("GET", DESCRIBED_AT, "openapi", "This description", Caller.PUBLIC, _describe, reply=dict[str, Any]),
    Route("GET", PRESENTED_AT, "docs", "This description as a page", Caller.PUBLIC, _present, also="text/html"),
)


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of all of them."""
    return describe(ROUTES)


@cache
def _page() -> Page:
    return present(openapi())
