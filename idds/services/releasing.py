"""Deletions: what nobody pins any more is ordered to go, and given back to its windows when it is gone."""

from collections.abc import Callable, Mapping, Sequence

from idds.domain.effect import Effect
from idds.domain.identifiers import Did
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.transitions import ReplicaEvent
from idds.ports.ddm import DDM, Residency, Where
from idds.services.orders import AGENT, LEASE, Orders
from idds.store.database import Database

KEPT = "somebody else keeps it: it is not ours any more"
_UNWANTED = (ReplicaStatus.DELETING, ReplicaStatus.GONE)


class Releasing:
    """What the carrier does to have files go. It `hint`s at what it ordered."""

    def __init__(
        self, database: Database, ddm: DDM, orders: Orders, hint: Callable[[str, Sequence[Did]], None]
    ) -> None:
        self._database = database
        self._ddm = ddm
        self._orders = orders
        self._hint = hint

    async def step(self) -> int:
        """Order deletions; how many orders."""
        return await self._orders.carry_out(EffectKind.RELEASE, self._release)

    async def settle(self, rse: str, replicas: Sequence[Replica], found: Mapping[Did, Residency]) -> int:
        """Give back what is gone of those that are being deleted; how many are."""
        gone = [r for r in replicas if found[r.did].where is Where.ABSENT]
        kept = [r for r in replicas if found[r.did].where is Where.PRESENT and found[r.did].rule_id is None]
        for some, reason in ((gone, None), (kept, KEPT)):
            if some:
                async with self._database.transaction(AGENT) as tx:
                    ids = [replica.id for replica in await tx.replicas.lock_unchanged(some)]
                    moved = await tx.replicas.move(ReplicaEvent.DELETED, rse, ids, reason=reason)
                    await tx.replicas.give_back(moved)
        return len(gone) + len(kept)

    async def _release(self, effect: Effect, rse: str, replicas: Sequence[Replica]) -> None:
        # What turned out to be somebody else's is under his rule.
        unwanted = [replica for replica in replicas if replica.ours and replica.status in _UNWANTED]
        rules = {r.did: r.rule_id for r in unwanted if r.rule_id is not None}
        if unknown := [replica for replica in unwanted if replica.rule_id is None]:
            rules |= await self._learn_rules(effect, rse, unknown)
        if rules:
            await self._ddm.release(rse, rules)
        async with self._database.transaction(AGENT) as tx:
            await tx.effects.finish([effect])
        self._hint(rse, [replica.did for replica in unwanted])

    async def _learn_rules(self, effect: Effect, rse: str, unknown: Sequence[Replica]) -> dict[Did, str]:
        """Which rule of ours each of these is there under, if any: what is to be ended is known before it is."""
        found = await self._ddm.residency(rse, [replica.did for replica in unknown])
        async with self._database.transaction(AGENT) as tx:
            # Of what went meanwhile, and was recalled again, the rule of a later time was seen.
            still = await tx.replicas.lock_unchanged(unknown)
            await tx.effects.hold(effect, LEASE)
            rules = [(r, rule_id) for r in still if (rule_id := found[r.did].rule_id) is not None]
            await tx.replicas.note_rules([(replica.id, rule_id, True) for replica, rule_id in rules])
        return {replica.did: rule_id for replica, rule_id in rules}
