"""Keeping what is needed: rules hold on while somebody works with their files, and what vanished is noticed."""

from collections.abc import Sequence

from idds.domain.replica import Replica
from idds.domain.statuses import ReplicaStatus
from idds.ports.ddm import DDM
from idds.store.database import Database

AGENT = "carrier"
AT_ONCE = 50_000
INTERVAL = 900_000_000
"""So often the rule of each replica is seen to, in microseconds: far more often than rules end by themselves."""


class Keeping:
    """What the carrier does for replicas that are there, or on their way, for long."""

    def __init__(self, database: Database, ddm: DDM) -> None:
        self._database = database
        self._ddm = ddm

    async def step(self) -> int:
        """See to the rules that it is time for, and have those files looked at that may be gone; how many rules.

        Raises Unavailable.
        """
        async with self._database.snapshot() as tx:
            due = await tx.replicas.to_keep(AT_ONCE)
        by_rse: dict[str, list[Replica]] = {}
        for replica in due:
            by_rse.setdefault(replica.rse, []).append(replica)
        for rse, replicas in sorted(by_rse.items()):
            await self._keep(rse, replicas)
        return len(due)

    async def _keep(self, rse: str, replicas: Sequence[Replica]) -> None:
        without_file = await self._ddm.keep(rse, [r.rule_id for r in replicas if r.ours and r.rule_id is not None])
        # Somebody else's rules are not ours to keep: whether their files are still there is asked.
        doubtful = [
            replica
            for replica in replicas
            if replica.status is ReplicaStatus.PRESENT and (not replica.ours or replica.rule_id in without_file)
        ]
        async with self._database.transaction(AGENT) as tx:
            await tx.replicas.note_kept([replica.id for replica in replicas], tx.now + INTERVAL)
            await tx.hints.add((rse, replica.did) for replica in doubtful)
