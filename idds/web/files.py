"""The pages of collections, and of what is in them."""

from idds.api.bodies import ContentsQuery
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus
from idds.web.page import Page, View, Visit
from idds.web.progress import bar

SHOWN = 100


async def show_collection(visit: Visit[ContentsQuery]) -> View:
    catalogue, query = visit.doors.catalogue, visit.query
    identifier = CollectionId(visit.number)
    collection = await catalogue.collection(visit.principal, identifier)
    limit = min(query.limit, SHOWN)
    found = await catalogue.contents(
        visit.principal, identifier, status=query.status, after=query.after, limit=limit + 1
    )
    page = found[:limit]
    values = {
        "collection": collection,
        "bar": bar([collection], outputs=True),
        "contents": page,
        "query": query,
        "statuses": list(ContentStatus),
        "next": page[-1].id if len(found) > limit else None,
    }
    name = collection.did or f"collection {identifier}"
    return View("collection.html", str(name), values, events=f"/v1/events?entity=collection:{identifier}")


async def show_content(visit: Visit[None]) -> View:
    story = await visit.doors.files.story(visit.principal, ContentId(visit.number))
    content = story.content
    name = f"{content.scope}:{content.name}" if content.scope else content.name
    events = None if content.status.is_terminal else f"/v1/events?request={content.request_id}"
    return View("content.html", name, {"story": story, "content": content, "name": name}, events)


PAGES = (
    Page(
        "/collections/{id}",
        "collection",
        show_collection,
        query=ContentsQuery,
        json=("/v1/collections/{id}", "/v1/collections/{id}/contents"),
    ),
    Page("/contents/{id}", "content", show_content, json=("/v1/contents/{id}",)),
)
