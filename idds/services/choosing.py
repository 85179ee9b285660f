"""Where files are recalled from: the source from which they come the soonest is asked for them, and no held one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idds.domain.effect import NewEffect
from idds.domain.files import File
from idds.domain.hold import Hold, HoldKind, hold_of_tape
from idds.domain.identifiers import Did, ReplicaId
from idds.domain.replica import Replica
from idds.domain.statuses import EffectKind
from idds.engine.choice import Choice, SourceOption, order_sources
from idds.engine.transitions import ReplicaEvent
from idds.ports.ddm import DDM, NotNow, Refused, Source, Staging
from idds.store.carousel import Carousel
from idds.store.database import Database, Transaction

AGENT = "carrier"
RECENT = 3600_000_000
Outcome = Staging | NotNow | Refused


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is known of sources: what is under way from each, how fast it came of late, which are held."""

    queued: Mapping[str, tuple[int, int]]
    bytes_per_s: Mapping[str, float]
    holds: Mapping[tuple[HoldKind, str], Hold]

    def option(self, source: Source, tape_system: str) -> SourceOption:
        files, size = self.queued.get(source.rse, (0, 0))
        hold = hold_of_tape(self.holds, source.rse, tape_system) if source.is_tape else None
        held = hold.reason if hold is not None else None
        return SourceOption(source.rse, source.is_tape, files, size, self.bytes_per_s.get(source.rse, 0.0), held)


class Choosing:
    """What the carrier does to choose. `tapes` says on which tape system a tape RSE sits."""

    def __init__(self, database: Database, ddm: DDM, tapes: Mapping[str, str] | None = None) -> None:
        self._database = database
        self._ddm = ddm
        self._tapes = tapes or {}

    async def stage(self, rse: str, replicas: Sequence[Replica]) -> list[Outcome]:
        """Order recalls to `rse`, each from the best of its sources; what was asked for before goes on being.

        An outcome per replica, in order. Whatever is only where it is held waits. Raises Unavailable.
        """
        if not replicas:
            return []
        found = await self._ddm.sources([replica.did for replica in replicas])
        standing = await self._standing()
        choices: dict[ReplicaId, tuple[Choice, bool] | str] = {}
        for (preferred, sources), alike in _alike(replicas, found).items():
            decided = self._decide(standing, preferred, sources, sum(replica.bytes for replica in alike))
            choices |= {replica.id: decided for replica in alike if decided is not None}
        await self._record(rse, replicas, choices)
        outcomes: dict[ReplicaId, Outcome] = {}
        for source, group in _by_order(replicas, choices).items():
            files = [File(replica.did, replica.bytes, replica.adler32) for replica in group]
            answers = await self._ddm.stage(rse, files, source=source)
            outcomes |= {replica.id: answer for replica, answer in zip(group, answers, strict=True)}
        for replica in replicas:
            held = choices.get(replica.id)
            if isinstance(held, str):
                outcomes[replica.id] = NotNow(held)
        return [outcomes[replica.id] for replica in replicas]

    async def elsewhere(self, replicas: Sequence[Replica]) -> dict[ReplicaId, tuple[Choice, ...]]:
        """Where else than from where they were ordered these can come from, the best first. Raises Unavailable."""
        if not replicas:
            return {}
        found = await self._ddm.sources([replica.did for replica in replicas])
        standing = await self._standing()
        others: dict[ReplicaId, tuple[Choice, ...]] = {}
        for (present, sources), alike in _alike(replicas, found).items():
            options = [standing.option(each, self._system(each)) for each in sources if each.rse != present]
            usable = [option for option in options if option.held is None]
            told = tuple(order_sources(usable, sum(replica.bytes for replica in alike)))
            others |= {replica.id: told for replica in alike}
        return others

    def _decide(
        self, standing: _Standing, preferred: str | None, sources: Sequence[Source], size: int
    ) -> tuple[Choice, bool] | str | None:
        """The source, and whether there is another one; why it has to wait; None where there is no source."""
        options = {each.rse: standing.option(each, self._system(each)) for each in sources}
        if not options:
            return None
        wanted = options.get(preferred or "")
        if wanted is not None and wanted.held is None:
            return Choice(wanted.rse, "as before"), len(options) > 1
        best = order_sources(list(options.values()), size)[0]
        if (held := options[best.rse].held) is not None:
            return f"tape {best.rse} is held: {held}"
        return best, len(options) > 1

    def _system(self, source: Source) -> str:
        return self._tapes.get(source.rse, source.rse)

    async def _standing(self) -> _Standing:
        async with self._database.snapshot() as tx:
            queued: dict[str, tuple[int, int]] = {}
            for each in await tx.throughput.in_flight():
                files, size = queued.get(each.source, (0, 0))
                queued[each.source] = (files + each.files, size + each.bytes)
            came: dict[str, float] = {}
            for landing in await tx.throughput.landed_since(tx.now - RECENT):
                came[landing.source] = came.get(landing.source, 0.0) + landing.bytes / (RECENT / 1_000_000)
            holds = {(hold.kind, hold.ref): hold for hold in await tx.holds.all()}
            return _Standing(queued, came, holds)

    async def _record(
        self, rse: str, replicas: Sequence[Replica], choices: Mapping[ReplicaId, tuple[Choice, bool] | str]
    ) -> None:
        """Note where they come from, and why, where that is not what it was."""
        new: dict[Choice, list[int]] = {}
        for replica in replicas:
            match choices.get(replica.id):
                case (Choice() as choice, bool()) if choice.rse != replica.source_rse:
                    new.setdefault(choice, []).append(replica.id)
        if not new:
            return
        async with self._database.transaction(AGENT) as tx:
            await tx.requests.lock(await tx.contents.pinning([number for ids in new.values() for number in ids]))
            for choice, ids in new.items():
                await _note_collections(tx, choice, ids)
            await tx.replicas.lock([number for ids in new.values() for number in ids])
            before = {replica.id: replica.source_rse for replica in replicas}
            fresh = await tx.replicas.get(before)
            # What an operator has changed meanwhile is chosen.
            same = {replica.id for replica in fresh if replica.source_rse == before[replica.id]}
            for choice, chosen in new.items():
                ids = [number for number in chosen if number in same]
                if not ids:
                    continue
                await Carousel(tx).note_source(ids, choice.rse)
                change, said = (None, choice.rse), choice.reason
                tx.moves.record(f"rse:{rse}", "source", change, request=None, ids=sorted(ids), reason=said)


