"""What happened when: series over time for charts, read from the history and from what is counted.

What that costs grows with how often something happened, and those who watch ask time and again: answers are remembered.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

from idds.domain.collection import Collection
from idds.domain.errors import NotFound
from idds.domain.identifiers import RequestId
from idds.domain.replica import Window
from idds.domain.request import Principal, Request, Role
from idds.domain.series import Landings, RequestSeries, SourceSeries, Took
from idds.domain.statuses import Relation, SourceKind
from idds.engine.transitions import ContentEvent
from idds.services.remembering import Remembered
from idds.store.database import Database, Transaction
from idds.store.series import Bins, Sum, Turned
from idds.store.turnover import LONGEST, Kind

BINS = 120
"""So many at most: more than a chart has room for."""
SECOND = 1_000_000
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800)


class Series:
    """What the API does for who draws charts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requests: Remembered[RequestId, RequestSeries] = Remembered(self._read)
        self._landings: Remembered[int, Landings] = Remembered(self._read_landings)
        self._sources: Remembered[str, frozenset[str | None]] = Remembered(self._read_sources)

    async def request(self, principal: Principal, request: RequestId) -> RequestSeries:
        """A request over time. Raises NotFound."""
        async with self._database.snapshot(timeless=True) as tx:
            if not await tx.requests.is_visible(request, principal):
                raise NotFound(f"there is no request {request}")
        return await self._requests.get(request)

    async def landings(self, principal: Principal, span: int) -> Landings:
        """What landed within the last so many microseconds, by source; from where something comes for the principal's
        VO, where he is no operator.
        """
        found = await self._landings.get(span)
        if principal.role is Role.OPERATOR:
            return found
        seen = await self._sources.get(principal.vo)
        return replace(found, sources=tuple(each for each in found.sources if each.source in seen))

    async def _read_sources(self, vo: str) -> frozenset[str | None]:
        async with self._database.snapshot(timeless=True) as tx:
            found = {source for source, _ in await tx.throughput.pairs(vo)}
            found |= {each.source for each in await tx.throughput.in_flight(vo)}
        return frozenset(source or None for source in found)

    async def _read(self, identifier: RequestId) -> RequestSeries:
        async with self._database.snapshot() as tx:
            request = await tx.requests.get(identifier)
            if request is None:
                raise NotFound(f"there is no request {identifier}")
            inputs = [each for each in await tx.collections.of_request(identifier) if each.relation is Relation.INPUT]
            bins = _bins(request.created_at, request.changed_at if request.status.is_terminal else tx.now)
            ids = [collection.id for collection in inputs]
            moved = await tx.series.moved(ids, bins)
            turned = await tx.series.turned(identifier, bins)
            window = await _window(tx, inputs)
        return _series(request, bins, moved, turned, window)

    async def _read_landings(self, span: int) -> Landings:
        async with self._database.snapshot() as tx:
            # They are counted by the minute.
            width = max(60 * SECOND, _width(span))
            end = tx.now - tx.now % width + width
            count = max(1, -(-span // width))
            bins = Bins(end - count * width, width, count)
            found = await tx.series.landings(bins)
        by_source = {name: [each for each in found if each.kind == name] for name in sorted({s.kind for s in found})}
        sources = (
            SourceSeries(name or None, _spread(bins, sums, _files), _rates(bins, sums))
            for name, sums in by_source.items()
        )
        return Landings(width, bins.ends, tuple(sources))


def _series(
    request: Request, bins: Bins, moved: Sequence[Sum], turned: Sequence[Turned], window: Window | None
) -> RequestSeries:
    sums: dict[Kind, list[Sum]] = {kind: [] for kind in Kind}
    took: Counter[int] = Counter()
    for each in turned:
        sums[each.kind].append(Sum(each.bin, each.kind, each.files, each.bytes))
        if each.took is not None:
            took[each.took] += each.files
    landed, released = sums[Kind.LANDED], sums[Kind.GONE]

    def count(*events: ContentEvent) -> tuple[int, ...]:
        return tuple(accumulate(_spread(bins, [each for each in moved if each.kind in events], _files)))

    more, less = _spread(bins, (*landed, *sums[Kind.FOUND]), _bytes), _spread(bins, released, _bytes)
    return RequestSeries(
        request=request.id,
        width=bins.width,
        at=bins.ends,
        staged=count(ContentEvent.LANDED),
        processed=count(ContentEvent.PROCESSED),
        failed=count(ContentEvent.FAILED, ContentEvent.LOST),
        released=tuple(accumulate(_spread(bins, released, _files))),
        bytes_on_disk=tuple(accumulate(added - gone for added, gone in zip(more, less, strict=True))),
        bytes_per_s=_rates(bins, landed),
        window_bytes=window.limit_bytes if window else None,
        took=_histogram(took),
    )


def _histogram(files: Mapping[int, int]) -> tuple[Took, ...]:
    """The classes from the lowest that has files to the highest, without holes."""
    if not files:
        return ()
    powers = range(min(files), max(files) + 1)
    return tuple(Took((1000 << p) if p < LONGEST else None, files.get(p, 0)) for p in powers)


async def _window(tx: Transaction, inputs: Sequence[Collection]) -> Window | None:
    """The one that bounds what a request has on disk: its own, else that of the disk it all comes to."""
    staged = [each for each in inputs if each.source in (SourceKind.DATASET, SourceKind.REGISTERED) and each.rse]
    if not staged:
        return None
    own = [("collection", str(each.id)) for each in staged]
    found = await tx.windows.find([*own, *{("rse", str(each.rse)) for each in staged}])
    of_request = [found[ref] for ref in own if ref in found]
    candidates = of_request or list(found.values())
    return candidates[0] if len(candidates) == 1 else None


def _bins(start: int, end: int) -> Bins:
    width = _width(max(1, end - start))
    start -= start % width
    return Bins(start, width, (end - start) // width + 1)


def _width(span: int) -> int:
    widths = (each * SECOND for each in WIDTHS_S)
    return next((width for width in widths if span <= width * (BINS - 1)), -(-span // BINS))


def _files(each: Sum) -> int:
    return each.files


def _bytes(each: Sum) -> int:
    return each.bytes


def _spread(bins: Bins, sums: Iterable[Sum], amount: Callable[[Sum], int]) -> tuple[int, ...]:
    """An amount for each bin; what came after the last counts there."""
    found = [0] * bins.count
    for each in sums:
        found[min(each.bin, bins.count - 1)] += amount(each)
    return tuple(found)


def _rates(bins: Bins, sums: Iterable[Sum]) -> tuple[float, ...]:
    return tuple(size * SECOND / bins.width for size in _spread(bins, sums, _bytes))
