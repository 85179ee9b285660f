"""A computing provider: where processings run."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from idds.domain.identifiers import Handle
from idds.domain.job import Capabilities, Capacity, Cost, JobSpec, JobState, LogChunk, Submission


class Provider(Protocol):
    """All methods may raise `errors.Unavailable`: nothing is known then, and calling again is safe."""

    @property
    def capabilities(self) -> Capabilities: ...

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        """Start jobs, an outcome per spec in order. A key that is known already starts nothing and is Submitted."""
        ...

    async def find(self, keys: Sequence[str]) -> dict[str, Handle]:
        """The handles of those keys that the provider knows."""
        ...

    async def poll(self, handles: Sequence[Handle]) -> dict[Handle, JobState]:
        """The state of every handle asked; one that the provider does not know is `lost`."""
        ...

    async def cancel(self, handles: Sequence[Handle]) -> None:
        """Ask for the end of these jobs; that they ended is learned from `poll` alone. Ended ones are no error."""
        ...

    async def result(self, handle: Handle) -> bytes | None:
        """The `output.json` that the payload left, None when it left none. Valid once the job has ended.

        Raises NotFound for a job that is not known, and InvalidInput for what is too large or no regular file.
        """
        ...

    async def output_path(self, handle: Handle, name: str) -> str:
        """Where output `name` of the job lies on this machine. Raises NotFound, also for a name that leads outside."""
        ...

    async def logs(self, handle: Handle, stream: str, *, offset: int, limit: int) -> LogChunk:
        """Bytes of `stdout` or `stderr` from `offset`; a negative offset counts from the end. Raises NotFound."""
        ...

    async def probe(self) -> Capacity: ...

    def cost(self, spec: JobSpec) -> Cost: ...

    async def forget(self, handles: Sequence[Handle]) -> None:
        """Purge what the provider keeps of these ended jobs, their folders too. Unknown ones are no error."""
        ...

    def events(self) -> AsyncIterator[tuple[Handle, ...]]:
        """Hints that these jobs changed; some may be lost. Ends never; closing it is cancelling it."""
        ...

    async def start(self) -> None:
        """Take up work; jobs that ran on while the service was away are adopted. Raises when it cannot run here."""
        ...

    async def stop(self) -> None:
        """Let go of what this process holds. Jobs of a durable provider run on."""
        ...
