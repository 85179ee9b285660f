"""Trying again what came to a bad end: an input that is opened again, and its contents, some at a time."""

from collections.abc import Sequence

from idds.domain.collection import Collection
from idds.domain.content import Content
from idds.domain.effect import NewEffect
from idds.domain.identifiers import ContentId
from idds.domain.statuses import EffectKind, SourceKind
from idds.services.announcing import follow
from idds.services.drawing import order
from idds.services.studies import submitted
from idds.store.database import Transaction

RETRIED_AT_ONCE = 5000
"""So many contents in one step: a request with a million of them is not locked for long."""


def list_on(tx: Transaction, collection: Collection) -> None:
    """Have a dataset listed from where that stood."""
    effect = NewEffect(EffectKind.LIST, f"collection:{collection.id}", 0, {"again": True})
    tx.effects.add([effect], collection.request_id)


async def ask_again(tx: Transaction, collection: Collection) -> None:
    """Have drawn what was asked for and never came. Its places in the window were never given back.

    A command that runs, or has run, for some of it goes on: of those orders nothing is asked for again.
    """
    await tx.effects.revoke(f"collection:{collection.id}", [EffectKind.ASK])
    request = await tx.requests.get(collection.request_id)
    assert request is not None
    of = {"retry": request.retries}
    # Whether the space is redefined for the iteration that they are of is looked at once more.
    if (course := await tx.studies.course(collection)).iteration > 1:
        of["iteration"] = course.iteration
    holes = await tx.samples.undrawn(collection.id, collection.next_no)
    for steered in await tx.studies.asked_for(collection.id, [EffectKind.STEER]):
        holes = [part for hole in holes for part in _around(hole, steered) if part]
    samples = await submitted(tx, collection)
    tx.effects.add([order(samples, collection, h.start, len(h), of) for h in holes], collection.request_id)


def _around(whole: range, part: range) -> tuple[range, range]:
    """What of a range is before a part, and what is after it."""
    return range(whole.start, min(whole.stop, part.start)), range(max(whole.start, part.stop), whole.stop)


async def not_taken(tx: Transaction, collection: Collection, outputs: Sequence[Content]) -> list[Content]:
    """Those of these outputs that the collection has not."""
    by_scope: dict[str, list[str]] = {}
    for content in outputs:
        by_scope.setdefault(content.scope, []).append(content.name)
    known = {scope: await tx.contents.known(collection.id, scope, names) for scope, names in by_scope.items()}
    return [content for content in outputs if content.name not in known[content.scope]]


async def look_through(tx: Transaction, collection: Collection, room: int | None) -> None:
    """Have tried again the next contents that ended badly, at most as many as there is room for (None: any number)."""
    assert collection.retried_to is not None
    limit = RETRIED_AT_ONCE if room is None else min(room, RETRIED_AT_ONCE)
    found = await tx.contents.ended_badly(collection, collection.retried_to, limit + 1)
    ids = [content for content, _ in found[:limit]]
    if collection.source is SourceKind.SAMPLES:
        ids = _whole_groups(found, limit)
        ref = ("collection", str(collection.id))
        window = (await tx.windows.find([ref]))[ref]
        if found and not (ids and await tx.windows.reserve(window.id, bytes=0, files=len(ids))):
            return  # there is no room yet for the next group
    await follow(tx, await tx.contents.retry(collection, ids))
    await tx.collections.note_retried(collection.id, ids[-1] if len(ids) < len(found) else None)
    tx.requests.mark_due([collection.request_id])


def _whole_groups(found: Sequence[tuple[ContentId, int]], limit: int) -> list[ContentId]:
    """Of samples those that are processed together are tried again together."""
    if len(found) > limit:
        cut = found[limit][1]
        found = [(content, group) for content, group in found[:limit] if group != cut]
    return [content for content, _ in found]
