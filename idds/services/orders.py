"""Orders to the data management: claimed, given, and what is done where giving one fails."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from idds.domain.effect import Effect, NewEffect
from idds.domain.errors import Unavailable
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind
from idds.engine.retry import TRIES, backoff
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.services.announcing import follow, release
from idds.services.locking import lock_with_pins
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced

AGENT = "carrier"
LEASE = 30_000_000
AT_ONCE = 20

log = structlog.get_logger()

Act = Callable[[Effect, str, Sequence[Replica]], Awaitable[None]]
"""Gives an order for these replicas on an RSE, and records that it is given. May raise Unavailable and Fenced."""


class Orders:
    """Effects of one process, `owner`, that concern replicas."""

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def carry_out(self, kind: EffectKind, act: Act) -> int:
        """`act` on each that is due; how many. One that breaks holds up no other."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(kind, owner=self._owner, lease=LEASE, limit=AT_ONCE)
        for effect in claimed:
            async with self._database.snapshot() as tx:
                replicas = await tx.replicas.get(effect.payload["replicas"])
            try:
                await act(effect, effect.payload["rse"], replicas)
            except Unavailable as error:
                async with self._database.transaction(AGENT) as tx:
                    await tx.effects.postpone([effect], str(error))
            except Fenced as fenced:
                log.info("another one took this over", effect=str(fenced))
            except Exception as error:
                # A defect of the adapter, or met by one file: the other effects must not wait behind it.
                log.exception("an effect breaks", kind=kind, entity=effect.entity, tries=effect.tries)
                await self._broke(effect, replicas, f"the data management breaks on it ({type(error).__name__})")
        return len(claimed)

    async def _broke(self, effect: Effect, replicas: Sequence[Replica], reason: str) -> None:
        rse = effect.payload["rse"]
        async with self._database.transaction(AGENT) as tx:
            if len(replicas) > 1 and effect.tries > 1:
                # Which of them it is shows when they go one by one.
                await tx.effects.finish([effect])
                alone = [
                    NewEffect(effect.kind, f"replica:{r.id}", tx.now, {"rse": rse, "replicas": [r.id]})
                    for r in replicas
                ]
                tx.effects.add(alone, None)
            elif effect.kind is EffectKind.STAGE and effect.tries >= TRIES:
                await _give_up(tx, effect, rse, [replica.id for replica in replicas], reason)
            else:
                # A deletion is never given up: the bytes are there.
                await tx.effects.postpone([effect], reason, backoff(effect.tries))


async def _give_up(tx: Transaction, effect: Effect, rse: str, ids: Sequence[int], reason: str) -> None:
    await lock_with_pins(tx, ids)
    await tx.effects.finish([effect])
    # Something of it may be there: it is deleted, and what it had reserved comes back after that.
    await tx.replicas.move(ReplicaEvent.RECALLED, rse, ids)
    await follow(tx, await tx.contents.move(ContentEvent.FAILED, pinned_to(ids), reason=reason))
    await release(tx, ids)
