"""Tidying up: rules of ours that nothing here knows of are ended.

They are left where a carrier stopped between the data management's commit and its own: after it had ordered a recall
that another one had taken over, and that is over by now.
"""

from collections.abc import Sequence

import structlog

from idds.domain.statuses import ReplicaStatus
from idds.ports.clock import Clock
from idds.ports.ddm import DDM, Rule
from idds.store.database import Database, Transaction

AGENT = "carrier"
AT_ONCE = 2000

log = structlog.get_logger()


class Tidying:
    """A rule that nothing knows of for `patience` microseconds is one that nobody will record any more."""

    def __init__(self, database: Database, ddm: DDM, clock: Clock, patience: int) -> None:
        self._database = database
        self._ddm = ddm
        self._clock = clock
        self._patience = patience
        self._unknown_since: dict[Rule, int] = {}

    async def step(self) -> int:
        """Look at all rules of ours, and end those that have been unknown for long; how many. Raises Unavailable."""
        # Rules first: one that was made and recorded since is not among them, one that was recorded is known.
        by_rse: dict[str, list[Rule]] = {}
        for rule in await self._ddm.rules():
            by_rse.setdefault(rule.rse, []).append(rule)
        unknown: list[Rule] = []
        async with self._database.snapshot() as tx:
            for rse, rules in sorted(by_rse.items()):
                for start in range(0, len(rules), AT_ONCE):
                    unknown += await _unknown(tx, rse, rules[start : start + AT_ONCE])
        now = self._clock.now()
        self._unknown_since = {rule: self._unknown_since.get(rule, now) for rule in unknown}
        orphans = [rule for rule, since in self._unknown_since.items() if now - since >= self._patience]
        for rse in sorted({rule.rse for rule in orphans}):
            await self._end(rse, [rule for rule in orphans if rule.rse == rse])
        return len(orphans)

    async def _end(self, rse: str, orphans: Sequence[Rule]) -> None:
        log.warning("rules of ours that nothing here knows of are ended", rse=rse, rules=len(orphans))
        # One at a time of a file that has several.
        for several in _apart(orphans):
            await self._ddm.release(rse, {rule.did: rule.rule_id for rule in several})
        async with self._database.transaction(AGENT) as tx:
            change = (None, ReplicaStatus.DELETING)
            reason = "rules of ours that nothing here knows of: " + ", ".join(rule.rule_id for rule in orphans[:20])
            tx.moves.record(f"rse:{rse}", "tidied", change, request=None, n=len(orphans), reason=reason)
        for rule in orphans:
            self._unknown_since.pop(rule, None)


async def _unknown(tx: Transaction, rse: str, rules: Sequence[Rule]) -> list[Rule]:
    replicas = {replica.did: replica for replica in await tx.replicas.find(rse, [rule.did for rule in rules])}
    return [
        rule
        for rule in rules
        if (replica := replicas.get(rule.did)) is None
        or replica.status is ReplicaStatus.GONE
        # One whose order is under way has none yet that is recorded.
        or replica.rule_id not in (None, rule.rule_id)
    ]


def _apart(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Runs in each of which every file is once."""
    runs: list[list[Rule]] = []
    seen: dict[object, int] = {}
    for rule in rules:
        number = seen.get(rule.did, 0)
        seen[rule.did] = number + 1
        if number == len(runs):
            runs.append([])
        runs[number].append(rule)
    return runs
