"""A job as the provider holds it in memory, and how it comes there: taken in, or recalled from the disk."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace

from idds.domain.identifiers import Handle
from idds.domain.job import JobSpec, JobState, Rejected
from idds.domain.statuses import Blame, JobStatus
from idds.providers.local.admission import KEY, admit
from idds.providers.local.folder import Claim, Folder, Order, leftovers, remove
from idds.providers.local.options import LocalOptions
from idds.providers.local.run import Run, conclude, now


def handle_of(key: str) -> Handle:
    return Handle(json.dumps({"job": key}))


@dataclass(eq=False, slots=True)
class Job:
    """`number` orders the queue. `spec` is None once the job has ended, `run` unless it runs."""

    folder: Folder
    spec: JobSpec | None
    number: int
    state: JobState
    run: Run | None = None

    @property
    def handle(self) -> Handle:
        return handle_of(self.folder.key)


@dataclass(frozen=True, slots=True)
class Recalled:
    """A job found on the disk. Without an end it is to be followed, by its claim and order, or queued."""

    job: Job
    claim: Claim | None
    order: Order | None


def enter(options: LocalOptions, spec: JobSpec, number: int) -> Recalled | Rejected:
    """Take the job in; one that is there already is recalled. Raises OSError."""
    document = admit(spec, options.slots)
    if isinstance(document, Rejected):
        return document
    folder = Folder(options.root, spec.key)
    if not folder.create(spec, document, number):
        return recall(folder, options.slots)
    pending = JobState(JobStatus.PENDING, now(), "queued")
    return Recalled(Job(folder, replace(spec, document={}), number, pending), None, None)


def recall_all(options: LocalOptions) -> list[Recalled]:
    """Every job on the disk, in the order they came. Raises OSError."""
    for path in leftovers(options.root):
        remove(path)
    folders = [Folder(options.root, path.name) for path in options.root.iterdir() if KEY.fullmatch(path.name)]
    return sorted((recall(folder, options.slots) for folder in folders), key=lambda found: found.job.number)


def recall(folder: Folder, slots: int) -> Recalled:
    ended = folder.ended()
    if ended is not None:
        return Recalled(Job(folder, None, 0, ended), None, None)
    traces, written = folder.traces(), folder.spec()
    if traces.exit is not None or written is None:
        state = conclude(folder)
        with suppress(OSError):
            folder.record_end(state)
        return Recalled(Job(folder, None, 0, state), None, None)
    spec, number = written
    if spec.resources.cores > slots and traces.claim is None:
        reason = f"needs {spec.resources.cores} cores, there are {slots}"
        state = JobState(JobStatus.FAILED, now(), "unfit", blame=Blame.RESOURCE, reason=reason)
        return Recalled(Job(folder, None, number, state), None, None)
    pending = JobState(JobStatus.PENDING, now(), "queued")
    return Recalled(Job(folder, spec, number, pending), traces.claim, traces.order)
