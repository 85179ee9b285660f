"""Presence: a process with agents tells every some seconds that it is there, and what its duties have done.

It also sees who is there no more: what such a process had claimed is free at once, not when its claims end.
"""

import os
import socket
from collections.abc import Sequence
from importlib.metadata import version

import structlog

from idds.domain.agent import AgentProcess, DutyReport
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty
from idds.runtime.tallies import Tallies
from idds.store.database import Database

INTERVAL_S = 10.0
MISSING_S = 2.0
"""Who was missing twice, so many seconds apart, is gone: connections may break and be made anew."""
KEPT = 3600_000_000
"""A process that ended without a word is shown for so many microseconds."""


log = structlog.get_logger()


class Presence:
    def __init__(self, database: Database, owner: str, names: Sequence[str], tallies: Tallies) -> None:
        self._database = database
        self._owner = owner
        self._names = list(names)
        self._tallies = tallies
        self._missing: set[str] = set()
        self._gone: set[str] = set()

    async def step(self) -> int:
        """Tell of this process, and forget those that are long gone."""
        duties = [
            DutyReport(tally.agent, tally.duty, tally.steps, tally.failures, tally.last_error, tally.stepped_at)
            for tally in self._tallies
        ]
        async with self._database.transaction("presence") as tx:
            process = AgentProcess(
                self._owner,
                self._names,
                socket.gethostname(),
                os.getpid(),
                version("idds-next"),
                duties,
                started_at=tx.now,
                seen_at=tx.now,
            )
            await tx.agents.write(process)
            await tx.agents.forget(tx.now - KEPT)
        return 0

    async def look_for_others(self) -> int:
        """Free what those have claimed that are gone; of how many."""
        async with self._database.snapshot(timeless=True) as tx:
            missing = await tx.agents.vanished(self._owner)
        gone = (missing & self._missing) - self._gone
        for owner in sorted(gone):
            log.warning("a process is gone: others take over what it had claimed", owner=owner)
            async with self._database.transaction("presence") as tx:
                await tx.claims.give_back(owner)
        self._gone = (self._gone & missing) | gone
        self._missing = missing
        return 0


def present(agents: Sequence[Agent], database: Database, owner: str, tallies: Tallies) -> list[Agent]:
    """These agents, and the one that tells of them."""
    presence = Presence(database, owner, [agent.name for agent in agents], tallies)
    telling = Duty("telling", Channel.AGE, presence.step, 1, fallback_s=INTERVAL_S)
    missing = Duty("missing others", Channel.AGE, presence.look_for_others, 1, fallback_s=MISSING_S)
    return [*agents, Agent("presence", [telling, missing])]
