"""A provider in memory: jobs end when `tick` says so."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random

from idds.domain.errors import NotFound
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
from idds.testing.faults import Faults


class MemoryProvider:
    """Fulfils `idds.ports.provider.Provider`. A job reports its contents done, and one output a job, unless it fails.

    `failing` is the share of jobs that end badly, `losing` of those that vanish, `spoiled` of contents that fail.
    """

    def __init__(
        self,
        random: Random,
        faults: Faults | None = None,
        *,
        failing: float = 0.0,
        losing: float = 0.0,
        spoiled: float = 0.0,
    ) -> None:
        self._random = random
        self._faults = faults or Faults(random, rate=0.0)
        self.failing, self.losing, self.spoiled = failing, losing, spoiled
        self._jobs: dict[str, JobSpec] = {}
        self._states: dict[Handle, JobState] = {}
        self._results: dict[Handle, bytes] = {}
        self.started: Counter[str] = Counter()
        self.counted: Counter[int] = Counter()
        """How often each content's result was written by a job that ended well."""
        self.event_counts: Mapping[str, int] = {}
        """How many events a job counts in the file of a name; of others it says nothing."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(1_000_000, 1000, shared_fs=True, durable_across_restart=True, cancel_running=True)

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        self._faults.before()
        outcomes: list[Submission] = []
        for spec in specs:
            handle = Handle(spec.key)
            if spec.payload.argv[0] == "/rejected":
                outcomes.append(Rejected("it does not like it"))
                continue
            if spec.key not in self._jobs:
                self._jobs[spec.key] = spec
                self.started[spec.key] += 1
                self._states[handle] = JobState(JobStatus.PENDING, 0, "queued")
            outcomes.append(Submitted(handle))
        self._faults.after()
        return outcomes

    async def find(self, keys: Sequence[str]) -> dict[str, Handle]:
        return {key: Handle(key) for key in keys if key in self._jobs}

    def tick(self) -> None:
        """Let some jobs start and some end."""
        for handle, state in list(self._states.items()):
            if self._random.random() < 0.5:
                continue
            if state.status is JobStatus.PENDING:
                self._states[handle] = JobState(JobStatus.RUNNING, 0, "running")
            elif state.status is JobStatus.RUNNING:
                self._end(handle)

    def _end(self, handle: Handle) -> None:
        luck = self._random.random()
        if luck < self.losing:
            del self._states[handle]
            return
        if luck < self.losing + self.failing:
            self._states[handle] = JobState(JobStatus.FAILED, 0, "exit 1", 1, Blame.USER, "exit code 1")
            return
        document = self._jobs[handle].document
        results = []
        for content in document["contents"]:
            done = self._random.random() >= self.spoiled
            self.counted[content["id"]] += done
            result = {"id": content["id"], "status": "done" if done else "failed", "reason": None}
            if (name := content["name"]) in self.event_counts:
                result["events"] = self.event_counts[name]
            results.append(result)
        output = {"name": "out.txt", "bytes": 3, "adler32": "00000000"}
        self._results[handle] = json.dumps({"contents": results, "outputs": [output]}).encode()
        self._states[handle] = JobState(JobStatus.SUCCEEDED, 0, "exit 0", 0)

    async def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        self._faults.before()
        lost = JobState(JobStatus.LOST, 0, "unknown", reason="the provider does not know it")
        return {handle: self._states.get(handle, lost) for handle in handles}

    async def cancel(self, handles: Sequence[Handle]) -> None:
        self._faults.before()
        for handle in handles:
            if handle in self._states and not self._states[handle].status.is_terminal:
                self._states[handle] = JobState(JobStatus.CANCELLED, 0, "cancelled")
        self._faults.after()

    async def result(self, handle: Handle) -> bytes | None:
        self._faults.before()
        return self._results.get(handle)

    async def output_path(self, handle: Handle, name: str) -> str:
        return f"/jobs/{handle}/{name}"

    async def logs(self, handle: Handle, stream: str, *, offset: int, limit: int) -> LogChunk:
        raise NotFound(f"{handle} keeps no {stream}")

    async def probe(self) -> Capacity:
        return Capacity(True, None, None, None, 0)

    def cost(self, spec: JobSpec) -> Cost:
        return Cost(0.0, "none", "declared")

    async def forget(self, handles: Sequence[Handle]) -> None:
        for handle in handles:
            self._states.pop(handle, None)
            self._jobs.pop(handle, None)

    async def events(self) -> AsyncIterator[tuple[Handle, ...]]:
        """None: who uses this one polls what is due."""
        await asyncio.Event().wait()
        yield ()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...
