"""Samplers in a process of their own: what they compute never holds up the service, nor does what breaks them."""

import asyncio
import contextlib
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from idds.domain.identifiers import CollectionId
from idds.ports.sampler import Order, SamplerFailure, Suggestion
from idds.search.frames import PREFIX, Asked, Failed, Wanted, packed, unpacked

STUDIES = 100
"""So many are kept in memory; one that was forgotten is told anew when it is asked again."""
LONGEST_S = 60.0
"""An order that takes longer fails, as others wait meanwhile; after some tries its study does."""
_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG", "OMP_NUM_THREADS")
_ALONE = {"OMP_NUM_THREADS": "1"}
"""Where nothing is said: threads that share so little work wait for each other, which costs a quarter more."""


class SamplerProcess:
    """Fulfils `idds.ports.sampler.Sampler`. The process starts with the first order, and anew after it died.

    It is a fresh interpreter, not a fork, and ends by itself when the service does.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._heard: OrderedDict[CollectionId, tuple[int, int]] = OrderedDict()
        """Of which version of a study it has heard, and up to where."""
        self._forget: list[CollectionId] = []
        self._one_at_a_time = asyncio.Lock()
        self._ordered = 0

    @property
    def load(self) -> tuple[int, int]:
        """Orders that it has to answer, and studies that it knows."""
        return self._ordered, len(self._heard)

    def heard(self, study: CollectionId, version: int = 1) -> int | None:
        if self._process is not None and self._process.returncode is not None:
            self._heard.clear()
        known, heard = self._heard.get(study, (0, 0))
        return heard if known == version else None

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        self._ordered += 1
        try:
            return await self._ask(order, time.monotonic())
        finally:
            self._ordered -= 1

    async def _ask(self, order: Order, ordered_at: float) -> Sequence[Suggestion]:
        async with self._one_at_a_time:
            if order.within_s is not None:
                waited = time.monotonic() - ordered_at
                order = replace(order, within_s=max(0.0, order.within_s - waited))
            if order.since is not None and self.heard(order.study, order.version) != order.since:
                raise SamplerFailure("its process died")  # a new one would take the news for all that there is
            try:
                async with asyncio.timeout(LONGEST_S):
                    answer = await self._exchange(Wanted(order, tuple(self._forget)))
            except TimeoutError:
                await self._end()
                raise SamplerFailure(f"it took more than {LONGEST_S:g} s") from None
            except (OSError, asyncio.IncompleteReadError):
                await self._end()
                raise SamplerFailure("its process died") from None
            except BaseException:
                await self._end()  # what it would answer belongs to nobody
                raise
        self._forget.clear()
        self._heard.pop(order.study, None)
        if isinstance(answer, Failed):
            raise SamplerFailure(answer.kind)
        self._heard[order.study] = (order.version, order.heard)
        if len(self._heard) > STUDIES:
            self._forget.append(self._heard.popitem(last=False)[0])
        return answer.suggestions

    async def _exchange(self, wanted: Wanted) -> Asked | Failed:
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(packed(wanted))
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(PREFIX), "big")
        answer = unpacked(await process.stdout.readexactly(size))
        assert isinstance(answer, Asked | Failed)
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            await self._end()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "idds.search.worker"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_ALONE | {name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                # What a terminal tells the service is not meant for it.
                start_new_session=True,
            )
        return self._process

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._end()

    async def _end(self) -> None:
        self._heard.clear()
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()
        await process.wait()
