"""What has landed is announced; what failed on its way, was lost or vanished is tried again, elsewhere, or given up."""

from collections.abc import Mapping, Sequence

from idds.domain.effect import NewEffect
from idds.domain.identifiers import Did, ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.stalls import Patience
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.ports.ddm import Residency, Where
from idds.services.announcing import follow, release
from idds.services.choosing import Choosing
from idds.services.locking import lock_with_pins
from idds.services.orders import AGENT
from idds.services.stalls import order_elsewhere, retriable
from idds.services.withdrawing import withdraw
from idds.store.carousel import Carousel
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction

Found = Mapping[Did, Residency]


class Landing:
    """What the carrier does about files that are on their way or there. `patience` says how often they are recalled."""

    def __init__(self, database: Database, choosing: Choosing, patience: Patience) -> None:
        self._database = database
        self._choosing = choosing
        self._patience = patience

    async def settle(self, rse: str, replicas: Sequence[Replica], found: Found) -> int:
        """Record where these are now; how many moved. Raises Unavailable, with some of it recorded."""
        staging = [r for r in replicas if r.status is ReplicaStatus.STAGING]
        landed = [r for r in staging if found[r.did].where is Where.PRESENT]
        failed = [r for r in staging if found[r.did].where is Where.FAILED]
        lost = [r for r in staging if found[r.did].where is Where.ABSENT]
        present = [r for r in replicas if r.status is ReplicaStatus.PRESENT]
        vanished = [r for r in present if found[r.did].where is not Where.PRESENT]
        if landed:
            async with self._database.transaction(AGENT) as tx:
                await _land(tx, rse, landed, found)
        again = await self._try_elsewhere(rse, failed, found)
        failed = [r for r in failed if r.id not in again]
        if failed or lost:
            async with self._database.transaction(AGENT) as tx:
                await _record_losses(tx, rse, failed, lost, found)
        if vanished:
            async with self._database.transaction(AGENT) as tx:
                await lock_with_pins(tx, [replica.id for replica in vanished])
                await withdraw(tx, rse, await tx.replicas.lock_unchanged(vanished), found)
        return len(landed) + len(failed) + len(vanished) + len(again)

    async def _try_elsewhere(self, rse: str, failed: Sequence[Replica], found: Found) -> set[ReplicaId]:
        """Order recalls that failed from another source, where there is one; which."""
        tried = retriable(failed, await self._choosing.elsewhere(failed), self._patience)
        if not tried:
            return set()
        async with self._database.transaction(AGENT) as tx:
            await lock_with_pins(tx, sorted(tried))
            still = await tx.replicas.lock_unchanged([replica for replica in failed if replica.id in tried])
            reasons = {r.id: found[r.did].reason or "the recall failed" for r in still}
            await order_elsewhere(tx, rse, [(r, tried[r.id], reasons[r.id]) for r in still])
        return set(tried)


async def _land(tx: Transaction, rse: str, landed: Sequence[Replica], found: Found) -> None:
    """Note that these are there, and announce those who wait for them."""
    await lock_with_pins(tx, [replica.id for replica in landed])
    # What was seen may be of a former time: a replica that came or went since is looked at again.
    landed = await tx.replicas.lock_unmoved(landed)
    there = [r.id for r in await tx.replicas.move(ReplicaEvent.LANDED, rse, [r.id for r in landed])]
    await tx.replicas.note_paths({r.id: found[r.did].path for r in landed if r.id in there})
    # Of two orders that were under way at once, the one recorded last may be the one that was ended.
    under = [(r.id, rule) for r in landed if r.ours and (rule := found[r.did].rule_id) not in (None, r.rule_id)]
    await tx.replicas.note_rules([(replica, rule, True) for replica, rule in under if rule is not None])
    await follow(tx, await tx.contents.move(ContentEvent.LANDED, pinned_to(there)))
    # Of a file that had gone, while a processing held it, the next attempt waits for it.
    for lessee in await Carousel(tx).lessees(there):
        await tx.effects.hasten(lessee, [EffectKind.SUBMIT])


async def _record_losses(
    tx: Transaction, rse: str, failed: Sequence[Replica], lost: Sequence[Replica], found: Found
) -> None:
    """Give up what failed, and order anew what the data management has forgotten."""
    await lock_with_pins(tx, [replica.id for replica in (*failed, *lost)])
    failed, lost = [await tx.replicas.lock_unmoved(seen) for seen in (failed, lost)]
    for replica in failed:
        reason = found[replica.did].reason or "the recall failed"
        await follow(tx, await tx.contents.move(ContentEvent.FAILED, pinned_to([replica.id]), reason=reason))
    # One that nobody pins while it fails still has to go.
    await release(tx, [replica.id for replica in failed])
    foreign = [replica.id for replica in (*failed, *lost) if not replica.ours]
    await tx.replicas.move(ReplicaEvent.FORGOTTEN, rse, foreign)
    await tx.contents.unpin(foreign)
    again = [replica.id for replica in lost if replica.ours]
    if again:
        # The data management has forgotten the order: it is given again, one at a time.
        effect = NewEffect(EffectKind.STAGE, f"replica:{again[0]}", 0, {"rse": rse, "replicas": again})
        tx.effects.add([effect], None)
