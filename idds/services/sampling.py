"""Drawing samples: what was asked for becomes available contents."""

from collections.abc import Mapping

import structlog

from idds.domain.content import NewContent
from idds.domain.effect import Effect
from idds.domain.errors import Unavailable
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import EffectKind
from idds.domain.workflow import Samples
from idds.engine.retry import TRIES
from idds.engine.transitions import ContentEvent
from idds.ports.sampler import Sampler
from idds.services.announcing import follow
from idds.services.sources import give_up
from idds.store.database import Database
from idds.store.effects import Fenced

AGENT = "transformer"
LEASE = 30_000_000

log = structlog.get_logger()


class Sampling:
    """What the transformer does for studies."""

    def __init__(self, database: Database, samplers: Mapping[str, Sampler], owner: str) -> None:
        self._database = database
        self._samplers = samplers
        self._owner = owner

    async def step(self) -> int:
        """Draw what was asked for; how many orders."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(EffectKind.ASK, owner=self._owner, lease=LEASE, limit=1)
        for effect in claimed:
            try:
                await self._draw(effect)
            except (Unavailable, Fenced):
                raise
            except Exception as error:
                # A defect of the sampler, or met by this study: it ends alone.
                log.exception("a sampler breaks", collection=effect.entity, tries=effect.tries)
                reason = f"the sampler breaks on it ({type(error).__name__})"
                async with self._database.transaction(AGENT) as tx:
                    if effect.tries < TRIES:
                        await tx.effects.postpone([effect], reason)
                    else:
                        await give_up(tx, effect, "input/samples", reason)
        return len(claimed)

    async def _draw(self, effect: Effect) -> None:
        identifier = CollectionId(int(effect.entity.partition(":")[2]))
        study = await self._study(identifier)
        first, count = effect.payload["first"], effect.payload["count"]
        drawn = await self._samplers[study.sampler].ask(study, range(first, first + count))
        async with self._database.transaction(AGENT) as tx:
            assert effect.request_id is not None
            await tx.requests.lock([effect.request_id])
            await tx.effects.finish([effect])
            collection = await tx.collections.get(identifier)
            assert collection is not None
            if collection.is_closed:
                return
            new = [
                NewContent(
                    name=f"sample-{number:08d}",
                    group_no=number // collection.batch,
                    payload={"parameters": dict(parameters), "number": number},
                )
                for number, parameters in enumerate(drawn, first)
            ]
            move = await tx.contents.register(collection, new, ContentEvent.LANDED, numbers=0)
            numbered = [(ContentId(content), number) for number, content in enumerate(move.ids, first)]
            await tx.samples.add(identifier, numbered)
            await follow(tx, [move])

    async def _study(self, identifier: CollectionId) -> Samples:
        async with self._database.snapshot() as tx:
            collection = await tx.collections.get(identifier)
            assert collection is not None
            transform = await tx.transforms.get(collection.transform_id)
            request = await tx.requests.get(collection.request_id)
        assert transform is not None
        assert request is not None
        source = request.workflow.work(transform.work).input
        assert source is not None
        assert source.samples is not None
        return source.samples
