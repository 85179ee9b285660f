"""What was drawn for a study becomes contents that are available; and orders to draw more."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from idds.domain.collection import Collection
from idds.domain.content import Content, NewContent
from idds.domain.effect import NewEffect
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus, EffectKind
from idds.domain.workflow import Samples
from idds.engine.spaces import COMMAND
from idds.engine.transform import drawn_at_once
from idds.engine.transitions import ContentEvent
from idds.ports.sampler import Suggestion
from idds.services.announcing import Known, follow
from idds.store.collections import Place
from idds.store.database import Transaction

DRAWING = (EffectKind.ASK, EffectKind.STEER)
"""Orders to draw samples: from a sampler, or by a command of the user's."""
TIMES = 10
"""Orders of a command are told apart by the number of their first sample, and how often it was tried: fewer times."""


def order(samples: Samples, study: Collection, first: int, count: int, more: Mapping[str, Any]) -> NewEffect:
    """Have samples with these numbers drawn."""
    payload = {"first": first, "count": count, **more}
    if samples.sampler == COMMAND:
        return command(f"collection:{study.id}", payload, 1)
    return NewEffect(EffectKind.ASK, f"collection:{study.id}", first, payload)


def command(
    entity: str, wanted: Mapping[str, Any], attempt: int, *, delay: int = 0, before: str | None = None
) -> NewEffect:
    """Have a command run for what is wanted, for the `attempt`th time; `before` is why the one before failed."""
    payload = {**wanted, "attempt": attempt, "before": before}
    return NewEffect(EffectKind.STEER, entity, int(wanted["first"]) * TIMES + attempt, payload, delay)


async def draw(
    tx: Transaction, study: Collection, samples: Samples, count: int, more: Mapping[str, Any] = MappingProxyType({})
) -> bool:
    """Have the next so many samples drawn; False where the study's window has no room for them."""
    if not await tx.windows.reserve_samples(study.id, count):
        return False
    await tx.collections.count(study.id, {}, added=count)
    wanted = {"asked_at": tx.now, **more}
    tx.effects.add([order(samples, study, study.next_no, count, wanted)], study.request_id)
    return True


async def call_off(tx: Transaction, collection: CollectionId) -> None:
    """What a source would bring is not wanted any more: orders go, and a command that runs is ended by the carrier."""
    entity = f"collection:{collection}"
    await tx.effects.drop(entity, [EffectKind.LIST, EffectKind.ASK])
    await tx.effects.hasten(entity, [EffectKind.STEER])


async def register_drawn(tx: Transaction, place: Place, drawn: Sequence[Suggestion], version: int) -> None:
    """Make them available. The request is advanced where that may have it do more than go on."""
    study = place.collection
    new = [
        NewContent(
            name=f"sample-{each.number:08d}",
            group_no=each.number // study.batch,
            payload={"parameters": dict(each.parameters), "number": each.number},
        )
        for each in drawn
    ]
    move = await tx.contents.register(study, new, ContentEvent.LANDED, numbers=0)
    pairs = list(zip(map(ContentId, move.ids), drawn, strict=True))
    await tx.samples.add(study.id, pairs, version=version)
    contents = {content: _content(study, content, each, tx.now) for (content, _), each in zip(pairs, new, strict=True)}
    study, samples = tx.collections.as_counted(study), place.work.samples
    goes_on = samples is not None and study.total - study.taken_back < samples.count
    advance = not goes_on or drawn_at_once(place.work, study) is None
    await follow(tx, [move], advance=advance, known=Known(place.address, contents))


def _content(study: Collection, identifier: ContentId, drawn: NewContent, now: int) -> Content:
    """As it stands in the database once it is registered."""
    return Content(
        id=identifier,
        request_id=study.request_id,
        collection_id=study.id,
        scope=drawn.scope,
        name=drawn.name,
        min_id=drawn.min_id,
        max_id=drawn.max_id,
        bytes=drawn.bytes,
        adler32=drawn.adler32,
        group_no=drawn.group_no,
        status=ContentStatus.AVAILABLE,
        attempt=0,
        lessee=None,
        lease_until=None,
        replica_id=None,
        reason=None,
        payload=drawn.payload,
        changed_at=now,
    )


async def not_drawn(tx: Transaction, study: Collection, number: int) -> None:
    """So many that were asked for will not come: their numbers are the next ones', and their places are free."""
    if number > 0:
        await tx.collections.count(study.id, {}, added=-number)
        tx.windows.give_back_samples(study.id, number)
