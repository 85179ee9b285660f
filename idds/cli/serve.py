"""The whole service in one process: the API and the three agents."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from idds.cli.settings import SettingsFile, told
from idds.domain.request import HOUSE, Principal, Role
from idds.runtime.looper import DRAIN_S, Agent, Looper
from idds.runtime.settings import Settings, read_settings
from idds.runtime.wiring import Wired

COLLECTED_AT = (10_000, 20, 50)
OPERATOR = Principal("operator", HOUSE, Role.OPERATOR)
FIRST_START = ", made just now: an operator's, who may do everything"
SWITCH_S = 0.0005
"""A thread that commits waits so long at most for a busy event loop to let go of the interpreter; else it were 5 ms."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A running service. `token_file` holds an operator's token, perhaps a new one.

    `finished` ends when an agent breaks for good.
    """

    url: str
    token_file: Path
    is_first_start: bool
    wired: Wired
    finished: asyncio.Task[None]


@asynccontextmanager
async def serving(settings: Settings, *, with_agents: bool = True) -> AsyncIterator[Serving]:
    """Run the API, and the agents unless they run elsewhere, until the block is left; steps under way end first.

    Raises InvalidInput for settings that cannot be, and Unavailable for what does not answer.
    """
    from idds.api.application import make_application
    from idds.api.serving import served
    from idds.runtime.wiring import wired
    from idds.web.application import add_pages

    async with wired(settings, outside=with_agents, bus=with_agents) as parts:
        looper = Looper(parts.wakeups, parts.doors.tallies)
        application = make_application(parts.doors, settings.api, settings.access)
        add_pages(application)
        async with served(application, settings.api) as port:
            running = asyncio.create_task(looper.run(_team(parts) if with_agents else []), name="agents")
            try:
                is_first_start = await _make_token(parts)
                url = f"http://{settings.api.host}:{port}"
                yield Serving(url, _token_file(parts), is_first_start, parts, running)
            finally:
                await _stop(looper, running)


def _team(parts: Wired) -> list[Agent]:
    import agents.carrier
    import agents.conductor
    import agents.transformer
    from idds.runtime.presence import present

    team = [agents.transformer.agent(parts), agents.carrier.agent(parts), agents.conductor.agent(parts)]
    return present(team, parts.database, parts.owner, parts.doors.tallies)


async def _stop(looper: Looper, running: asyncio.Task[None]) -> None:
    looper.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            await asyncio.shield(asyncio.wait({running}))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _token_file(parts: Wired) -> Path:
    return parts.settings.state / "token"


async def _make_token(parts: Wired) -> bool:
    """Make an operator's token where there is none yet; whether there was none."""
    from idds.runtime.secret_file import leave_secret

    path = _token_file(parts)
    if path.exists():
        return False
    leave_secret(path, await parts.doors.access.issue(OPERATOR, note="made at the first start"))
    return True


def serve(
    settings_file: SettingsFile = None,
    state: Annotated[Path | None, typer.Option(help="Folder of what the service keeps.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the API; 0 for any free one.")] = None,
    with_agents: Annotated[
        bool, typer.Option("--agents/--no-agents", help="Run the agents too, or leave them to `python -m agents.NAME`.")
    ] = True,
) -> None:
    """Run the whole service in one process: the API and the three agents, until SIGTERM or Ctrl-C."""
    from idds.runtime.telemetry import configure_logs

    with told():
        settings = read_settings(settings_file, **({"state": state} if state else {}))
        if port is not None:
            settings.api.port = port
        configure_logs(settings.log.level, as_json=settings.log.as_json)
        asyncio.run(_serve(settings, with_agents))


async def _serve(settings: Settings, with_agents: bool) -> None:
    from idds.runtime.signals import until_told_to_stop

    async with serving(settings, with_agents=with_agents) as running:
        # What is loaded by now stays: it is not looked through again whenever a busy API makes many small things.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTED_AT)
        sys.setswitchinterval(SWITCH_S)
        lines = (
            f"API     {running.url}",
            f"token   in {running.token_file}{FIRST_START if running.is_first_start else ''}",
            f"MQTT    {running.wired.bus_url or 'none'}",
        )
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        told = asyncio.Event()
        await until_told_to_stop(_either(running.finished, told), told.set, DRAIN_S)


async def _either(task: asyncio.Task[None], event: asyncio.Event) -> None:
    """Return when the event is set; raise what the task raises, should it end first."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        waiting.cancel()
