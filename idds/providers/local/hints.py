"""Telling listeners that something changed."""

import asyncio
from collections.abc import AsyncGenerator

from idds.domain.identifiers import Handle

MAX_PENDING = 10_000
"""Of so many jobs a listener that does not listen is told; more are lost to it."""


class Hints:
    """Every listener hears of each job that changed, once however often it changed before it was heard."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def tell(self, handle: Handle) -> None:
        for listener in self._listeners:
            listener.hear(handle)

    async def listen(self) -> AsyncGenerator[tuple[Handle, ...]]:
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                yield await listener.heard()
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self._pending: dict[Handle, None] = {}
        self._woken = asyncio.Event()

    def hear(self, handle: Handle) -> None:
        if len(self._pending) < MAX_PENDING:
            self._pending[handle] = None
        self._woken.set()

    async def heard(self) -> tuple[Handle, ...]:
        await self._woken.wait()
        self._woken.clear()
        handles = tuple(self._pending)
        self._pending.clear()
        return handles
