"""Claims of a process that is gone, or goes now."""

from sqlalchemy import update

from idds.domain.statuses import EffectKind
from idds.ports.wakeups import Channel, of_effects
from idds.store.noun import Noun
from idds.store.schema import effects, processings, requests


class Claims(Noun):
    async def give_back(self, owner: str | None) -> None:
        """Make what this owner holds free at once; what anybody holds, where `owner` is None."""
        now = self._tx.now
        for table, column, free in (
            (effects, effects.c.owner, {"owner": None, "due_at": now}),
            (processings, processings.c.owner, {"owner": None, "due_at": now}),
            (requests, requests.c.publisher, {"publisher": None}),
        ):
            held = column.is_not(None) if owner is None else column == owner
            await self._execute(update(table).where(held).values(free))
        self._tx.wake(Channel.JOBS, Channel.MESSAGES, *map(of_effects, EffectKind))
