"""Hints of changes, handed to any number of consumers, each at its own speed."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterable

from idds.ddm.posix.rules import Change
from idds.domain.identifiers import Did

MOST = 100_000
"""So many changed files are kept for one consumer; hints beyond are dropped until it has read."""

Hint = tuple[str, tuple[Did, ...]]


class Hints:
    """A consumer that is not referred to any more is forgotten."""

    def __init__(self) -> None:
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()

    def consumer(self) -> AsyncIterator[Hint]:
        """Gets what is told from now on."""
        consumer = Consumer()
        self._consumers.add(consumer)
        return consumer

    def tell(self, changes: Iterable[Change]) -> None:
        for consumer in self._consumers:
            for change in changes:
                consumer.put(change)


class Consumer(AsyncIterator[Hint]):
    """A file that changed twice before it was read is told once."""

    def __init__(self) -> None:
        self._changed: dict[str, dict[Did, None]] = {}
        self._room = MOST
        self._arrival = asyncio.Event()

    def put(self, change: Change) -> None:
        dids = self._changed.setdefault(change.rse, {})
        if change.did not in dids and self._room:
            dids[change.did] = None
            self._room -= 1
            self._arrival.set()

    async def __anext__(self) -> Hint:
        while not self._arrival.is_set():
            await self._arrival.wait()
        rse = next(rse for rse, dids in self._changed.items() if dids)
        dids = self._changed.pop(rse)
        self._room += len(dids)
        if not any(self._changed.values()):
            self._arrival.clear()
        return rse, tuple(dids)
