"""A whole service for a bench: real parts, in this process, on a database of its own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

import agents.carrier
import agents.conductor
import agents.transformer
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal, Request, Role
from idds.domain.workflow import Payload, Work, Workflow
from idds.runtime.looper import Looper
from idds.runtime.settings import StoreSettings, read_settings
from idds.runtime.wiring import Wired, wired

OWNER = Principal("bench", "bench", Role.OPERATOR)
NOTHING = Payload(argv=("/bin/true",))


@asynccontextmanager
async def running(database_url: str) -> AsyncIterator[Wired]:
    """The service on this database, with an embedded broker and a slot a core."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(None, state=Path(folder), store=StoreSettings(url=database_url))
        async with wired(settings, outside=True, bus=True) as parts:
            looper = Looper(parts.wakeups)
            team = [agents.transformer.agent(parts), agents.carrier.agent(parts), agents.conductor.agent(parts)]
            task = asyncio.create_task(looper.run(team))
            try:
                yield parts
            finally:
                looper.stop()
                await task


async def finish(parts: Wired, request: RequestId) -> Request:
    """Wait for the end of a request."""
    while True:
        found = await parts.doors.catalogue.request(OWNER, request)
        if found.status.is_terminal:
            return found
        await asyncio.sleep(0.01)


def chain(length: int) -> Workflow:
    """Works that do nothing, one after the other."""
    works = [Work(name=f"w{n}", after=(f"w{n - 1}",) if n else (), payload=NOTHING) for n in range(length)]
    return Workflow(name=f"chain of {length}", works=tuple(works))


def fan(width: int) -> Workflow:
    """Works that do nothing, all at once."""
    return Workflow(name=f"fan of {width}", works=tuple(Work(name=f"w{n}", payload=NOTHING) for n in range(width)))
