"""The duty of learning where replicas stand: the hinted ones at once, all in motion every few seconds."""

from idds.ports.clock import Clock
from idds.services.staging import Residencies

INTERVAL = 5_000_000


class Surveying:
    def __init__(self, residencies: Residencies, clock: Clock) -> None:
        self._residencies = residencies
        self._clock = clock
        self._whole_at = 0

    async def step(self) -> int:
        everything = self._clock.now() >= self._whole_at
        moved = await self._residencies.survey(everything=everything)
        if everything:
            self._whole_at = self._clock.now() + INTERVAL
        return moved

    async def due_in(self) -> int | None:
        return self._whole_at - self._clock.now()
