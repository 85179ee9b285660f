"""The duty of polling one provider: when it is due, and at once where the provider hints at a change."""

from idds.domain.identifiers import Handle
from idds.ports.provider import Provider
from idds.ports.wakeups import Channel
from idds.runtime.wiring import Wired
from idds.services.execution import Execution


class Polling:
    def __init__(self, name: str, provider: Provider, execution: Execution, wired: Wired) -> None:
        self.name = name
        self.batch = provider.capabilities.max_batch
        self._provider = provider
        self._execution = execution
        self._wired = wired
        self._hinted: set[Handle] = set()

    async def listen(self) -> None:
        async for handles in self._provider.events():
            self._hinted.update(handles)
            self._wired.wakeups.wake(Channel.JOBS)

    async def step(self) -> int:
        hinted, self._hinted = self._hinted, set()
        try:
            return await self._execution.poll(self.name, sorted(hinted))
        except BaseException:
            self._hinted |= hinted
            raise

    async def due_in(self) -> int | None:
        async with self._wired.database.snapshot() as tx:
            return tx.distance(await tx.processings.next_poll(self.name))
