"""Drawing samples: what was asked for becomes available contents."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from idds.domain.collection import Collection
from idds.domain.effect import Effect, NewEffect
from idds.domain.errors import Unavailable
from idds.domain.identifiers import CollectionId
from idds.domain.statuses import ContentStatus, EffectKind
from idds.engine.patience import PATIENCE_S, time_for
from idds.engine.retry import TRIES
from idds.engine.spaces import LEARNING
from idds.engine.transform import PART
from idds.ports.sampler import Order, Sampler, SamplerFailure, Suggestion
from idds.services.announcing import tell_collection_closed
from idds.services.drawing import DRAWING, not_drawn, register_drawn
from idds.services.iterating import redefine_for
from idds.services.paces import Paces
from idds.services.refilling import see_to_more
from idds.services.sources import give_up
from idds.services.studies import definition, given_with
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced

AGENT = "transformer"
LEASE = 30_000_000
SHORT_S = 1.0
"""A sampler that has less time than this draws all that was ordered, not a part: what it does not manage is drawn at
random.
"""
SOON = 500_000
"""Microseconds until an order is looked at again that waits for an earlier one."""

log = structlog.get_logger()


class Sampling:
    """What the transformer does for studies."""

    def __init__(self, database: Database, samplers: Mapping[str, Sampler], owner: str) -> None:
        self._database = database
        self._samplers = samplers
        self._owner = owner
        self._paces = Paces()

    async def step(self) -> int:
        """Draw what was asked for; how many orders."""
        async with self._database.transaction(AGENT, brief=True) as tx:
            claimed = await tx.effects.claim(EffectKind.ASK, owner=self._owner, lease=LEASE, limit=1)
            now = tx.now
        for effect in claimed:
            try:
                await self._draw(effect, now)
            except (Unavailable, Fenced):
                raise
            except Exception as error:
                # A defect of the sampler, or met by this study: it ends alone.
                log.exception("a sampler breaks", collection=effect.entity, tries=effect.tries)
                kind = str(error) if isinstance(error, SamplerFailure) else type(error).__name__
                reason = f"the sampler breaks on it ({kind})"
                async with self._database.transaction(AGENT) as tx:
                    if effect.tries < TRIES:
                        await tx.effects.postpone([effect], reason)
                    else:
                        await give_up(tx, effect, "input/samples", reason)
        return len(claimed)

    async def _draw(self, effect: Effect, now: int) -> None:
        identifier = CollectionId(int(effect.entity.partition(":")[2]))
        first, count = effect.payload["first"], effect.payload["count"]
        iteration = effect.payload.get("iteration")
        if iteration is not None and not await redefine_for(self._database, identifier, iteration):
            async with self._database.transaction(AGENT) as tx:
                await tx.effects.postpone([effect], None, delay=0)
            return
        asked_at = effect.payload.get("asked_at", now)
        pace = self._paces.note(identifier, first, asked_at)
        numbers, waited_s = range(first, first + count), (now - asked_at) / 1_000_000
        order = await self._order(identifier, numbers, waited_s=waited_s, pace=pace)
        drawn = await self._held(effect, self._samplers[order.samples.sampler].ask(order))
        async with self._database.transaction(AGENT, brief=len(drawn) <= PART, timeless=True) as tx:
            place = await tx.collections.place(identifier)
            assert place is not None
            if await tx.studies.latest(identifier) != order.version:
                # It was redefined meanwhile: they are drawn anew, of what it is now.
                await tx.effects.postpone([effect], None, delay=0)
                return
            collection = place.collection
            is_dry = len(drawn) < len(order.numbers)
            if is_dry and await tx.studies.first_undrawn(collection) < first:
                # It ends the study: not before what was asked for earlier has come.
                await tx.effects.postpone([effect], None, delay=SOON)
                return
            await tx.effects.finish([effect])
            if collection.is_closed:
                return
            await register_drawn(tx, place, drawn, order.version)
            if is_dry:
                await _run_dry(tx, collection, len(drawn))
            elif (left := count - len(drawn)) > 0:
                # Behind what others have asked for meanwhile.
                rest = {"first": first + len(drawn), "count": left, "asked_at": asked_at}
                following = NewEffect(EffectKind.ASK, effect.entity, first + len(drawn), rest)
                tx.effects.add([following], collection.request_id)
            else:
                await see_to_more(tx, place)

    async def _order(
        self, identifier: CollectionId, numbers: Sequence[int], *, waited_s: float, pace: float | None
    ) -> Order:
        """What is wanted, with what the sampler has not heard of yet, where it learns from that at all."""
        async with self._database.snapshot(timeless=True, brief=True) as tx:
            collection = await tx.collections.get(identifier)
            assert collection is not None
            defined = await definition(tx, collection)
            samples = defined.samples
            order = Order(identifier, samples, numbers, version=defined.version, first=defined.first)
            if samples.sampler not in LEARNING:
                return order
            patience = float(samples.options.get("patience", PATIENCE_S))
            left = collection.counts[ContentStatus.AVAILABLE]
            within_s = time_for(patience, waited_for=collection.demand, waited_s=waited_s, left=left, pace=pace)
            is_short = within_s is not None and within_s < SHORT_S
            order = replace(order, within_s=within_s, numbers=numbers if is_short else numbers[:PART])
            heard = self._samplers[samples.sampler].heard(identifier, defined.version)
            if heard is not None:
                last, news = await tx.samples.news(identifier, heard)
                return replace(order, news=news, heard=last, since=heard)
        async with self._database.snapshot(timeless=True) as tx:
            last, news = await tx.samples.news(identifier, None)
            changes, given = await tx.studies.changes(identifier), await given_with(tx, samples)
            return replace(order, news=news, heard=last, changes=changes, given=given)

    async def _held(self, effect: Effect, asking: Coroutine[Any, Any, Sequence[Suggestion]]) -> Sequence[Suggestion]:
        """What the sampler answers, however long it takes. Raises Fenced when somebody else took the order over."""
        task = asyncio.create_task(asking)
        try:
            while not (await asyncio.wait([task], timeout=LEASE / 3e6))[0]:
                async with self._database.transaction(AGENT) as tx:
                    await tx.effects.hold(effect, LEASE)
        except BaseException:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise
        return await task


async def _run_dry(tx: Transaction, study: Collection, drawn: int) -> None:
    """There are no more points than those that were `drawn` just now: what else was asked for will not come."""
    await tx.effects.revoke(f"collection:{study.id}", DRAWING)
    await not_drawn(tx, study, study.next_no - study.total - drawn)
    if await tx.collections.close(study, "the sampler has no more points"):
        await tell_collection_closed(tx, study.id)
    # Where all the others have come back before, nothing else has the request advanced.
    tx.requests.mark_due([study.request_id])
