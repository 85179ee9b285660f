"""The duty of learning where replicas stand: the hinted ones at once, all in motion every few seconds.

Where that takes long it is done more seldom: it shall cost the data management a small part of its time.
"""

from idds.ports.clock import Clock
from idds.services.staging import Residencies
from idds.services.surveying import Survey

INTERVAL = 5_000_000
SHARE = 20
"""All in motion are looked at for one of so many parts of the time at most, but for the longest pause."""
LONGEST = 60_000_000


class Surveying:
    def __init__(self, residencies: Residencies, survey: Survey, clock: Clock) -> None:
        self._residencies = residencies
        self._survey = survey
        self._clock = clock
        self._whole_at = 0

    async def step(self) -> int:
        begun = self._clock.now()
        everything = begun >= self._whole_at
        await self._residencies.take_hints()
        moved = await self._survey.step(everything=everything)
        if everything:
            now = self._clock.now()
            self._whole_at = now + min(max(INTERVAL, SHARE * (now - begun)), LONGEST)
        return moved

    async def due_in(self) -> int | None:
        whole, again = self._whole_at - self._clock.now(), await self._survey.due_in()
        return whole if again is None else min(whole, again)
