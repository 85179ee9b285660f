"""Collections and contents, in the words of the official client."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from aiohttp import web

from idds.api.facade.replies import collection_row, content_row, did_of, words_of
from idds.api.facade.route import Call, FacadeRoute
from idds.api.facade.sending import send_list
from idds.api.route import Caller
from idds.domain.collection import Collection
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import Relation
from idds.services.tasks import Asked


async def list_collections(call: Call) -> Any:
    relation = _relation(call)
    return [collection_row(call, asked, each, relation) for asked, each in await _found(call, "scope", "name")]


async def list_contents(call: Call) -> web.StreamResponse:
    relation, wanted = _relation(call), call.named("ContentStatus", "status")
    found = await _found(call, "scope", "name")

    async def rows() -> AsyncGenerator[list[bytes]]:
        for asked, collection in found:
            for status in [status for status, name in words_of(collection).items() if wanted is None or name == wanted]:
                async with aclosing(call.doors.catalogue.stream(call.principal, collection.id, status=status)) as pages:
                    async for page in pages:
                        told = (content_row(call, asked, collection, each, relation) for each in page)
                        yield [msgspec.json.encode(row) for row in told]

    return await send_list(call, rows())


def _relation(call: Call) -> str:
    return call.named("CollectionRelationType", "relation") or "Output"


async def _found(call: Call, scope: str, name: str) -> Sequence[tuple[Asked, Collection]]:
    """The collections that are asked for: by request or task, and what else is said of them."""
    number, transform = call.number("request"), call.number("transform")
    asked = await call.doors.tasks.asked(
        call.principal, request=None if number is None else RequestId(number), workload_id=call.number("workload")
    )
    return [
        (each, collection)
        for each in asked
        for collection in each.collections
        if collection.relation is Relation.INPUT
        and transform in (None, collection.transform_id)
        and _is_called(did_of(each, collection), call.argument(scope), call.argument(name))
    ]


def _is_called(did: Did | None, scope: str | None, name: str | None) -> bool:
    return _matches(scope, did.scope if did else "") and _matches(name, did.name if did else "")


def _matches(pattern: str | None, text: str) -> bool:
    """`*` and `%` stand for anything."""
    return pattern is None or fnmatchcase(text, pattern.replace("[", "[[]").replace("%", "*"))


_OF = "{request}/{transform}/{workload}/{scope}/{name}/{relation}"
ROUTES = (
    FacadeRoute("GET", f"/idds/catalog/collections/{_OF}", "iddsListCollections", Caller.READER, list_collections),
    FacadeRoute("GET", f"/idds/catalog/contents/{_OF}/{{status}}", "iddsListContents", Caller.READER, list_contents),
)
