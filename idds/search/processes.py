"""Several samplers' processes: a study stays with the one that knows it, and a slow one holds up no more than that."""

import asyncio
from collections.abc import Sequence

from idds.domain.identifiers import CollectionId
from idds.ports.sampler import Order, Suggestion
from idds.search.process import SamplerProcess


class SamplerProcesses:
    """Fulfils `idds.ports.sampler.Sampler`. Each process starts when it is needed first."""

    def __init__(self, number: int) -> None:
        self._processes = [SamplerProcess() for _ in range(number)]

    def heard(self, study: CollectionId, version: int = 1) -> int | None:
        return self._of(study, version).heard(study, version)

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        return await self._of(order.study, order.version).ask(order)

    def _of(self, study: CollectionId, version: int) -> SamplerProcess:
        """The one that knows it, or the one that has the least to do."""
        knowing = (each for each in self._processes if each.heard(study, version) is not None)
        return next(knowing, None) or min(self._processes, key=lambda each: each.load)

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self._processes))
