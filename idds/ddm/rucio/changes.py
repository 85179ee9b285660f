"""What changed: Rucio is asked which of our rules it touched, once for all who want to know."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from idds.ddm.rucio.rules import Rule, Rules
from idds.domain.errors import Unavailable
from idds.domain.identifiers import Did

OVERLAP = timedelta(seconds=2)
"""Rucio's times have whole seconds, and its clock may differ a little from ours."""

log = structlog.get_logger()

Hint = tuple[str, tuple[Did, ...]]


class Changes:
    """Asks as long as somebody listens."""

    def __init__(self, rules: Rules, pause_s: float) -> None:
        self._rules = rules
        self._pause_s = pause_s
        self._listeners: set[asyncio.Queue[Hint]] = set()
        self._told: frozenset[tuple[str, str]] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> AsyncIterator[Hint]:
        """Hints from now on, for ever."""
        queue: asyncio.Queue[Hint] = asyncio.Queue()
        self._listeners.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._ask(), name="rucio changes")
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        since = datetime.now(UTC) - OVERLAP
        try:
            while self._listeners:
                asked = datetime.now(UTC)
                try:
                    changed = await self._rules.changed_since(since)
                except Unavailable as error:
                    log.warning("Rucio does not say what changed", error=str(error))
                else:
                    since = asked - OVERLAP
                    self._tell(changed)
                await asyncio.sleep(self._pause_s)
        finally:
            self._task = None

    def _tell(self, changed: Sequence[Rule]) -> None:
        # Of one that was just made, or goes on, there is nothing to see yet; one that was told of is found once more,
        # as the times that are asked for overlap.
        ended = [rule for rule in changed if rule.state != "REPLICATING" or rule.is_dying]
        by_rse: dict[str, list[Did]] = {}
        for rule in ended:
            if (rule.rule_id, _standing(rule)) not in self._told:
                by_rse.setdefault(rule.rse, []).append(rule.did)
        self._told = frozenset((rule.rule_id, _standing(rule)) for rule in ended)
        for hint in by_rse.items():
            for queue in self._listeners:
                queue.put_nowait((hint[0], tuple(hint[1])))


def _standing(rule: Rule) -> str:
    return f"{rule.state} {rule.expires_at}"
