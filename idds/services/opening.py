"""The collections of a transform that is released: where its contents will come from, and where its outputs will go."""

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, Did
from idds.domain.request import Request
from idds.domain.statuses import Relation, SourceKind
from idds.domain.transform import Transform
from idds.domain.workflow import Input, Output, WindowLimits, Work
from idds.services.destination import choose_destination
from idds.services.placement import Placement
from idds.store.database import Transaction


async def open_output(tx: Transaction, transform: Transform, output: Output, placement: Placement) -> CollectionId:
    """Where its outputs go."""
    did, rse = Did.parse(output.dataset), output.rse or placement.outputs
    return await tx.collections.add(transform.request_id, transform.id, Relation.OUTPUT, did=did, rse=rse)


async def open_input(
    tx: Transaction, transform: Transform, work: Work, feeding: Collection | None, placement: Placement
) -> CollectionId:
    """Where its contents come from; `feeding` feeds it, where another work does."""
    source = work.input
    assert source is not None
    batch = 0 if source.batch == "all" else source.batch
    chosen = None
    if source.is_staged and source.rse is None:
        chosen = await choose_destination(tx, placement, work.provider or placement.provider)
    made = await tx.collections.add(
        transform.request_id,
        transform.id,
        Relation.INPUT,
        did=Did.parse(source.dataset) if source.dataset is not None else None,
        source=(_kind(source), feeding.id if feeding else None),
        rse=chosen.rse if chosen is not None else _rse(source, feeding),
        batch=batch,
        range_events=source.ranges.events if source.ranges else None,
    )
    if chosen is not None and len(placement.disks) > 1:
        request, change = transform.request_id, (None, chosen.rse)
        tx.moves.record(f"collection:{made}", "destination", change, request=request, n=0, reason=chosen.reason)
    return made


async def open_window(
    tx: Transaction, request: Request, collection: Collection, source: Input, placement: Placement
) -> None:
    """Have what an input may hold bounded, and counted: for fair shares also where there is no bound."""
    if collection.rse is None and source.samples is None:
        return
    limits = source.window
    if source.samples is not None:
        limits = WindowLimits(files=limits.files or max(placement.samples_in_flight, collection.batch))
    ref = str(collection.id)
    # The quota of a share bounds what is on disk; samples take no room there.
    share = request.share if source.samples is None else None
    if not await tx.windows.reopen("collection", ref):
        await tx.windows.add("collection", ref, limit_bytes=limits.bytes, limit_files=limits.files, share=share)


def close_window(tx: Transaction, collection: Collection | None) -> None:
    """Files of an input that has ended may still be on disk, or on their way out: its window goes with the last."""
    if collection is not None and collection.source is not SourceKind.SAMPLES:
        tx.windows.end(collection.id)


def _kind(source: Input) -> SourceKind:
    given = {
        SourceKind.DATASET: source.dataset,
        SourceKind.SAMPLES: source.samples,
        SourceKind.REGISTERED: source.registered,
        SourceKind.OUTPUTS: source.outputs,
        SourceKind.COUNTED: source.ranges,
    }
    return next(kind for kind, value in given.items() if value is not None)


def _rse(source: Input, feeding: Collection | None) -> str | None:
    if source.is_staged:
        return source.rse
    # What is counted stays where it is; outputs are wherever each was put.
    return feeding.rse if feeding is not None and source.ranges is not None else None
