"""What was drawn for a study becomes contents that are available; and orders to draw more."""

from collections.abc import Mapping, Sequence
from typing import Any

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.effect import NewEffect
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import EffectKind
from idds.domain.workflow import Samples
from idds.engine.spaces import COMMAND
from idds.engine.transitions import ContentEvent
from idds.ports.sampler import Suggestion
from idds.services.announcing import follow
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
    entity: str, wanted: Mapping[str, Any], attempt: int, *, delay: int = 0, error: str | None = None
) -> NewEffect:
    """Have a command run for what is wanted, for the `attempt`th time."""
    payload = {**wanted, "attempt": attempt}
    return NewEffect(EffectKind.STEER, entity, int(wanted["first"]) * TIMES + attempt, payload, delay, error)


async def call_off(tx: Transaction, collection: CollectionId) -> None:
    """What a source would bring is not wanted any more: orders go, and a command that runs is ended by the carrier."""
    entity = f"collection:{collection}"
    await tx.effects.drop(entity, [EffectKind.LIST, EffectKind.ASK])
    await tx.effects.hasten(entity, [EffectKind.STEER])


async def register_drawn(tx: Transaction, study: Collection, drawn: Sequence[Suggestion], version: int) -> None:
    """Make them available. The caller holds the lock of the request."""
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
    await follow(tx, [move])


async def not_drawn(tx: Transaction, study: Collection, number: int) -> None:
    """So many that were asked for will not come: their numbers are the next ones', and their places are free."""
    if number > 0:
        await tx.collections.count(study.id, {}, added=-number)
        await tx.windows.give_back_samples(study.id, number)
