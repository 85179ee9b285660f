"""How the carousel runs, tape by tape, and when a request will have all its files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idds.domain.carousel import (
    Carousel,
    DiskStanding,
    Eta,
    InputForecast,
    RequestForecast,
    TapeForecast,
    TimesToStage,
)
from idds.domain.collection import Collection
from idds.domain.errors import NotFound
from idds.domain.hold import Hold, HoldKind
from idds.domain.identifiers import RequestId
from idds.domain.replica import Window
from idds.domain.request import Principal, Role
from idds.domain.statuses import ContentStatus, Relation
from idds.engine.forecast import binned, eta
from idds.engine.times import Times
from idds.services.discretion import bounded_by, held_by
from idds.services.remembering import Remembered
from idds.store.database import Database, Transaction
from idds.store.throughput import MINUTE, InFlight, Landing

RECENT = 10 * MINUTE
HOUR = 60 * MINUTE
TOLD = 6 * HOUR
"""How far back the distribution of times to stage goes."""
BINS = 40
LOOKED_AT = 10_000
Waiting = Mapping[tuple[str, str], tuple[int, int]]
"""Inputs that wait for admission, and their contents, by disk and tape."""


@dataclass(frozen=True, slots=True)
class _Amounts:
    """What there is of everybody's, or what of it a VO needs; that one's `pairs` of tape and disk."""

    flying: Mapping[tuple[str, str], InFlight]
    waiting: Mapping[tuple[str, str], tuple[int, int]]
    replicas: Sequence[tuple[str, str, int, int]]
    pairs: frozenset[tuple[str, str]] | None


class Forecast:
    """What the API does for who asks when."""

    def __init__(self, database: Database, tapes: Mapping[str, str] | None = None) -> None:
        """`tapes` says on which tape system a tape RSE sits."""
        self._database = database
        self._tapes = tapes or {}
        # It is of everybody: whoever watches a request asks for it time and again.
        self._waiting: Remembered[None, Waiting] = Remembered(self._read_waiting)
        self._amounts: Remembered[str, _Amounts] = Remembered(self._read_amounts)

    async def carousel(self, principal: Principal) -> Carousel:
        """Every tape that something comes, came or is to come from, and every disk.

        Who is no operator is told of those that his VO has to do with, and how much of what is there it needs; how
        fast a tape is, and how full a disk's window, is everybody's.
        """
        vo = None if principal.role is Role.OPERATOR else principal.vo
        amounts = await self._read_amounts(None) if vo is None else await self._amounts.get(vo)
        async with self._database.snapshot() as tx:
            holds = {(hold.kind, hold.ref): hold for hold in held_by(principal, await tx.holds.all())}
            landed = await tx.throughput.landed_since(tx.now - TOLD)
            every = bounded_by(principal, await tx.windows.all())
            windows = {window.ref: window for window in every if window.kind == "rse"}
            pairs = {(each.source, each.rse) for each in landed} | amounts.flying.keys() | amounts.waiting.keys()
            if amounts.pairs is not None:
                pairs &= amounts.pairs | amounts.flying.keys()
            tapes = tuple(
                _tape(
                    pair,
                    [each for each in landed if (each.source, each.rse) == pair],
                    amounts.flying.get(pair),
                    amounts.waiting.get(pair, (0, 0)),
                    self._held(holds, pair[0]),
                    tx.now,
                )
                for pair in sorted(pairs)
            )
            names = {rse for rse, *_ in amounts.replicas} | {rse for _, rse in pairs}
            if vo is None:
                names |= windows.keys()
            disks = tuple(
                _disk(name, windows.get(name), amounts.replicas, holds.get((HoldKind.RSE, name)))
                for name in sorted(names)
            )
            return Carousel(tx.now, tapes, disks, tuple(holds.values()))

    async def _read_amounts(self, vo: str | None) -> "_Amounts":
        async with self._database.snapshot(timeless=True) as tx:
            return _Amounts(
                {(each.source, each.rse): each for each in await tx.throughput.in_flight(vo)},
                {(source, rse): number for (rse, source), number in (await tx.throughput.waiting(vo)).items()},
                await tx.replicas.summary(vo),
                None if vo is None else await tx.throughput.pairs(vo),
            )

    def _held(self, holds: Mapping[tuple[HoldKind, str], Hold], tape: str) -> Hold | None:
        """By its own name, or by that of the tape system that it sits on."""
        return holds.get((HoldKind.TAPE, tape)) or holds.get((HoldKind.TAPE, self._tapes.get(tape, tape)))

    async def request(self, principal: Principal, request: RequestId) -> RequestForecast:
        """When each input of a request will have come. Raises NotFound."""
        waiting = await self._waiting.get(None)
        async with self._database.snapshot() as tx:
            found = await tx.requests.get(request, principal)
            if found is None:
                raise NotFound(f"there is no request {request}")
            landed = await tx.throughput.landed_since(tx.now - HOUR)
            inputs = [
                await _input(tx, collection, found.created_at, landed, waiting)
                for collection in await tx.collections.of_request(request)
                if collection.relation is Relation.INPUT and collection.rse is not None
            ]
            return RequestForecast(request, tx.now, tuple(inputs))

    async def _read_waiting(self, _: None) -> Waiting:
        async with self._database.snapshot(timeless=True) as tx:
            return await tx.throughput.waiting()


def times_of(landed: Sequence[Landing]) -> Times:
    """How long these took."""
    classes: Counter[int] = Counter()
    for each in landed:
        classes[each.took] += each.files
    return Times(classes)


def _tape(
    pair: tuple[str, str],
    landed: Sequence[Landing],
    flying: InFlight | None,
    waiting: tuple[int, int],
    held: Hold | None,
    now: int,
) -> TapeForecast:
    times = times_of(landed)
    recent, hour = (_rates(landed, now, span) for span in (RECENT, HOUR))
    return TapeForecast(
        tape=pair[0],
        rse=pair[1],
        held=held.reason if held else None,
        bytes_per_s=recent[0],
        files_per_s=recent[1],
        bytes_per_s_1h=hour[0],
        files_per_s_1h=hour[1],
        times=TimesToStage(times.n, times.quantile(0.5), times.quantile(0.9), times.quantile(0.99)),
        in_flight_files=flying.files if flying else 0,
        in_flight_bytes=flying.bytes if flying else 0,
        oldest_at=flying.since if flying else None,
        waiting_inputs=waiting[0],
        waiting=waiting[1],
    )


def _rates(landed: Sequence[Landing], now: int, span: int) -> tuple[float, float]:
    """Bytes and files a second in the whole minutes of a span, and in the one that is not over."""
    start = now - span - (now - span) % MINUTE
    recent = [each for each in landed if each.at >= start]
    seconds = (now - start) / 1_000_000
    return sum(each.bytes for each in recent) / seconds, sum(each.files for each in recent) / seconds


def _disk(
    rse: str, window: Window | None, replicas: Sequence[tuple[str, str, int, int]], held: Hold | None
) -> DiskStanding:
    here = {status: (files, size) for name, status, files, size in replicas if name == rse}
    return DiskStanding(rse, held.reason if held else None, window, here)


async def _input(
    tx: Transaction,
    collection: Collection,
    submitted_at: int,
    landed: Sequence[Landing],
    waiting: Waiting,
) -> InputForecast:
    rse, tape, left = collection.rse or "", collection.source_rse or "", collection.counts[ContentStatus.NEW]
    came = await tx.throughput.came(collection.id, LOOKED_AT)
    first = await tx.throughput.first_came(collection.id) if came else None
    start = max(came[-1][0] if came else tx.now, tx.now - HOUR)
    width = max((tx.now - start) // BINS, 1)
    bins = binned([(at, float(n)) for at, n in came], tx.now - width * BINS, width, BINS)
    per_s = sum(bins) / (width * BINS / 1_000_000)
    told, says = eta(float(left), bins, width), f"from how its files came in the last {_span(width * BINS)}"
    if not left:
        told, says = Eta(0, 0, 0), "all that is known of it has come"
    elif told is None:
        told, says = _from_tape(
            left, [e for e in landed if (e.source, e.rse) == (tape, rse)], waiting, (rse, tape), tx.now
        )
    if not collection.is_closed:
        says += "; more files may become known"
    after = None if first is None else first - submitted_at
    return InputForecast(
        collection.id,
        str(collection.did) if collection.did else None,
        rse,
        collection.source_rse,
        collection.total,
        left,
        collection.unadmitted,
        after,
        per_s,
        told,
        says,
    )


def _from_tape(
    left: int,
    landed: Sequence[Landing],
    waiting: Waiting,
    pair: tuple[str, str],
    now: int,
) -> tuple[Eta | None, str]:
    """Nothing of it came of late: its part of what its tape brings is what can be expected."""
    inputs = max(waiting.get(pair, (1, 0))[0], 1)
    minutes = HOUR // MINUTE
    bins = binned([(e.at, float(e.files)) for e in landed], now - now % MINUTE - HOUR, MINUTE, minutes)
    told = eta(float(left * inputs), bins, MINUTE)
    tape = f"tape {pair[1]}" if pair[1] else "its tape"
    if told is None:
        return None, f"nothing has come of it, nor from {tape}, in the last hour"
    return told, f"nothing has come of it so far: from {tape}, of which {inputs} inputs have a part each"


def _span(microseconds: int) -> str:
    seconds = microseconds / 1_000_000
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.1f} s"
