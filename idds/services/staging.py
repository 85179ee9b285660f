"""Bringing files to disk and taking them away: what was admitted is staged, what nobody pins is released.

Where a file stands is learned from the data management: at once where it hints that something changed, and now and
then for everything that is in motion.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set

import structlog

from idds.domain.effect import Effect, NewEffect
from idds.domain.errors import Unavailable
from idds.domain.identifiers import Did, ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.retry import TRIES, backoff
from idds.engine.stalls import Patience
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.ports.ddm import DDM, NotNow, Refused, Residency, Staging, Where
from idds.ports.wakeups import Channel, Wakeups
from idds.services.announcing import follow, release
from idds.services.choosing import Choosing
from idds.services.locking import lock_with_pins
from idds.services.stalls import order_elsewhere, retriable
from idds.services.withdrawing import withdraw
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced

AGENT = "carrier"
LEASE = 30_000_000
EFFECTS_AT_ONCE = 20
SURVEYED_AT_ONCE = 2000
FIRST_PAUSE, LAST_PAUSE = 250_000, 16_000_000
"""Of what was told and is not there yet: each pause is twice the one before."""
SETTLED = 10_000_000
"""What was seen to be present so many microseconds ago is looked at again when it is hinted at."""

_IN_MOTION = (ReplicaStatus.STAGING, ReplicaStatus.DELETING)

log = structlog.get_logger()

Act = Callable[[Effect, str, Sequence[Replica]], Awaitable[None]]


class Residencies:
    """What the carrier does for replicas.

    `patience` says how often it is tried again elsewhere, `tapes` on which tape system a tape RSE sits.
    """

    def __init__(
        self,
        database: Database,
        ddm: DDM,
        wakeups: Wakeups,
        owner: str,
        *,
        patience: Patience | None = None,
        tapes: Mapping[str, str] | None = None,
    ) -> None:
        self._database = database
        self._ddm = ddm
        self._wakeups = wakeups
        self._owner = owner
        self._patience = patience or Patience()
        self._choosing = Choosing(database, ddm, tapes)
        self._hinted: dict[str, set[Did]] = {}
        self._again: dict[ReplicaId, tuple[int, int]] = {}
        """What was told of too early: when it is looked at once more, and the pause before that."""

    async def listen(self) -> None:
        """Take the data management's hints, for ever."""
        async for rse, dids in self._ddm.changes():
            self.hint(rse, dids)

    def hint(self, rse: str, dids: Sequence[Did]) -> None:
        """Something happened to these files: look at them soon."""
        self._hinted.setdefault(rse, set()).update(dids)
        self._wakeups.wake(Channel.REPLICAS)

    async def stage(self) -> int:
        """Order recalls that were admitted; how many orders."""
        return await self._each(EffectKind.STAGE, self._stage)

    async def release(self) -> int:
        """Order deletions; how many orders."""
        return await self._each(EffectKind.RELEASE, self._release)

    async def _each(self, kind: EffectKind, act: Act) -> int:
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(kind, owner=self._owner, lease=LEASE, limit=EFFECTS_AT_ONCE)
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
                await self._give_up(tx, effect, rse, [replica.id for replica in replicas], reason)
            else:
                # A deletion is never given up: the bytes are there.
                await tx.effects.postpone([effect], reason, backoff(effect.tries))

    async def _give_up(self, tx: Transaction, effect: Effect, rse: str, ids: Sequence[int], reason: str) -> None:
        await lock_with_pins(tx, ids)
        await tx.effects.finish([effect])
        # Something of it may be there: it is deleted, and what it had reserved comes back after that.
        await tx.replicas.move(ReplicaEvent.RECALLED, rse, ids)
        await follow(tx, await tx.contents.move(ContentEvent.FAILED, pinned_to(ids), reason=reason))
        await release(tx, ids)

    async def _stage(self, effect: Effect, rse: str, replicas: Sequence[Replica]) -> None:
        # A replica that has moved on since, with an order made twice, needs none.
        waiting = [r for r in replicas if r.ours and r.status in (ReplicaStatus.ADMITTED, ReplicaStatus.STAGING)]
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
        self.hint(rse, [replica.did for replica in waiting])

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
            await self._record_staging(tx, rse, outcomes)

    async def _record_staging(
        self, tx: Transaction, rse: str, outcomes: Sequence[tuple[Replica, Staging | Refused]]
    ) -> None:
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
        self.hint(rse, [replica.did for replica in unwanted])

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

    async def survey(self, *, everything: bool) -> int:
        """Learn where files stand: the hinted ones, and all in motion if wished; how many moved."""
        told = await self._take_hints()
        hinted, self._hinted = self._hinted, {}
        async with self._database.snapshot() as tx:
            looked_at = {r.id: r for rse, dids in hinted.items() for r in await tx.replicas.find(rse, sorted(dids))}
            due = [replica for replica, (at, _) in self._again.items() if at <= tx.now]
            looked_at |= {replica.id: replica for replica in await tx.replicas.get(due)}
            if everything:
                looked_at |= {replica.id: replica for replica in await tx.replicas.in_motion()}
            now = tx.now
        self._look_again(told, hinted, looked_at.values(), now)
        by_rse: dict[str, list[Replica]] = {}
        for replica in looked_at.values():
            if _is_uncertain(replica, now):
                by_rse.setdefault(replica.rse, []).append(replica)
        moved = 0
        try:
            for rse, replicas in sorted(by_rse.items()):
                for start in range(0, len(replicas), SURVEYED_AT_ONCE):
                    moved += await self._survey(rse, replicas[start : start + SURVEYED_AT_ONCE])
        except BaseException:
            for rse, dids in hinted.items():
                self._hinted.setdefault(rse, set()).update(dids)
            raise
        return moved

    async def due_in(self) -> int | None:
        """In how many microseconds something is to be looked at once more."""
        if not self._again:
            return None
        async with self._database.snapshot() as tx:
            return tx.distance(min(at for at, _ in self._again.values()))

    def _look_again(
        self, told: Mapping[str, Set[Did]], hinted: Mapping[str, Set[Did]], replicas: Iterable[Replica], now: int
    ) -> None:
        """Rucio tells that a transfer is done before its replica is available: that comes after seconds, untold.

        So does the end of a deletion that was just ordered.
        """
        for replica in replicas:
            before = self._again.pop(replica.id, None)
            news = hinted if replica.status is ReplicaStatus.DELETING else told
            is_news = replica.did in news.get(replica.rse, ())
            if replica.status in _IN_MOTION and (is_news or before is not None):
                pause = FIRST_PAUSE if is_news or before is None else 2 * before[1]
                if pause <= LAST_PAUSE:
                    self._again[replica.id] = (now + pause, pause)

    async def _take_hints(self) -> Mapping[str, Set[Did]]:
        """Those that were noted by others, up to some thousands; more are taken at once again."""
        async with self._database.snapshot(timeless=True) as tx:
            if not await tx.hints.any():
                return {}
        async with self._database.transaction(AGENT) as tx:
            taken = await tx.hints.take(SURVEYED_AT_ONCE)
        for rse, dids in taken.items():
            self._hinted.setdefault(rse, set()).update(dids)
        if sum(map(len, taken.values())) == SURVEYED_AT_ONCE:
            self._wakeups.wake(Channel.REPLICAS)
        return taken

    async def _survey(self, rse: str, replicas: Sequence[Replica]) -> int:
        found = await self._ddm.residency(rse, [replica.did for replica in replicas])
        staging = [r for r in replicas if r.status is ReplicaStatus.STAGING]
        landed = [r for r in staging if found[r.did].where is Where.PRESENT]
        failed = [r for r in staging if found[r.did].where is Where.FAILED]
        lost = [r for r in staging if found[r.did].where is Where.ABSENT]
        deleting = [r for r in replicas if r.status is ReplicaStatus.DELETING]
        gone = [r for r in deleting if found[r.did].where is Where.ABSENT]
        kept = [r for r in deleting if found[r.did].where is Where.PRESENT and found[r.did].rule_id is None]
        present = [r for r in replicas if r.status is ReplicaStatus.PRESENT]
        vanished = [r for r in present if found[r.did].where is not Where.PRESENT]
        again = await self._try_elsewhere(rse, failed, found)
        if again:
            failed = [r for r in failed if r.id not in again]
        if landed or failed or lost:
            await self._record_landing(rse, landed, failed, lost, found)
        if gone:
            await self._record_gone(rse, gone)
        if kept:
            await self._record_gone(rse, kept, "somebody else keeps it: it is not ours any more")
        if vanished:
            async with self._database.transaction(AGENT) as tx:
                await lock_with_pins(tx, [replica.id for replica in vanished])
                await withdraw(tx, rse, await tx.replicas.lock_unchanged(vanished), found)
        return len(landed) + len(failed) + len(gone) + len(kept) + len(vanished) + len(again)

    async def _try_elsewhere(self, rse: str, failed: Sequence[Replica], found: Mapping[Did, Residency]) -> set[int]:
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

    async def _record_gone(self, rse: str, gone: Sequence[Replica], reason: str | None = None) -> None:
        async with self._database.transaction(AGENT) as tx:
            unchanged = [replica.id for replica in await tx.replicas.lock_unchanged(gone)]
            await tx.replicas.give_back(await tx.replicas.move(ReplicaEvent.DELETED, rse, unchanged, reason=reason))

    async def _record_landing(
        self,
        rse: str,
        landed: Sequence[Replica],
        failed: Sequence[Replica],
        lost: Sequence[Replica],
        found: Mapping[Did, Residency],
    ) -> None:
        async with self._database.transaction(AGENT) as tx:
            await lock_with_pins(tx, [replica.id for replica in (*landed, *failed, *lost)])
            # What was seen may be of a former time: a replica that came or went since is looked at again.
            landed, failed, lost = [await tx.replicas.lock_unchanged(seen) for seen in (landed, failed, lost)]
            there = [r.id for r in await tx.replicas.move(ReplicaEvent.LANDED, rse, [r.id for r in landed])]
            await tx.replicas.note_paths({r.id: found[r.did].path for r in landed if r.id in there})
            # Of two orders that were under way at once, the one recorded last may be the one that was ended.
            under = [(r.id, rule) for r in landed if r.ours and (rule := found[r.did].rule_id) not in (None, r.rule_id)]
            await tx.replicas.note_rules([(replica, rule, True) for replica, rule in under if rule is not None])
            await follow(tx, await tx.contents.move(ContentEvent.LANDED, pinned_to(there)))
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
    # Something of it may be there: it is deleted, and what it had reserved comes back after that.
    await release(tx, [replica.id for replica in await tx.replicas.move(ReplicaEvent.RECALLED, rse, sorted(unpinned))])
    return {replica: reason for replica, reason in later.items() if replica not in unpinned}


