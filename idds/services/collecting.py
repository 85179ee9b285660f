"""Bringing in what ended jobs left: the outcomes of their contents, and their outputs into data management."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from idds.domain.collection import Collection
from idds.domain.content import Outcome
from idds.domain.errors import InvalidInput, NotFound, Unavailable
from idds.domain.files import File, Upload
from idds.domain.identifiers import ContentId, Did, TransformId
from idds.domain.job import JobState
from idds.domain.processing import Processing, lessee_of
from idds.domain.statuses import Blame, JobStatus
from idds.ports.ddm import DDM, Refused
from idds.ports.provider import Provider
from idds.services.results import BadResult, OutputResult, Result, read_result, storable
from idds.store.database import Database

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Collected:
    """What one ended attempt left. `outputs` (file, path) are on disk at `rse`, to be put into `collection`."""

    attempt: int
    state: JobState
    outcomes: Mapping[ContentId, Outcome] = field(default_factory=dict)
    collection: Collection | None = None
    rse: str | None = None
    outputs: tuple[tuple[File, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Context:
    held: Mapping[str, set[ContentId]]
    outputs: Mapping[TransformId, Collection]


class Collecting:
    """Used where processings are polled. Everything here may be done again after a crash, with the same end."""

    def __init__(self, database: Database, ddm: DDM) -> None:
        self._database = database
        self._ddm = ddm

    async def collect(self, provider: Provider, ended: Sequence[tuple[Processing, JobState]]) -> dict[int, Collected]:
        """What each of these left, by processing; one whose outputs nobody takes for now is left out.

        Raises Unavailable where the provider is away.
        """
        left = {processing.id: await _left(provider, processing, state) for processing, state in ended}
        telling = [processing for processing, _ in ended if left[processing.id][0] != Result()]
        context = await self._context(telling)
        collected: dict[int, Collected] = {
            processing.id: Collected(processing.attempt, left[processing.id][1]) for processing, _ in ended
        }
        for processing in telling:
            result, state = left[processing.id]
            try:
                collected[processing.id] = await self._collect(provider, processing, state, result, context)
            except Unavailable as error:
                log.warning("outputs are not taken for now", processing=processing.id, error=str(error))
                del collected[processing.id]
        return collected

    async def _context(self, processings: Sequence[Processing]) -> _Context:
        if not processings:
            return _Context({}, {})
        async with self._database.snapshot() as tx:
            held = await tx.contents.held_by([lessee_of(processing.id) for processing in processings])
            outputs = {
                collection.transform_id: collection
                for collection in await tx.collections.outputs_of({p.transform_id for p in processings})
            }
        return _Context({lessee: {content.id for content in contents} for lessee, contents in held.items()}, outputs)

    async def _collect(
        self, provider: Provider, processing: Processing, state: JobState, result: Result, context: _Context
    ) -> Collected:
        outcomes = result.outcomes(context.held[lessee_of(processing.id)])
        collected = Collected(processing.attempt, state, outcomes)
        useful = any(outcome.done for outcome in outcomes.values()) or state.status is JobStatus.SUCCEEDED
        if not (result.outputs and useful):
            return collected
        try:
            return await self._upload(
                provider, processing, result, collected, context.outputs.get(processing.transform_id)
            )
        except (BadResult, NotFound) as error:
            return Collected(processing.attempt, failed(state, str(error)))

    async def _upload(
        self,
        provider: Provider,
        processing: Processing,
        result: Result,
        collected: Collected,
        collection: Collection | None,
    ) -> Collected:
        if collection is None or collection.did is None or collection.rse is None:
            raise BadResult("output.json: /outputs: the work declares no output, so there is no place for them")
        assert processing.handle is not None
        uploads = [
            Upload(
                _output_did(collection.did, processing, output),
                await provider.output_path(processing.handle, output.name),
                output.bytes,
                output.adler32,
            )
            for output in result.outputs
        ]
        outcomes = await self._ddm.upload(collection.rse, collection.did, uploads)
        for upload, outcome in zip(uploads, outcomes, strict=True):
            if isinstance(outcome, Refused):
                raise BadResult(f"output {upload.did} was refused: {outcome.reason}")
        outputs = tuple(
            (File(upload.did, upload.bytes, upload.adler32), path)
            for upload, path in zip(uploads, outcomes, strict=True)
            if isinstance(path, str)
        )
        return replace(collected, collection=collection, rse=collection.rse, outputs=outputs)


async def _left(provider: Provider, processing: Processing, state: JobState) -> tuple[Result, JobState]:
    """What the payload wrote, and how its job ended: badly, too, where that cannot be read."""
    if processing.handle is None or state.status is JobStatus.LOST:
        return Result(), state
    try:
        return read_result(await provider.result(processing.handle)), state
    except (BadResult, InvalidInput, NotFound) as error:
        return Result(), failed(state, str(error))


def _output_did(dataset: Did, processing: Processing, output: OutputResult) -> Did:
    """A name that no other processing or attempt gives, and that the same one gives again after a crash."""
    serial = f"{processing.request_id:06d}.{processing.group_no:06d}.{processing.attempt}"
    return Did(dataset.scope, f"{dataset.name}.{serial}.{output.name}")


def failed(state: JobState, reason: str) -> JobState:
    """The job ended well or not; what it left is no use, and why."""
    return replace(state, status=JobStatus.FAILED, blame=Blame.USER, reason=storable(reason))
