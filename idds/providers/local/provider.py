"""A provider that runs jobs as processes of this machine."""

import asyncio
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idds.domain.errors import NotFound, Unavailable
from idds.domain.identifiers import Handle
from idds.domain.job import (
    Capabilities,
    Capacity,
    Cost,
    JobSpec,
    JobState,
    LogChunk,
    Rejected,
    Submission,
    Submitted,
)
from idds.domain.statuses import Blame, JobStatus
from idds.providers.local import artifacts
from idds.providers.local.folder import Cause, Claim, Order
from idds.providers.local.hints import Hints
from idds.providers.local.job import Job, Recalled, enter, handle_of, recall_all
from idds.providers.local.memory import MemoryWatch
from idds.providers.local.options import LocalOptions
from idds.providers.local.run import Run, now, record

log = logging.getLogger(__name__)

CAPABILITIES = Capabilities(
    min_poll_interval=5_000_000,
    max_batch=1000,
    shared_fs=True,
    durable_across_restart=True,
    cancel_running=True,
)


class LocalProvider:
    """Fulfils `idds.ports.provider.Provider` with processes of this machine. Needs Linux.

    Jobs survive the service: they run on when it ends, however it ends, and are adopted by the next one with the
    same root. Jobs that do not fit the slots wait in the order in which they came.
    """

    def __init__(self, options: LocalOptions) -> None:
        self._options = options
        self._jobs: dict[Handle, Job] = {}
        self._queue: deque[Job] = deque()
        self._cores_taken = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._memory = MemoryWatch()
        self._hints = Hints()
        self._last_number = 0
        self._lock: int | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "LocalProvider":
        """Raises InvalidInput. The options are the fields of `LocalOptions`."""
        return cls(LocalOptions.from_mapping(options))

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def start(self) -> None:
        """Raises Unavailable when the root cannot be used, or another service uses it."""
        if not hasattr(os, "pidfd_open"):
            raise Unavailable("the local provider needs Linux")
        try:
            self._lock = await asyncio.to_thread(_lock, self._options.root)
            recalled = await asyncio.to_thread(recall_all, self._options)
        except OSError as error:
            await self.stop()
            raise Unavailable(f"the folder {self._options.root} cannot be used: {error.strerror}") from error
        for found in recalled:
            self._take_up(found)
        self._dispatch()

    async def stop(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()
        self._queue.clear()
        self._cores_taken = 0
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        self._require_started()
        numbers = [self._next_number() for _ in specs]
        return [await self._submit(spec, number) for spec, number in zip(specs, numbers, strict=True)]

    async def _submit(self, spec: JobSpec, number: int) -> Submission:
        handle = handle_of(spec.key)
        if handle in self._jobs:
            return Submitted(handle)
        try:
            found = await asyncio.to_thread(enter, self._options, spec, number)
        except OSError as error:
            return Rejected(f"its folder cannot be made: {error.strerror}", transient=True)
        if isinstance(found, Rejected):
            return found
        if handle not in self._jobs:
            self._take_up(found)
            self._dispatch()
        return Submitted(handle)

    async def find(self, keys: Sequence[str]) -> dict[str, Handle]:
        self._require_started()
        return {key: handle for key in keys if (handle := handle_of(key)) in self._jobs}

    async def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        self._require_started()
        return {handle: self._state(handle) for handle in handles}

    async def cancel(self, handles: Sequence[Handle]) -> None:
        """Once it returns the order is on the disk: it holds even if the service dies."""
        self._require_started()
        order = Order(Cause.CANCEL, "cancelled")
        for handle in handles:
            job = self._jobs.get(handle)
            if job is None or job.spec is None:
                continue
            await asyncio.to_thread(record, job.folder, order)
            if job.run is None and job.spec is not None:
                self._run(job, None, order)
            elif job.run is not None:
                job.run.order(order)

    async def result(self, handle: Handle) -> bytes | None:
        """Raises NotFound for a job that is not known, InvalidInput for a result that is too big or no file."""
        return await asyncio.to_thread(artifacts.result, self._job(handle).folder.path)

    async def output_path(self, handle: Handle, name: str) -> str:
        return await asyncio.to_thread(artifacts.output_path, self._job(handle).folder.path, name)

    async def logs(self, handle: Handle, stream: str, *, offset: int, limit: int) -> LogChunk:
        job = self._job(handle)
        if stream not in artifacts.STREAMS:
            raise NotFound(f"no stream {stream!r}: there are stdout and stderr")
        ended = job.state.status.is_terminal
        content, end, eof = await asyncio.to_thread(artifacts.read_stream, job.folder.path, stream, offset, limit)
        return LogChunk(content, end, ended and eof)

    async def probe(self) -> Capacity:
        writable = await asyncio.to_thread(os.access, self._options.root, os.W_OK | os.X_OK)
        reason = None if writable else "the folder of jobs cannot be written to"
        if self._lock is None:
            reason = "not started"
        slots = self._options.slots
        queued = sum(job.spec is not None and job.run is None for job in self._queue)
        return Capacity(reason is None, slots, max(0, slots - self._cores_taken), queued, now(), reason=reason)

    def cost(self, spec: JobSpec) -> Cost:
        return Cost(float(spec.resources.cores * spec.resources.walltime_s), "core-seconds", "declared")

    async def forget(self, handles: Sequence[Handle]) -> None:
        """Jobs that have not ended are kept."""
        self._require_started()
        for handle in handles:
            job = self._jobs.get(handle)
            if job is None or not job.state.status.is_terminal:
                continue
            try:
                await asyncio.to_thread(job.folder.forget)
            except OSError as error:
                raise Unavailable(f"the folder of a job cannot be removed: {error.strerror}") from error
            self._jobs.pop(handle, None)

    def events(self) -> AsyncIterator[tuple[Handle, ...]]:
        return self._hints.listen()

    def _require_started(self) -> None:
        # Without its memory it would call every job lost.
        if self._lock is None:
            raise Unavailable("the local provider is not started")

    def _job(self, handle: Handle) -> Job:
        self._require_started()
        try:
            return self._jobs[handle]
        except KeyError:
            raise NotFound("the provider does not know this job") from None

    def _state(self, handle: Handle) -> JobState:
        job = self._jobs.get(handle)
        if job is None:
            return JobState(JobStatus.LOST, now(), "unknown", reason="the provider does not know this job")
        return job.state if job.state.status.is_terminal else replace(job.state, observed_at=now())

    def _next_number(self) -> int:
        self._last_number = max(self._last_number + 1, time.time_ns())
        return self._last_number

    def _take_up(self, found: Recalled) -> None:
        job = found.job
        self._jobs[job.handle] = job
        if job.spec is None:
            return
        if found.claim is None and found.order is None:
            self._queue.append(job)
        else:
            self._run(job, found.claim, found.order)

    def _dispatch(self) -> None:
        """Start jobs from the head of the queue while they fit: a wide job is never overtaken."""
        while self._queue:
            job = self._queue[0]
            if job.spec is not None and job.run is None:
                if self._cores_taken + job.spec.resources.cores > self._options.slots:
                    return
                self._run(job, None, None)
            self._queue.popleft()

    def _run(self, job: Job, claim: Claim | None, order: Order | None) -> None:
        assert job.spec is not None
        run = job.run = Run(job.folder, job.spec, grace_s=self._options.grace_s, memory=self._memory)
        if order is not None:
            run.order(order)
        # One that was cancelled in the queue takes no slot: it will not run.
        cores = 0 if claim is None and order is not None else job.spec.resources.cores
        if cores:
            self._cores_taken += cores
            job.state = JobState(JobStatus.RUNNING, now(), "running")
            self._hints.tell(job.handle)
        task = asyncio.create_task(self._carry(job, run, claim, cores), name=f"local job {job.folder.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, job: Job, run: Run, claim: Claim | None, cores: int) -> None:
        try:
            state = await run.to_end(claim)
        except Exception as error:
            log.exception("local job %s was lost", job.folder.key)
            state = JobState(JobStatus.LOST, now(), "lost", blame=Blame.SITE, reason=f"lost by the provider: {error}")
        try:
            await asyncio.to_thread(job.folder.record_end, state)
        except OSError as error:
            # The traces remain, from which the next service tells the same.
            log.warning("the end of local job %s cannot be recorded: %s", job.folder.key, error.strerror)
        job.state, job.spec, job.run = state, None, None
        self._cores_taken -= cores
        self._hints.tell(job.handle)
        self._dispatch()


def _lock(root: Path) -> int:
    """A lock on the root for this process, given back when it ends or closes the descriptor. Raises OSError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError | PermissionError):
            raise OSError(error.errno, "another service uses it") from error
        raise
    return descriptor