def _order_later(tx: Transaction, effect: Effect, rse: str, later: Mapping[ReplicaId, str]) -> NewEffect:
    ids = sorted(later)
    payload = {"rse": rse, "replicas": ids}
    delay = backoff(effect.tries)
    return NewEffect(EffectKind.STAGE, f"replica:{ids[0]}", tx.now, payload, delay, _first(later))


def _first(later: Mapping[ReplicaId, str]) -> str:
    """One reason for all; where there are several, that it is so."""
    reasons = sorted(set(later.values()))
    return reasons[0] if len(reasons) == 1 else f"{reasons[0]} (and {len(reasons) - 1} other reasons)"


def _is_uncertain(replica: Replica, now: int) -> bool:
    """Whether it may stand elsewhere than we think. One that landed just now is hinted at because of that."""
    match replica.status:
        case ReplicaStatus.STAGING | ReplicaStatus.DELETING:
            return True
        case ReplicaStatus.PRESENT:
            return replica.rule_id is not None and now - replica.changed_at >= SETTLED
        case _:
            return False


_UNWANTED = (ReplicaStatus.DELETING, ReplicaStatus.GONE)


async def _release_late(tx: Transaction, rse: str, ids: Sequence[int]) -> None:
    """Have those deleted whose deletion overtook the order to stage them: it found nothing to delete yet."""
    late = [replica.id for replica in await tx.replicas.get(ids) if replica.status in _UNWANTED]
    if late:
        payload = {"rse": rse, "replicas": late}
        tx.effects.add([NewEffect(EffectKind.RELEASE, f"replica:{late[0]}", tx.now, payload)], None)
