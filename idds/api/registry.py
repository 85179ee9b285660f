"""All routes of the API."""

from functools import cache
from typing import Any

from idds.api import collections, contents, leases, operations, requests
from idds.api.openapi import DESCRIBED_AT, describe
from idds.api.route import Call, Caller, Reply, Route


async def _describe(_call: Call[None, None]) -> Reply:
    return Reply(openapi())


ROUTES: tuple[Route, ...] = (
    *requests.ROUTES,
    *collections.ROUTES,
    *contents.ROUTES,
    *leases.ROUTES,
    *operations.ROUTES,
    Route("GET", DESCRIBED_AT, "openapi", "This description", Caller.PUBLIC, _describe, reply=dict[str, Any]),
)


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of all of them."""
    return describe(ROUTES)
