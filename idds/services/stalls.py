"""Recalls that make no progress: found, boosted, recalled from elsewhere, or given up; each step with its reason."""

from collections.abc import Mapping, Sequence

import structlog

from idds.domain.effect import Effect, NewEffect
from idds.domain.errors import Unavailable
from idds.domain.hold import HoldKind
from idds.domain.identifiers import ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.engine.choice import Choice
from idds.engine.stalls import Patience, Recall, Remedy, Verdict, judge
from idds.engine.times import Times
from idds.engine.transitions import ContentEvent
from idds.ports.ddm import DDM
from idds.services.announcing import follow, release
from idds.services.choosing import Choosing, redirect
from idds.services.forecast import times_of
from idds.services.locking import lock_with_pins
from idds.store.carousel import Carousel
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction
from idds.store.effects import Fenced
from idds.store.throughput import Landing

AGENT = "carrier"
LEASE = 60_000_000
SPAN = 24 * 3600_000_000
"""How far back it is looked what a tape took for its files."""
AT_ONCE = 500
EFFECTS_AT_ONCE = 20

log = structlog.get_logger()

Judged = tuple[Replica, Verdict | None]


class Stalls:
    """What the carrier does about recalls that make no progress. `tapes` tells on which tape system a tape RSE sits."""

    def __init__(
        self, database: Database, ddm: DDM, owner: str, patience: Patience, tapes: Mapping[str, str] | None = None
    ) -> None:
        self._database = database
        self._ddm = ddm
        self._owner = owner
        self._patience = patience
        self._tapes = tapes or {}
        self._choosing = Choosing(database, ddm, tapes)

    async def judge(self) -> int:
        """Find recalls that have stalled, and have something done about each; how many. Raises Unavailable."""
        judged = 0
        for source, rse, times, landed in await self._tapes_in_use():
            async with self._database.snapshot() as tx:
                due = await Carousel(tx).stalled(source, rse, tx.now - self._patience.of(times), AT_ONCE)
                now = tx.now
            if due:
                others = await self._choosing.elsewhere(due)
                verdicts = [(r, self._verdict(r, times, landed, others.get(r.id, ()), now)) for r in due]
                judged += await self._record(rse, verdicts)
        return judged

    async def _tapes_in_use(self) -> list[tuple[str, str, Times, Sequence[Landing]]]:
        """(Tape, disk, how long its files took, what landed) of what is under way and not held."""
        async with self._database.snapshot() as tx:
            flying = await tx.throughput.in_flight()
            landed = await tx.throughput.landed_since(tx.now - SPAN)
            held = {(hold.kind, hold.ref) for hold in await tx.holds.all()}
        found: list[tuple[str, str, Times, Sequence[Landing]]] = []
        for each in flying:
            tapes = {(HoldKind.TAPE, each.source), (HoldKind.TAPE, self._tapes.get(each.source, each.source))}
            if not held & (tapes | {(HoldKind.RSE, each.rse)}):
                of_pair = [landing for landing in landed if (landing.source, landing.rse) == (each.source, each.rse)]
                found.append((each.source, each.rse, times_of(of_pair), of_pair))
        return found

    def _verdict(
        self, replica: Replica, times: Times, landed: Sequence[Landing], others: Sequence[Choice], now: int
    ) -> Verdict | None:
        since = replica.stalled_at or replica.ordered_at or now
        recall = Recall(
            ordered_at=replica.ordered_at or now,
            times=replica.stalled_times,
            source=replica.source_rse or None,
            others=tuple(choice.rse for choice in others),
            # Whole minutes are counted: what landed in the one in which it was ordered may have come before it.
            tape_moves=any(landing.at >= since for landing in landed),
        )
        return judge(recall, times, self._patience, now)

    async def _record(self, rse: str, judged: Sequence[Judged]) -> int:
        verdicts = {replica.id: verdict for replica, verdict in judged}
        async with self._database.transaction(AGENT) as tx:
            await lock_with_pins(tx, list(verdicts))
            # What has moved since is looked at again.
            still = await tx.replicas.lock_unchanged([replica for replica, _ in judged])
            alike: dict[Verdict | None, list[Replica]] = {}
            for replica in still:
                alike.setdefault(verdicts[replica.id], []).append(replica)
            for verdict, replicas in alike.items():
                await _remedy(tx, rse, verdict, replicas)
            return sum(len(replicas) for verdict, replicas in alike.items() if verdict is not None)

    async def boost(self) -> int:
        """Have recalls boosted for which that was decided; how many orders."""
        async with self._database.transaction(AGENT) as tx:
            claimed = await tx.effects.claim(EffectKind.BOOST, owner=self._owner, lease=LEASE, limit=EFFECTS_AT_ONCE)
        for effect in claimed:
            try:
                await self._boost(effect)
            except Unavailable as error:
                async with self._database.transaction(AGENT) as tx:
                    await tx.effects.postpone([effect], str(error))
            except Fenced as fenced:
                log.info("another one took this over", effect=str(fenced))
        return len(claimed)

    async def _boost(self, effect: Effect) -> None:
        async with self._database.snapshot(timeless=True) as tx:
            replicas = await tx.replicas.get(effect.payload["replicas"])
        rules = [r.rule_id for r in replicas if r.status is ReplicaStatus.STAGING and r.ours and r.rule_id]
        if rules:
            await self._ddm.boost(effect.payload["rse"], rules)
        async with self._database.transaction(AGENT) as tx:
            await tx.effects.finish([effect])


