"""Recalls: what was admitted is ordered from the data management, in bulk, and what it answers recorded."""

from collections.abc import Callable, Mapping, Sequence

from idds.domain.effect import Effect, NewEffect
from idds.domain.identifiers import Did, ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.retry import backoff
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.ports.ddm import NotNow, Refused, Staging
from idds.services.announcing import follow, release
from idds.services.choosing import Choosing
from idds.services.locking import lock_with_pins
from idds.services.orders import AGENT, Orders
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction

_ORDERABLE = (ReplicaStatus.ADMITTED, ReplicaStatus.STAGING)
_UNWANTED = (ReplicaStatus.DELETING, ReplicaStatus.GONE)


class Recalling:
    """What the carrier does to bring files. It `hint`s at what it ordered."""

    def __init__(
        self, database: Database, orders: Orders, choosing: Choosing, hint: Callable[[str, Sequence[Did]], None]
    ) -> None:
        self._database = database
        self._orders = orders
        self._choosing = choosing
        self._hint = hint

    async def step(self) -> int:
        """Order recalls that were admitted; how many orders."""
        return await self._orders.carry_out(EffectKind.STAGE, self._stage)

    async def _stage(self, effect: Effect, rse: str, replicas: Sequence[Replica]) -> None:
        # A replica that has moved on since, with an order made twice, needs none.
        waiting = await self._wanted(rse, [r for r in replicas if r.ours and r.status in _ORDERABLE])
        outcomes = await self._choosing.stage(rse, waiting)
        answered = list(zip(waiting, outcomes, strict=True))
        later = {replica.id: outcome.reason for replica, outcome in answered if isinstance(outcome, NotNow)}
        taken = [(replica, outcome) for replica, outcome in answered if not isinstance(outcome, NotNow)]
        if later and not taken:
            async with self._database.transaction(AGENT) as tx:
                await lock_with_pins(tx, list(later))
                if await _still_wanted(tx, rse, later):
                    await tx.effects.postpone([effect], _first(later))
                else:
                    await tx.effects.finish([effect])
            return
        await self._record_order(effect, rse, taken, later)
        # It may have landed before it was recorded as on its way: that hint came too early.
        self._hint(rse, [replica.did for replica in waiting])

    async def _wanted(self, rse: str, replicas: Sequence[Replica]) -> list[Replica]:
        """Those that somebody pins, or that were ordered. Of the others nothing more is asked for."""
        admitted = [replica.id for replica in replicas if replica.status is ReplicaStatus.ADMITTED]
        async with self._database.snapshot(timeless=True) as tx:
            unpinned = set(await tx.replicas.unpinned(admitted))
        if unpinned:
            async with self._database.transaction(AGENT) as tx:
                await lock_with_pins(tx, sorted(unpinned))
                unpinned &= set(await _give_back(tx, rse, sorted(unpinned)))
        return [replica for replica in replicas if replica.id not in unpinned]

    async def _record_order(
        self,
        effect: Effect,
        rse: str,
        outcomes: Sequence[tuple[Replica, Staging | Refused]],
        later: Mapping[ReplicaId, str],
    ) -> None:
        async with self._database.transaction(AGENT) as tx:
            await lock_with_pins(tx, [*(replica.id for replica, _ in outcomes), *later])
            await tx.effects.finish([effect])
            if wanted := await _still_wanted(tx, rse, later):
                # What does not go now waits by itself; its bytes stay reserved.
                tx.effects.add([_order_later(tx, effect, rse, wanted)], None)
            await _record_staging(tx, rse, outcomes)


async def _record_staging(tx: Transaction, rse: str, outcomes: Sequence[tuple[Replica, Staging | Refused]]) -> None:
    taken = [(replica, outcome) for replica, outcome in outcomes if isinstance(outcome, Staging)]
    foreign = {replica.id for replica, outcome in taken if not outcome.ours}
    # As they are now: one that was ordered twice may have been given back already, one that is gone was.
    there = [r for r in await tx.replicas.get(foreign) if r.status is not ReplicaStatus.GONE]
    await tx.replicas.give_back(there)
    moved = await tx.replicas.move(ReplicaEvent.RECALLED, rse, [replica.id for replica, _ in taken])
    await tx.replicas.note_rules([(replica.id, outcome.rule_id, outcome.ours) for replica, outcome in taken])
    await tx.replicas.disown(sorted(foreign))
    refused = [(replica, outcome.reason) for replica, outcome in outcomes if isinstance(outcome, Refused)]
    await _record_refusals(tx, rse, refused)
    await _release_late(tx, rse, [replica.id for replica, outcome in taken if outcome.ours])
    # Whoever wanted them may have gone meanwhile.
    await release(tx, [replica.id for replica in moved])


async def _record_refusals(tx: Transaction, rse: str, refused: Sequence[tuple[Replica, str]]) -> None:
    for replica, reason in refused:
        if replica.rule_id is None:
            await tx.replicas.give_back(await tx.replicas.move(ReplicaEvent.REFUSED, rse, [replica.id], reason=reason))
        else:
            # It was ordered before: something of it may be there, and what it had reserved comes back after that.
            await tx.replicas.move(ReplicaEvent.RECALLED, rse, [replica.id])
        await follow(tx, await tx.contents.move(ContentEvent.FAILED, pinned_to([replica.id]), reason=reason))
        await release(tx, [replica.id])


async def _still_wanted(tx: Transaction, rse: str, later: Mapping[ReplicaId, str]) -> Mapping[ReplicaId, str]:
    """Those that somebody pins. The others wait for nothing, nor does the room that they have."""
    unpinned = set(await tx.replicas.unpinned(list(later)))
    await _give_back(tx, rse, sorted(unpinned))
    return {replica: reason for replica, reason in later.items() if replica not in unpinned}


async def _give_back(tx: Transaction, rse: str, ids: Sequence[int]) -> list[ReplicaId]:
    """Have those of these deleted that were admitted and that nobody pins; which.

    Something of them may be there, of an order that broke off: what they had reserved comes back after that.
    """
    unpinned = [
        replica.id for replica in await tx.replicas.move(ReplicaEvent.RECALLED, rse, await tx.replicas.unpinned(ids))
    ]
    await release(tx, unpinned)
    return unpinned


def _order_later(tx: Transaction, effect: Effect, rse: str, later: Mapping[ReplicaId, str]) -> NewEffect:
    ids = sorted(later)
    payload = {"rse": rse, "replicas": ids}
    delay = backoff(effect.tries)
    return NewEffect(EffectKind.STAGE, f"replica:{ids[0]}", tx.now, payload, delay, _first(later))


def _first(later: Mapping[ReplicaId, str]) -> str:
    """One reason for all; where there are several, that it is so."""
    reasons = sorted(set(later.values()))
    return reasons[0] if len(reasons) == 1 else f"{reasons[0]} (and {len(reasons) - 1} other reasons)"


async def _release_late(tx: Transaction, rse: str, ids: Sequence[int]) -> None:
    """Have those deleted whose deletion overtook the order to stage them: it found nothing to delete yet."""
    late = [replica.id for replica in await tx.replicas.get(ids) if replica.status in _UNWANTED]
    if late:
        payload = {"rse": rse, "replicas": late}
        tx.effects.add([NewEffect(EffectKind.RELEASE, f"replica:{late[0]}", tx.now, payload)], None)
