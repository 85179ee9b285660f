"""One agent in a process of its own."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from idds.domain.errors import IddsError
from idds.runtime.looper import DRAIN_S, Agent, Looper
from idds.runtime.metrics import Metrics
from idds.runtime.metrics_port import exposed
from idds.runtime.presence import present
from idds.runtime.settings import Settings, read_settings
from idds.runtime.signals import until_told_to_stop
from idds.runtime.telemetry import configure_logs
from idds.runtime.wiring import Wired, wired


def run_alone(agent: Callable[[Wired], Agent], arguments: Sequence[str], *, outside: bool, bus: bool) -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    try:
        settings = read_settings(Path(arguments[0]) if arguments else None)
        configure_logs(settings.log.level, as_json=settings.log.as_json)
        asyncio.run(_run(agent, settings, outside=outside, bus=bus))
    except (IddsError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _run(agent: Callable[[Wired], Agent], settings: Settings, *, outside: bool, bus: bool) -> None:
    async with wired(settings, outside=outside, bus=bus) as parts:
        looper = Looper(parts.wakeups, parts.doors.tallies)
        team = present([agent(parts)], parts.database, parts.owner, parts.doors.tallies)
        async with exposed(Metrics(parts.doors.metering, parts.doors.tallies), settings.metrics):
            await until_told_to_stop(looper.run(team), looper.stop, DRAIN_S)
