"""What the service, the disk, the bus and the outputs say when a run has ended."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idds.cli.demonstration.accounting import Evidence, Merged, doubled, lost
from idds.cli.demonstration.announcements import announced
from idds.cli.demonstration.digits import Digits
from idds.cli.demonstration.disk import Sight, look, sights
from idds.cli.demonstration.picture import Scene
from idds.cli.demonstration.plan import Folder, Plan
from idds.cli.demonstration.summary import Failure, Summary
from idds.cli.demonstration.timeline import Timeline
from idds.cli.demonstration.tuning import Search
from idds.domain.processing import Processing
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.sdk.client import Client
from idds.sdk.views import ContentView, MoveView, RequestView

WORKS = ("count", "merge")
"""Of the first part; the second one's samples are told of, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """`replicas_left` are files on disk, or in the service's books where those name more."""

    folder: Folder
    plan: Plan
    request: RequestView
    evidence: Evidence
    processings: Sequence[Processing]
    sights: Sequence[Sight]
    replicas_left: int

    def moved_to(self, status: ContentStatus) -> list[MoveView]:
        return [move for move in self.evidence.moves if move.to_status == status]

    def scene(self, now: int) -> Scene:
        return Scene(
            timeline=Timeline.of(self.folder.runs, self.sights, now),
            since=self.request.created_at or 0,
            until=self.request.changed_at or now,
            sights=self.sights,
            landed=[move for move in self.moved_to(ContentStatus.AVAILABLE) if move.event == "landed"],
            processed=self.moved_to(ContentStatus.DONE),
            window_bytes=self.plan.window_bytes,
            files=self.plan.files,
            images=self.evidence.merged.images,
            means=self.evidence.merged.means,
        )


async def find(client: Client, request: RequestView, folder: Folder, plan: Plan, digits: Digits) -> Findings:
    """Ask everybody. Raises IddsError, and OSError for an output that is registered and cannot be read."""
    counting = request.collection("count")
    outputs = await _contents(client, request, "count", Relation.OUTPUT)
    merges = await _contents(client, request, "merge", Relation.OUTPUT)
    left = [each for each in await client.replicas() if each.rse == "DISK"]
    on_disk = await asyncio.to_thread(look, folder.disk)
    return Findings(
        folder=folder,
        plan=plan,
        request=request,
        evidence=Evidence(
            files=tuple(file.name for file in digits.files),
            images=digits.images,
            inputs=await _contents(client, request, "count", Relation.INPUT),
            outputs=outputs,
            counted=await asyncio.to_thread(_counted, outputs),
            moves=[m async for m in client.history(request.id) if m.entity == f"collection:{counting.id}"],
            announced=[each for each in announced(folder.announcements) if each.work in WORKS],
            merged=await asyncio.to_thread(_merged, merges),
        ),
        processings=[processing async for processing in client.processings(request.id)],
        sights=sights(folder.looks),
        replicas_left=max(len(on_disk.names), sum(each.files for each in left)),
    )


async def _contents(client: Client, request: RequestView, work: str, relation: Relation) -> list[ContentView]:
    try:
        collection = request.collection(work, relation)
    except KeyError:
        return []  # a work that was never released has no collections
    return [content async for content in client.contents(collection.id)]


def _counted(outputs: Sequence[ContentView]) -> list[str]:
    return [json.loads(Path(output.path).read_text())["file"] for output in outputs if output.path]


def _merged(merges: Sequence[ContentView]) -> Merged:
    """Nothing, unless there is exactly one."""
    if len(merges) != 1 or merges[0].path is None:
        return Merged()
    document = json.loads(Path(merges[0].path).read_text())
    return Merged(tuple(document["files"]), tuple(document["images"]), tuple(map(tuple, document["means"])))


def summarize(findings: Findings, searches: Sequence[Search], url: str, now: int) -> Summary:
    evidence, scene = findings.evidence, findings.scene(now)
    inputs = {content.id for content in evidence.inputs}
    told = [e for e in evidence.announced if e.content in inputs and e.status == ContentStatus.AVAILABLE]
    return Summary(
        status=findings.request.status,
        files=findings.plan.files,
        bytes=findings.plan.bytes,
        window_bytes=findings.plan.window_bytes,
        highest_bytes=max((sight.bytes for sight in findings.sights), default=0),
        looks=sum(sight.looks for sight in findings.sights),
        first_file_s=_at(scene, scene.landed[:1]),
        first_result_s=_at(scene, scene.processed[:1]),
        dataset_on_disk_s=_at(scene, scene.landed[-1:]),
        total_s=round(scene.seconds(scene.until), 2),
        announced_files=len({each.content for each in told}),
        announcements=len({each.message for each in told}),
        processings=len(findings.processings),
        attempts=sum(processing.attempt for processing in findings.processings),
        outputs=len(evidence.outputs),
        replicas_left=findings.replicas_left,
        failures=_failures(findings),
        images=evidence.merged.images,
        images_expected=evidence.images,
        kills=len(scene.timeline.kills_s),
        lost=lost(evidence),
        doubled=doubled(evidence),
        url=url,
        picture=str(findings.folder.picture),
        searches=tuple(searches),
        tuning_picture=str(findings.folder.tuning_picture) if searches else None,
    )


def _at(scene: Scene, moves: Sequence[MoveView]) -> float:
    return round(scene.seconds(moves[0].at), 2) if moves else 0.0


def _failures(findings: Findings) -> tuple[Failure, ...]:
    contents = [
        Failure(content.name, content.reason or f"is {content.status}, without a reason")
        for content in findings.evidence.inputs
        if content.status is not ContentStatus.DONE
    ]
    processings = [
        Failure(f"processing {processing.id}", processing.reason or f"is {processing.status}, without a reason")
        for processing in findings.processings
        if processing.status is not Status.FINISHED
    ]
    return (*contents, *processings)