async def redirect(tx: Transaction, replicas: Sequence[Replica], source: str, reason: str) -> None:
    """Have these recalls ended and ordered anew, from this source."""
    by_rse: dict[str, list[int]] = {}
    for replica in replicas:
        by_rse.setdefault(replica.rse, []).append(replica.id)
    for rse, ids in sorted(by_rse.items()):
        values = {"source_rse": source, "stalled_at": None}
        moved = [r.id for r in await tx.replicas.move(ReplicaEvent.REDIRECTED, rse, ids, values=values, reason=reason)]
        if moved:
            payload = {"rse": rse, "replicas": sorted(moved)}
            tx.effects.add([NewEffect(EffectKind.STAGE, f"replica:{min(moved)}", tx.now, payload)], None)


async def _note_collections(tx: Transaction, choice: Choice, ids: Sequence[int]) -> None:
    for collection, request in await Carousel(tx).sourced_by(ids, choice.rse):
        entity = f"collection:{collection}"
        tx.moves.record(entity, "source", (None, choice.rse), request=request, n=0, reason=choice.reason)


def _alike(
    replicas: Sequence[Replica], found: Mapping[Did, tuple[Source, ...]]
) -> dict[tuple[str | None, tuple[Source, ...]], list[Replica]]:
    """Those that are asked for from the same RSE and can be had from the same ones: a run of a tape stays one."""
    groups: dict[tuple[str | None, tuple[Source, ...]], list[Replica]] = {}
    for replica in replicas:
        groups.setdefault((replica.source_rse, found[replica.did]), []).append(replica)
    return groups


def _by_order(
    replicas: Sequence[Replica], choices: Mapping[ReplicaId, tuple[Choice, bool] | str]
) -> dict[str | None, list[Replica]]:
    """By the source that is named in the order: none where there is only one, or none at all."""
    groups: dict[str | None, list[Replica]] = {}
    for replica in replicas:
        match choices.get(replica.id):
            case (Choice() as choice, True):
                groups.setdefault(choice.rse, []).append(replica)
            case (Choice(), False) | None:
                groups.setdefault(None, []).append(replica)
            case _:
                pass
    return groups
