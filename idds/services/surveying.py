"""Learning where replicas stand: at once those that something is told of, and now and then all in motion."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from enum import IntEnum

from idds.domain.identifiers import Did, ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import ReplicaStatus
from idds.ports.ddm import DDM, Residency
from idds.store.database import Database, Transaction

AT_ONCE = 2000
FIRST_PAUSE, LAST_PAUSE = 250_000, 16_000_000
"""Of what was told and is not there yet: each pause is twice the one before."""
DELETION = 1_000_000
"""The first pause behind an order to delete: no data management is done with one at once."""
SETTLED = 10_000_000
"""What was seen to be present so many microseconds ago is looked at again when it is hinted at."""


class News(IntEnum):
    """What a hint is worth: we ordered something, the data management may have changed it, did, or has deleted it."""

    ORDERED = 0
    SEEN = 1
    TOLD = 2
    DELETED = 3


Hinted = dict[str, dict[Did, News]]
Settle = Callable[[str, Sequence[Replica], Mapping[Did, Residency]], Awaitable[int]]
"""Given an RSE, replicas on it and where each stands: record what moved; how many did."""


class Survey:
    """Looks at replicas of one part of their life, those of the `watched` statuses.

    What is in motion is looked at again and again where the news are worth `lasting`: Rucio tells that a transfer is
    done before its replica is available, and of the end of a deletion it may not tell.
    """

    def __init__(
        self, database: Database, ddm: DDM, watched: Set[ReplicaStatus], lasting: News, settle: Settle
    ) -> None:
        self._database = database
        self._ddm = ddm
        self._watched = watched
        self._lasting = lasting
        self._settle = settle
        self._hinted: Hinted = {}
        self._again: dict[ReplicaId, tuple[int, int]] = {}
        """What is looked at once more: when, and the pause before that."""

    def hint(self, rse: str, news: Mapping[Did, News]) -> None:
        """Something happened to these files: look at them in the next step."""
        known = self._hinted.setdefault(rse, {})
        known |= {did: max(worth, known.get(did, News.ORDERED)) for did, worth in news.items()}

    async def step(self, *, everything: bool) -> int:
        """Look at what was hinted at and what is due, and at all in motion if wished; how many moved.

        Raises Unavailable; what was hinted at is not forgotten then.
        """
        hinted, self._hinted = self._hinted, {}
        try:
            async with self._database.snapshot() as tx:
                found = await self._find(tx, hinted, everything=everything)
                now = tx.now
            self._look_again(hinted, found, now)
            by_rse: dict[str, list[Replica]] = {}
            for replica in found:
                worth = None if everything else hinted.get(replica.rse, {}).get(replica.did)
                if _is_uncertain(replica, worth, now):
                    by_rse.setdefault(replica.rse, []).append(replica)
            return await self._look(by_rse)
        except BaseException:
            for rse, news in hinted.items():
                self.hint(rse, news)
            raise

    async def due_in(self) -> int | None:
        """In how many microseconds something is to be looked at once more."""
        if not self._again:
            return None
        async with self._database.snapshot() as tx:
            return tx.distance(min(at for at, _ in self._again.values()))

    async def _find(self, tx: Transaction, hinted: Hinted, *, everything: bool) -> list[Replica]:
        found = {r.id: r for rse, news in hinted.items() for r in await tx.replicas.find(rse, sorted(news))}
        if due := [replica for replica, (at, _) in self._again.items() if at <= tx.now]:
            found |= {replica.id: replica for replica in await tx.replicas.get(due)}
        if everything:
            found |= {replica.id: replica for replica in await tx.replicas.in_motion()}
        for replica in found.values():
            if replica.status not in self._watched:
                self._again.pop(replica.id, None)
        return [replica for replica in found.values() if replica.status in self._watched]

    def _look_again(self, hinted: Hinted, found: Iterable[Replica], now: int) -> None:
        for replica in found:
            before = self._again.pop(replica.id, None)
            worth = hinted.get(replica.rse, {}).get(replica.did)
            if replica.status is ReplicaStatus.PRESENT:
                # What is told of a file that landed just now is told because of that; but for its deletion.
                if worth is News.DELETED and not _is_settled(replica, now):
                    self._again[replica.id] = (replica.changed_at + SETTLED, LAST_PAUSE)
                continue
            is_news = worth is not None and worth >= self._lasting
            if is_news or before is not None:
                pause = _first_pause(worth, replica.status) if is_news or before is None else 2 * before[1]
                if pause <= LAST_PAUSE:
                    self._again[replica.id] = (now + pause, pause)

    async def _look(self, by_rse: Mapping[str, Sequence[Replica]]) -> int:
        # One RSE does not wait for another.
        outcomes = await asyncio.gather(
            *(self._look_on(rse, found) for rse, found in sorted(by_rse.items())), return_exceptions=True
        )
        moved = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            moved += outcome
        return moved

    async def _look_on(self, rse: str, replicas: Sequence[Replica]) -> int:
        moved = 0
        for start in range(0, len(replicas), AT_ONCE):
            some = replicas[start : start + AT_ONCE]
            moved += await self._settle(rse, some, await self._ddm.residency(rse, [each.did for each in some]))
        return moved


def _is_settled(replica: Replica, now: int) -> bool:
    return now - replica.changed_at >= SETTLED


def _first_pause(worth: News | None, status: ReplicaStatus) -> int:
    is_ordered = worth is News.ORDERED and status is ReplicaStatus.DELETING
    return DELETION if is_ordered else FIRST_PAUSE


def _is_uncertain(replica: Replica, worth: News | None, now: int) -> bool:
    """Whether it may stand elsewhere than we think, by now."""
    match replica.status:
        case ReplicaStatus.PRESENT:
            return replica.rule_id is not None and _is_settled(replica, now)
        case ReplicaStatus.DELETING:
            return worth is not News.ORDERED
        case _:
            return True