async def _remedy(tx: Transaction, rse: str, verdict: Verdict | None, replicas: Sequence[Replica]) -> None:
    """Do about these, which are locked with those whose contents pin them, what was decided."""
    ids = [replica.id for replica in replicas]
    if verdict is None:
        # Its tape stands still: there is nothing to do but to wait once more.
        await Carousel(tx).note_stalled(ids, counted=False)
        return
    await Carousel(tx).note_stalled(ids, counted=True)
    said = f"{verdict.remedy}: {verdict.reason}"
    await _tell_collections(tx, ids, said)
    match verdict.remedy:
        case Remedy.BOOST:
            change = (ReplicaStatus.STAGING, ReplicaStatus.STAGING)
            tx.moves.record(f"rse:{rse}", "stalled", change, request=None, ids=sorted(ids), reason=said)
            tx.effects.add([NewEffect(EffectKind.BOOST, f"replica:{min(ids)}", tx.now, _payload(rse, ids))], None)
        case Remedy.ELSEWHERE:
            assert verdict.source is not None
            await redirect(tx, replicas, verdict.source, said)
        case Remedy.GIVE_UP:
            await follow(tx, await tx.contents.move(ContentEvent.FAILED, pinned_to(ids), reason=verdict.reason))
            await release(tx, ids)


async def _tell_collections(tx: Transaction, ids: Sequence[int], said: str) -> None:
    """Write into the history of the contents that wait for these replicas what is done about them."""
    for (collection, request), contents in (await Carousel(tx).waiting_with(ids)).items():
        entity = f"collection:{collection}"
        tx.moves.record(entity, "stalled", ("new", "new"), request=request, ids=contents, reason=said)


async def order_elsewhere(tx: Transaction, rse: str, failed: Sequence[tuple[Replica, Choice, str]]) -> None:
    """Have recalls that failed ordered from other sources; each with why it failed."""
    for replica, choice, reason in failed:
        verdict = Verdict(Remedy.ELSEWHERE, f"{reason}; it is recalled from {choice.rse} instead", choice.rse)
        await _remedy(tx, rse, verdict, [replica])


def retriable(
    failed: Sequence[Replica], others: Mapping[ReplicaId, Sequence[Choice]], patience: Patience
) -> dict[ReplicaId, Choice]:
    """From where else those of these are to be recalled that failed, and may be tried once more."""
    tries = patience.boosts + patience.orders
    return {r.id: others[r.id][0] for r in failed if r.ours and r.stalled_times < tries and others.get(r.id)}


def _payload(rse: str, ids: Sequence[int]) -> dict[str, object]:
    return {"rse": rse, "replicas": sorted(ids)}
