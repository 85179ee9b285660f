"""How things stand on a disk, read for the planner: what waits for it, what is on its way, what is held."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import groupby

from idds.domain.hold import HoldKind, hold_of_tape
from idds.domain.identifiers import CollectionId
from idds.domain.replica import Window
from idds.domain.statuses import ContentStatus
from idds.engine.planner import Demand, Policy, Standing, Tape
from idds.engine.shares import Share
from idds.engine.window import Candidate
from idds.services.admission import as_wanted
from idds.store.contents import Unadmitted
from idds.store.database import Transaction
from idds.store.demands import Recalls, Waiting

UNKNOWN = "that is not known yet"
NOBODY: frozenset[CollectionId] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator settled: how the planner chooses, which tape RSEs are one tape system, and what those take.

    A tape RSE that is in no system is one by itself.
    """

    policy: Policy = field(default_factory=Policy)
    systems: Mapping[str, str] = field(default_factory=dict)
    recalls_in_flight: Mapping[str, int] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()

    def system(self, rse: str | None) -> str:
        """The tape system of a tape RSE, `UNKNOWN` of one that is not known yet."""
        return UNKNOWN if rse is None else self.systems.get(rse, rse)

    def limit(self, system: str) -> int | None:
        """How many recalls may be under way; where it is not known from which it will be, as few as from any."""
        if system == UNKNOWN:
            return min(self.recalls_in_flight.values(), default=None)
        return self.recalls_in_flight.get(system)


async def read_standing(
    tx: Transaction, rse: str, rules: Rules, *, heads: int, without: Set[CollectionId] = NOBODY
) -> Standing:
    """As of this transaction. Of each queue about so many contents are read; of one group at least."""
    waiting = [each for each in await tx.demands.waiting(rse) if each.collection.id not in without]
    of_inputs = await tx.windows.of_collections([each.collection.id for each in waiting])
    shared = await tx.windows.find([("rse", rse), *(("share", share.name) for share in rules.shares)])
    holds = {(hold.kind, hold.ref): hold for hold in await tx.holds.all()}
    recalls = await tx.demands.recalls()
    under_way = {each.window_id: 0 for each in recalls}
    for recalled in recalls:
        under_way[recalled.window_id] += recalled.files
    queues = await tx.demands.heads(rse, [each.collection for each in waiting], heads)
    demands = []
    for each in waiting:
        own = of_inputs.get(each.collection.id)
        in_flight = 0 if own is None else under_way.get(own.id, 0)
        system = rules.system(each.collection.source_rse)
        demand = _demand(each, own, in_flight, system, queues[each.collection.id])
        hold = hold_of_tape(holds, each.collection.source_rse, system)
        demands.append(replace(demand, hold=f"tape {hold.ref} is held: {hold.reason}" if hold is not None else None))
    sources = {each.collection.source_rse for each in waiting}
    of_disk = holds.get((HoldKind.RSE, rse))
    return Standing(
        rse,
        shared.get(("rse", rse)),
        tuple(demands),
        tuple(_tapes(sources, recalls, rules)),
        await _shares(tx, rules, shared),
        of_disk.reason if of_disk is not None else None,
    )


def _demand(
    waiting: Waiting, own: Window | None, in_flight: int, tape: str | None, files: Sequence[Unadmitted]
) -> Demand:
    collection, counts = waiting.collection, waiting.collection.counts
    pinned = counts[ContentStatus.NEW] - collection.unadmitted + counts[ContentStatus.AVAILABLE]
    pinned += counts[ContentStatus.LEASED]
    # Contents are counted; of files and bytes as many as in the heads.
    of = max(1, sum(file.n for file in files))
    return Demand(
        collection.id,
        collection.request_id,
        waiting.share,
        waiting.priority,
        held_bytes=own.reserved_bytes if own else 0,
        held_files=own.reserved_files if own else 0,
        in_flight=in_flight,
        window=own,
        tape=tape,
        waiting_since=waiting.since,
        forced_at=collection.forced_at,
        heads=tuple(
            Candidate(number, tuple(as_wanted(file) for file in group))
            for number, group in groupby(files, key=lambda file: file.group_no)
        ),
        more=sum(file.n for file in files) < collection.unadmitted,
        pinned_bytes=pinned * sum(file.bytes for file in files) // of,
        pinned_files=pinned * len(files) // of,
    )


def _tapes(sources: Set[str | None], recalls: Sequence[Recalls], rules: Rules) -> list[Tape]:
    tapes: dict[str, Tape] = {}
    for source in sources:
        name = rules.system(source)
        tapes[name] = Tape(name, limit_files=rules.limit(name))
    for each in recalls:
        tape = tapes.get(rules.system(each.source_rse))
        if tape is not None:
            files, size = tape.in_flight_files + each.files, tape.in_flight_bytes + each.bytes
            tapes[tape.name] = replace(tape, in_flight_files=files, in_flight_bytes=size)
    return list(tapes.values())


async def _shares(tx: Transaction, rules: Rules, windows: Mapping[tuple[str, str], Window]) -> tuple[Share, ...]:
    held = dict(await tx.demands.held_by_shares())
    known = {name: Share(name) for name in held} | {share.name: share for share in rules.shares}
    return tuple(
        replace(share, held_bytes=held.get(name, 0), quota=windows.get(("share", name)))
        for name, share in sorted(known.items())
    )
