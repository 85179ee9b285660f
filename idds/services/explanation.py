"""Why something is as it is: what a request waits for, since when, and what happens next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from idds.domain.collection import Collection
from idds.domain.errors import NotFound
from idds.domain.identifiers import CollectionId, RequestId, TransformId
from idds.domain.replica import Window
from idds.domain.request import Principal, Request
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.transform import Transform
from idds.engine.planner import plan
from idds.services.sentences import Sentence, Situation, of_request, of_transform
from idds.services.standing import Rules, read_standing
from idds.store.database import Database, Transaction
from idds.store.waits import Waits

MAX_TRANSFORMS = 100
"""Of so many at most it is told; of a request with more works, those that run or ended badly come first."""
MAX_REASONS = 5
MAX_UNSUBMITTED = 20
MAX_REPLICAS = 1000
HEADS = 16
"""So many contents of each queue are planned with, to tell why they wait."""


@dataclass(frozen=True, slots=True)
class TransformAnswer:
    """Of one transform: what it waits for, or what it came to."""

    id: TransformId
    work: str
    status: Status
    sentences: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a request and its transforms, as of `at` (microseconds UTC). Transforms that ended well are left out."""

    request: RequestId
    status: Status
    intent: Intent
    at: int
    sentences: tuple[Sentence, ...]
    transforms: tuple[TransformAnswer, ...]


class Explanation:
    """What the API does for who asks why."""

    def __init__(self, database: Database, providers: Iterable[str] | None = None, rules: Rules | None = None) -> None:
        self._database = database
        self._rules = rules or Rules()
        self._providers = None if providers is None else frozenset(providers)

    async def why(self, principal: Principal, request_id: RequestId) -> Answer:
        """What a request waits for, or why it ended as it did. Raises NotFound."""
        async with self._database.snapshot() as tx:
            request = await tx.requests.get(request_id, principal)
            if request is None:
                raise NotFound(f"there is no request {request_id}")
            transforms = await tx.transforms.of_request(request.id)
            works = {work.name: Status.NEW for work in request.workflow.works}
            works |= {transform.work: transform.status for transform in transforms}
            inputs = {
                collection.transform_id: collection
                for collection in await tx.collections.of_request(request.id)
                if collection.relation is Relation.INPUT
            }
            due = await Waits(tx).due(request.id)
            waits = await self._waits(tx, request, inputs.values())
            answers = [
                TransformAnswer(
                    transform.id,
                    transform.work,
                    transform.status,
                    of_transform(
                        replace(
                            await _situation(tx, request, transform, inputs.get(transform.id), works),
                            providers=self._providers,
                            wait=waits.get(transform.id),
                        )
                    ),
                )
                for transform in _told(transforms)
            ]
            sentences = of_request(request, works, due, tx.now)
            return Answer(request.id, request.status, request.intent, tx.now, sentences, tuple(answers))

    async def _waits(
        self, tx: Transaction, request: Request, inputs: Iterable[Collection]
    ) -> Mapping[TransformId, str]:
        """Why the inputs that wait do so: as it is planned, for all that wait for their disks."""
        waiting = [each for each in inputs if each.unadmitted and each.rse is not None]
        if request.intent is not Intent.RUN or not waiting:
            return {}
        waits: dict[CollectionId, str] = {}
        for rse in {each.rse for each in waiting if each.rse is not None}:
            standing = await read_standing(tx, rse, self._rules, heads=HEADS)
            waits |= plan(standing, self._rules.policy, tx.now).waits
        return {each.transform_id: waits[each.id] for each in waiting if each.id in waits}


def _told(transforms: Sequence[Transform]) -> list[Transform]:
    open_or_bad = [transform for transform in transforms if transform.status is not Status.FINISHED]
    open_or_bad.sort(key=lambda transform: (transform.status in (Status.NEW, Status.CANCELLED), transform.id))
    return open_or_bad[:MAX_TRANSFORMS]


async def _situation(
    tx: Transaction, request: Request, transform: Transform, collection: Collection | None, works: Mapping[str, Status]
) -> Situation:
    work = request.workflow.work(transform.work)
    known = Situation(tx.now, request.intent, work, transform, works, collection)
    if transform.status is Status.NEW:
        return known
    if transform.status.is_terminal:
        return replace(known, reasons=await _reasons(tx, transform, collection))
    waits = Waits(tx)
    unsubmitted = await waits.unsubmitted(transform.id, MAX_UNSUBMITTED)
    known = replace(known, processings=await waits.open_processings(transform.id), unsubmitted=unsubmitted)
    entities = [waiting.entity for waiting in unsubmitted]
    if collection is not None:
        known = await _with_collection(tx, known, collection)
        entities.append(f"collection:{collection.id}")
        entities += [f"replica:{replica}" for awaited in known.awaited for replica in awaited.replicas[:MAX_REPLICAS]]
    return replace(known, pending=await waits.pending(entities))


async def _with_collection(tx: Transaction, known: Situation, collection: Collection) -> Situation:
    waits = Waits(tx)
    refs = [("collection", str(collection.id))]
    if collection.rse is not None:
        refs.append(("rse", collection.rse))
    awaited = await waits.awaited(collection)
    leased = collection.counts[ContentStatus.LEASED] > 0 and known.work.payload is None
    return replace(
        known,
        last_moved=await waits.last_moved(collection.id),
        windows=tuple(each for each in (await tx.windows.find(refs)).values() if _bounds(each)),
        awaited=awaited,
        remedy=await waits.last_remedy(collection.id) if any(each.stalled for each in awaited) else None,
        first_lease_end=await waits.first_lease_end(collection.id) if leased else None,
        version=await tx.studies.newest(collection.id) if collection.source is SourceKind.SAMPLES else None,
    )


def _bounds(window: Window) -> bool:
    """Whether it is more than a count of what an input holds."""
    return window.kind == "rse" or window.limit_bytes is not None or window.limit_files is not None


async def _reasons(tx: Transaction, transform: Transform, collection: Collection | None) -> Sequence[tuple[str, int]]:
    if collection is None or transform.status is Status.FINISHED:
        return ()
    return await Waits(tx).failed_contents(collection.id, MAX_REASONS)
